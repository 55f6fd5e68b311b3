package kubernetes

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// backendTLS is how a policy has a backend spoken to over TLS.
type backendTLS struct {
	kind     string // BackendTLSPolicy, for messages
	policy   metav1.Object
	settings *upstream.TLSSettings
	invalid  string // why no connection can be made: never in the clear, then. "": it can

	ports []int32 // of AGC's: those that it is for. None: all

	// Of the Gateway API's, by target: what conditions say there.
	accepted     map[policyTarget]metav1.Condition
	resolvedRefs metav1.Condition
}

// tlsFor is the policy for a port of a Service: one for the port goes before one for the whole. Nil: there is none.
func (t *translation) tlsFor(service policyTarget, port *corev1.ServicePort) *backendTLS {
	if port.Name != "" {
		service.section = port.Name
		if b := t.policies.tls[service]; b != nil {
			return b
		}
	}
	b := t.policies.tls[service.whole()]
	if b != nil && len(b.ports) > 0 && !slices.Contains(b.ports, port.Port) {
		return nil
	}
	return b
}

// readBackendTLS judges the BackendTLSPolicies of the Gateway API (GEP-1897). Of several for one target the oldest holds.
func (t *translation) readBackendTLS() {
	for _, policy := range byAge(t.BackendTLSPolicies) {
		b := t.backendTLS(policy)
		for _, p := range localTargets(policy, policy.Spec.TargetRefs) {
			switch has := t.policies.tls[p]; {
			case has != nil:
				b.accepted[p] = heldBy(p, has.kind, has.policy)
			case t.missing(p) != "":
				b.accepted[p] = unaccepted(gatewayv1.PolicyReasonTargetNotFound, t.missing(p))
				t.problem("BackendTLSPolicy", policy, t.missing(p))
			default:
				if why := t.udpOnly(p); why != "" {
					b.accepted[p] = unaccepted(gatewayv1.PolicyReasonInvalid, why)
					continue
				}
				t.policies.tls[p] = b
			}
		}
		t.policies.publish = append(t.policies.publish, func() { t.publishBackendTLS(policy, b) })
	}
}

// localTargets are what a policy of the Gateway API's form is for: objects of its own namespace.
func localTargets(o metav1.Object, refs []gatewayv1.LocalPolicyTargetReferenceWithSectionName) []policyTarget {
	list := make([]policyTarget, 0, len(refs))
	for _, ref := range refs {
		p := policyTarget{group: string(ref.Group), kind: string(ref.Kind), section: string(orElse(ref.SectionName, ""))}
		p.name.Namespace, p.name.Name = o.GetNamespace(), string(ref.Name)
		if !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	return list
}

// udpOnly says why TLS cannot be spoken at a target: all its ports are of UDP. "": it can.
func (t *translation) udpOnly(p policyTarget) string {
	svc, ok := t.object(p).(*corev1.Service)
	if !ok {
		return ""
	}
	n := 0
	for _, port := range svc.Spec.Ports {
		if p.section != "" && port.Name != p.section {
			continue
		}
		if port.Protocol != corev1.ProtocolUDP {
			return ""
		}
		n++
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%s: its port is of UDP, and TLS is for TCP", p)
}

// backendTLS reads what a policy says. If it is invalid, accepted says so for the zero target.
func (t *translation) backendTLS(policy *gatewayv1.BackendTLSPolicy) *backendTLS {
	b := &backendTLS{kind: "BackendTLSPolicy", policy: policy, accepted: make(map[policyTarget]metav1.Condition)}
	v := &policy.Spec.Validation
	s := &upstream.TLSSettings{ServerName: string(v.Hostname)}
	b.resolvedRefs = condition(gatewayv1.BackendTLSPolicyConditionResolvedRefs, true, gatewayv1.BackendTLSPolicyReasonResolvedRefs,
		"all references are resolved")
	invalid := func(reason gatewayv1.PolicyConditionReason, format string, args ...any) {
		if b.invalid == "" {
			b.invalid = fmt.Sprintf(format, args...)
			b.accepted[policyTarget{}] = unaccepted(reason, b.invalid)
		}
	}
	wellKnown := orElse(v.WellKnownCACertificates, "")
	switch {
	case len(v.CACertificateRefs) > 0 && wellKnown != "":
		invalid(gatewayv1.PolicyReasonInvalid, "validation: caCertificateRefs and wellKnownCACertificates exclude each other")
	case len(v.CACertificateRefs) > 0:
		pool, bad := t.authorities("BackendTLSPolicy", policy.Namespace, v.CACertificateRefs)
		if bad != nil {
			b.resolvedRefs = condition(gatewayv1.BackendTLSPolicyConditionResolvedRefs, false, bad.reason, "validation."+bad.message)
		}
		if s.RootCAs = pool; pool == nil {
			invalid(gatewayv1.BackendTLSPolicyReasonNoValidCACertificate, "validation.%s", bad.message)
		}
	case wellKnown == "":
		invalid(gatewayv1.PolicyReasonInvalid, "validation: one of caCertificateRefs and wellKnownCACertificates is needed")
	case wellKnown != gatewayv1.WellKnownCACertificatesSystem:
		invalid(gatewayv1.PolicyReasonInvalid, "validation.wellKnownCACertificates %q: want System", wellKnown)
	}
	if v.Hostname == "" || !plainHostname(strings.ToLower(string(v.Hostname))) {
		invalid(gatewayv1.PolicyReasonInvalid, "validation.hostname %q: no name of a host", v.Hostname)
	}
	if why := subjectAltNames(s, v.SubjectAltNames); why != "" {
		invalid(gatewayv1.PolicyReasonInvalid, "validation.%s", why)
	}
	b.settings = s
	return b
}

// subjectAltNames notes the names of which a certificate needs one, and returns what is wrong with them; "": nothing.
func subjectAltNames(s *upstream.TLSSettings, names []gatewayv1.SubjectAltName) string {
	for i, n := range names {
		switch {
		case n.Type == gatewayv1.HostnameSubjectAltNameType && n.Hostname != "":
			s.DNSNames = append(s.DNSNames, strings.ToLower(string(n.Hostname)))
		case n.Type == gatewayv1.URISubjectAltNameType && n.URI != "":
			s.URIs = append(s.URIs, string(n.URI))
		default:
			return fmt.Sprintf("subjectAltNames[%d]: want type Hostname with hostname, or URI with uri", i)
		}
	}
	return ""
}

// authorities joins the CA certificates of refs, which are local to namespace. Bad says what is wrong with the first that is no good;
// the pool is nil if none is.
func (t *translation) authorities(kind, namespace string, refs []gatewayv1.LocalObjectReference) (pool *x509.CertPool, bad *refusal) {
	list := make([]gatewayv1.ObjectReference, len(refs))
	for i, ref := range refs {
		list[i] = gatewayv1.ObjectReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}
	}
	pool, bad = t.caBundles(kind, namespace, list)
	if bad != nil && bad.reason == string(gatewayv1.ListenerReasonInvalidCACertificateKind) {
		bad.reason = string(gatewayv1.BackendTLSPolicyReasonInvalidKind) // the same thing has two names
	}
	return pool, bad
}

// publishBackendTLS adds the status of a policy: an entry for each Gateway that reaches one of its targets.
func (t *translation) publishBackendTLS(policy *gatewayv1.BackendTLSPolicy, b *backendTLS) {
	targets := localTargets(policy, policy.Spec.TargetRefs)
	ok := accepted(unknownOptions(policy.Spec.Options))
	if bad, is := b.accepted[policyTarget{}]; is {
		ok = bad // of the policy, wherever it is for
	}
	status := gatewayv1.PolicyStatus{Ancestors: t.ancestors("BackendTLSPolicy", policy, targets, func(p policyTarget) []metav1.Condition {
		if c, said := b.accepted[p]; said {
			return []metav1.Condition{c, b.resolvedRefs}
		}
		return []metav1.Condition{ok, b.resolvedRefs}
	})}
	t.publish("BackendTLSPolicy", policy, status)
}

// ancestors are the entries of a policy for backends: one for each Gateway that reaches one of the targets, with the conditions of the
// first such target where the policy holds, else of the first. No more than a PolicyStatus has room for.
func (t *translation) ancestors(kind string, o metav1.Object, targets []policyTarget, said func(policyTarget) []metav1.Condition,
) []gatewayv1.PolicyAncestorStatus {
	list := []gatewayv1.PolicyAncestorStatus{}
	at := make(map[policyTarget]int) // by Gateway
	for _, p := range targets {
		c := said(p)
		for _, gw := range t.policies.users[p.whole()] {
			entry := ancestor(gatewayTarget(gw), o.GetGeneration(), c...)
			i, has := at[gatewayTarget(gw)]
			switch {
			case has && list[i].Conditions[0].Status == metav1.ConditionFalse && c[0].Status == metav1.ConditionTrue:
				list[i] = entry
			case has:
			case len(list) == maxAncestors:
				t.problem(kind, o, fmt.Sprintf("more than %d Gateways reach it: its status has no room for Gateway %s", maxAncestors, gw))
			default:
				at[gatewayTarget(gw)] = len(list)
				list = append(list, entry)
			}
		}
	}
	return list
}

// unknownOptions tells of options, none of which is known here.
func unknownOptions(options map[gatewayv1.AnnotationKey]gatewayv1.AnnotationValue) string {
	if len(options) == 0 {
		return ""
	}
	names := make([]string, 0, len(options))
	for k := range options {
		names = append(names, string(k))
	}
	slices.Sort(names)
	return "the policy holds; unknown options are ignored: " + strings.Join(names, ", ")
}
