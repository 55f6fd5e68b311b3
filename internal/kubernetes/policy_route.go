package kubernetes

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// routePolicy is what a policy says of what it is for.
type routePolicy struct {
	kind   string // for messages
	policy metav1.Object

	said        route.Policy
	retry       *route.Retry
	persistence *route.Persistence
}

// readRoutePolicies judges the RoutePolicies of fairlead.dev. One level overlays the one above it, field by field ("Patch defaults" of
// GEP-713): Gateway, listener aside, then route, rule, and backend. Of several for one target the oldest holds.
func (t *translation) readRoutePolicies() {
	const kind = "RoutePolicy"
	for _, policy := range byAge(t.RoutePolicies) {
		said, err := readRoutePolicy(policy)
		status := gatewayv1.PolicyStatus{Ancestors: []gatewayv1.PolicyAncestorStatus{}}
		for _, p := range localTargets(policy, policy.Spec.TargetRefs) {
			c := accepted("")
			switch has := t.policies.routes[p]; {
			case err != nil:
				c = unaccepted(gatewayv1.PolicyReasonInvalid, "spec."+err.Error())
			case !isRouteTarget(p):
				c = unaccepted(gatewayv1.PolicyReasonInvalid,
					fmt.Sprintf("%s: want a Gateway, HTTPRoute, GRPCRoute, Service, Backend or EurekaService", p))
			case said.said.SaysOfService() && !isBackend(p):
				c = unaccepted(gatewayv1.PolicyReasonInvalid,
					fmt.Sprintf("%s: spec.outliers and spec.panic hold for a backend: want a Service, Backend or EurekaService", p))
			case p.kind == "Gateway" && p.section != "":
				c = unaccepted(gatewayv1.PolicyReasonInvalid, fmt.Sprintf("%s: a policy for a single listener is not available in this version", p))
			case t.missing(p) != "":
				c = unaccepted(gatewayv1.PolicyReasonTargetNotFound, t.missing(p))
			case has != nil:
				c = heldBy(p, kind, has.policy)
			default:
				t.policies.routes[p] = said
			}
			status.Ancestors = append(status.Ancestors, ancestor(p, policy.Generation, c))
		}
		t.publishAs(v1alpha1.GroupVersion, kind, policy, status)
	}
}

func isRouteTarget(p policyTarget) bool {
	return isBackend(p) || p.group == gatewayv1.GroupName && (p.kind == "Gateway" || p.kind == "HTTPRoute" || p.kind == "GRPCRoute")
}

// readRoutePolicy reads a policy; the error names the field.
func readRoutePolicy(policy *v1alpha1.RoutePolicy) (*routePolicy, error) {
	spec := &policy.Spec
	out := &routePolicy{kind: "RoutePolicy", policy: policy}
	if err := setAll(&out.said, routeFields(spec)); err != nil {
		return nil, err
	}
	if ws := spec.WebSocket; ws != nil && ws.AllowedOrigins != nil {
		out.said.WebSocket.AllowedOrigins = ws.AllowedOrigins
	}
	if err := out.said.Validate(); err != nil {
		return nil, err
	}
	var err error
	if out.retry, err = retry(spec.Retries); err != nil {
		return nil, fmt.Errorf("retries.%w", err)
	}
	out.persistence, err = balancePersistence(spec, "RoutePolicy/"+nameOf(policy).String())
	return out, err
}

// A said is a field of a RoutePolicy under the name that route.Policy has for it; "" is not said.
type said struct{ name, value string }

// setAll sets the fields of a policy that are said.
func setAll(p *route.Policy, list []said) error {
	for _, f := range list {
		if f.value == "" {
			continue
		}
		if err := p.Set(f.name, f.value); err != nil {
			return err
		}
	}
	return nil
}

// routeFields are the fields of spec that are text or a number.
func routeFields(spec *v1alpha1.RoutePolicySpec) []said {
	list := []said{{"auth", spec.Auth}, {"hostHeader", spec.HostHeader}, {"slowStart", string(spec.SlowStart)}}
	if spec.LoadBalancing != "hash" && spec.LoadBalancing != "sticky" { // see balancePersistence
		list = append(list, said{"loadBalancing", spec.LoadBalancing})
	}
	if l := spec.LoadAware; l != nil {
		list = append(list,
			said{"loadAware.blackoutPeriod", string(l.BlackoutPeriod)}, said{"loadAware.metricExpirationPeriod", string(l.MetricExpirationPeriod)},
			said{"loadAware.errorUtilizationPenalty", l.ErrorUtilizationPenalty}, said{"loadAware.namedMetrics", strings.Join(l.NamedMetrics, ",")})
	}
	if h := spec.Hash; h != nil && spec.LoadBalancing == "hash" && (h.ClientAddress != nil || h.User != nil) {
		list = append(list, said{"loadBalancing", spec.LoadBalancing})
		if h.ClientAddress != nil {
			list = append(list, said{"hash.clientAddress", "true"})
		}
		if h.User != nil {
			list = append(list, said{"hash.user", "true"})
		}
	}
	if spec.Panic != nil {
		list = append(list, said{"panic", strconv.FormatBool(*spec.Panic)})
	}
	if o := spec.Outliers; o != nil {
		failures := number(o.Failures)
		if failures == "0" {
			failures = "off"
		}
		list = append(list,
			said{"outliers.failures", failures}, said{"outliers.latency", o.Latency}, said{"outliers.latencyFloor", string(o.LatencyFloor)},
			said{"outliers.latencySamples", number(o.LatencySamples)}, said{"outliers.latencyInterval", string(o.LatencyInterval)},
			said{"outliers.time", string(o.Time)}, said{"outliers.maxTime", string(o.MaxTime)})
	}
	if t := spec.Timeouts; t != nil {
		list = append(list,
			said{"timeouts.connect", string(t.Connect)}, said{"timeouts.handshake", string(t.Handshake)},
			said{"timeouts.response", string(t.Response)}, said{"timeouts.request", string(t.Request)},
			said{"timeouts.backendRequest", string(t.BackendRequest)})
	}
	w := spec.WebSocket
	if w == nil {
		return list
	}
	for _, f := range []said{
		{"connectFailure", w.ConnectFailure},
		{"failover", w.Failover},
		{"failoverBuffer", string(w.FailoverBuffer)},
		{"failoverTimeout", string(w.FailoverTimeout)},
		{"drain", w.Drain},
		{"onUnhealthy", w.OnUnhealthy},
		{"onAuthExpiry", w.OnAuthExpiry},
		{"rebalance", w.Rebalance},
		{"drainWindow", string(w.DrainWindow)},
		{"closeTimeout", string(w.CloseTimeout)},
		{"pingInterval", string(w.PingInterval)},
		{"pongTimeout", string(w.PongTimeout)},
		{"idleTimeout", string(w.IdleTimeout)},
		{"idleCounts", w.IdleCounts},
		{"maxDuration", string(w.MaxDuration)},
		{"maxMessageSize", string(w.MaxMessageSize)},
		{"maxFrameSize", string(w.MaxFrameSize)},
		{"messageRate", string(w.MessageRate)},
		{"messageBurst", number(w.MessageBurst)},
		{"maxSessions", number(w.MaxSessions)},
		{"maxSessionsPerClient", number(w.MaxSessionsPerClient)},
	} {
		list = append(list, said{"websocket." + f.name, f.value})
	}
	return list
}

func number(n *int32) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(int(*n))
}

// balancePersistence is what the values sticky and hash of loadBalancing are: a cookie of the gateway's, or a cookie or field of others
// that is hashed.
func balancePersistence(spec *v1alpha1.RoutePolicySpec, owner string) (*route.Persistence, error) {
	h := spec.Hash
	switch {
	case h != nil && spec.LoadBalancing != "hash":
		return nil, errors.New("hash: it is for loadBalancing hash")
	case spec.Sticky != nil && spec.LoadBalancing != "sticky":
		return nil, errors.New("sticky: it is for loadBalancing sticky")
	case spec.LoadBalancing == "sticky":
		return stickyPersistence(spec.Sticky, owner)
	case spec.LoadBalancing != "hash":
		return nil, nil
	case h != nil && h.Cookie != "":
		return &route.Persistence{Name: h.Cookie}, checkToken("hash.cookie", h.Cookie)
	case h != nil && h.Header != "":
		return &route.Persistence{Name: h.Header, Header: true}, checkToken("hash.header", h.Header)
	}
	if h == nil || h.ClientAddress == nil && h.User == nil {
		return nil, errors.New("hash: one of header, cookie, clientAddress and user is needed")
	}
	return nil, nil // the policy itself: routeFields
}

// stickyPersistence is the cookie of a policy. Its name is the policy's: what it is for shares it.
func stickyPersistence(s *v1alpha1.StickyPolicy, owner string) (*route.Persistence, error) {
	p := route.Policy{LoadBalancing: upstream.Sticky}
	if s != nil {
		list := []said{{"sticky.cookieName", s.CookieName}, {"sticky.lifetime", string(s.Lifetime)}, {"sticky.path", s.Path}}
		if err := setAll(&p, list); err != nil {
			return nil, err
		}
	}
	if p.Sticky.CookieName == "" {
		p.Sticky.CookieName = sessionName(owner, false)
	}
	return p.Kept(owner), nil
}

// layersOfRule are the policies for the rule that is being read, the weakest first: all but those for its backends.
func (r *reading) layersOfRule() (layers []*routePolicy) {
	own := policyTarget{group: gatewayv1.GroupName, kind: r.kind, name: r.NamespacedName}
	add := func(m map[policyTarget]*routePolicy, p policyTarget) {
		if l := m[p]; l != nil {
			layers = append(layers, l)
		}
	}
	if r.gateway != nil {
		add(r.policies.routes, gatewayTarget(nameOf(r.gateway)))
	}
	add(r.policies.albs, own)
	add(r.policies.routes, own)
	if own.section = r.section; own.section != "" {
		add(r.policies.routes, own)
	}
	return layers
}

// over is what holds where l overlays what is given.
func (l *routePolicy) over(p route.Policy, rt *route.Retry, ps *route.Persistence) (route.Policy, *route.Retry, *route.Persistence) {
	p = p.Overlay(l.said)
	if l.retry != nil {
		rt = l.retry
	}
	if l.persistence != nil {
		ps = l.persistence
	}
	return p, rt, ps
}

// layersOf are the policies of a backend, the weakest first: those for the whole, then those for its port.
func (t *translation) layersOf(backend policyTarget, section string) (list []*routePolicy) {
	for _, s := range []string{"", section} {
		backend.section = s
		for _, m := range []map[policyTarget]*routePolicy{t.policies.balance, t.policies.routes} {
			if l := m[backend]; l != nil {
				list = append(list, l)
			}
		}
		if section == "" {
			break
		}
	}
	return list
}

var errNoToken = errors.New("it is no token")

func checkToken(field, name string) error {
	if name == "" || strings.ContainsAny(name, " \t\r\n\"(),/:;<=>?@[\\]{}") {
		return fmt.Errorf("%s %q: %w", field, name, errNoToken)
	}
	return nil
}
