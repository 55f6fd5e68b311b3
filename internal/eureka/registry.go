package eureka

import (
	"container/list"
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// How long the registry remembers and waits, as Eureka does.
const (
	deltaKept    = 180 * time.Second // a change stays in the delta
	deltaSweep   = 30 * time.Second
	programWait  = time.Second      // the longest that an answer waits for the route table
	deletedBytes = 16 << 20         // metadata of instances that are gone but still in the delta
	rateWindow   = 60 * time.Second // heartbeats are counted per minute
)

// Registry is the embedded Eureka registry.
type Registry struct {
	// Programmed is set before Run. The answers to what changes routes wait for it, at most 1 s: it returns
	// when the route table carries the generation, or ctx ends. Nil does not wait.
	Programmed func(ctx context.Context, generation uint64)

	cfg        Config // constant
	id         string // constant; tells this registry from all others
	log        *slog.Logger
	cross      *http.CrossOriginProtection // constant
	started    time.Time                   // constant
	warn       limiter
	changed    chan struct{}
	peers      []*peer // constant once Run has begun
	saved      snapshot
	static     *static // nil: none
	users      atomic.Pointer[auth.Users]
	additional atomic.Pointer[map[string][]additional] // by service id: metadata that definitions give to services; nil: none
	view       atomic.Pointer[view]                    // nil: something changed since it was built

	mu         sync.Mutex // guards the following
	apps       map[string]map[string]*lease
	count      int    // leases
	weight     int    // bytes of metadata under lease
	order      uint64 // last value of Instance.Order and UpOrder
	version    uint64 // changes so far, for versions__delta
	generation uint64 // changes that matter to routes
	recent     *list.List
	recentAt   map[leaseKey]*list.Element
	recentGone int // bytes of metadata of the deleted instances in recent

	gone   map[leaseKey]*list.Element // of graves
	graves *list.List                 // ends of leases, the oldest first; empty without peers

	renews, renewsBefore int64 // heartbeats in this window and in the one before
	preserving           bool  // the last run of the eviction was held back

	counters
}

// counters are since start.
type counters struct {
	registrations, heartbeats, cancels, expired, statusChanges atomic.Int64
	refused, unauthorized, reads, deltaDropped                 atomic.Int64
}

// Stats is what the registry says about itself. Counts are since start.
type Stats struct {
	Instances, Applications int

	Registrations, Heartbeats, Cancels, Expired, StatusChanges int64

	Refused      int64 // requests that were malformed or over a bound
	Unauthorized int64 // requests without the right to do what they asked
	Reads        int64 // answers to readers
	DeltaDropped int64 // changes that left the delta before their time, because there were too many

	RenewsLastMinute, RenewsExpected int64
	SelfPreservation                 bool // expired leases are being kept
}

// leaseKey names a lease.
type leaseKey struct{ app, id string }

// lease is one registration. The registry's mutex guards it; the instance it points at is immutable.
type lease struct {
	inst     *Instance
	duration time.Duration
	renewed  time.Time // when the instance was last heard of, here or at a peer
	since    time.Time // the lease runs from here where that is later: a snapshot or a peer has brought it back
	override Status    // empty: none
	owner    string    // who registered it
	static   bool      // of a static definition
	direct   bool      // the instance has said something to this registry itself
	weight   int
}

// change is one entry of the delta.
type change struct {
	at   time.Time
	key  leaseKey
	inst *Instance
	gone int // bytes of metadata, if the instance was deleted
}

// NewRegistry makes an empty registry. It starts nothing.
func NewRegistry(cfg Config, log *slog.Logger) *Registry {
	return &Registry{
		cfg:      cfg,
		id:       rand.Text(),
		log:      log,
		cross:    http.NewCrossOriginProtection(),
		started:  time.Now(),
		changed:  make(chan struct{}, 1),
		saved:    snapshot{dirty: make(chan struct{}, 1)},
		apps:     map[string]map[string]*lease{},
		recent:   list.New(),
		recentAt: map[leaseKey]*list.Element{},
		gone:     map[leaseKey]*list.Element{},
		graves:   list.New(),
	}
}

// Run evicts expired leases, forgets old changes and keeps the snapshot, until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.saved.run(ctx, r) })
	wg.Go(func() { r.static.run(ctx, r) })
	for _, p := range r.peers {
		wg.Go(func() { p.run(ctx) })
	}
	evict := time.NewTicker(r.cfg.evictionInterval())
	defer evict.Stop()
	sweep := time.NewTicker(deltaSweep)
	defer sweep.Stop()
	rate := time.NewTicker(rateWindow)
	defer rate.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			r.sweep(time.Now())
		case <-rate.C:
			r.mu.Lock()
			r.renewsBefore, r.renews = r.renews, 0
			r.mu.Unlock()
		case <-evict.C:
			now := time.Now()
			r.evict(now, now.Sub(last)-r.cfg.evictionInterval())
			last = now
		}
	}
}

// Instances is an immutable snapshot, sorted by application, then by first registration.
func (r *Registry) Instances() []*Instance { return r.snapshot().instances }

// Changed gets a value after a change that matters to routes. Latest wins; one subscriber.
func (r *Registry) Changed() <-chan struct{} { return r.changed }

// Generation counts the changes that matter to routes.
func (r *Registry) Generation() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.generation
}

// Stats is the registry's state now.
func (r *Registry) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{
		Instances: r.count, Applications: len(r.apps),
		Registrations: r.registrations.Load(), Heartbeats: r.heartbeats.Load(), Cancels: r.cancels.Load(),
		Expired: r.expired.Load(), StatusChanges: r.statusChanges.Load(), Refused: r.refused.Load(),
		Unauthorized: r.unauthorized.Load(), Reads: r.reads.Load(), DeltaDropped: r.deltaDropped.Load(),
		RenewsLastMinute: r.renewsBefore, RenewsExpected: r.renewThreshold(), SelfPreservation: r.preserving,
	}
}

// snapshot is the view of now; the first reader after a change builds it, the others wait for that.
func (r *Registry) snapshot() *view {
	if v := r.view.Load(); v != nil && time.Since(v.built) < viewAge {
		return v
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.view.Load(); v != nil && time.Since(v.built) < viewAge {
		return v
	}
	instances := make([]*Instance, 0, r.count)
	for _, leases := range r.apps {
		for _, l := range leases {
			instances = append(instances, l.current())
		}
	}
	changes := make([]*Instance, 0, r.recent.Len())
	for e := r.recent.Front(); e != nil; e = e.Next() {
		changes = append(changes, e.Value.(*change).inst)
	}
	v := newView(instances, changes, r.version)
	r.view.Store(v)
	return v
}

// begin is when the lease began to run.
func (l *lease) begin() time.Time {
	if l.since.After(l.renewed) {
		return l.since
	}
	return l.renewed
}

// current is the instance with the time of its last heartbeat.
func (l *lease) current() *Instance {
	renewed := l.renewed.UnixMilli()
	if l.inst.Lease.LastRenewal == renewed {
		return l.inst
	}
	i := *l.inst
	i.Lease.LastRenewal = renewed
	return &i
}

// find is the lease of an instance, or nil. The caller holds mu.
func (r *Registry) find(key leaseKey) *lease { return r.apps[key.app][key.id] }

// one is a single instance as it is now, or nil.
func (r *Registry) one(key leaseKey) *Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.find(key); l != nil {
		return l.current()
	}
	return nil
}

// overrides are the statuses set from outside, by instance id.
func (r *Registry) overrides() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]string{}
	for _, leases := range r.apps {
		for id, l := range leases {
			if l.override != "" {
				out[id] = string(l.override)
			}
		}
	}
	return out
}

// publish records that the instance before became after (either may be nil). The caller holds mu.
func (r *Registry) publish(key leaseKey, before, after *Instance) {
	r.version++
	r.saved.touch()
	r.view.Store(nil)
	c := &change{at: time.Now(), key: key, inst: after}
	if after.Action == Deleted {
		c.gone = size(after)
	}
	if e := r.recentAt[key]; e != nil {
		r.forget(e)
	}
	r.recentAt[key] = r.recent.PushBack(c)
	r.recentGone += c.gone
	for r.recent.Len() > 2*r.cfg.maxInstances() || r.recentGone > deletedBytes {
		r.forget(r.recent.Front())
		r.deltaDropped.Add(1)
	}
	if before != nil && after.Action != Deleted && routesAlike(before, after) {
		return
	}
	r.generation++
	select {
	case r.changed <- struct{}{}:
	default: // one pending signal is enough
	}
}

// forget takes a change out of the delta. The caller holds mu.
func (r *Registry) forget(e *list.Element) {
	c := r.recent.Remove(e).(*change)
	r.recentGone -= c.gone
	delete(r.recentAt, c.key)
}

// sweep forgets the changes that every reader has had the time to see.
func (r *Registry) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweepGraves(now)
	for e := r.recent.Front(); e != nil && now.Sub(e.Value.(*change).at) > deltaKept; e = r.recent.Front() {
		r.forget(e)
		r.view.Store(nil)
	}
}
