package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var errIll = errors.New("ill")

// probing runs a Prober over p until the test ends; ask answers in place of the endpoints.
func probing(t *testing.T, p *Prober, ask func(context.Context, *Endpoint) error) {
	t.Helper()
	if ask != nil {
		p.check = func(ctx context.Context, t *target) error { return ask(ctx, t.endpoint) }
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func wantHealth(t *testing.T, e *Endpoint, state HealthState, successes, failures int) {
	t.Helper()
	h := e.Health()
	if h.State != state || h.Successes != successes || h.Failures != failures || e.Healthy() != (state != Unhealthy) {
		t.Errorf("%s: %+v (healthy %t), want %s with %d successes, %d failures in a row", e.Address(), h, e.Healthy(), state, successes, failures)
	}
}

func TestThresholds(t *testing.T) {
	for _, tt := range []struct {
		healthy, unhealthy int
		probes             string // + passes, - fails
		states             string // after each: ? unknown, + healthy, - unhealthy
	}{
		{0, 0, "+-+--+---+-", "++++++++-++"},
		{0, 0, "--+---", "??+++-"},
		{0, 0, "---+", "??-+"},
		{2, 1, "+-++-+-++", "?--+----+"},
		{3, 2, "+-+++--+-+++", "????++----" + "-+"},
	} {
		t.Run(fmt.Sprintf("%d of %d, %s", tt.healthy, tt.unhealthy, tt.probes), func(t *testing.T) {
			probe := &Probe{HealthyThreshold: tt.healthy, UnhealthyThreshold: tt.unhealthy}
			var e Endpoint
			states := map[byte]HealthState{'?': HealthUnknown, '+': Healthy, '-': Unhealthy}
			for i, c := range tt.probes {
				at := time.Unix(int64(i), 0)
				before := e.Health()
				var err error
				if c == '-' {
					err = errIll
				}
				changed := e.health.observe(probe, err, at)
				h := e.Health()
				if want := states[tt.states[i]]; h.State != want || e.Healthy() == (want == Unhealthy) {
					t.Fatalf("after %s: %s, want %s", tt.probes[:i+1], h.State, want)
				}
				if changed != (h.State != before.State) || changed && h.Since != at || !changed && h.Since != before.Since {
					t.Errorf("after %s: changed %t since %v, before %+v", tt.probes[:i+1], changed, h.Since, before)
				}
				if ill := err != nil || h.State == Unhealthy; ill && h.Err != "ill" || h.State == Healthy && err == nil && h.Err != "" {
					t.Errorf("after %s: error %q", tt.probes[:i+1], h.Err)
				}
				if h.Probes != uint64(i+1) {
					t.Errorf("after %s: %d probes", tt.probes[:i+1], h.Probes)
				}
			}
		})
	}
}

func TestProbesKeepTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, interval = 200, 10 * time.Second
		p := NewPool()
		begun := make(map[*Endpoint][]time.Duration)
		var mu sync.Mutex
		start := time.Now()
		probing(t, &Prober{Pool: p}, func(_ context.Context, e *Endpoint) error {
			mu.Lock()
			defer mu.Unlock()
			begun[e] = append(begun[e], time.Since(start))
			return nil
		})
		s := p.ServiceWith("svc", specs(n), Options{Probe: Probe{Kind: TCPProbe, Interval: interval}})
		time.Sleep(100 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		early, gaps := 0, make(map[time.Duration]bool)
		for _, e := range s.Endpoints {
			at := begun[e]
			if len(at) < 8 || at[0] >= firstWithin {
				t.Fatalf("%s was probed at %v", e.Address(), at)
			}
			if at[0] < firstWithin/2 {
				early++
			}
			for i := range at[1:] {
				gap := at[i+1] - at[i]
				if gap < interval*9/10 || gap > interval*11/10 {
					t.Errorf("%s: %v between two probes", e.Address(), gap)
				}
				gaps[gap] = true
			}
		}
		if early < n/4 || early > n*3/4 || len(gaps) < n {
			t.Errorf("%d of %d endpoints had their first probe in the first half, %d different intervals", early, n, len(gaps))
		}
	})
}

func TestProbesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		var now, most atomic.Int64
		probing(t, &Prober{Pool: p, Concurrency: 3}, func(ctx context.Context, _ *Endpoint) error {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			<-ctx.Done()
			return ctx.Err()
		})
		s := p.ServiceWith("svc", specs(9), Options{Probe: Probe{Kind: TCPProbe, Interval: time.Second, Timeout: 2 * time.Second}})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if most.Load() != 3 {
			t.Errorf("%d probes at a time, want 3", most.Load())
		}
		for _, e := range s.Endpoints {
			if h := e.Health(); h.Failures < 3 || h.Failures > 6 {
				t.Errorf("%s: %d probes failed, want every endpoint to have its turn", e.Address(), h.Failures)
			}
		}
	})
}

// TestOneServiceLeavesRoomForOthers has more endpoints of one service hang than are probed at the same time.
func TestOneServiceLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		hung := p.ServiceWith("hung", specs(600), Options{Probe: Probe{Kind: TCPProbe, Interval: time.Second, Timeout: time.Minute}})
		other := p.ServiceWith("other", specs(1), Options{Probe: Probe{Kind: TCPProbe, Interval: time.Second}})
		var running, most atomic.Int32
		probing(t, &Prober{Pool: p}, func(ctx context.Context, e *Endpoint) error {
			if e.Service() == "other" {
				return nil
			}
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-ctx.Done()
			return errIll
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := other.Endpoints[0].Health().Probes; n < 8 {
			t.Errorf("the other service was asked %d times in ten seconds", n)
		}
		if most.Load() != maxServiceProbes {
			t.Errorf("%d probes of one service ran together, want %d", most.Load(), maxServiceProbes)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, e := range hung.Endpoints {
			if e.Health().Probes == 0 {
				t.Fatal("one was never asked")
			}
		}
	})
}

func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		var ill atomic.Bool
		var told []HealthState
		var mu sync.Mutex
		probing(t, &Prober{Pool: p, OnChange: func(e *Endpoint) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, e.Health().State)
		}}, func(context.Context, *Endpoint) error {
			if ill.Load() {
				return errIll
			}
			return nil
		})
		e := p.ServiceWith("svc", specs(1), Options{Probe: Probe{Kind: TCPProbe}}).Endpoints[0]
		wantHealth(t, e, HealthUnknown, 0, 0)
		time.Sleep(20 * time.Second)
		ill.Store(true)
		time.Sleep(40 * time.Second)
		ill.Store(false)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if want := []HealthState{Healthy, Unhealthy, Healthy}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestProbesFollowTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		prober := &Prober{Pool: p}
		var asked sync.Map
		probing(t, prober, func(_ context.Context, e *Endpoint) error {
			asked.Store(e.Port, true)
			return errIll
		})
		wantAsked := func(want ...int) {
			t.Helper()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			asked.Clear()
			time.Sleep(30 * time.Second)
			synctest.Wait()
			for port := range 4 {
				if _, got := asked.Load(port); got != slices.Contains(want, port) {
					t.Errorf("port %d was asked: %t, want those of %v", port, got, want)
				}
			}
		}
		three, tcp := specs(3), Options{Probe: Probe{Kind: TCPProbe}}
		s := p.ServiceWith("svc", three, tcp)
		wantAsked(1, 2, 3)
		a := s.Endpoints[0]
		since := a.Health().Since
		p.ServiceWith("svc", three[:2], tcp)
		wantAsked(1, 2)
		if h := a.Health(); h.State != Unhealthy || h.Since != since {
			t.Errorf("%+v: a new list with the same Probe has changed the verdict", h)
		}
		wantHealth(t, s.Endpoints[2], HealthUnknown, 0, 0) // it left
		p.Service("svc", three)
		wantAsked()
		wantHealth(t, a, HealthUnknown, 0, 0)
		p.ServiceWith("svc", three[2:], tcp)
		wantAsked(3)
		p.ServiceWith("svc", nil, tcp)
		p.Sweep()
		wantAsked()
		if n := len(p.probes.queue); n != 0 {
			t.Errorf("%d targets are left", n)
		}
	})
}

// TestAnotherProbe changes the Probe of an unhealthy endpoint: it keeps the verdict, and counts anew.
func TestAnotherProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		var well atomic.Bool
		probing(t, &Prober{Pool: p}, func(context.Context, *Endpoint) error {
			if well.Load() {
				return nil
			}
			return errIll
		})
		e := p.ServiceWith("svc", specs(1), Options{Probe: Probe{Kind: TCPProbe}}).Endpoints[0]
		time.Sleep(time.Minute)
		well.Store(true)
		p.ServiceWith("svc", specs(1), Options{Probe: Probe{Kind: TCPProbe, HealthyThreshold: 2, Interval: time.Minute}})
		wantHealth(t, e, Unhealthy, 0, 0)
		time.Sleep(firstWithin)
		synctest.Wait()
		wantHealth(t, e, Unhealthy, 1, 0)
		time.Sleep(67 * time.Second)
		synctest.Wait()
		wantHealth(t, e, Healthy, 2, 0)
	})
}

// TestListChangesDuringAProbe takes an endpoint away while it is being asked: the probe ends, and what it found counts no more.
func TestListChangesDuringAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		asked := 0
		probing(t, &Prober{Pool: p, OnChange: func(*Endpoint) { t.Error("a change was told") }}, func(ctx context.Context, _ *Endpoint) error {
			asked++
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("the probe ended by %v, want it to be cancelled", ctx.Err())
			}
			return errIll
		})
		at := time.Now()
		probe := Probe{Kind: TCPProbe, Timeout: time.Hour, UnhealthyThreshold: 1}
		e := p.ServiceWith("svc", specs(1), Options{Probe: probe}).Endpoints[0]
		time.Sleep(firstWithin)
		p.Service("svc", nil)
		synctest.Wait()
		wantHealth(t, e, HealthUnknown, 0, 0)
		p.ServiceWith("svc", specs(1), Options{Probe: probe})
		time.Sleep(firstWithin)
		synctest.Wait()
		if asked != 2 || time.Since(at) > time.Minute {
			t.Errorf("asked %d times in %v, want twice", asked, time.Since(at))
		}
	})
}

// TestRunEnds with probes under way: they say nothing about the endpoints, and another Run goes on.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool()
		s := p.ServiceWith("svc", specs(5), Options{Probe: Probe{Kind: TCPProbe, UnhealthyThreshold: 1}})
		prober := &Prober{Pool: p, check: func(ctx context.Context, _ *target) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		ctx, cancel := context.WithTimeout(t.Context(), firstWithin)
		defer cancel()
		if err := prober.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, e := range s.Endpoints {
			wantHealth(t, e, HealthUnknown, 0, 0)
		}
		probing(t, &Prober{Pool: p}, func(context.Context, *Endpoint) error { panic("what is this") })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for _, e := range s.Endpoints {
			if h := e.Health(); h.State != Unhealthy || h.Err != "probe: panic: what is this" {
				t.Errorf("%+v, want it unhealthy by the panic", h)
			}
		}
	})
}

// TestProberConcurrently is for the race detector, and for goroutines left behind: lists change while real servers are asked.
func TestProberConcurrently(t *testing.T) {
	port := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, nil, "http/1.1")
	list := []Spec{
		{ID: "a", Scheme: "http", Host: "127.0.0.1", Port: port},
		{ID: "b", Scheme: "http", Host: "127.0.0.1", Port: closedPort(t)},
		{ID: "c", Scheme: "http", Host: "127.0.0.1", Port: port},
	}
	p := NewPool()
	found := make(chan *Endpoint, 100)
	probing(t, &Prober{Pool: p, Dialer: func() *Dialer { return new(Dialer) }, OnChange: func(e *Endpoint) { found <- e }}, nil)
	probes := []Probe{
		{Kind: HTTPProbe, Interval: leastInterval, UnhealthyThreshold: 1},
		{Kind: TCPProbe, Interval: leastInterval, UnhealthyThreshold: 1},
		{},
	}
	for i := range 300 {
		p.ServiceWith("svc", list[i%3:], Options{Probe: probes[i%2*(i%3)]})
		p.Sweep()
		_, _ = p.ServiceWith("other", list, Options{Probe: probes[0]}).Pick(Choice{Balance: RoundRobin})
	}
	s := p.ServiceWith("svc", list, Options{Probe: probes[0]})
	for slices.ContainsFunc(s.Endpoints, (*Endpoint).Healthy) {
		select {
		case <-found:
		case <-time.After(10 * time.Second):
			t.Fatal("the probes find no endpoint unhealthy")
		}
	}
	_, err := s.Pick(Choice{Balance: LeastSessions})
	if !errors.Is(err, ErrNoHealthy) || errors.Is(err, ErrNoEndpoint) || err.Error() != "all 3 endpoints are unhealthy" {
		t.Errorf("picked among the unhealthy: %v", err)
	}
}
