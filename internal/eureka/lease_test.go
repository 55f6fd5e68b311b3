package eureka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func off() *bool { return new(bool) }

// call sends a request to the handler itself: in a bubble of synctest there is no network.
func direct(t *testing.T, r *Registry, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w.Code, w.Body.String()
}

func put(t *testing.T, r *Registry, app, id, more string) {
	t.Helper()
	if status, body := direct(t, r, "POST", "/eureka/apps/"+app, doc(app, id, more)); status != 204 {
		t.Fatalf("register %s %s: %d %s", app, id, status, body)
	}
}

// inBubble runs a registry under synctest's clock.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, r *Registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(cfg, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		test(t, r)
	})
}

func ids(r *Registry) string {
	var out []string
	for _, i := range r.Instances() {
		out = append(out, i.ID)
	}
	return strings.Join(out, " ")
}

func TestLeasesExpire(t *testing.T) {
	inBubble(t, Config{SelfPreservation: off()}, func(t *testing.T, r *Registry) {
		put(t, r, "A", "default", "")
		put(t, r, "A", "short", `,"leaseInfo":{"durationInSecs":"20"}`)
		put(t, r, "A", "long", `,"leaseInfo":{"durationInSecs":100000000}`)
		put(t, r, "A", "beating", `,"leaseInfo":{"durationInSecs":50}`)
		go func() {
			for {
				time.Sleep(30 * time.Second)
				if status, _ := direct(t, r, "PUT", "/eureka/apps/A/beating", ""); status != 200 || time.Now().Unix() > 946684800+1000 {
					return
				}
			}
		}()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if got := ids(r); got != "default short long beating" {
			t.Errorf("before the first run: %s", got)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := ids(r); got != "default long beating" {
			t.Errorf("after 61 s: %s", got)
		}
		time.Sleep(60 * time.Second)
		synctest.Wait()
		if got := ids(r); got != "long beating" {
			t.Errorf("after 121 s: %s", got)
		}
		if _, delta := direct(t, r, "GET", "/eureka/apps/delta", ""); strings.Count(delta, `"DELETED"`) != 2 {
			t.Errorf("delta: %s", delta)
		}
		if r.Stats().Expired != 2 {
			t.Errorf("%+v", r.Stats())
		}
		if long := r.Instances()[0]; long.Lease.Duration != maxSeconds {
			t.Errorf("lease of %d s", long.Lease.Duration)
		}
		time.Sleep(1000 * time.Second) // the heartbeats end
	})
}

func TestAtMostFifteenPercentExpireAtOnce(t *testing.T) {
	inBubble(t, Config{SelfPreservation: off()}, func(t *testing.T, r *Registry) {
		for n := range 40 {
			put(t, r, "A", fmt.Sprint(n), "")
		}
		left := []int{40, 34, 28, 23} // 40-34, then 34-28.9, then 28-23.8
		for n, want := range left[1:] {
			time.Sleep(time.Duration(121-61*min(n, 1)) * time.Second)
			synctest.Wait()
			if got := len(r.Instances()); got != want {
				t.Fatalf("run %d: %d left, want %d", n+1, got, want)
			}
		}
	})
}

func TestSelfPreservation(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, r *Registry) {
		const all = 10
		beat := func(n int) {
			for i := range n {
				if status, _ := direct(t, r, "PUT", fmt.Sprint("/eureka/apps/A/", i), ""); status != 200 {
					t.Fatalf("%d: %d", i, status)
				}
			}
		}
		for n := range all {
			put(t, r, "A", fmt.Sprint(n), "")
		}
		time.Sleep(time.Second)
		for range 20 { // ten minutes: two of ten are silent, 16 of 20 heartbeats a minute are too few
			beat(all - 2)
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if s := r.Stats(); s.Instances != all || !s.SelfPreservation || s.RenewsLastMinute != 16 || s.RenewsExpected != 17 {
			t.Errorf("two silent: %+v", s)
		}
		for range 6 { // all but one: 18 are enough, and the silent one goes
			beat(all - 1)
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if s := r.Stats(); s.Instances != all-1 || s.SelfPreservation {
			t.Errorf("one silent: %+v", s)
		}
	})
}

func TestEvictionThatComesLateWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(Config{SelfPreservation: off()}, quiet())
		put(t, r, "A", "1", "")
		time.Sleep(100 * time.Second)
		r.evict(time.Now(), 20*time.Second)
		if ids(r) != "1" {
			t.Error("expired although the run was late")
		}
		r.evict(time.Now(), -time.Second)
		if ids(r) != "" {
			t.Error("did not expire")
		}
	})
}

func TestReadersSeeLaterHeartbeatsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry(Config{}, quiet())
		put(t, r, "A", "1", "")
		first := r.Instances()[0]
		time.Sleep(20 * time.Second)
		direct(t, r, "PUT", "/eureka/apps/A/1", "")
		if r.Instances()[0] != first {
			t.Error("a heartbeat rebuilt the view")
		}
		if one := r.one(leaseKey{"A", "1"}); one.Lease.LastRenewal != time.Now().UnixMilli() {
			t.Error("a single instance shows an old heartbeat")
		}
		time.Sleep(20 * time.Second)
		if got := r.Instances()[0]; got.Lease.LastRenewal != time.Now().Add(-20*time.Second).UnixMilli() {
			t.Error("the view never shows the heartbeat")
		}
	})
}

func TestDeltaForgets(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, r *Registry) {
		put(t, r, "A", "1", "")
		time.Sleep(100 * time.Second)
		put(t, r, "A", "2", "")
		delta := func() int {
			_, body := direct(t, r, "GET", "/eureka/apps/delta", "")
			return strings.Count(body, "instanceId")
		}
		if got := delta(); got != 2 {
			t.Errorf("%d changes, want 2", got)
		}
		time.Sleep(111 * time.Second)
		if got := delta(); got != 1 {
			t.Errorf("after 211 s: %d changes, want 1", got)
		}
		time.Sleep(100 * time.Second)
		if got := delta(); got != 0 {
			t.Errorf("after 311 s: %d changes, want 0", got)
		}
	})
}

func TestDeltaIsBounded(t *testing.T) {
	r := NewRegistry(Config{MaxInstances: 3}, quiet())
	for n := range 20 {
		id := fmt.Sprint(n)
		put(t, r, "A", id, "")
		if err := r.cancel(leaseKey{"A", id}, caller{}); err != nil {
			t.Fatal(err)
		}
	}
	if r.recent.Len() != 6 || len(r.recentAt) != 6 || r.Stats().DeltaDropped != 14 {
		t.Errorf("%d changes, %d dropped", r.recent.Len(), r.Stats().DeltaDropped)
	}
	r = NewRegistry(Config{MetadataLimit: 6 << 20}, quiet())
	for n := range 4 {
		i := &Instance{ID: fmt.Sprint(n), App: "A", Status: Up, Overridden: Unknown, Metadata: map[string]string{"a": strings.Repeat("x", 6<<20-1)}}
		if err := r.register(i, caller{}); err != nil {
			t.Fatal(err)
		}
		if err := r.cancel(leaseKey{"A", i.ID}, caller{}); err != nil {
			t.Fatal(err)
		}
	}
	if r.recent.Len() != 2 || r.recentGone > deletedBytes || r.weight != 0 {
		t.Errorf("%d changes of %d bytes, %d bytes under lease", r.recent.Len(), r.recentGone, r.weight)
	}
}

// mirror is a client's copy of the registry.
type mirror map[leaseKey]*Instance

func (m mirror) apply(t *testing.T, body string) string {
	t.Helper()
	a, err := readApplications(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, app := range a.Apps {
		for _, i := range app.Instances {
			if i.Action == Deleted {
				delete(m, leaseKey{app.Name, i.ID})
				continue
			}
			m[leaseKey{app.Name, i.ID}] = i
		}
	}
	return a.Hash
}

func (m mirror) hash() string {
	var all []*Instance
	for _, i := range m {
		all = append(all, i)
	}
	return hashcode(all)
}

// TestDeltaLaw: a client that reads the whole registry at any point and then deltas at any points, none more
// than 180 s after the last, has the registry, and the hash that the server gives.
func TestDeltaLaw(t *testing.T) {
	for seed := range uint64(4) {
		inBubble(t, Config{SelfPreservation: off()}, func(t *testing.T, r *Registry) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			clients := make([]mirror, 3)
			for range 250 {
				app, id := fmt.Sprint("A", rnd.IntN(2)), fmt.Sprint(rnd.IntN(5))
				path := "/eureka/apps/" + app + "/" + id
				status := []Status{Up, Down, Starting, OutOfService}[rnd.IntN(4)]
				switch rnd.IntN(8) {
				case 0, 1:
					put(t, r, app, id, fmt.Sprintf(`,"status":%q,"metadata":{"n":%d}`, status, rnd.IntN(100)))
				case 2:
					direct(t, r, "DELETE", path, "")
				case 3:
					direct(t, r, "PUT", path+"/status?value="+string(status), "")
				case 4:
					direct(t, r, "DELETE", path+"/status?value=UP", "")
				case 5:
					direct(t, r, "PUT", path+"/metadata?k="+fmt.Sprint(rnd.IntN(9)), "")
				case 6:
					direct(t, r, "PUT", path, "")
				case 7:
					time.Sleep(time.Duration(rnd.IntN(15)) * time.Second)
					synctest.Wait()
				}
				n := rnd.IntN(len(clients))
				if clients[n] == nil {
					_, full := direct(t, r, "GET", "/eureka/apps", "")
					clients[n] = mirror{}
					clients[n].apply(t, full)
					continue
				}
				_, delta := direct(t, r, "GET", "/eureka/apps/delta", "")
				want := clients[n].apply(t, delta)
				if got := clients[n].hash(); got != want {
					t.Fatalf("seed %d: hash %q, the server's is %q", seed, got, want)
				}
				current := r.Instances()
				if len(current) != len(clients[n]) {
					t.Fatalf("seed %d: %d instances, want %d", seed, len(clients[n]), len(current))
				}
				for _, i := range current {
					c := clients[n][leaseKey{i.App, i.ID}]
					if c == nil || c.Status != i.Status || c.Overridden != i.Overridden || fmt.Sprint(c.Metadata) != fmt.Sprint(i.Metadata) {
						t.Fatalf("seed %d: %+v, want %+v", seed, c, i)
					}
				}
			}
		})
	}
}
