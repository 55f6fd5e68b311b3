package eureka

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Source is where a Provider reads instances: the embedded Registry, a Cluster, or both Merged.
type Source interface {
	// Instances is an immutable snapshot, instances of one application together, in the order of
	// their first registration.
	Instances() []*Instance

	// Changed gets a value after a change that matters to routes. Latest wins; one subscriber.
	Changed() <-chan struct{}

	// Generation counts the changes that matter to routes; Instances holds at least those that it
	// has counted before.
	Generation() uint64
}

// defaultForgetAfter is registry.forgetAfter where it is not said.
const defaultForgetAfter = 15 * time.Minute

// DefaultIgnored returns the service ids that are never routed where nobody says otherwise: the parts
// of a Zowe installation that are not for clients.
func DefaultIgnored() []string { return []string{"discovery", "zaas"} }

// Provider publishes the routes that registered instances describe in their metadata. Its exported
// fields are set before Run and not changed. It fits provider.Manager, which it does not know.
type Provider struct {
	// Registry is read at the start of Run and after each change. Required.
	Registry Source

	// Pool owns the endpoints. Required.
	Pool *upstream.Pool

	// Defaults returns the operator's route policy; see Refresh. Nil: he said nothing.
	Defaults func() route.Policy

	// ForgetAfter returns how long a service stays known without an UP instance. Nil or zero: 15m;
	// negative: not at all. See Refresh.
	ForgetAfter func() time.Duration

	// Ignored are service ids, in lower case, that get no routes. Nil: DefaultIgnored.
	Ignored []string

	// Log gets what the metadata asks for in vain, once each. Nil: nobody does.
	Log *slog.Logger

	// After is called after each set has been published. Nil: nobody is told.
	After func()

	mu        sync.Mutex // guards the following
	published uint64     // the registry's generation that the newest set holds
	any       bool       // a set was published
	changed   chan struct{}
	refresh   chan struct{}
}

// Name is "eureka".
func (p *Provider) Name() string { return sourceName }

// Refresh makes Run read Defaults and ForgetAfter again and publish what follows from them. Any
// goroutine; it does not wait.
func (p *Provider) Refresh() {
	_, refresh := p.signals()
	select {
	case refresh <- struct{}{}:
	default:
	}
}

// Published waits until a set has been published that holds the registry's given generation, or
// until ctx ends. Together with provider.Manager's Settled it makes Registry.Programmed.
func (p *Provider) Published(ctx context.Context, generation uint64) error {
	for {
		changed, _ := p.signals()
		p.mu.Lock()
		done := p.any && p.published >= generation
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// signals are made by whoever needs them first, so that a Provider is a plain literal.
func (p *Provider) signals() (changed, refresh chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
		p.refresh = make(chan struct{}, 1)
	}
	return p.changed, p.refresh
}

// Run publishes the whole set at once, and again after each change of the registry, after Refresh,
// and when a service is forgotten, until ctx ends.
func (p *Provider) Run(ctx context.Context, publish func(route.Set)) error {
	_, refresh := p.signals()
	m := memory{provider: p, services: make(map[string]*remembered)}
	forget := time.NewTimer(0)
	forget.Stop()
	defer forget.Stop()
	for {
		generation := p.Registry.Generation() // before Instances: the set may hold more, never less
		routes, next := m.update(p.Registry.Instances(), time.Now())
		publish(route.Set{Routes: routes})
		p.note(generation)
		if p.After != nil {
			p.After()
		}
		if next > 0 {
			forget.Reset(next)
		} else {
			forget.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.Registry.Changed():
		case <-refresh:
			m.stale = true
		case <-forget.C:
		}
	}
}

func (p *Provider) note(generation uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published, p.any = generation, true
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Provider) ignored(id string) bool {
	if p.Ignored == nil {
		return slices.Contains(DefaultIgnored(), id)
	}
	return slices.Contains(p.Ignored, id)
}

func (p *Provider) forgetAfter() time.Duration {
	if p.ForgetAfter == nil {
		return defaultForgetAfter
	}
	if d := p.ForgetAfter(); d != 0 {
		return d
	}
	return defaultForgetAfter
}

// maxGoneRoutes bounds the routes of services without any instance: names may come and go by the thousand within ForgetAfter.
const maxGoneRoutes = 10000

// memory is what Run keeps between two sets. It belongs to Run's goroutine.
type memory struct {
	provider *Provider
	services map[string]*remembered
	stale    bool            // policies changed: translate everything again
	told     map[string]bool // what was logged and still stands
}

// remembered is one service, registered or not long gone.
type remembered struct {
	instances []*Instance // of the last translation; none: all went
	routes    []route.Route
	since     time.Time // when it was first seen without an UP instance; zero: it has one
}

// update makes the whole set from a snapshot of the registry, sorted by service. next is the time
// until a service must be forgotten; zero: none waits for it.
func (m *memory) update(snapshot []*Instance, now time.Time) (all []route.Route, next time.Duration) {
	groups := make(map[string][]*Instance)
	for _, in := range snapshot {
		if id := in.ServiceID(); !m.provider.ignored(id) && !in.isSibling() {
			groups[id] = append(groups[id], in)
		}
	}
	t := m.translation()
	for id, instances := range groups {
		s := m.services[id]
		if s == nil {
			s = new(remembered)
			m.services[id] = s
		}
		if m.stale || !slices.EqualFunc(s.instances, instances, translatesAlike) {
			s.routes = t.routes(instances)
		}
		s.instances = instances
		s.count(now)
	}
	m.stale = false
	m.forgetMost()

	forgetAfter := m.provider.forgetAfter()
	for _, id := range slices.Sorted(maps.Keys(m.services)) {
		s := m.services[id]
		if len(groups[id]) == 0 && len(s.instances) > 0 {
			s.lose(m.provider.Pool.Service(id, nil))
			s.count(now)
		}
		if !s.since.IsZero() {
			left := s.since.Add(forgetAfter).Sub(now)
			if left <= 0 {
				if len(s.instances) == 0 {
					delete(m.services, id)
				}
				continue // unknown, although perhaps still registered
			}
			if next == 0 || left < next {
				next = left
			}
		}
		all = append(all, s.routes...)
	}
	m.log(all)
	return all, next
}

// forgetMost forgets the services that went first where there are too many without an instance.
func (m *memory) forgetMost() {
	var gone []string
	routes := 0
	for id, s := range m.services {
		if len(s.instances) == 0 {
			gone = append(gone, id)
			routes += len(s.routes)
		}
	}
	if routes <= maxGoneRoutes {
		return
	}
	slices.SortFunc(gone, func(a, b string) int {
		return cmp.Or(m.services[a].since.Compare(m.services[b].since), strings.Compare(a, b))
	})
	for _, id := range gone {
		if routes <= maxGoneRoutes {
			return
		}
		routes -= len(m.services[id].routes)
		delete(m.services, id)
	}
}

func (m *memory) translation() translation {
	var operator route.Policy
	if m.provider.Defaults != nil {
		operator = m.provider.Defaults()
	}
	return translation{
		policy:   route.DefaultEureka().Overlay(operator),
		operator: operator,
		pool:     m.provider.Pool,
	}
}

// translatesAlike tells whether a and b make the same routes. Most are the same value; a heartbeat
// makes a new one that says the same.
func translatesAlike(a, b *Instance) bool {
	return a == b || a.UpOrder == b.UpOrder && routesAlike(a, b)
}

// count starts or stops the time without an endpoint.
func (s *remembered) count(now time.Time) {
	switch {
	case len(s.routes[0].Service.Endpoints) > 0:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = now
	}
}

// lose keeps the routes of a service whose last instance went, and gives them no endpoint.
func (s *remembered) lose(empty *upstream.Service) {
	s.instances = nil
	for i := range s.routes {
		s.routes[i].Service = empty
	}
}

// log tells each problem when it is new, and once for each route that its instances disagree,
// however many they are: the table lists them all.
func (m *memory) log(all []route.Route) {
	if m.provider.Log == nil {
		return
	}
	told := make(map[string]bool)
	tell := func(what, key string, r *route.Route, reason string) {
		if key += "\x00" + r.ID; !m.told[key] && !told[key] {
			m.provider.Log.Warn("route not as registered", "what", what, "service", r.ServiceID, "route", r.ID, "reason", reason)
		}
		told[key] = true
	}
	for i := range all {
		r := &all[i]
		for _, text := range r.Problems {
			tell("registered metadata refused", text, r, text)
		}
		if len(r.Conflicts) > 0 {
			tell("instances disagree", "", r, r.Conflicts[0])
		}
	}
	m.told = told
}
