package eureka

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// restart is a registry that comes back with its snapshot, at another address; links are the ways to its peers.
func (s *server) restart(links ...*link) *server {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "registry.snapshot")
	if err := (&snapshot{path: path}).write(s.Registry); err != nil {
		s.t.Fatal(err)
	}
	next := NewRegistry(s.cfg, quiet())
	next.Restore(path)
	next.saved.path = ""
	again := serveRegistry(s.t, next)
	again.runPeers(ClientOptions{}, links...)
	return again
}

// TestEndsOutliveRestarts: what was cancelled, and what has expired, while a peer was away does not come back with that peer,
// not even if the registry that knows of it was restarted in between; and what came back since stays.
func TestEndsOutliveRestarts(t *testing.T) {
	off := false
	cfg := Config{SelfPreservation: &off}
	a, b := newServer(t, cfg), newServer(t, cfg)
	toB := newLink(t, b.addr)
	nowhere := newLink(t, a.addr) // as a configuration with peers has it
	nowhere.set(true)
	a.runPeers(ClientOptions{}, toB)
	b.runPeers(ClientOptions{}, nowhere)
	for _, id := range []string{"back", "cancelled", "expired", "stays"} {
		b.register("SVC", id, `,"lastDirtyTimestamp":1000`)
	}
	const all = "SVC/back=UP SVC/cancelled=UP SVC/expired=UP SVC/stays=UP"
	a.askToCompare()
	settled(t, all, a, b)

	toB.set(true)
	a.want(200, "DELETE", "/eureka/apps/SVC/cancelled", "")
	a.want(200, "DELETE", "/eureka/apps/SVC/back", "")
	a.register("SVC", "back", `,"lastDirtyTimestamp":2000`)
	b.mu.Lock()
	for _, id := range []string{"expired", "stays"} {
		b.find(leaseKey{"SVC", id}).renewed = time.Now().Add(-time.Hour)
	}
	b.mu.Unlock()
	a.expire("SVC", "expired")

	// Both restart; b gives each lease all of its time again.
	b2 := b.restart(nowhere)
	settled(t, all, b2)
	a2 := a.restart(newLink(t, b2.addr))
	a2.askToCompare()
	eventually(t, func() string { return a2.picture() + "\n" + b2.picture() }, func() bool {
		return a2.one(leaseKey{"SVC", "back"}) != nil && b2.one(leaseKey{"SVC", "cancelled"}) == nil && b2.one(leaseKey{"SVC", "back"}).LastDirty == 2000
	})
	for _, id := range []string{"cancelled", "expired"} {
		if i := a2.one(leaseKey{"SVC", id}); i != nil {
			t.Errorf("%s has come back: %+v", id, i)
		}
	}
	if a2.one(leaseKey{"SVC", "stays"}) == nil {
		t.Error("what was silent only while its registry was down is gone")
	}
}

// TestEndsInTheSnapshot: they come back as they were, but for those that make no sense.
func TestEndsInTheSnapshot(t *testing.T) {
	r := NewRegistry(Config{}, quiet())
	now := time.Now()
	if err := r.register(mustJSON(t, doc("A", "lives", "")), caller{}); err != nil {
		t.Fatal(err)
	}
	ms := now.UnixMilli()
	r.takeBackEnds([]ended{
		{App: "A", ID: "1", At: ms - 1000, Dirty: 7},
		{App: "A", ID: "2", At: ms, Dirty: 8, Expired: true, Heard: 9},
		{App: "A", ID: "lives", At: ms, Dirty: 1},
		{App: "A", ID: "future", At: ms + 60000, Dirty: 1},
		{App: "A", ID: "endless", At: ms, Dirty: maxDirty + 1},
		{App: "A", ID: "old", At: ms - graveKept.Milliseconds() - 1000, Dirty: 1},
	}, now)
	next := restored(t, r, Config{})
	const want = "[{App:A ID:1 At:%d Dirty:7 Expired:false Heard:0} {App:A ID:2 At:%d Dirty:8 Expired:true Heard:9}]"
	// What is too old is forgotten at the next sweep that comes to it, in the order in which they ended.
	next.sweepGraves(now)
	if got, want := fmt.Sprintf("%+v", next.ends()[:2]), fmt.Sprintf(want, ms-1000, ms); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestTiesWithNetflix: a change that is made at a server that does not count it is a change.
func TestTiesWithNetflix(t *testing.T) {
	a, b := newServer(t, Config{}), NewRegistry(Config{}, quiet())
	netflix := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.Handler().ServeHTTP(hideRegistry{w}, r)
	}))
	toB := newLink(t, netflix)
	a.runPeers(ClientOptions{}, toB)
	for _, id := range []string{"1", "2", "3"} {
		a.register("SVC", id, `,"lastDirtyTimestamp":1000`)
	}
	a.want(200, "PUT", "/eureka/apps/SVC/1/status?value=OUT_OF_SERVICE", "")
	eventually(t, a.picture, func() bool {
		i := b.one(leaseKey{"SVC", "1"})
		return i != nil && i.Status == OutOfService && b.one(leaseKey{"SVC", "3"}) != nil && a.Peers()[0].Pending == 0
	})
	a.askToCompare()
	toB.set(true)
	change := func(id string, status, override Status) { // as Netflix's do: lastDirtyTimestamp stays
		key := leaseKey{"SVC", id}
		b.mu.Lock()
		defer b.mu.Unlock()
		l := b.find(key)
		l.override = ""
		if override != Unknown {
			l.override = override
		}
		b.set(key, l, func(i *Instance) { i.Status, i.Overridden = status, override })
	}
	change("1", Up, Unknown) // taken back there
	change("2", Down, Down)
	a.want(200, "PUT", "/eureka/apps/SVC/2/status?value=OUT_OF_SERVICE", "") // at both: here it counts
	change("3", Down, Down)
	toB.set(false)
	a.askToCompare()
	want := map[string]Status{"1": Up, "2": OutOfService, "3": Down}
	eventually(t, func() string { return a.picture() }, func() bool {
		for id, status := range want {
			ours, theirs := a.one(leaseKey{"SVC", id}), b.one(leaseKey{"SVC", id})
			if ours.Status != status || theirs.Status != status || later(ours, theirs) != 0 {
				return false
			}
		}
		return true
	})
	if s := a.Peers()[0]; s.Fairlead {
		t.Errorf("%+v", s)
	}
}

// hideRegistry answers as a server does that does not say which registry it is.
type hideRegistry struct{ http.ResponseWriter }

func (h hideRegistry) WriteHeader(status int) {
	h.Header().Del(registryHeader)
	h.ResponseWriter.WriteHeader(status)
}

// serveHandler serves h until the test ends.
func serveHandler(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestPeersTellOfHeartbeats: a registry that an instance's heartbeats do not reach keeps it while a peer hears them: a comparison
// tells of them, though the states are the same.
func TestPeersTellOfHeartbeats(t *testing.T) {
	a, b, _ := pair(t, Config{})
	a.register("SVC", "1", "")
	settled(t, "SVC/1=UP", a, b)
	key := leaseKey{"SVC", "1"}
	old := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	for _, s := range []*server{a, b} {
		s.mu.Lock()
		s.find(key).renewed = old
		s.view.Store(nil)
		s.mu.Unlock()
	}
	a.mu.Lock()
	heard := old.Add(30 * time.Second)
	a.find(key).renewed = heard // and b was not told
	a.view.Store(nil)
	a.mu.Unlock()
	b.askToCompare()
	if got := b.one(key).Lease.LastRenewal; got != heard.UnixMilli() {
		t.Errorf("b has heard of it at %d, want %d", got, heard.UnixMilli())
	}
	a.askToCompare() // b knows nothing newer
	if got := a.one(key).Lease.LastRenewal; got != heard.UnixMilli() {
		t.Errorf("a has heard of it at %d, want %d", got, heard.UnixMilli())
	}
}
