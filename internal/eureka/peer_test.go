package eureka

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// link is the network to a server, which can be cut.
type link struct {
	ln     net.Listener
	target string // constant
	wg     sync.WaitGroup

	mu    sync.Mutex // guards the following
	cut   bool
	conns map[net.Conn]bool
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{ln: ln, target: target, conns: map[net.Conn]bool{}}
	l.wg.Go(l.accept)
	t.Cleanup(func() { _ = ln.Close(); l.set(true); l.wg.Wait() })
	return l
}

func (l *link) url() string { return "http://" + l.ln.Addr().String() + "/eureka/" }

func (l *link) accept() {
	for {
		c, err := l.ln.Accept()
		if err != nil {
			return
		}
		if !l.keep(c) {
			_ = c.Close()
			continue
		}
		to, err := net.Dial("tcp", l.target)
		if err != nil || !l.keep(to) {
			_ = c.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{c, to}, {to, c}} {
			l.wg.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

// set cuts the network, or mends it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	for c := range l.conns {
		_ = c.Close()
	}
	clear(l.conns)
}

// runPeers has the registry replicate over the links, without the waits of everyday life, until the test ends.
func (s *server) runPeers(o ClientOptions, links ...*link) {
	s.t.Helper()
	var urls []string
	for _, l := range links {
		urls = append(urls, l.url())
	}
	s.runPeersAt(o, urls...)
}

func (s *server) runUntilEnd() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// pair are two registries that are each other's peers; cut parts them.
func pair(t *testing.T, cfg Config) (a, b *server, cut func(bool)) {
	t.Helper()
	a, b = newServer(t, cfg), newServer(t, cfg)
	toA, toB := newLink(t, a.addr), newLink(t, b.addr)
	a.runPeers(ClientOptions{}, toB)
	b.runPeers(ClientOptions{}, toA)
	eventually(t, a.picture, func() bool { return a.Peers()[0].Compared > 0 && b.Peers()[0].Compared > 0 })
	return a, b, func(cut bool) { toA.set(cut); toB.set(cut) }
}

// picture is what a registry prints.
func (s *server) picture() string {
	var lines []string
	for _, i := range s.Instances() {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %d %v", i.App, i.ID, i.Status, i.Overridden, i.LastDirty, i.Metadata))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what func() string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatal(what())
}

// settled waits until all registries print want, lines of "APP id STATUS overridden"; any number where want is "".
func settled(t *testing.T, want string, all ...*server) {
	t.Helper()
	eventually(t, func() string {
		var b strings.Builder
		fmt.Fprintf(&b, "want %s\n", want)
		for _, s := range all {
			fmt.Fprintf(&b, "have\n%s\n%+v\n", s.picture(), s.Peers())
		}
		return b.String()
	}, func() bool {
		first := all[0].picture()
		for _, s := range all[1:] {
			if s.picture() != first {
				return false
			}
		}
		var got []string
		for _, i := range all[0].Instances() {
			got = append(got, fmt.Sprintf("%s/%s=%s", i.App, i.ID, i.Status))
		}
		slices.Sort(got)
		return strings.Join(got, " ") == want
	})
}

func TestPeersFormOneRegistry(t *testing.T) {
	a, b, _ := pair(t, Config{})
	a.register("ONE", "1", `,"lastDirtyTimestamp":1000`)
	b.register("TWO", "2", `,"status":"STARTING"`)
	settled(t, "ONE/1=UP TWO/2=STARTING", a, b)

	b.want(200, "PUT", "/eureka/apps/ONE/1/status?value=OUT_OF_SERVICE", "")
	settled(t, "ONE/1=OUT_OF_SERVICE TWO/2=STARTING", a, b)
	a.want(200, "PUT", "/eureka/apps/ONE/1/metadata?k=v", "")
	eventually(t, b.picture, func() bool { return b.one(leaseKey{"ONE", "1"}).Metadata["k"] == "v" })
	b.want(200, "DELETE", "/eureka/apps/ONE/1/status?value=UP", "")
	settled(t, "ONE/1=UP TWO/2=STARTING", a, b)

	b.register("TWO", "2", `,"status":"UP"`)
	settled(t, "ONE/1=UP TWO/2=UP", a, b)
	a.want(200, "DELETE", "/eureka/apps/TWO/2", "")
	settled(t, "ONE/1=UP", a, b)
	// What was cancelled may come back at once, whatever its clock says.
	a.register("TWO", "2", `,"lastDirtyTimestamp":5`)
	settled(t, "ONE/1=UP TWO/2=UP", a, b)
	b.want(200, "DELETE", "/eureka/apps/ONE/1", "")
	b.want(200, "DELETE", "/eureka/apps/TWO/2", "")
	settled(t, "", a, b)
}

// What a peer passed on is not passed on again: b tells c nothing of a's.
func TestPeersDoNotPassOn(t *testing.T) {
	a, b, c := newServer(t, Config{}), newServer(t, Config{}), newServer(t, Config{})
	toB, toC := newLink(t, b.addr), newLink(t, c.addr)
	b.runPeers(ClientOptions{}, toC)
	a.runPeers(ClientOptions{}, toB)
	a.register("ONE", "1", "")
	settled(t, "ONE/1=UP", a, b)
	b.register("TWO", "2", "")
	settled(t, "TWO/2=UP", c)
	eventually(t, c.picture, func() bool { return b.Peers()[0].Sent > 0 })
	if s := b.Peers()[0]; s.Sent != 1 || s.Dropped != 0 || s.Refused != 0 {
		t.Errorf("%+v, want one change sent", s)
	}
}

func TestHeartbeatsAreReplicated(t *testing.T) {
	a, b, _ := pair(t, Config{})
	a.register("ONE", "1", `,"lastDirtyTimestamp":1000`)
	settled(t, "ONE/1=UP", a, b)
	beats := func() int64 { return b.Stats().Heartbeats }
	before := beats()
	eventually(t, b.picture, func() bool {
		a.want(200, "PUT", "/eureka/apps/ONE/1?status=UP&lastDirtyTimestamp=1000", "")
		return beats() > before
	})

	// b lost it: the next heartbeat brings it back.
	b.mu.Lock()
	b.remove(leaseKey{"ONE", "1"}, b.find(leaseKey{"ONE", "1"}))
	b.mu.Unlock()
	a.want(200, "PUT", "/eureka/apps/ONE/1", "")
	settled(t, "ONE/1=UP", a, b)

	// b knows something newer: a takes it at the next heartbeat.
	b.want(204, "POST", "/eureka/apps/ONE", doc("ONE", "1", `,"lastDirtyTimestamp":2000,"metadata":{"x":"y"}`), ofJSON,
		"X-Netflix-Discovery-Replication: true")
	a.want(200, "PUT", "/eureka/apps/ONE/1?lastDirtyTimestamp=1000", "")
	eventually(t, a.picture, func() bool { return a.one(leaseKey{"ONE", "1"}).Metadata["x"] == "y" })
	settled(t, "ONE/1=UP", a, b)
}

// later than any lease, so that an eviction ends every lease that is not renewed in between.
func (s *server) expire(app, id string) {
	s.t.Helper()
	key := leaseKey{app, id}
	s.mu.Lock()
	s.find(key).renewed = time.Now().Add(-time.Hour)
	s.mu.Unlock()
	s.evict(time.Now(), 0)
	if s.one(key) != nil {
		s.t.Fatalf("%v has not expired", key)
	}
}

// A partition that outlasts leases, with registrations, status changes and deletes on both sides.
func TestPartitionHeals(t *testing.T) {
	off := false
	a, b, cut := pair(t, Config{SelfPreservation: &off})
	var all []string
	for _, id := range []string{"a-deleted", "a-moved", "a-renewed", "a-status", "both", "crossed", "stays"} {
		a.register("SVC", id, `,"lastDirtyTimestamp":1000`)
		all = append(all, "SVC/"+id+"=UP")
	}
	for _, id := range []string{"b-deleted", "b-renewed", "b-status"} {
		b.register("SVC", id, `,"lastDirtyTimestamp":1000`)
		all = append(all, "SVC/"+id+"=UP")
	}
	slices.Sort(all)
	settled(t, strings.Join(all, " "), a, b)

	cut(true)
	on := func(s *server, status int, method, path string) { s.want(status, method, "/eureka/apps/SVC/"+path, "") }
	a.register("SVC", "a-new", "")
	b.register("SVC", "b-new", "")
	eventually(t, a.picture, func() bool { return a.Peers()[0].Err != "" && b.Peers()[0].Err != "" })
	on(b, 200, "DELETE", "a-deleted") // it was told so by another way than it registered
	on(a, 200, "DELETE", "b-deleted")
	on(b, 200, "PUT", "b-deleted/status?value=DOWN") // a deletion wins over a status
	on(b, 200, "PUT", "a-status/status?value=OUT_OF_SERVICE")
	on(a, 200, "PUT", "b-status/status?value=DOWN")
	on(a, 200, "PUT", "crossed/status?value=OUT_OF_SERVICE")
	on(b, 200, "PUT", "crossed/status?value=DOWN")
	on(a, 200, "DELETE", "both")
	on(b, 200, "DELETE", "both")
	b.register("SVC", "a-moved", `,"lastDirtyTimestamp":5000,"metadata":{"at":"b"}`)
	b.expire("SVC", "a-renewed") // its heartbeats did not get through
	a.expire("SVC", "b-renewed")
	on(a, 200, "PUT", "a-renewed")
	on(b, 200, "PUT", "b-renewed")
	if a.picture() == b.picture() {
		t.Fatal("there was no partition")
	}

	cut(false)
	settled(t, "SVC/a-moved=UP SVC/a-new=UP SVC/a-renewed=UP SVC/a-status=OUT_OF_SERVICE SVC/b-new=UP SVC/b-renewed=UP "+
		"SVC/b-status=DOWN SVC/crossed=OUT_OF_SERVICE SVC/stays=UP", a, b)
	if at := a.one(leaseKey{"SVC", "a-moved"}).Metadata["at"]; at != "b" {
		t.Errorf("a-moved is at %q, want b", at)
	}
}

// What has expired everywhere is not handed to and fro.
func TestExpiredStaysGone(t *testing.T) {
	off := false
	a, b, cut := pair(t, Config{SelfPreservation: &off})
	a.register("SVC", "1", "")
	a.register("SVC", "2", "")
	settled(t, "SVC/1=UP SVC/2=UP", a, b)
	cut(true)
	a.expire("SVC", "1") // b's eviction has not run yet
	b.mu.Lock()
	b.find(leaseKey{"SVC", "1"}).renewed = time.Now().Add(-time.Hour + time.Second)
	b.view.Store(nil)
	b.mu.Unlock()
	compared := a.Peers()[0].Compared
	a.register("SVC", "3", "")
	cut(false)
	a.askToCompare()
	eventually(t, a.picture, func() bool { return a.Peers()[0].Compared > compared+1 })
	if a.one(leaseKey{"SVC", "1"}) != nil {
		t.Error("an expired instance came back from a peer that had heard nothing of it since")
	}
	b.askToCompare() // it is overdue there too, and nobody else has it
	settled(t, "SVC/2=UP SVC/3=UP", a, b)
}

func (s *server) askToCompare() {
	for range 2 {
		for _, p := range s.peers {
			before := s.Peers()[0].Compared
			p.again()
			eventually(s.t, s.picture, func() bool { return s.Peers()[0].Compared > before })
		}
	}
}

// Self-preservation does not keep what no peer has any more.
func TestOrphansEnd(t *testing.T) {
	a, b, _ := pair(t, Config{})
	a.register("SVC", "1", "")
	settled(t, "SVC/1=UP", a, b)
	key := leaseKey{"SVC", "1"}
	a.mu.Lock()
	a.remove(key, a.find(key)) // as a server does that forgets
	a.mu.Unlock()
	b.mu.Lock()
	b.find(key).renewed = time.Now().Add(-time.Hour)
	b.mu.Unlock()
	b.evict(time.Now(), 0)
	if b.one(key) == nil {
		t.Fatal("self-preservation did not keep the lease")
	}
	b.askToCompare()
	settled(t, "", a, b)
}

// Statuses that are set on both sides at once end as one.
func TestStatusesCross(t *testing.T) {
	a, b, _ := pair(t, Config{})
	a.register("SVC", "1", "")
	settled(t, "SVC/1=UP", a, b)
	for n := range 20 {
		a.want(200, "PUT", "/eureka/apps/SVC/1/status?value=OUT_OF_SERVICE", "")
		b.want(200, "PUT", "/eureka/apps/SVC/1/status?value=DOWN", "")
		if n%2 == 0 {
			a.want(200, "DELETE", "/eureka/apps/SVC/1/status?value=UP", "")
		}
	}
	eventually(t, func() string { return a.picture() + "\n" + b.picture() }, func() bool {
		return a.picture() == b.picture() && a.Peers()[0].Pending == 0 && b.Peers()[0].Pending == 0
	})
}

func TestPeersStart(t *testing.T) {
	a := newServer(t, Config{})
	a.register("ONE", "1", `,"metadata":{"k":"v"}`)
	a.want(200, "PUT", "/eureka/apps/ONE/1/status?value=OUT_OF_SERVICE", "")
	b := newServer(t, Config{})
	toA := newLink(t, a.addr)
	b.runPeers(ClientOptions{}, toA)
	settled(t, "ONE/1=OUT_OF_SERVICE", a, b)
	if b.overrides()["1"] != "OUT_OF_SERVICE" {
		t.Errorf("overrides %v", b.overrides())
	}
}

func TestPeerQueueIsBounded(t *testing.T) {
	a, b := newServer(t, Config{}), newServer(t, Config{})
	toB := newLink(t, b.addr)
	toB.set(true)
	if err := a.ReplicateWith([]string{toB.url()}, ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	p := a.peers[0]
	p.most, p.linger, p.retry, p.retryLast = 3, time.Millisecond, time.Millisecond, 5*time.Millisecond
	var want []string
	for n := range 9 {
		a.register("SVC", fmt.Sprint(n), "")
		want = append(want, fmt.Sprintf("SVC/%d=UP", n))
	}
	if s := a.Peers()[0]; s.Pending != 3 || s.Dropped != 6 {
		t.Fatalf("%+v, want 3 pending, 6 dropped", s)
	}
	p.most = 100
	a.runUntilEnd()
	eventually(t, a.picture, func() bool { return a.Peers()[0].Err != "" })
	toB.set(false)
	settled(t, strings.Join(want, " "), a, b)
}

func TestPeersAuthenticate(t *testing.T) {
	b := newServer(t, Config{Auth: AuthConfig{BasicConfig: auth.BasicConfig{UsersFile: "x"}}})
	b.SetUsers(testUsers(t, "peer"))
	b.want(401, "POST", "/eureka/peerreplication/batch/", `{"replicationList":[]}`, ofJSON)
	a, c := newServer(t, Config{}), newServer(t, Config{})
	toB, badToB := newLink(t, b.addr), newLink(t, b.addr)
	a.register("ONE", "1", "")
	c.register("TWO", "1", "")
	c.runPeers(ClientOptions{User: "peer", Password: "wrong"}, badToB)
	a.runPeers(ClientOptions{User: "peer", Password: "pass"}, toB)
	eventually(t, a.picture, func() bool { return b.one(leaseKey{"ONE", "1"}) != nil })
	eventually(t, c.picture, func() bool { return strings.Contains(c.Peers()[0].Err, "401") })
	if b.one(leaseKey{"TWO", "1"}) != nil {
		t.Error("a peer with a wrong password registered something")
	}
}
