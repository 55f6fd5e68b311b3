package proxy

import (
	"math"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A stay is how a client is kept at an endpoint (GEP-1619, and AGC's session affinity).
type stay struct {
	rule     *route.Persistence // nil: it is not kept
	endpoint *upstream.Endpoint // where it is kept; nil: nowhere yet
	passes   []pass             // that it has shown
	foreign  bool               // it has shown what is the application's
}

// resume finds the backend and the endpoint at which a client has been kept, whatever the backend's weight is by now (GEP-1619,
// "Traffic Splitting"); nil: it is new, or its endpoint takes no more, or its time is over.
func (x *exchange) resume() (*route.Backend, *upstream.Endpoint) {
	r := x.to.Route
	var last *route.Persistence
	for i := range r.Backends {
		keep := r.PersistenceFor(&r.Backends[i])
		if keep == nil || last != nil && keep.Name == last.Name && keep.Header == last.Header || !keep.Managed && keep.Lifetime == 0 {
			continue
		}
		last = keep
		if b, ep := x.placed(keep, x.shownPasses(keep)); b != nil {
			return b, ep
		}
	}
	return nil, nil
}

// placed finds where the first of the passes leads that leads anywhere.
func (x *exchange) placed(keep *route.Persistence, passes []pass) (found *route.Backend, at *upstream.Endpoint) {
	own, best := mark(x.to.Route, keep), len(passes)
	if best == 0 {
		return nil, nil
	}
	for i := range x.to.Backends {
		b := &x.to.Backends[i]
		if p := x.to.PersistenceFor(b); p == nil || p.Name != keep.Name || b.Service == nil || b.Invalid != "" {
			continue
		}
		ep, j := x.leads(keep, passes[:min(best+1, len(passes))], own, b.Service)
		if ep != nil && (j < best || found.Weight == 0) { // of two backends with one endpoint that which still takes clients
			found, at, best = b, ep, j
		}
	}
	return found, at
}

// leads finds the endpoint of a service to which the first of the passes leads that leads to one that takes clients, and which pass that is.
func (x *exchange) leads(keep *route.Persistence, passes []pass, own uint64, service *upstream.Service) (at *upstream.Endpoint, which int) {
	for _, ep := range service.Endpoints {
		for j, p := range passes {
			if p.at^own == ep.Identity() && ep.Takes() && p.holds(x.record.Time, keep) {
				at, which, passes = ep, j, passes[:j]
				break
			}
		}
	}
	return at, which
}

// stays finds where the client of a route that has one service has been kept; nil: nowhere, or its endpoint takes no more.
func (x *exchange) stays(keep *route.Persistence) *upstream.Endpoint {
	ep, _ := x.leads(keep, x.to.stay.passes, mark(x.to.Route, keep), x.to.service)
	return ep
}

// shownPasses are the passes that the request has under the name of a persistence.
func (x *exchange) shownPasses(keep *route.Persistence) (all []pass) {
	for value := range x.shown(keep) {
		list, _ := parsePasses(value)
		if all = append(all, list[:min(len(list), maxPasses-len(all))]...); len(all) == maxPasses {
			break
		}
	}
	return all
}

// shown yields what the request has under the name of a persistence.
func (x *exchange) shown(p *route.Persistence) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if p.Header {
			for value := range x.request.Fields.All(p.Name) {
				if !yield(value) {
					return
				}
			}
			return
		}
		for line := range x.request.Fields.All("Cookie") {
			for pair := range strings.SplitSeq(line, ";") {
				if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); name == p.Name && !yield(value) {
					return
				}
			}
		}
	}
}

// application is what the application has given the client under the name of p, which is its own; ok is false if there is none.
func (x *exchange) application(p *route.Persistence) (value string, ok bool) {
	for value := range x.shown(p) {
		if _, ours := parsePasses(value); !ours || p.Lifetime == 0 {
			return value, true
		}
	}
	return "", false
}

// choose picks a backend by weight, or, where the rule keeps clients by what their application has given them, by the hash of
// that.
func (x *exchange) choose() *route.Backend {
	if p := x.to.Persistence; p != nil && !p.Managed {
		if value, ok := x.application(p); ok {
			return weighed(x.to.Backends, value)
		}
	}
	if key := x.hashKey(x.to.policy); key != "" {
		return weighed(x.to.Backends, key)
	}
	return x.to.Choose()
}

// settle has the client kept at an endpoint of the backend that has been chosen. ep is where it is kept already; nil: nowhere.
func (x *exchange) settle(ep *upstream.Endpoint) {
	p := x.to.PersistenceFor(x.to.backend)
	x.to.stay = stay{rule: p, endpoint: ep}
	if p == nil {
		return
	}
	if !p.Managed && ep == nil {
		if value, ok := x.application(p); ok {
			x.to.stay.foreign = true
			if value != "" {
				x.to.key = upstream.KeyOf(value)
			}
			return
		}
	}
	x.to.stay.passes = x.shownPasses(p)
}

// pin adds to an answer of ep what keeps the client there from now on, unless it is kept there already, or by its application.
func (x *exchange) pin(fields http1.Fields, ep *upstream.Endpoint) http1.Fields {
	k := &x.to.stay
	p := k.rule
	if p == nil || ep == k.endpoint || k.foreign || !p.Managed && (p.Lifetime == 0 || setsCookie(fields, p.Name)) {
		return fields
	}
	b := make([]byte, 0, 256)
	if !p.Header {
		b = append(append(b, p.Name...), '=')
	}
	b = appendPasses(b, pass{ep.Identity() ^ mark(x.to.Route, p), uint32(x.record.Time.Unix())}, k.passes)
	if p.Header {
		fields.Set(p.Name, string(b))
		return fields
	}
	if p.Path != "" && !strings.ContainsAny(p.Path, ";,") {
		b = append(append(b, "; Path="...), p.Path...)
	}
	if p.Lifetime > 0 {
		b = strconv.AppendInt(append(b, "; Max-Age="...), int64(math.Ceil(p.Lifetime.Seconds())), 10)
	}
	b = append(b, "; HttpOnly; SameSite=Lax"...) // Strict would end a stay whenever a page elsewhere links here
	if x.origin.proto == "https" {
		b = append(b, "; Secure"...)
	}
	fields.Add("Set-Cookie", string(b))
	return fields
}

// setsCookie tells whether an answer sets a cookie of that name.
func setsCookie(fields http1.Fields, name string) bool {
	for value := range fields.All("Set-Cookie") {
		if n, _, _ := strings.Cut(value, "="); strings.TrimSpace(n) == name {
			return true
		}
	}
	return false
}

// weighed is the backend that scores highest with the value, each by its weight; nil: none has any.
func weighed(backends []route.Backend, value string) (best *route.Backend) {
	var most float64
	for i := range backends {
		b := &backends[i]
		if b.Weight <= 0 {
			continue
		}
		if score := upstream.Score(upstream.Mix(value, b.Name), float64(b.Weight)); best == nil || score > most {
			best, most = b, score
		}
	}
	return best
}
