package kubernetes

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayx "sigs.k8s.io/gateway-api/apisx/v1alpha1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// trafficRules are what an XBackendTrafficPolicy says of a backend.
type trafficRules struct {
	policy      metav1.Object
	budget      *route.RetryBudget
	persistence *route.Persistence
}

// readTraffic judges the XBackendTrafficPolicies (GEP-3388, GEP-1619). Of several for one backend the oldest holds.
func (t *translation) readTraffic() {
	const kind = "XBackendTrafficPolicy"
	for _, policy := range byAge(t.BackendTraffic) {
		rules, err := trafficOf(policy)
		said := make(map[policyTarget]metav1.Condition)
		var targets []policyTarget
		for _, ref := range policy.Spec.TargetRefs {
			p := policyTarget{group: string(ref.Group), kind: string(ref.Kind)}
			p.name.Namespace, p.name.Name = policy.Namespace, string(ref.Name)
			targets = append(targets, p)
			switch has := t.policies.traffic[p]; {
			case err != nil:
				said[p] = unaccepted(gatewayv1.PolicyReasonInvalid, "spec."+err.Error())
			case !isBackend(p):
				said[p] = unaccepted(gatewayv1.PolicyReasonInvalid, fmt.Sprintf("%s: want a Service, Backend or EurekaService", p))
				t.problem(kind, policy, said[p].Message)
			case t.missing(p) != "":
				said[p] = unaccepted(gatewayv1.PolicyReasonTargetNotFound, t.missing(p))
				t.problem(kind, policy, said[p].Message)
			case has != nil && has != rules:
				said[p] = heldBy(p, kind, has.policy)
			default:
				t.policies.traffic[p] = rules
				said[p] = accepted("")
			}
		}
		t.policies.publish = append(t.policies.publish, func() {
			status := gatewayv1.PolicyStatus{Ancestors: t.ancestors(kind, policy, targets, func(p policyTarget) []metav1.Condition {
				return []metav1.Condition{said[p]}
			})}
			t.publishAs(gatewayx.GroupVersion.String(), kind, policy, status)
		})
	}
}

// Defaults of a retry budget, which are the schema's.
const (
	budgetPercent  = 20
	budgetInterval = 10 * time.Second
	budgetMinCount = 10
	budgetMinEvery = time.Second
)

func trafficOf(policy *gatewayx.XBackendTrafficPolicy) (*trafficRules, error) {
	out := &trafficRules{policy: policy}
	var err error
	if c := policy.Spec.RetryConstraint; c != nil {
		if out.budget, err = retryBudget(c); err != nil {
			return nil, fmt.Errorf("retryConstraint.%w", err)
		}
	}
	owner := "XBackendTrafficPolicy/" + nameOf(policy).String()
	if out.persistence, err = persistence(policy.Spec.SessionPersistence, owner, ""); err != nil {
		return nil, fmt.Errorf("sessionPersistence.%w", err)
	}
	return out, nil
}

func retryBudget(c *gatewayx.RetryConstraint) (*route.RetryBudget, error) {
	b := &route.RetryBudget{Percent: budgetPercent, Interval: budgetInterval, MinCount: budgetMinCount, MinEvery: budgetMinEvery}
	var err error
	if d := c.Budget; d != nil {
		b.Percent = orElse(d.Percent, budgetPercent)
		if b.Interval, err = budgetDuration("budget.interval", d.Interval, budgetInterval); err != nil {
			return nil, err
		}
	}
	if r := c.MinRetryRate; r != nil {
		b.MinCount = orElse(r.Count, budgetMinCount)
		if b.MinEvery, err = budgetDuration("minRetryRate.interval", r.Interval, budgetMinEvery); err != nil {
			return nil, err
		}
	}
	switch {
	case b.Percent < 0 || b.Percent > 100:
		return nil, fmt.Errorf("budget.percent %d: want 0 to 100", b.Percent)
	case b.MinCount < 0 || b.MinCount > 1_000_000:
		return nil, fmt.Errorf("minRetryRate.count %d: want 0 to 1000000", b.MinCount)
	}
	return b, nil
}

func budgetDuration(field string, d *gatewayv1.Duration, otherwise time.Duration) (time.Duration, error) {
	if d == nil {
		return otherwise, nil
	}
	v, err := parseDuration(*d)
	if err == nil && (v < time.Second || v > time.Hour) {
		err = fmt.Errorf("want 1s to 1h")
	}
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", field, *d, err)
	}
	return v, nil
}
