package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

const (
	// holdoff is the shortest time between two tables. A change after a quiet time is live at once.
	holdoff = 20 * time.Millisecond

	// sweepInterval is how often endpoints that nobody lists or uses are forgotten.
	sweepInterval = time.Minute

	// A provider that failed is started again after a pause that doubles from the first to the
	// last of these, and is short again once it has published.
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// errReturned says that a provider's Run ended although its context had not.
var errReturned = errors.New("provider ended early")

// Manager runs providers and keeps the table that their sets make together.
type Manager struct {
	pool    *upstream.Pool // constant
	log     *slog.Logger   // constant
	sources []*source      // constant; in order of precedence

	onSwap func(*route.Table) // constant once Run has begun; nil: nobody is told

	table      atomic.Pointer[route.Table]
	generation atomic.Uint64 // tables built; 0 is the empty one of New

	kick chan struct{} // capacity 1: one pending rebuild is enough

	mu        sync.Mutex // guards the following
	published uint64     // sets taken from providers
	live      uint64     // of those, how many the table accounts for
	settled   chan struct{}
}

// source is one provider and the newest set it published.
type source struct {
	provider Provider // constant

	// Guarded by the manager's mu.
	set      route.Set
	at       time.Time // when set was published; zero: never
	sets     uint64
	failures uint64
	err      error // of the last failure, nil once it has published again
}

// Status is how one provider fares.
type Status struct {
	Name      string
	Routes    int
	Listeners int
	Published time.Time // when the set that is served was published; zero: never
	Sets      uint64    // published since start
	Failures  uint64    // ends of Run since start
	Err       error     // why it last failed, nil if it has published since
}

// New returns a manager of providers, in order of precedence: of two routes with one prefix the
// earlier provider's is served. It starts nothing; its table is empty until Run has a set.
func New(pool *upstream.Pool, log *slog.Logger, providers ...Provider) *Manager {
	m := &Manager{
		pool:    pool,
		log:     log,
		kick:    make(chan struct{}, 1),
		settled: make(chan struct{}),
	}
	for _, p := range providers {
		m.sources = append(m.sources, &source{provider: p})
	}
	m.table.Store(route.Build(route.Set{}, nil))
	return m
}

// Table is the newest table, never nil. Load it once per decision: match, policy and service of
// a session come from one table.
func (m *Manager) Table() *route.Table { return m.table.Load() }

// OnSwap has f told of every table once it is the newest, one after the other, before Settled accounts for it. f may open
// and close listeners, and waits for no client. Before Run.
func (m *Manager) OnSwap(f func(*route.Table)) { m.onSwap = f }

// Generation counts the tables built since start.
func (m *Manager) Generation() uint64 { return m.generation.Load() }

// Run runs the providers and builds tables from what they publish, until ctx ends and all of
// them have returned. A provider that fails is logged and started again; the error is always nil.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range m.sources {
		wg.Go(func() { m.runProvider(ctx, s) })
	}
	m.build(ctx)
	wg.Wait()
	return nil
}

// Settled waits until the table accounts for every set that was published before the call, or
// until ctx ends.
func (m *Manager) Settled(ctx context.Context) error {
	m.mu.Lock()
	want := m.published
	for m.live < want {
		wait := m.settled
		m.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
		m.mu.Lock()
	}
	m.mu.Unlock()
	return nil
}

// Status lists the providers in order of precedence.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, len(m.sources))
	for i, s := range m.sources {
		all[i] = Status{
			Name: s.provider.Name(), Routes: len(s.set.Routes), Listeners: len(s.set.Listeners), Published: s.at,
			Sets: s.sets, Failures: s.failures, Err: s.err,
		}
	}
	return all
}

// build swaps tables until ctx ends: at once after a quiet time, else holdoff after the last.
func (m *Manager) build(ctx context.Context) {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			if n := m.pool.Sweep(); n > 0 {
				m.log.Debug("endpoints forgotten", "endpoints", n)
			}
			continue
		case <-m.kick:
		}
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		m.rebuild()
		rest.Reset(holdoff)
	}
}

// rebuild makes one table of the newest set of each source.
func (m *Manager) rebuild() {
	m.mu.Lock()
	included := m.published
	var all route.Set
	for _, s := range m.sources { // in order: it is the precedence
		all.Routes = append(all.Routes, s.set.Routes...)
		all.Listeners = append(all.Listeners, s.set.Listeners...)
	}
	m.mu.Unlock()

	t := route.Build(all, nil)
	m.table.Store(t)
	generation := m.generation.Add(1)
	if m.onSwap != nil {
		m.onSwap(t)
	}

	m.mu.Lock()
	m.live = included
	close(m.settled)
	m.settled = make(chan struct{})
	m.mu.Unlock()
	m.log.Debug("route table built", "generation", generation, "routes", len(t.Routes()), "problems", len(t.Problems))
}

// publish takes the newest set of a source. It never blocks.
func (m *Manager) publish(s *source, set route.Set) {
	m.mu.Lock()
	s.set, s.at, s.err = set, time.Now(), nil
	s.sets++
	m.published++
	m.mu.Unlock()
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// runProvider runs one provider until ctx ends, again and again if it must.
func (m *Manager) runProvider(ctx context.Context, s *source) {
	pause := firstPause
	for {
		before := m.sets(s)
		err := runOnce(ctx, s.provider, func(set route.Set) { m.publish(s, set) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errReturned
		}
		if m.sets(s) != before {
			pause = firstPause
		}
		m.failed(s, err, pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

func (m *Manager) sets(s *source) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.sets
}

// failed notes why a provider ended. Its set stays: stale routes beat none.
func (m *Manager) failed(s *source, err error, pause time.Duration) {
	m.mu.Lock()
	s.failures++
	s.err = err
	at := s.at
	m.mu.Unlock()
	attrs := []any{"provider", s.provider.Name(), "err", err, "retry_in", pause}
	if !at.IsZero() {
		attrs = append(attrs, "serving_age", time.Since(at))
	}
	m.log.Warn("provider failed", attrs...)
}

// runOnce runs p and turns a panic into an error, so that one source cannot end the others.
func runOnce(ctx context.Context, p Provider, publish func(route.Set)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return p.Run(ctx, publish)
}
