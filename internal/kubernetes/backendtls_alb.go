package kubernetes

import (
	"crypto/tls"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// readALBBackendTLS judges the BackendTLSPolicies of AGC. One of the Gateway API for the same Service goes before them.
func (t *translation) readALBBackendTLS() {
	const kind = "BackendTLSPolicy"
	for _, policy := range byAge(t.ALBBackendTLSPolicies) {
		p, bad := t.albTarget(kind, policy, &policy.Spec.TargetRef, "", "Service")
		if bad == nil && t.missing(p) != "" {
			bad = &refusal{albv1.ReasonInvalidService, t.missing(p)}
		}
		if bad == nil && policy.Spec.Override != nil {
			bad = &refusal{albv1.ReasonOverrideNotSupported, "spec.override is not supported: use spec.default"}
		}
		if bad != nil {
			t.publishALB(kind, policy, unaccepted(bad.reason, bad.message), targetResolved(bad))
			continue
		}
		if has := t.policies.tls[p]; has != nil {
			t.publishALB(kind, policy, heldBy(p, has.kind, has.policy), targetResolved(nil))
			continue
		}
		b, c, refs := t.albTLS(policy, p)
		t.policies.tls[p] = b
		resolved := condition(albv1.ConditionResolvedRefs, true, albv1.ReasonResolvedRefs, "all references are resolved")
		if refs != nil {
			resolved = condition(albv1.ConditionResolvedRefs, false, refs.reason, refs.message)
		}
		t.publishALB(kind, policy, c, resolved)
	}
}

// albTLS reads what a policy says of a Service. Refs is why a reference cannot be followed.
func (t *translation) albTLS(policy *albv1.BackendTLSPolicy, p policyTarget) (b *backendTLS, c metav1.Condition, refs *refusal) {
	b = &backendTLS{kind: "BackendTLSPolicy of AGC", policy: policy}
	s := new(upstream.TLSSettings)
	b.settings, c = s, accepted("")
	config := policy.Spec.Default
	if config == nil {
		config = new(albv1.BackendTLSPolicyConfig)
	}
	invalid := func(reason, message string) {
		if b.invalid == "" {
			b.invalid, c = message, unaccepted(reason, message)
		}
	}
	s.ServerName = strings.ToLower(orElse(config.Sni, ""))
	if !plainHostname(s.ServerName) {
		invalid(albv1.BackendTLSPolicyReasonInvalid, fmt.Sprintf("spec.default.sni %q: no name of a host", s.ServerName))
	}
	svc, _ := t.object(p).(*corev1.Service)
	for i, port := range config.Ports {
		n := orElse(port.Port, 0)
		if svc == nil || !hasPort(svc, n) {
			invalid(albv1.HealthCheckPolicyReasonInvalidPort, fmt.Sprintf("spec.default.ports[%d].port %d: %s has no such port", i, n, p))
		}
		b.ports = append(b.ports, n)
	}
	if ref := config.ClientCertificateRef; ref != nil {
		pair, bad := t.keyPairOf(albv1.Group, "BackendTLSPolicy", policy.Namespace, ref, albv1.ReasonInvalidCertificateRef)
		if s.Certificate = pair; bad != nil {
			refs = &refusal{bad.reason, "spec.default.clientCertificateRef: " + bad.message}
			invalid(refs.reason, refs.message)
		}
	}
	if config.Verify == nil {
		s.Insecure = true
		if b.invalid == "" {
			c.Message = "the policy holds; any certificate is taken, since spec.default.verify is missing"
		}
		return b, c, refs
	}
	if bad := t.albVerify(policy, config.Verify, s); bad != nil {
		if bad.reason != albv1.BackendTLSPolicyReasonInvalid {
			refs = bad
		}
		invalid(bad.reason, bad.message)
	}
	return b, c, refs
}

// albVerify reads what a Service's certificate must be.
func (t *translation) albVerify(policy *albv1.BackendTLSPolicy, v *albv1.BackendTLSVerify, s *upstream.TLSSettings) *refusal {
	ref := v.CaCertificateRef
	bad := func(format string, args ...any) *refusal {
		return &refusal{albv1.ReasonInvalidCertificateRef, "spec.default.verify.caCertificateRef: " + fmt.Sprintf(format, args...)}
	}
	if group, kind := string(orElse(ref.Group, "")), string(orElse(ref.Kind, "Secret")); group != "" || kind != "Secret" {
		return bad("%s: want a Secret", kindOf(group, kind))
	}
	name := types.NamespacedName{Namespace: string(orElse(ref.Namespace, gatewayv1.Namespace(policy.Namespace))), Name: string(ref.Name)}
	if !t.granted(albv1.Group, "BackendTLSPolicy", policy.Namespace, "", "Secret", name.Namespace, name.Name) {
		return &refusal{albv1.ReasonRefNotPermitted, notPermitted("BackendTLSPolicy", policy.Namespace, "Secret", name).message}
	}
	secret := t.secret(name)
	if secret == nil {
		return bad("there is no Secret %s", name)
	}
	pool, err := t.Cache.pool(secret.Data[caKey])
	if err != nil {
		return bad("Secret %s: %s: %v", name, caKey, err)
	}
	s.RootCAs = pool
	if san := strings.ToLower(orElse(v.SubjectAltName, "")); san != "" {
		s.DNSNames = []string{san}
	} else if s.ServerName == "" {
		return &refusal{albv1.BackendTLSPolicyReasonInvalid, "spec.default.verify: without subjectAltName or sni there is no name to verify"}
	}
	return nil
}

func hasPort(svc *corev1.Service, number int32) bool {
	for i := range svc.Spec.Ports {
		if svc.Spec.Ports[i].Port == number {
			return true
		}
	}
	return false
}

// keyPairOf resolves a reference to a Secret with a certificate from an object of another group than the Gateway API's.
func (t *translation) keyPairOf(group, kind, namespace string, ref *gatewayv1.SecretObjectReference, invalid string) (*tls.Certificate, *refusal) {
	name := types.NamespacedName{Namespace: string(orElse(ref.Namespace, gatewayv1.Namespace(namespace))), Name: string(ref.Name)}
	if !t.granted(group, kind, namespace, "", "Secret", name.Namespace, name.Name) {
		return nil, notPermitted(kind, namespace, "Secret", name)
	}
	local := *ref
	local.Namespace = nil
	return t.keyPair(kind, name.Namespace, &local, invalid)
}
