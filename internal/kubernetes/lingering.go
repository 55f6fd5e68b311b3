package kubernetes

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// lingerFor is how long, at least, endpoints may still be chosen after the last rule that leads to their service is gone: by requests
// that have found their rule in a table before the newest, which takes time to build, and wait with it for a body or an authority.
const lingerFor = 10 * time.Second

// lingering are the services in the pool that a Provider answers for. The zero value is ready.
type lingering struct {
	used   map[string]bool      // by the newest result
	unused map[string]time.Time // since when
}

// use notes which services a set leads to.
func (l *lingering) use(set *route.Set, now time.Time) {
	before := l.used
	l.used = servicesOf(set)
	for name := range before {
		if !l.used[name] {
			if l.unused == nil {
				l.unused = map[string]time.Time{}
			}
			l.unused[name] = now
		}
	}
	for name := range l.used {
		delete(l.unused, name)
	}
}

// over returns the services that have lingered long enough, and forgets them.
func (l *lingering) over(now time.Time) (names []string) {
	for name, since := range l.unused {
		if now.Sub(since) >= lingerFor {
			names = append(names, name)
			delete(l.unused, name)
		}
	}
	return names
}

// leave has the endpoints of services that no rule leads to any more take no new session. It belongs to Run, as translate does.
func (p *Provider) leave(now time.Time) {
	p.mu.Lock()
	names := p.services.over(now)
	p.mu.Unlock()
	for _, name := range names {
		p.Pool.Service(name, nil)
	}
}

// servicesOf names the services that a set leads to.
func servicesOf(set *route.Set) map[string]bool {
	used := map[string]bool{}
	use := func(backends []route.Backend) {
		for i := range backends {
			if s := backends[i].Service; s != nil {
				used[s.Name] = true
			}
		}
	}
	for _, l := range set.Listeners {
		for _, h := range l.Hosts {
			for i := range h.Rules {
				rt := h.Rules[i].Route
				use(rt.Backends)
				for b := range filterBackends(rt) {
					use([]route.Backend{*b})
				}
			}
			for i := range h.Streams {
				use(h.Streams[i].Backends)
			}
		}
	}
	return used
}

// filterBackends yields the backends that filters of a rule lead to: mirrors and authorities.
func filterBackends(rt *route.Route) func(yield func(*route.Backend) bool) {
	return func(yield func(*route.Backend) bool) {
		all := []*route.Filters{rt.Filters}
		for i := range rt.Backends {
			all = append(all, rt.Backends[i].Filters)
		}
		for _, f := range all {
			if f == nil {
				continue
			}
			for i := range f.Mirrors {
				if !yield(f.Mirrors[i].Backend) {
					return
				}
			}
			if f.ExternalAuth != nil && !yield(f.ExternalAuth.Backend) {
				return
			}
		}
	}
}
