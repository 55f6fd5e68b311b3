package kubernetes

import (
	"fmt"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// httpRoute is what the spec of r means for gw, parents and hostnames aside.
func (t *translation) httpRoute(r *gatewayv1.HTTPRoute, gw *gateway) translated {
	rd := t.reading("HTTPRoute", r, gw)
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		rd.rule(i, rule.Name, func(out *route.Rule) error { return rd.httpRule(fmt.Sprintf("rules[%d]", i), rule, out) })
	}
	return rd.done()
}

// httpRule reads one rule into out. Field names the rule in messages.
func (r *reading) httpRule(field string, rule *gatewayv1.HTTPRouteRule, out *route.Rule) (err error) {
	if out.Matches, err = httpMatches(rule.Matches); err != nil {
		return err
	}
	if out.Filters, err = r.httpFilters(field, rule.Filters, out.Matches); err != nil {
		return err
	}
	for i := range rule.BackendRefs {
		ref := &rule.BackendRefs[i]
		if err := r.addBackend(field, i, &ref.BackendRef, ref.Filters, out); err != nil {
			return err
		}
	}
	said, err := timeouts(rule.Timeouts)
	if err != nil {
		return fmt.Errorf("timeouts.%w", err)
	}
	if out.Retry, err = retry(rule.Retry); err != nil {
		return fmt.Errorf("retry.%w", err)
	}
	if out.Persistence, err = persistence(rule.SessionPersistence, out.ID, cookiePath(out.Matches)); err != nil {
		return fmt.Errorf("sessionPersistence.%w", err)
	}
	r.finish(out, said)
	return nil
}

// addBackend appends what ref leads to, the i-th of the rule that field names, to the backends of out.
func (r *reading) addBackend(field string, i int, ref *gatewayv1.BackendRef, filters []gatewayv1.HTTPRouteFilter, out *route.Rule) (err error) {
	field = fmt.Sprintf("%s.backendRefs[%d]", field, i)
	to := r.target(field, ref.BackendObjectReference, r.referrer)
	b := to.backend
	if b.Weight, err = weight(ref.Weight); err != nil {
		return fmt.Errorf("backendRefs[%d].%w", i, err)
	}
	if b.Filters, err = r.httpFilters(field, filters, out.Matches); err != nil {
		return fmt.Errorf("backendRefs[%d].%w", i, err)
	}
	if i == 0 {
		out.ServiceID = string(ref.Name)
	}
	out.Backends = append(out.Backends, b)
	r.layers = append(r.layers, to.layers)
	return nil
}

// finish completes a rule with what policies say. What the rule itself says goes over all of them; own are its timeouts.
func (r *reading) finish(out *route.Rule, own route.Timeouts) {
	layers := r.layersOfRule()
	common := len(r.layers) > 0 // all backends have the same policies
	for i := range r.layers {
		common = common && slices.Equal(r.layers[i], r.layers[0])
	}
	if common {
		layers = append(layers, r.layers[0]...)
	}
	var rt *route.Retry
	var ps *route.Persistence
	apart := false
	switch {
	case len(layers) == 0 && own == (route.Timeouts{}) && (common || len(r.layers) == 0):
		out.Policy = &r.base // nobody says anything
	default:
		p := r.base
		for _, l := range layers {
			p, rt, ps = l.over(p, rt, ps)
		}
		p = p.Overlay(route.Policy{Timeouts: own})
		if apart = len(r.layers) > 0 && !common; apart {
			p = r.perBackend(out, p, own)
		}
		out.Policy = &p
	}
	if out.Retry == nil {
		out.Retry = rt
	}
	if out.Persistence == nil {
		out.Persistence = ps
	}
	if out.Retry == nil {
		out.Retry = out.Policy.Retry()
	}
	if out.Persistence == nil && !apart {
		out.Persistence = out.Policy.Kept(out.ID)
	}
}

// perBackend gives each backend the policy that holds once it is chosen; p holds where no policy is for a backend. The result is for the
// time before: what bounds is then the tightest of all.
func (r *reading) perBackend(out *route.Rule, p route.Policy, own route.Timeouts) route.Policy {
	before := p
	for i := range out.Backends {
		b := &out.Backends[i]
		q := p
		for _, l := range r.layers[i] {
			var ps *route.Persistence
			q, _, ps = l.over(q, nil, nil)
			if ps != nil {
				b.Persistence = ps
			}
		}
		q = q.Overlay(route.Policy{Timeouts: own})
		b.Policy = &q
		if b.Persistence == nil {
			b.Persistence = q.Kept(out.ID)
		}
		if i == 0 {
			before = q
		} else {
			before, _ = before.Register(route.Policy{}, q)
		}
	}
	return before
}

// maxWeight is the schema's.
const maxWeight = 1_000_000

func weight(w *int32) (int, error) {
	n := orElse(w, 1)
	if n < 0 || n > maxWeight {
		return 0, fmt.Errorf("weight %d: want 0 to %d", n, maxWeight)
	}
	return int(n), nil
}

// timeouts are those of a rule, as a Policy says them: zero is off.
func timeouts(t *gatewayv1.HTTPRouteTimeouts) (out route.Timeouts, err error) {
	if t == nil {
		return out, nil
	}
	if out.Request, err = timeout("request", t.Request); err != nil {
		return out, err
	}
	if out.BackendRequest, err = timeout("backendRequest", t.BackendRequest); err != nil {
		return out, err
	}
	if out.Request > 0 && out.BackendRequest > out.Request {
		return out, fmt.Errorf("backendRequest %s: it is longer than request, %s", *t.BackendRequest, *t.Request)
	}
	return out, nil
}

// defaultAttempts is how often a request is tried again where a rule has retry without attempts, as v1.7 of the API says.
const defaultAttempts = 1

// maxAttempts bounds what a rule may ask for.
const maxAttempts = 100

func retry(r *gatewayv1.HTTPRouteRetry) (*route.Retry, error) {
	if r == nil {
		return nil, nil
	}
	out := &route.Retry{Attempts: orElse(r.Attempts, defaultAttempts)}
	if out.Attempts < 0 || out.Attempts > maxAttempts {
		return nil, fmt.Errorf("attempts %d: want 0 to %d", out.Attempts, maxAttempts)
	}
	for i, code := range r.Codes {
		if code < 400 || code > 599 {
			return nil, fmt.Errorf("codes[%d] %d: want 400 to 599", i, code)
		}
		if !slices.Contains(out.Codes, int(code)) {
			out.Codes = append(out.Codes, int(code))
		}
	}
	if r.Backoff != nil {
		d, err := parseDuration(*r.Backoff)
		if err != nil {
			return nil, fmt.Errorf("backoff %q: %w", *r.Backoff, err)
		}
		out.Backoff = d
	}
	return out, nil
}
