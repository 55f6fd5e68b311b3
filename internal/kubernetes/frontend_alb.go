package kubernetes

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
)

// A frontendTLS is what a FrontendTLSPolicy of AGC says of listeners.
type frontendTLS struct {
	policy *albv1.FrontendTLSPolicy

	minVersion uint16
	suites     []uint16

	verify bool           // clients need a certificate
	pool   *x509.CertPool // that signs it; nil: refs says why there is none
	names  []string       // one of which it needs; none: any
	refs   *refusal
}

// The suites of AGC's policies 2023-06 and 2023-06-S for TLS 1.2, without those in CBC mode that 2023-06 has besides: no client that
// TLS 1.2 is safe with needs them. Those of TLS 1.3 are not to be chosen.
var albSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
}

// readFrontendTLS judges the FrontendTLSPolicies of AGC for our Gateways, and notes what they say of which listeners.
func (t *translation) readFrontendTLS() {
	const kind = "FrontendTLSPolicy"
	for _, policy := range byAge(t.FrontendTLSPolicies) {
		ref := policy.Spec.TargetRef
		ref.SectionNames = nil // that name listeners, where other policies refuse them
		target, bad := t.albTarget(kind, policy, &ref, gatewayv1.GroupName, "Gateway")
		if bad == nil && t.others[target.name] {
			continue // its controller judges the policy
		}
		gw := t.gateways[target.name]
		switch {
		case bad != nil:
		case policy.Spec.Override != nil:
			bad = refuse(albv1.ReasonOverrideNotSupported, "spec.override is not supported: use spec.default")
		case gw == nil:
			bad = refuse(albv1.ReasonInvalidGateway, "there is no "+target.String())
		}
		var said *frontendTLS
		if bad == nil {
			said, bad = t.frontendTLSOf(policy)
		}
		c := accepted("")
		switch {
		case bad != nil:
			c = unaccepted(bad.reason, bad.message)
		case said.refs != nil:
			c = unaccepted(said.refs.reason, said.refs.message)
		}
		if bad == nil {
			if conflict := gw.take(said, policy.Spec.TargetRef.SectionNames); conflict != nil {
				c = *conflict
			}
		}
		resolved := targetResolved(bad)
		if said != nil && said.refs != nil {
			resolved = condition(albv1.ConditionResolvedRefs, false, said.refs.reason, said.refs.message)
		}
		t.publishALB(kind, policy, c, resolved)
	}
}

// take has a policy hold for listeners of a Gateway, or for all of them, unless another one does, or one of them does not exist.
func (gw *gateway) take(said *frontendTLS, sections []string) *metav1.Condition {
	for _, name := range sections {
		if gw.sections[name] == nil {
			c := unaccepted(albv1.ReasonInvalidGateway, fmt.Sprintf("spec.targetRef.sectionNames: Gateway %s has no listener %s", nameOf(gw), name))
			return &c
		}
	}
	if len(sections) == 0 {
		sections = []string{""}
	}
	for _, name := range sections {
		if has := gw.frontend[name]; has != nil && has != said {
			target := policyTarget{group: gatewayv1.GroupName, kind: "Gateway", name: nameOf(gw), section: name}
			c := heldBy(target, "FrontendTLSPolicy", has.policy)
			return &c
		}
	}
	for _, name := range sections {
		gw.frontend[name] = said
	}
	return nil
}

// frontendTLSOf reads a policy.
func (t *translation) frontendTLSOf(policy *albv1.FrontendTLSPolicy) (*frontendTLS, *refusal) {
	said := &frontendTLS{policy: policy, minVersion: tls.VersionTLS12, suites: albSuites}
	config := policy.Spec.Default
	if config == nil {
		return said, nil
	}
	if p := config.PolicyType; p != nil {
		switch {
		case p.Type != albv1.PolicyTypePredefined && p.Type != "":
			return nil, refusef(albv1.FrontendTLSPolicyReasonInvalidPolicyType,
				"spec.default.policyType.type %q: want %s", p.Type, albv1.PolicyTypePredefined)
		case p.Name != albv1.PolicyType202306 && p.Name != albv1.PolicyType202306S && p.Name != "":
			return nil, refusef(albv1.FrontendTLSPolicyReasonInvalidPolicyName,
				"spec.default.policyType.name %q: want %s or %s", p.Name, albv1.PolicyType202306, albv1.PolicyType202306S)
		}
	}
	if config.Verify == nil {
		return said, nil
	}
	said.verify, said.names = true, config.Verify.SubjectAltNames
	ref := &config.Verify.CaCertificateRef
	name := types.NamespacedName{Namespace: stringOr(ref.Namespace, policy.Namespace), Name: string(ref.Name)}
	var bad *refusal
	switch kind := stringOr(ref.Kind, "Secret"); {
	case stringOr(ref.Group, "") != "" || kind != "Secret":
		bad = refuse(albv1.ReasonInvalidCertificateRef,
			kindOf(stringOr(ref.Group, ""), kind)+" is no kind that holds CA certificates here: name a Secret")
	case !t.granted(albv1.Group, "FrontendTLSPolicy", policy.Namespace, "", "Secret", name.Namespace, name.Name):
		bad = notPermitted("FrontendTLSPolicy."+albv1.Group, policy.Namespace, "Secret", name)
	default:
		bundle, why := t.caSecret(name)
		if why != nil {
			bad = refuse(albv1.ReasonInvalidCertificateRef, why.message)
			break
		}
		said.pool, _ = t.Cache.pool(bundle)
	}
	if bad != nil {
		said.refs = refuse(bad.reason, "spec.default.verify.caCertificateRef: "+bad.message)
	}
	return said, nil
}

// applyFrontendTLS has the policy for a listener hold: the one that names it, else the one for its whole Gateway. Where
// spec.tls.frontend of the Gateway asks for client certificates, it goes before the policy's verify. A policy whose verify
// cannot be followed lets nobody in.
func (l *listener) applyFrontendTLS() {
	said := l.gw.frontend[""]
	if own := l.gw.frontend[string(l.spec.Name)]; own != nil && l.set == nil {
		said = own
	}
	if said == nil {
		return
	}
	l.tls.MinVersion, l.tls.CipherSuites = said.minVersion, said.suites
	switch {
	case !said.verify || l.tls.ClientCAs != nil:
	case said.pool == nil:
		why := refuse(gatewayv1.ListenerReasonInvalidCACertificateRef,
			"FrontendTLSPolicy "+nameOf(said.policy).String()+": "+said.refs.message)
		l.refs, l.unaccepted = why, refuse(gatewayv1.ListenerReasonNoValidCACertificate, why.message)
	default:
		l.tls.ClientCAs, l.tls.ClientNames = said.pool, said.names
	}
}
