package kubernetes

import (
	"regexp"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
)

// unboundedBreaker is the default of every field of a CircuitBreakerConfig: no bound.
const unboundedBreaker = 1_000_000_000

var decimalForm = regexp.MustCompile(`^([0-9]+([.][0-9]+)?|[.][0-9]+)$`)

// addALBChecks adds the kinds of alb.networking.azure.io. Their schemas let most values pass: what is wrong with those is a
// condition.
func addALBChecks(t checkTable) {
	t.add(on[albv1.HealthCheckPolicy](nil))
	t.add(on[albv1.HealthCheckPolicySpec](nil, "targetRef"))
	t.add(on[albv1.RoutePolicySpec](nil, "targetRef"))
	t.add(on[albv1.SessionAffinity](nil, "affinityType"))
	t.add(on(enumOf(albv1.AffinityTypeApplicationCookie, albv1.AffinityTypeManagedCookie)))
	t.add(on[albv1.BackendTLSPolicySpec](nil, "targetRef"))
	t.add(on[albv1.BackendTLSVerify](nil, "caCertificateRef"))
	t.add(on(func(at spot, p *albv1.BackendTLSPolicyPort) { atLeast(at.at("port"), p.Port, 1) }))
	t.add(on[albv1.FrontendTLSPolicySpec](nil, "targetRef"))
	t.add(on(func(_ spot, c *albv1.FrontendTLSPolicyConfig) {
		setDefault(&c.PolicyType, albv1.PolicyType{Name: albv1.PolicyType202306, Type: albv1.PolicyTypePredefined})
	}))
	t.add(on[albv1.PolicyType](nil, "name", "type"))
	t.add(on[albv1.FrontendTLSVerify](nil, "caCertificateRef"))
	t.add(on[albv1.BackendLoadBalancingPolicySpec](nil, "targetRefs"))
	t.add(on[albv1.TargetRefSpec](nil, "targetRef"))
	t.add(on(func(at spot, p *albv1.BackendLoadBalancingPolicyPort) { atLeast(at.at("port"), p.Port, 1) }))
	t.add(on(func(at spot, c *albv1.CircuitBreakerConfig) {
		for _, f := range []struct {
			name  string
			value **int32
		}{
			{"maxConnections", &c.MaxConnections},
			{"maxPendingRequests", &c.MaxPendingRequests},
			{"maxRequests", &c.MaxRequests},
			{"maxRetries", &c.MaxRetries},
		} {
			setDefault(f.value, unboundedBreaker)
			atLeast(at.at(f.name), *f.value, 0)
		}
	}))
	t.add(on(enumOf(albv1.LoadBalancingRoundRobin, albv1.LoadBalancingLeastRequest, albv1.LoadBalancingLoadAware, albv1.LoadBalancingRingHash)))
	t.add(on(func(at spot, c *albv1.SlowStartConfig) {
		setDefault(&c.Aggression, "1.0")
		at.at("aggression").decimal(*c.Aggression)
		setDefault(&c.StartWeightPercent, 10)
		between(at.at("startWeightPercent"), c.StartWeightPercent, 0, 100)
	}, "window"))
	t.add(on(func(at spot, c *albv1.LoadAwareConfig) {
		setDefault(&c.ErrorUtilizationPenalty, "1.0")
		at.at("errorUtilizationPenalty").decimal(*c.ErrorUtilizationPenalty)
		at.at("namedMetrics").items(len(c.NamedMetrics), 0, 10)
	}))
}

// decimal checks a number that is written as a text.
func (s spot) decimal(v string) {
	if !decimalForm.MatchString(v) {
		s.refuse("", `%s is no decimal number: want "1.5"`, shown(v, true))
	}
}
