package kubernetes

import (
	"errors"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// healthCheck is how a policy has a backend probed.
type healthCheck struct {
	kind   string // for messages
	policy metav1.Object
	probe  upstream.Probe
}

// backendSays is what is said of a backend's health where no policy says anything.
type backendSays struct {
	policy  route.Policy   // of the service itself, over the defaults
	probe   upstream.Probe // of its pods, which goes over the defaults; zero: they say none
	weak    bool           // the defaults go over probe
	weights map[string]int
}

// healthOf is what holds of the health of a backend: RoutePolicies for it over what it says itself over the defaults; the probe is that
// of a HealthCheckPolicy, else of the pods, else of what else is said.
func (t *translation) healthOf(backend policyTarget, section string, says backendSays) upstream.Options {
	p := t.base.Overlay(says.policy)
	for _, l := range t.layersOf(backend, section) {
		p = p.Overlay(l.said.ServicePart())
	}
	o := p.ServiceOptions()
	o.Weights = says.weights
	otherwise := says.probe
	if otherwise.Kind == upstream.NoProbe || says.weak && p.Probe.Type != "" {
		otherwise = o.Probe
	}
	o.Probe = t.probeFor(backend, section, otherwise)
	return o
}

// probeFor is how the endpoints of a backend are probed: as a policy says, one for the port before one for the whole. Section is the
// port's name, if it is one of a Service. Otherwise it is otherwise.
func (t *translation) probeFor(backend policyTarget, section string, otherwise upstream.Probe) upstream.Probe {
	if section != "" {
		backend.section = section
		if h := t.policies.probes[backend]; h != nil {
			return h.probe
		}
	}
	if h := t.policies.probes[backend.whole()]; h != nil {
		return h.probe
	}
	return otherwise
}

// backendKinds are the kinds of backends by the group they belong to.
func isBackend(p policyTarget) bool {
	return p.group == "" && p.kind == "Service" || p.group == v1alpha1.Group && (p.kind == "Backend" || p.kind == "EurekaService")
}

// readHealthChecks judges the HealthCheckPolicies of fairlead.dev. They go before those of AGC, which can say less; among them the
// oldest holds.
func (t *translation) readHealthChecks() {
	const kind = "HealthCheckPolicy"
	for _, policy := range byAge(t.HealthCheckPolicies) {
		probe, err := ownProbe(policy.Spec.Default)
		targets := localTargets(policy, policy.Spec.TargetRefs)
		var bad *refusal
		if ref := policy.Spec.TargetRef; ref != nil {
			var p policyTarget
			if p, bad = t.healthTarget(policy, ref); p.name.Name != "" {
				targets = append(targets, p)
			}
		}
		status := gatewayv1.PolicyStatus{Ancestors: []gatewayv1.PolicyAncestorStatus{}}
		for _, p := range targets {
			c := accepted("")
			switch has := t.policies.probes[p]; {
			case err != nil:
				c = unaccepted(gatewayv1.PolicyReasonInvalid, "spec.default."+err.Error())
			case bad != nil:
				c = unaccepted(bad.reason, bad.message)
			case !isBackend(p):
				c = unaccepted(gatewayv1.PolicyReasonInvalid, fmt.Sprintf("%s: want a Service, Backend or EurekaService", p))
			case t.missing(p) != "":
				c = unaccepted(gatewayv1.PolicyReasonTargetNotFound, t.missing(p))
			case has != nil:
				c = heldBy(p, has.kind, has.policy)
			default:
				t.policies.probes[p] = &healthCheck{kind, policy, probe}
			}
			status.Ancestors = append(status.Ancestors, ancestor(p, policy.Generation, c))
		}
		t.publishAs(v1alpha1.GroupVersion, kind, policy, status)
	}
}

// healthTarget reads the target of a HealthCheckPolicy of fairlead.dev that is written as one of AGC.
func (t *translation) healthTarget(policy *v1alpha1.HealthCheckPolicy, ref *albv1.CustomTargetRef) (policyTarget, *refusal) {
	p := policyTarget{group: string(ref.Group), kind: string(ref.Kind)}
	p.name.Namespace, p.name.Name = string(orElse(ref.Namespace, gatewayv1.Namespace(policy.Namespace))), ref.Name
	switch {
	case len(ref.SectionNames) > 0:
		return p, &refusal{string(gatewayv1.PolicyReasonInvalid), "spec.targetRef.sectionNames: use targetRefs with sectionName"}
	case !t.granted(v1alpha1.Group, "HealthCheckPolicy", policy.Namespace, p.group, p.kind, p.name.Namespace, p.name.Name):
		return p, &refusal{albv1.ReasonRefNotPermitted, notPermitted("HealthCheckPolicy", policy.Namespace, p.kind, p.name).message}
	}
	return p, nil
}

// readALBHealthChecks judges the HealthCheckPolicies of AGC.
func (t *translation) readALBHealthChecks() {
	const kind = "HealthCheckPolicy"
	for _, policy := range byAge(t.ALBHealthCheckPolicies) {
		p, bad := t.albTarget(kind, policy, &policy.Spec.TargetRef, "", "Service")
		if bad == nil && policy.Spec.Override != nil {
			bad = &refusal{albv1.ReasonOverrideNotSupported, "spec.override is not supported: use spec.default"}
		}
		if bad == nil && t.missing(p) != "" {
			bad = &refusal{albv1.ReasonInvalidService, t.missing(p)}
		}
		var probe upstream.Probe
		if bad == nil {
			probe, bad = t.albProbe(policy.Spec.Default, p)
		}
		if bad != nil {
			t.publishALB(kind, policy, unaccepted(bad.reason, bad.message), targetResolved(bad))
			continue
		}
		if has := t.policies.probes[p]; has != nil {
			t.publishALB(kind, policy, heldBy(p, has.kind, has.policy), targetResolved(nil))
			continue
		}
		t.policies.probes[p] = &healthCheck{kind + " of AGC", policy, probe}
		t.publishALB(kind, policy, accepted(""), targetResolved(nil))
	}
}

// targetReasons are those that AGC's policies have for a target that cannot be resolved.
var targetReasons = map[string]bool{
	albv1.ReasonRefNotPermitted: true, albv1.ReasonInvalidGroup: true, albv1.ReasonInvalidKind: true, albv1.ReasonInvalidName: true,
	albv1.ReasonNoTargetReference: true, albv1.ReasonInvalidService: true, albv1.RoutePolicyReasonInvalidHTTPRoute: true,
	albv1.RoutePolicyReasonInvalidGRPCRoute: true, albv1.ReasonSectionNamesNotAllowed: true,
}

// targetResolved is the condition ResolvedRefs of a policy of AGC that has only its target to refer to.
func targetResolved(bad *refusal) metav1.Condition {
	if bad == nil || !targetReasons[bad.reason] {
		return condition(albv1.ConditionResolvedRefs, true, albv1.ReasonResolvedRefs, "the target is resolved")
	}
	return condition(albv1.ConditionResolvedRefs, false, bad.reason, bad.message)
}

// albProbe reads a probe of AGC: an HTTP GET unless it says gRPC. Defaults are upstream.Probe's, which are AGC's.
func (t *translation) albProbe(c *albv1.HealthCheckPolicyConfig, p policyTarget) (probe upstream.Probe, bad *refusal) {
	invalid := func(format string, args ...any) *refusal {
		return &refusal{albv1.HealthCheckPolicyReasonInvalid, "spec.default." + fmt.Sprintf(format, args...)}
	}
	if c == nil {
		c = new(albv1.HealthCheckPolicyConfig)
	}
	if c.HTTP != nil && c.GRPC != nil {
		return probe, invalid("http and grpc exclude each other")
	}
	for _, d := range []struct {
		name string
		from *metav1.Duration
		to   *time.Duration
	}{{"interval", c.Interval, &probe.Interval}, {"timeout", c.Timeout, &probe.Timeout}} {
		if d.from == nil {
			continue
		}
		if *d.to = d.from.Duration; *d.to <= 0 {
			return probe, invalid("%s %s: want more than 0s", d.name, d.from.Duration)
		}
	}
	var err error
	if probe.UnhealthyThreshold, err = threshold("unhealthyThreshold", c.UnhealthyThreshold); err != nil {
		return probe, invalid("%s", err)
	}
	if probe.HealthyThreshold, err = threshold("healthyThreshold", c.HealthyThreshold); err != nil {
		return probe, invalid("%s", err)
	}
	if c.Port != nil {
		if *c.Port < 1 || *c.Port > math.MaxUint16 {
			return probe, &refusal{albv1.HealthCheckPolicyReasonInvalidPort, fmt.Sprintf("spec.default.port %d: want 1 to 65535", *c.Port)}
		}
		probe.Port = int(*c.Port)
	}
	probe.TLS = probeTLS(c.UseTLS)
	if orElse(c.UseTLS, false) && !t.hasTLS(p) {
		return probe, &refusal{albv1.HealthCheckPolicyReasonBackendTLSPolicyNotFound, fmt.Sprintf(
			"spec.default.useTLS: no BackendTLSPolicy for %s says how to verify it", p)}
	}
	probe.Kind = upstream.HTTPProbe
	if err := httpProbe(&probe, c.HTTP); err != nil {
		return probe, &refusal{albv1.HealthCheckPolicyReasonUnsupportedStatusCodes, "spec.default.http.match." + err.Error()}
	}
	if g := c.GRPC; g != nil {
		grpcProbe(&probe, g)
	}
	if err := probe.Check(); err != nil {
		return probe, invalid("%s", err)
	}
	return probe, nil
}

// hasTLS tells whether a policy says how to speak TLS to a Service, or to a port of it.
func (t *translation) hasTLS(p policyTarget) bool {
	if t.policies.tls[p] != nil {
		return true
	}
	svc, ok := t.object(p).(*corev1.Service)
	for i := 0; ok && i < len(svc.Spec.Ports); i++ {
		p.section = svc.Spec.Ports[i].Name
		if t.policies.tls[p] != nil {
			return true
		}
	}
	return false
}

func threshold(name string, n *int32) (int, error) {
	if n != nil && *n < 1 {
		return 0, fmt.Errorf("%s %d: want 1 or more", name, *n)
	}
	return int(orElse(n, 0)), nil
}

func probeTLS(use *bool) upstream.ProbeTLS {
	switch {
	case use == nil:
		return upstream.ProbeTLSAuto
	case *use:
		return upstream.ProbeTLSOn
	}
	return upstream.ProbeTLSOff
}

// httpProbe reads what is special to an HTTP probe; the error is of its status codes.
func httpProbe(probe *upstream.Probe, h *albv1.HTTPSpecifiers) error {
	if h == nil {
		return nil
	}
	probe.Host, probe.Path = orElse(h.Host, ""), orElse(h.Path, "")
	if h.Match == nil {
		return nil
	}
	probe.Body = orElse(h.Match.Body, "")
	for i, codes := range h.Match.StatusCodes {
		start, end := int(orElse(codes.Start, 0)), int(orElse(codes.End, 0))
		if codes.End == nil {
			end = start
		}
		if codes.Start == nil {
			start = end
		}
		if err := probe.Status.Add(start, end); err != nil {
			return fmt.Errorf("statusCodes[%d]: %w", i, err)
		}
	}
	return nil
}

func grpcProbe(probe *upstream.Probe, g *albv1.GRPCSpecifiers) {
	probe.Kind, probe.Host, probe.Service = upstream.GRPCProbe, orElse(g.Authority, ""), orElse(g.Service, "")
}

// ownProbe reads a probe of fairlead.dev.
func ownProbe(c *v1alpha1.HealthCheck) (probe upstream.Probe, err error) {
	probe.Kind = upstream.HTTPProbe
	if c == nil {
		return probe, nil
	}
	said := 0
	for _, is := range []bool{c.HTTP != nil, c.GRPC != nil, c.TCP != nil, c.WebSocket != nil} {
		if is {
			said++
		}
	}
	if said > 1 {
		return probe, errors.New("http, grpc, tcp and websocket exclude each other")
	}
	if probe.Interval, err = ownDuration("interval", c.Interval); err != nil {
		return probe, err
	}
	if probe.Timeout, err = ownDuration("timeout", c.Timeout); err != nil {
		return probe, err
	}
	if probe.UnhealthyThreshold, err = threshold("unhealthyThreshold", c.UnhealthyThreshold); err != nil {
		return probe, err
	}
	if probe.HealthyThreshold, err = threshold("healthyThreshold", c.HealthyThreshold); err != nil {
		return probe, err
	}
	probe.Port, probe.TLS = int(orElse(c.Port, 0)), probeTLS(c.UseTLS)
	if err := httpProbe(&probe, c.HTTP); err != nil {
		return probe, fmt.Errorf("http.match.%w", err)
	}
	switch {
	case c.GRPC != nil:
		grpcProbe(&probe, c.GRPC)
	case c.TCP != nil:
		probe.Kind = upstream.TCPProbe
	case c.WebSocket != nil:
		probe.Kind, probe.Path, probe.Host, probe.Ping = upstream.WebSocketProbe, c.WebSocket.Path, c.WebSocket.Host, c.WebSocket.Ping
	}
	return probe, probe.Check()
}

func ownDuration(name string, d v1alpha1.Duration) (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	v, err := unit.ParseDuration(string(d))
	if err == nil && v <= 0 {
		err = errors.New("want more than 0s")
	}
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", name, d, err)
	}
	return v, nil
}
