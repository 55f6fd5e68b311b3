package eureka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// fixed is a Source whose instances a test sets.
type fixed struct {
	changed chan struct{}

	mu         sync.Mutex // guards the following
	instances  []*Instance
	generation uint64
}

func newFixed(instances ...*Instance) *fixed {
	return &fixed{changed: make(chan struct{}, 1), instances: instances}
}

func (f *fixed) Changed() <-chan struct{} { return f.changed }

func (f *fixed) Instances() []*Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.instances
}

func (f *fixed) Generation() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.generation
}

func (f *fixed) set(instances ...*Instance) {
	f.mu.Lock()
	f.instances = instances
	f.generation++
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// providing is a running Provider and the sets it published.
type providing struct {
	*Provider
	source *fixed

	mu   sync.Mutex // guards the following
	sets [][]route.Route
}

// provide runs p in a bubble; it ends with the test's context, which the caller cancels by stop.
func provide(t *testing.T, p *Provider, source *fixed) (run *providing, stop func()) {
	t.Helper()
	p.Registry = source
	if p.Pool == nil {
		p.Pool = upstream.NewPool()
	}
	run = &providing{Provider: p, source: source}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, run.take) }()
	synctest.Wait()
	return run, func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	}
}

func (r *providing) take(published route.Set) {
	set := published.Routes
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sets = append(r.sets, set)
}

// table is what the newest set makes, and how many sets there were.
func (r *providing) table() (*route.Table, int) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return route.Build(route.Set{Routes: r.sets[len(r.sets)-1]}, nil), len(r.sets)
}

// endpoints are the addresses to which path leads; nil: it leads nowhere.
func (r *providing) endpoints(path string) []string {
	table, _ := r.table()
	m, ok := table.Match(path)
	if !ok {
		return nil
	}
	list := []string{}
	for _, e := range m.Service.Endpoints {
		list = append(list, e.Address())
	}
	return list
}

func (r *providing) want(t *testing.T, when string, endpoints ...string) {
	t.Helper()
	if got := r.endpoints("/svc/ws/v1/x"); !slices.Equal(got, endpoints) || (got == nil) != (endpoints == nil) {
		t.Errorf("%s: endpoints %q, want %q", when, got, endpoints)
	}
	if table, _ := r.table(); table.KnownService("svc") != (endpoints != nil) {
		t.Errorf("%s: service known %t", when, table.KnownService("svc"))
	}
}

func TestProviderPublishesAtOnceAndOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, stop := provide(t, new(Provider), newFixed(upAt(1, ws("/ws")...)))
		defer stop()
		run.want(t, "at start", "svc.test:8001")
		run.source.set(upAt(1, ws("/ws")...), upAt(2, ws("/ws")...))
		run.want(t, "after a registration", "svc.test:8001", "svc.test:8002")
		if _, n := run.table(); n != 2 {
			t.Errorf("%d sets, want 2", n)
		}
		zaas := upAt(3, ws("/ws")...)
		zaas.App = "ZAAS"
		run.source.set(zaas)
		if table, _ := run.table(); table.KnownService("zaas") {
			t.Error("zaas is routed")
		}
	})
}

func TestProviderForgetsAfterTheLastInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, stop := provide(t, &Provider{ForgetAfter: func() time.Duration { return time.Minute }}, newFixed(upAt(1, ws("/ws")...)))
		defer stop()
		first, _ := run.table()
		m, _ := first.Match("/svc/ws/v1")
		e := m.Service.Endpoints[0]

		run.source.set()
		run.want(t, "the last instance went", []string{}...)
		if !e.Leaving() {
			t.Error("the endpoint of the instance that went is not leaving")
		}
		time.Sleep(59 * time.Second)
		run.source.set(upAt(1, ws("/ws")...))
		run.want(t, "it came back", "svc.test:8001")
		if again, _ := run.table(); e.Leaving() || !slices.Contains(again.Routes()[0].Service.Endpoints, e) {
			t.Error("the endpoint that came back is not the one it was")
		}
		time.Sleep(2 * time.Minute)
		run.want(t, "long after", "svc.test:8001")

		run.source.set()
		time.Sleep(time.Minute - time.Nanosecond)
		run.want(t, "just before the minute is over", []string{}...)
		time.Sleep(time.Nanosecond)
		run.want(t, "after the minute")
		_, sets := run.table()
		time.Sleep(time.Hour)
		if _, n := run.table(); n != sets {
			t.Errorf("%d more sets without a change", n-sets)
		}
		run.source.set(upAt(1, ws("/ws")...))
		run.want(t, "it came back from oblivion", "svc.test:8001")
	})
}

// TestProviderForgetsWhatIsNotUp keeps the instance registered, and not UP.
func TestProviderForgetsWhatIsNotUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, stop := provide(t, &Provider{ForgetAfter: func() time.Duration { return time.Minute }}, newFixed(upAt(1, ws("/ws")...)))
		defer stop()
		out := upAt(1, ws("/ws")...)
		out.Status = OutOfService
		run.source.set(out)
		run.want(t, "out of service", []string{}...)
		time.Sleep(30 * time.Second)
		changed := *out
		changed.Status = Down
		run.source.set(&changed)
		run.want(t, "down", []string{}...)
		time.Sleep(30 * time.Second)
		run.want(t, "a minute after it was UP")
		run.source.set(out)
		run.want(t, "still registered")
		run.source.set(upAt(1, ws("/ws")...))
		run.want(t, "UP again", "svc.test:8001")
	})
}

func TestProviderKnowsAServiceThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starting := upAt(1, ws("/ws")...)
		starting.Status = Starting
		run, stop := provide(t, new(Provider), newFixed(starting))
		defer stop()
		run.want(t, "starting", []string{}...)
		time.Sleep(15 * time.Minute)
		run.want(t, "starting for a quarter of an hour")
	})
}

func TestProviderRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var policy route.Policy
		forgetAfter := time.Hour
		p := &Provider{
			Defaults:    func() route.Policy { mu.Lock(); defer mu.Unlock(); return policy },
			ForgetAfter: func() time.Duration { mu.Lock(); defer mu.Unlock(); return forgetAfter },
		}
		run, stop := provide(t, p, newFixed(upAt(1, ws("/ws")...)))
		defer stop()
		mu.Lock()
		policy.Auth = route.AuthBasic
		mu.Unlock()
		p.Refresh()
		table, _ := run.table()
		if m, _ := table.Match("/svc/ws/v1"); m.Policy.Auth != route.AuthBasic {
			t.Errorf("auth %s after Refresh, want basic", m.Policy.Auth)
		}
		run.source.set()
		run.want(t, "gone", []string{}...)
		mu.Lock()
		forgetAfter = -1
		mu.Unlock()
		p.Refresh()
		run.want(t, "forgotten at once")
	})
}

// TestProviderPublished is the half of Registry.Programmed that the provider knows.
func TestProviderPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newFixed()
		p := &Provider{Registry: source, Pool: upstream.NewPool()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Published(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before Run: %v, want a deadline that passed", err)
		}
		run, stop := provide(t, p, source)
		defer stop()
		if err := p.Published(t.Context(), 0); err != nil {
			t.Errorf("generation 0: %v", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- p.Published(t.Context(), 1) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Error("generation 1 was published before it was there")
		default:
		}
		source.set(upAt(1, ws("/ws")...))
		if err := <-waited; err != nil {
			t.Error(err)
		}
		run.want(t, "when Published returned", "svc.test:8001")
	})
}

func TestProviderHeartbeatsTranslateNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, stop := provide(t, new(Provider), newFixed(upAt(1, ws("/ws")...)))
		defer stop()
		before, _ := run.table()
		beat := upAt(1, ws("/ws")...)
		beat.Lease.LastRenewal = 7
		other := upAt(2, ws("/ws")...)
		other.App = "OTHER"
		run.source.set(beat, other)
		after, _ := run.table()
		a, _ := before.Match("/svc/ws/v1")
		b, _ := after.Match("/svc/ws/v1")
		if a.Policy != b.Policy || a.Service != b.Service {
			t.Error("a service that did not change was translated again")
		}
	})
}

func TestProviderLogsAProblemOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		p := &Provider{Log: slog.New(slog.NewTextHandler(&logged, nil))}
		bad := ws("/ws", "apiml.routes.x.gatewayUrl", "a?b", "apiml.routes.x.serviceUrl", "/x")
		run, stop := provide(t, p, newFixed(upAt(1, bad...), upAt(2, ws("/other")...)))
		run.source.set(upAt(1, bad...), upAt(2, ws("/other")...), upAt(3, ws("/other")...))
		run.want(t, "with problems", "svc.test:8001", "svc.test:8002", "svc.test:8003")
		stop()
		for _, message := range []string{"registered metadata refused", "instances disagree"} {
			if n := strings.Count(logged.String(), message); n != 1 {
				t.Errorf("%q was logged %d times, want once:\n%s", message, n, &logged)
			}
		}
	})
}

// TestServicesThatAreGoneAreBounded: of names that come and go without end those that went last are remembered.
func TestServicesThatAreGoneAreBounded(t *testing.T) {
	instances := func(name string, n int) (all []*Instance) {
		for i := range n {
			in := mustJSON(t, doc(fmt.Sprint(name, i), "1", `,"metadata":{"apiml.routes.1.gatewayUrl":"ws/v1","apiml.routes.1.serviceUrl":"/"}`))
			all = append(all, in)
		}
		return all
	}
	m := memory{provider: &Provider{Pool: upstream.NewPool()}, services: map[string]*remembered{}}
	now := time.Now()
	const many = 4000 // of two routes each
	for _, name := range []string{"FIRST", "SECOND"} {
		m.update(instances(name, many), now)
		now = now.Add(time.Second)
		m.update(nil, now)
	}
	all, _ := m.update(nil, now)
	second := 0
	for _, r := range all {
		if strings.HasPrefix(r.ServiceID, "second") {
			second++
		}
	}
	if len(all) > maxGoneRoutes || second != 2*many || len(all) == second {
		t.Errorf("%d routes, %d of them of services that went last; want %d at most, and all %d", len(all), second, maxGoneRoutes, 2*many)
	}
}
