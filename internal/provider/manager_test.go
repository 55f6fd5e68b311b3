package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hand is a provider that a test moves: Run publishes what comes, until it is told to end.
type hand struct {
	name string
	sets chan []route.Route
	end  chan error // nil: without an error; errPanic: by panic
}

var errPanic = errors.New("panic, please")

func newHand(name string) *hand {
	return &hand{name: name, sets: make(chan []route.Route), end: make(chan error)}
}

func (h *hand) Name() string { return h.name }

func (h *hand) Run(ctx context.Context, publish func(route.Set)) error {
	for {
		select {
		case set := <-h.sets:
			publish(route.Set{Routes: set})
		case err := <-h.end:
			if errors.Is(err, errPanic) {
				panic("a provider's own mistake")
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leads is a set of one route.
func leads(id, prefix string) []route.Route {
	return []route.Route{{ID: id, Source: id, Prefixes: []string{prefix}, Target: "/" + id}}
}

// manage runs a manager in a bubble.
func manage(t *testing.T, log *slog.Logger, providers ...Provider) (m *Manager, stop func()) {
	t.Helper()
	m = New(upstream.NewPool(), log, providers...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	synctest.Wait()
	return m, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// at is the route that /p leads to; "": none.
func at(m *Manager) string {
	if match, ok := m.Table().Match("/p"); ok {
		return match.ID
	}
	return ""
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestTableIsNeverNil(t *testing.T) {
	m := New(upstream.NewPool(), discard())
	if m.Table() == nil || m.Generation() != 0 {
		t.Errorf("table %v, generation %d, want an empty table of generation 0", m.Table(), m.Generation())
	}
}

func TestFirstChangeIsLiveAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		m, stop := manage(t, discard(), h)
		defer stop()
		start := time.Now()
		h.sets <- leads("one", "/p")
		synctest.Wait()
		if at(m) != "one" || time.Since(start) != 0 {
			t.Errorf("after %v: route %q", time.Since(start), at(m))
		}
		time.Sleep(time.Hour)
		h.sets <- leads("two", "/p")
		synctest.Wait()
		if at(m) != "two" || m.Generation() != 2 {
			t.Errorf("after a quiet hour: route %q, generation %d", at(m), m.Generation())
		}
	})
}

func TestBurstsCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		m, stop := manage(t, discard(), h)
		defer stop()
		for i := range 100 { // one set each millisecond
			h.sets <- leads(fmt.Sprint(i), "/p")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(holdoff)
		if at(m) != "99" {
			t.Errorf("route %q, want the newest", at(m))
		}
		if n := m.Generation(); n < 5 || n > 7 {
			t.Errorf("%d tables for 100 sets in 100 ms, want one each 20 ms", n)
		}
	})
}

func TestHoldoffIsAMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		m, stop := manage(t, discard(), h)
		defer stop()
		h.sets <- leads("one", "/p")
		synctest.Wait()
		h.sets <- leads("two", "/p")
		time.Sleep(holdoff - time.Nanosecond)
		if at(m) != "one" {
			t.Errorf("before the holdoff was over: %q", at(m))
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if at(m) != "two" {
			t.Errorf("when the holdoff was over: %q", at(m))
		}
	})
}

func TestPrecedenceIsTheOrderOfProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newHand("a"), newHand("b")
		m, stop := manage(t, discard(), a, b)
		defer stop()
		b.sets <- leads("b", "/p")
		time.Sleep(time.Second)
		if at(m) != "b" {
			t.Errorf("b alone: %q", at(m))
		}
		a.sets <- leads("a", "/p")
		time.Sleep(time.Second)
		if at(m) != "a" || len(m.Table().Problems) != 1 {
			t.Errorf("a came: %q, problems %v", at(m), m.Table().Problems)
		}
		b.sets <- leads("b2", "/p")
		time.Sleep(time.Second)
		if at(m) != "a" {
			t.Errorf("b is newer: %q", at(m))
		}
		a.sets <- nil
		time.Sleep(time.Second)
		if at(m) != "b2" {
			t.Errorf("a has nothing any more: %q", at(m))
		}
	})
}

func TestOnSwap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		m := New(upstream.NewPool(), discard(), h)
		var told []*route.Table // by the goroutine that builds
		m.OnSwap(func(table *route.Table) {
			if m.Table() != table {
				t.Error("told of a table that is not the newest")
			}
			told = append(told, table)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		for i := range 3 {
			h.sets <- leads("one", "/p")
			synctest.Wait()
			if err := m.Settled(t.Context()); err != nil || len(told) != i+1 {
				t.Errorf("settled with %d tables told, %v, want %d", len(told), err, i+1)
			}
		}
		cancel()
		<-done
	})
}

func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		m, stop := manage(t, discard(), h)
		defer stop()
		if err := m.Settled(t.Context()); err != nil {
			t.Errorf("nothing published: %v", err)
		}
		for i := range 10 { // some at once, some after the holdoff
			id := fmt.Sprint(i)
			h.sets <- leads(id, "/p")
			synctest.Wait()
			if err := m.Settled(t.Context()); err != nil || at(m) != id {
				t.Fatalf("settled with %q, %v, want %q", at(m), err, id)
			}
		}
		h.sets <- leads("late", "/p")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), holdoff/2)
		defer cancel()
		if err := m.Settled(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("within the holdoff: %v, want a deadline that passed", err)
		}
	})
}

func TestFailedProviderKeepsItsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var logged strings.Builder
		log := slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return logged.Write(p)
		}), nil))
		h := newHand("files")
		m, stop := manage(t, log, h)
		defer stop()
		h.sets <- leads("one", "/p")
		time.Sleep(time.Minute)
		broken := errors.New("broken")
		h.end <- broken
		synctest.Wait()
		if s := m.Status()[0]; at(m) != "one" || !errors.Is(s.Err, broken) || s.Failures != 1 || time.Since(s.Published) != time.Minute || s.Routes != 1 {
			t.Errorf("route %q, status %+v", at(m), s)
		}
		mu.Lock()
		if !strings.Contains(logged.String(), "serving_age=1m0s") {
			t.Errorf("log without the age of what is served: %s", &logged)
		}
		mu.Unlock()

		// It is started again, each time after a longer pause, and a panic is a failure too.
		start := time.Now()
		for _, end := range []error{nil, errPanic, broken} {
			h.end <- end
		}
		if got, want := time.Since(start), 7*firstPause; got != want {
			t.Errorf("three starts took %v, want %v", got, want)
		}
		h.sets <- leads("two", "/p")
		time.Sleep(holdoff)
		if s := m.Status()[0]; at(m) != "two" || s.Err != nil || s.Failures != 4 || s.Sets != 2 {
			t.Errorf("route %q, status %+v", at(m), s)
		}
		start = time.Now()
		h.end <- broken
		h.end <- broken
		if got := time.Since(start); got != firstPause {
			t.Errorf("pause after a success: %v, want the first again, %v", got, firstPause)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestPauseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHand("a")
		_, stop := manage(t, discard(), h)
		defer stop()
		var last time.Duration
		for range 15 {
			start := time.Now()
			h.end <- nil
			last = time.Since(start)
		}
		if last != lastPause {
			t.Errorf("pause %v, want at most %v", last, lastPause)
		}
	})
}

// TestPublishNeverWaits has a provider publish while nobody builds.
func TestPublishNeverWaits(t *testing.T) {
	m := New(upstream.NewPool(), discard(), newHand("a"))
	for range 1000 {
		m.publish(m.sources[0], route.Set{Routes: leads("one", "/p")})
	}
	if s := m.Status()[0]; s.Sets != 1000 {
		t.Errorf("%d sets, want 1000", s.Sets)
	}
}

func TestEndpointsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, stop := manage(t, discard())
		defer stop()
		m.pool.Service("svc", []upstream.Spec{{ID: "a", Scheme: "http", Host: "a.test", Port: 1}})
		m.pool.Service("svc", nil)
		time.Sleep(sweepInterval)
		synctest.Wait()
		if left := m.pool.Endpoints(); len(left) != 0 {
			t.Errorf("left %v", left)
		}
	})
}

// TestReadersAndProvidersConcurrently is for the race detector, on the real clock.
func TestReadersAndProvidersConcurrently(t *testing.T) {
	a, b := newHand("a"), newHand("b")
	m := New(upstream.NewPool(), discard(), a, b)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = m.Run(ctx) })
	var work sync.WaitGroup
	for _, h := range []*hand{a, b} {
		work.Go(func() {
			for i := range 200 {
				h.sets <- leads(fmt.Sprint(h.name, i), "/p")
				_ = at(m)
				_ = m.Status()
			}
			if err := m.Settled(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	// The last send only says that the provider has the set; its next receive, that it is published.
	a.sets <- leads("last", "/p")
	a.sets <- leads("last", "/p")
	if err := m.Settled(ctx); err != nil || at(m) != "last" {
		t.Errorf("route %q, %v, want the last of the first provider", at(m), err)
	}
	cancel()
	wg.Wait()
}
