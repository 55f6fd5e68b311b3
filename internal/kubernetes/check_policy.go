package kubernetes

import (
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayx "sigs.k8s.io/gateway-api/apisx/v1alpha1"
)

// addPolicyChecks adds BackendTLSPolicy and XBackendTrafficPolicy.
func addPolicyChecks(t checkTable) {
	t.add(on[gatewayv1.BackendTLSPolicy](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.BackendTLSPolicySpec) {
		at.at("options").properties(len(s.Options), 16)
		at = at.at("targetRefs")
		if at.items(len(s.TargetRefs), 1, 16) {
			checkTargets(at, s.TargetRefs)
		}
	}, "targetRefs", "validation"))
	t.add(on(func(at spot, v *gatewayv1.BackendTLSPolicyValidation) {
		at.at("caCertificateRefs").items(len(v.CACertificateRefs), 0, 8)
		at.at("subjectAltNames").items(len(v.SubjectAltNames), 0, 5)
		switch refs, known := len(v.CACertificateRefs) > 0, v.WellKnownCACertificates != nil; {
		case refs && known:
			at.at("wellKnownCACertificates").refuse("remove one of them", "may not be set beside caCertificateRefs")
		case !refs && !known:
			at.refuse("say wellKnownCACertificates: System, or name a ConfigMap in caCertificateRefs",
				"has neither caCertificateRefs nor wellKnownCACertificates")
		}
	}, "hostname"))
	t.add(on(checkSubjectAltName, "type"))
	t.add(on(enumOf(gatewayv1.HostnameSubjectAltNameType, gatewayv1.URISubjectAltNameType)))

	t.add(on[gatewayx.XBackendTrafficPolicy](nil, "spec"))
	t.add(on(func(at spot, s *gatewayx.BackendTrafficPolicySpec) {
		at = at.at("targetRefs")
		at.items(len(s.TargetRefs), 1, 16)
		unique(at, s.TargetRefs, "target", same)
	}, "targetRefs"))
	t.add(on(func(_ spot, c *gatewayx.RetryConstraint) {
		setDefault(&c.Budget, gatewayx.BudgetDetails{Percent: new(20), Interval: new(gatewayx.Duration("10s"))})
		setDefault(&c.MinRetryRate, gatewayx.RequestRate{Count: new(10), Interval: new(gatewayx.Duration("1s"))})
	}))
	t.add(on(func(at spot, b *gatewayx.BudgetDetails) {
		setDefault(&b.Percent, 20)
		setDefault(&b.Interval, "10s")
		between(at.at("percent"), b.Percent, 0, 100)
		at.at("interval").interval(*b.Interval, time.Second)
	}))
	t.add(on(func(at spot, r *gatewayx.RequestRate) {
		between(at.at("count"), r.Count, 1, 1_000_000)
		if r.Interval != nil {
			at.at("interval").interval(*r.Interval, time.Nanosecond)
		}
	}))
}

// interval checks a time of at most an hour.
func (s spot) interval(v gatewayv1.Duration, least time.Duration) {
	if d, err := parseDuration(v); err == nil && (d < least || d > time.Hour) {
		s.refuse("", "want a time from %s to 1h, have %s", max(least, time.Millisecond), v)
	}
}

// checkTargets holds the targets of a policy to its rules: two references to one object both say which section they mean, and
// not the same.
func checkTargets(at spot, list []gatewayv1.LocalPolicyTargetReferenceWithSectionName) {
	for j := range list {
		for i := range j {
			a, b := &list[i], &list[j]
			if a.LocalPolicyTargetReference != b.LocalPolicyTargetReference {
				continue
			}
			sa, sb := orElse(a.SectionName, ""), orElse(b.SectionName, "")
			if sa == sb {
				at.at(j).refuse("remove one of them", "is the target of item %d", i)
				break
			}
			if sa == "" || sb == "" {
				at.at(j).refuse("give both of them a sectionName", "refers to the object of item %d, of which only one says which section", i)
				break
			}
		}
	}
}

func checkSubjectAltName(at spot, n *gatewayv1.SubjectAltName) {
	checkUnion(at, string(n.Type), []unionField{
		{"hostname", string(gatewayv1.HostnameSubjectAltNameType), n.Hostname != ""},
		{"uri", string(gatewayv1.URISubjectAltNameType), n.URI != ""},
	})
}

// targetOf is a key for the targets of a policy.
func targetOf(r *gatewayv1.LocalPolicyTargetReferenceWithSectionName) (k struct{ group, kind, name, section string }) {
	k.group, k.kind, k.name, k.section = string(r.Group), string(r.Kind), string(r.Name), string(orElse(r.SectionName, ""))
	return k
}
