package kubernetes

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// The cookie of AGC's managed session affinity.
const (
	albCookie         = "AGCAffinity"
	albCookieLifetime = 24 * time.Hour
)

// readALBRoutePolicies judges the RoutePolicies of AGC. A RoutePolicy of fairlead.dev for the same route goes over them, field by field,
// and the timeouts of the route itself over both.
func (t *translation) readALBRoutePolicies() {
	const kind = "RoutePolicy"
	for _, policy := range byAge(t.ALBRoutePolicies) {
		p, bad := t.albTarget(kind, policy, &policy.Spec.TargetRef, gatewayv1.GroupName, "HTTPRoute", "GRPCRoute")
		if bad == nil && policy.Spec.Override != nil {
			bad = &refusal{albv1.ReasonOverrideNotSupported, "spec.override is not supported: use spec.default"}
		}
		if bad == nil && t.missing(p) != "" {
			bad = &refusal{albv1.RoutePolicyReasonInvalidHTTPRoute, t.missing(p)}
			if p.kind == "GRPCRoute" {
				bad.reason = albv1.RoutePolicyReasonInvalidGRPCRoute
			}
		}
		var said *routePolicy
		if bad == nil {
			said, bad = albRoutePolicy(policy)
		}
		if bad != nil {
			t.publishALB(kind, policy, unaccepted(bad.reason, bad.message), targetResolved(bad))
			continue
		}
		if has := t.policies.albs[p]; has != nil {
			t.publishALB(kind, policy, heldBy(p, kind, has.policy), targetResolved(nil))
			continue
		}
		t.policies.albs[p] = said
		c := accepted("")
		if r, ok := t.object(p).(*gatewayv1.HTTPRoute); ok && said.said.Timeouts.Request != 0 && hasTimeouts(r) {
			c.Reason = albv1.RoutePolicyReasonAcceptedWithTimeoutConflict
			c.Message = fmt.Sprintf("the policy holds, but where %s has timeouts of its own: those win over routeTimeout", p)
		}
		t.publishALB(kind, policy, c, targetResolved(nil))
	}
}

func hasTimeouts(r *gatewayv1.HTTPRoute) bool {
	for i := range r.Spec.Rules {
		if t := r.Spec.Rules[i].Timeouts; t != nil && (t.Request != nil || t.BackendRequest != nil) {
			return true
		}
	}
	return false
}

func albRoutePolicy(policy *albv1.RoutePolicy) (*routePolicy, *refusal) {
	invalid := func(format string, args ...any) *refusal {
		return &refusal{albv1.RoutePolicyReasonInvalid, "spec.default." + fmt.Sprintf(format, args...)}
	}
	out := &routePolicy{kind: "RoutePolicy of AGC", policy: policy}
	c := policy.Spec.Default
	if c == nil {
		return out, nil
	}
	if c.Timeouts != nil && c.Timeouts.RouteTimeout != nil {
		switch d := c.Timeouts.RouteTimeout.Duration; {
		case d < 0:
			return nil, invalid("timeouts.routeTimeout %s: want 0s or more", d)
		case d == 0:
			out.said.Timeouts.Request = off
		default:
			out.said.Timeouts.Request = d
		}
	}
	a := c.SessionAffinity
	if a == nil {
		return out, nil
	}
	p := &route.Persistence{Path: "/"}
	switch a.AffinityType {
	case albv1.AffinityTypeManagedCookie: // what the policy says of name and duration does not count, as there
		p.Managed, p.Name, p.Lifetime = true, albCookie, albCookieLifetime
	case albv1.AffinityTypeApplicationCookie:
		switch p.Name = orElse(a.CookieName, ""); {
		case p.Name == "":
			return nil, invalid("sessionAffinity.cookieName: application-cookie needs it")
		case a.CookieDuration == nil:
			return nil, invalid("sessionAffinity.cookieDuration: application-cookie needs it")
		}
		if p.Lifetime = a.CookieDuration.Duration; p.Lifetime < 0 {
			return nil, invalid("sessionAffinity.cookieDuration %s: want 0s or more", p.Lifetime)
		}
	default:
		return nil, invalid("sessionAffinity.affinityType %q: want application-cookie or managed-cookie", a.AffinityType)
	}
	if err := checkToken("sessionAffinity.cookieName", p.Name); err != nil {
		return nil, invalid("%s", err)
	}
	out.persistence = p
	return out, nil
}

// readBalance judges the BackendLoadBalancingPolicies of AGC, each of their targets by itself.
func (t *translation) readBalance() {
	const kind = "BackendLoadBalancingPolicy"
	for _, policy := range byAge(t.BackendLoadBalancingPolicies) {
		said, note, bad := balanceOf(policy)
		status := albv1.BackendLoadBalancingPolicyStatus{Targets: []albv1.BackendLoadBalancingPolicyTargetStatus{}}
		for i := range policy.Spec.TargetRefs {
			ref := &policy.Spec.TargetRefs[i]
			c := t.balanceTarget(policy, ref, said, bad)
			if c.Status == metav1.ConditionTrue && note != "" {
				c.Message = "the policy holds, but " + note
			}
			resolved := targetResolved(nil)
			if c.Status == metav1.ConditionFalse {
				resolved = targetResolved(&refusal{c.Reason, c.Message})
			}
			list := conditions{c, resolved}
			status.Targets = append(status.Targets, albv1.BackendLoadBalancingPolicyTargetStatus{
				TargetRef: ref.TargetRef, Conditions: list.published(policy.Generation),
			})
		}
		if note != "" && bad == nil {
			t.problem(kind, policy, note)
		}
		t.publishAs(albv1.GroupVersion, kind, policy, status)
	}
}

// balanceTarget applies a policy to one of its targets, and returns its condition Accepted.
func (t *translation) balanceTarget(policy *albv1.BackendLoadBalancingPolicy, ref *albv1.TargetRefSpec, said *routePolicy, bad *refusal,
) metav1.Condition {
	p, wrong := t.albTarget("BackendLoadBalancingPolicy", policy, &ref.TargetRef, "", "Service")
	if wrong == nil && t.missing(p) != "" {
		wrong = &refusal{albv1.ReasonInvalidService, t.missing(p)}
	}
	if wrong == nil {
		wrong = bad
	}
	if wrong != nil {
		return unaccepted(wrong.reason, wrong.message)
	}
	targets := []policyTarget{p}
	if len(ref.Ports) > 0 {
		targets = targets[:0]
		svc, _ := t.object(p).(*corev1.Service)
		for i, port := range ref.Ports {
			n := orElse(port.Port, 0)
			if svc == nil || !hasPort(svc, n) {
				return unaccepted(albv1.ReasonInvalidService, fmt.Sprintf("ports[%d].port %d: %s has no such port", i, n, p))
			}
			p.section = sectionOf(svc, n)
			targets = append(targets, p)
		}
	}
	for _, p := range targets {
		if has := t.policies.balance[p]; has != nil && has != said {
			return heldBy(p, has.kind, has.policy)
		}
	}
	for _, p := range targets {
		t.policies.balance[p] = said
	}
	return accepted("")
}

// sectionOf is the name of a port of svc; "" if it has none, as a single port may.
func sectionOf(svc *corev1.Service, number int32) string {
	for i := range svc.Spec.Ports {
		if svc.Spec.Ports[i].Port == number {
			return svc.Spec.Ports[i].Name
		}
	}
	return ""
}

// noBreaker is what AGC means by no bound.
const noBreaker = 1_000_000_000

// balanceOf reads a policy. Note says what of it is not done.
func balanceOf(policy *albv1.BackendLoadBalancingPolicy) (out *routePolicy, note string, bad *refusal) {
	out = &routePolicy{kind: "BackendLoadBalancingPolicy", policy: policy}
	invalid := func(format string, args ...any) *refusal {
		return &refusal{albv1.BackendLoadBalancingPolicyReasonInvalid, "spec." + fmt.Sprintf(format, args...)}
	}
	var undone []string
	if b := policy.Spec.CircuitBreaker; b != nil {
		for _, f := range []struct {
			name  string
			value *int32
		}{
			{"maxConnections", b.MaxConnections},
			{"maxPendingRequests", b.MaxPendingRequests},
			{"maxRequests", b.MaxRequests},
			{"maxRetries", b.MaxRetries},
		} {
			if n := orElse(f.value, noBreaker); n < noBreaker {
				undone = append(undone, fmt.Sprintf("circuitBreaker.%s %d is not available in this version: there is no bound", f.name, n))
			}
		}
	}
	l := policy.Spec.LoadBalancing
	if l == nil {
		return out, strings.Join(undone, "; "), nil
	}
	switch l.Strategy {
	case "", albv1.LoadBalancingRoundRobin:
		out.said.LoadBalancing = upstream.RoundRobin
	case albv1.LoadBalancingLeastRequest:
		out.said.LoadBalancing = upstream.LeastSessions
	case albv1.LoadBalancingRingHash: // session affinity hashes whatever the strategy is: requests without a session take turns
		if l.SlowStart != nil {
			return nil, "", invalid("loadBalancing.slowStart: it is for round-robin and least-request")
		}
		out.said.LoadBalancing = upstream.RoundRobin
	case albv1.LoadBalancingLoadAware:
		if l.SlowStart != nil {
			return nil, "", invalid("loadBalancing.slowStart: it is for round-robin and least-request")
		}
		out.said.LoadBalancing = upstream.LoadAware
		if err := loadAware(&out.said, l.LoadAware); err != nil {
			return nil, "", invalid("loadBalancing.%s", err)
		}
	default:
		return nil, "", invalid("loadBalancing.strategy %q: want round-robin, least-request, load-aware or ring-hash", l.Strategy)
	}
	if l.SlowStart != nil {
		var err error
		if out.said.SlowStart, err = slowStartOf(l.SlowStart); err != nil {
			return nil, "", invalid("loadBalancing.slowStart.%s", err)
		}
	}
	return out, strings.Join(undone, "; "), nil
}

// loadAware reads how AGC has endpoints weighed that report. The error names the field.
func loadAware(p *route.Policy, c *albv1.LoadAwareConfig) error {
	if c == nil {
		return nil
	}
	list := []said{
		{"loadAware.errorUtilizationPenalty", orElse(c.ErrorUtilizationPenalty, "")}, {"loadAware.namedMetrics", strings.Join(c.NamedMetrics, ",")},
	}
	if d := c.BlackoutPeriod; d != nil {
		value := d.Duration.String()
		if d.Duration == 0 {
			value = "off"
		}
		list = append(list, said{"loadAware.blackoutPeriod", value})
	}
	if d := c.MetricExpirationPeriod; d != nil {
		list = append(list, said{"loadAware.metricExpirationPeriod", d.Duration.String()})
	}
	return setAll(p, list)
}

// slowStartOf reads AGC's slow start, which is Envoy's: the share is (age/window)^(1/aggression) of what it comes to, and
// startWeightPercent of it at least. The error names the field.
func slowStartOf(c *albv1.SlowStartConfig) (out route.SlowStart, err error) {
	const most = 24 * time.Hour
	if out.Window = c.Window.Duration; out.Window <= 0 || out.Window > most {
		return out, fmt.Errorf("window %s: want more than 0s, and %s at most", out.Window, most)
	}
	text := orElse(c.Aggression, "1.0")
	if out.Aggression, err = strconv.ParseFloat(text, 64); err != nil || out.Aggression <= 0 || out.Aggression > 1e6 {
		return out, fmt.Errorf("aggression %q: want a decimal above 0", text)
	}
	percent := orElse(c.StartWeightPercent, 10)
	if percent < 0 || percent > 100 {
		return out, fmt.Errorf("startWeightPercent %d: want 0 to 100", percent)
	}
	out.Start = max(float64(percent)/100, 1e-6) // nothing at all would be nothing for ever where there is no other
	return out, nil
}
