package upstream

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pool interns endpoints by service name and Spec. It outlives every route table, and so do
// the counters of its endpoints.
type Pool struct {
	// OnLeave and OnJoin are called when an endpoint begins to be leaving, and when it is listed, as a new one or again. They must
	// not wait, nor call the Pool. Nil: nobody is told. Constant once the Pool is used by several goroutines.
	OnLeave, OnJoin func(*Endpoint)

	// OnEject and OnReturn are likewise called when an endpoint is ejected (see Outliers), and when it takes new sessions again after
	// that. Nil: nobody is told.
	OnEject, OnReturn func(*Endpoint)

	// Secret goes into the Identity of every endpoint. Nil: those are the same in every process. Constant once there is a service.
	Secret []byte

	probes schedule
	clock  func() time.Time // constant once there is a service

	mu       sync.Mutex // guards the following
	services map[string]*state
}

// state is what stays of a service while its list of endpoints changes.
type state struct {
	turn   atomic.Uint64 // of round-robin, and of ties
	newest atomic.Pointer[Service]
	take   sync.Mutex // makes choosing and counting one step; see Service.Take
	pool   *Pool      // constant

	ejecting  sync.Mutex   // guards who is ejected
	compareAt atomic.Int64 // when latencies are compared next, in ns since 1970; 0: they never were

	// Guarded by the schedule's lock.
	probes   int       // that run
	deferred []*target // due, but too many run

	turns sync.Mutex   // guards the credit of the endpoints
	begun atomic.Int64 // when an endpoint did last; see Endpoint.begun

	// Owned by the pool, under its lock.
	current   *Service
	endpoints map[Spec]*Endpoint
	security  *security // of the newest TLSSettings; nil: none
}

// NewPool returns an empty pool.
func NewPool() *Pool {
	return &Pool{services: make(map[string]*state), probes: schedule{wake: make(chan struct{}, 1)}, clock: time.Now}
}

// Service makes specs the endpoints of the named service that may take new sessions, and
// returns them as a Service. Endpoints that are known come back as they were; known ones that
// specs does not hold are leaving from now on, also for those who use an older Service of that
// name; without specs all are. A Spec given twice counts once. The same list in the same order gives the same *Service.
func (p *Pool) Service(name string, specs []Spec) *Service {
	return p.ServiceWith(name, specs, Options{})
}

// ServiceWith is Service with options, which hold for every endpoint of that name from now on, also for those who use an
// older Service. The same *Service comes back only if they are equal too.
func (p *Pool) ServiceWith(name string, specs []Spec, options Options) *Service {
	service, left, joined := p.list(name, specs, options)
	service.state.keepHalf()
	for _, e := range left {
		p.OnLeave(e)
	}
	for _, e := range joined {
		p.OnJoin(e)
	}
	return service
}

// list is ServiceWith, but for telling who has left and who has joined.
func (p *Pool) list(name string, specs []Spec, options Options) (service *Service, left, joined []*Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()

	st := p.services[name]
	if st == nil {
		st = &state{pool: p, endpoints: make(map[Spec]*Endpoint)}
		p.services[name] = st
	}
	listed := make([]*Endpoint, 0, len(specs))
	seen := make(map[Spec]bool, len(specs))
	for _, spec := range specs {
		if seen[spec] {
			continue
		}
		seen[spec] = true
		e := st.endpoints[spec]
		if e == nil {
			e = newEndpoint(name, spec, p.Secret)
			e.state = st
			e.begin()
			st.endpoints[spec] = e
			if p.OnJoin != nil {
				joined = append(joined, e)
			}
		}
		e.weight.Store(int32(options.weightOf(&spec)))
		listed = append(listed, e)
	}
	st.secure(options.TLS)
	for spec, e := range st.endpoints {
		e.security.Store(st.security)
		switch was := e.leaving.Swap(!seen[spec]); {
		case !was && !seen[spec] && p.OnLeave != nil:
			left = append(left, e)
		case was && seen[spec]:
			e.drained.Store(false) // it has begun a new life
			st.begins(e)
			e.begin()
			if p.OnJoin != nil {
				joined = append(joined, e)
			}
		}
		e.measure(seen[spec] && options.Outliers.Latency > 0)
		if seen[spec] {
			p.follow(e, asking{options.Probe, options.Protocol})
		} else {
			p.follow(e, asking{})
		}
	}
	if st.current == nil || !slices.Equal(st.current.Endpoints, listed) || !st.current.equal(&options) {
		st.current = &Service{Name: name, Endpoints: listed, Options: options, state: st}
		st.current.weigh()
		st.newest.Store(st.current)
	}
	return st.current, left, joined
}

// secure makes settings those of the service, and keeps what is in use if they are the same.
func (st *state) secure(settings *TLSSettings) {
	if st.security == nil || settings == nil || !st.security.equal(settings) {
		st.security = newSecurity(settings)
	}
}

// follow has e probed as wanted from now on. What is probed as before keeps its verdict and its turn; with another Probe the
// old verdict holds until there is a new one; with none it is dropped.
func (p *Pool) follow(e *Endpoint, want asking) {
	had := e.target
	if had == nil && want.probe.Kind == NoProbe || had != nil && had.asking == want {
		return
	}
	if had != nil {
		p.probes.retire(had)
		e.target = nil
	}
	if want.probe.Kind == NoProbe {
		e.health.forget(time.Now())
		return
	}
	e.health.restart()
	e.target = &target{endpoint: e, asking: want}
	p.probes.add(e.target)
}

// Sweep forgets leaving endpoints without sessions, and services without endpoints, and
// returns how many endpoints it forgot. A session that still holds a forgotten endpoint may
// go on using it: only its counters are no longer shared with a later endpoint of that Spec.
func (p *Pool) Sweep() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	forgotten := 0
	for name, st := range p.services {
		for spec, e := range st.endpoints {
			if e.leaving.Load() && e.Sessions() == 0 {
				delete(st.endpoints, spec)
				st.begins(e) // an ejection may last for days
				forgotten++
			}
		}
		if len(st.endpoints) == 0 && len(st.current.Endpoints) == 0 {
			delete(p.services, name)
		}
	}
	return forgotten
}

// Services returns the newest Service of every name, by name.
func (p *Pool) Services() []*Service {
	p.mu.Lock()
	all := make([]*Service, 0, len(p.services))
	for _, st := range p.services {
		all = append(all, st.current)
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b *Service) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Endpoints returns every endpoint that the pool knows, leaving ones too, by service name,
// then ID, then address.
func (p *Pool) Endpoints() []*Endpoint {
	p.mu.Lock()
	var all []*Endpoint
	for _, st := range p.services {
		for _, e := range st.endpoints {
			all = append(all, e)
		}
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b *Endpoint) int {
		return cmp.Or(
			cmp.Compare(a.service, b.service),
			cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.address, b.address),
			cmp.Compare(a.Scheme, b.Scheme),
		)
	})
	return all
}
