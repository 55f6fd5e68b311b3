package kubernetes

import (
	"crypto/x509"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// caKey is where a ConfigMap or Secret holds a bundle of CA certificates.
const caKey = "ca.crt"

// listenerTLS finds how TLS ends at a listener: nowhere if it is passed through.
func (t *translation) listenerTLS(l *listener) {
	mode := gatewayv1.TLSModeTerminate
	if l.spec.TLS != nil && l.spec.TLS.Mode != nil {
		mode = *l.spec.TLS.Mode
	}
	switch {
	case mode == gatewayv1.TLSModePassthrough && l.spec.Protocol == gatewayv1.HTTPSProtocolType:
		l.unaccepted = refuse(gatewayv1.ListenerReasonUnsupportedValue,
			"tls.mode Passthrough: HTTPS has to end here; write protocol TLS to pass it through")
		return
	case mode == gatewayv1.TLSModePassthrough:
		return
	case mode != gatewayv1.TLSModeTerminate:
		l.unaccepted = refusef(gatewayv1.ListenerReasonUnsupportedValue, "tls.mode %q: write Terminate or Passthrough", mode)
		return
	}
	l.tls = new(route.HostTLS)
	t.serverCertificates(l)
	if l.spec.Protocol == gatewayv1.HTTPSProtocolType {
		t.clientValidation(l)
	}
	l.applyFrontendTLS()
}

// serverCertificates resolves tls.certificateRefs. Those that are good are served even if others are not.
func (t *translation) serverCertificates(l *listener) {
	const invalid = string(gatewayv1.ListenerReasonInvalidCertificateRef)
	kind, namespace := l.owner()
	var refs []gatewayv1.SecretObjectReference
	if l.spec.TLS != nil {
		refs = l.spec.TLS.CertificateRefs
	}
	var why *refusal
	for i := range refs {
		pair, bad := t.keyPair(kind, namespace, &refs[i], invalid)
		if bad == nil {
			l.tls.Certificates = append(l.tls.Certificates, pair)
		} else if why == nil {
			why = refusef(bad.reason, "tls.certificateRefs[%d]: %s", i, bad.message)
		}
	}
	if len(refs) == 0 {
		why = refuse(invalid, "tls.certificateRefs is empty: name a Secret with the certificate")
	}
	if why == nil {
		return
	}
	l.refs = why
	if len(l.tls.Certificates) == 0 {
		l.unserved = why
	}
}

// clientValidation applies spec.tls.frontend of the Gateway (GEP-91) to an HTTPS listener: what is said for its port, else the default.
func (t *translation) clientValidation(l *listener) {
	if l.gw.Spec.TLS == nil || l.gw.Spec.TLS.Frontend == nil {
		return
	}
	frontend, place := l.gw.Spec.TLS.Frontend, "spec.tls.frontend.default"
	config := frontend.Default
	for i := range frontend.PerPort {
		if frontend.PerPort[i].Port == l.spec.Port {
			config, place = frontend.PerPort[i].TLS, fmt.Sprintf("spec.tls.frontend.perPort of %d", l.spec.Port)
		}
	}
	if config.Validation == nil {
		return
	}
	pool, why := t.caBundles("Gateway", l.gw.Namespace, config.Validation.CACertificateRefs)
	if why != nil {
		l.refs = refuse(why.reason, place+": "+why.message)
		if pool == nil {
			l.unaccepted = refuse(gatewayv1.ListenerReasonNoValidCACertificate, l.refs.message)
			return
		}
	}
	l.tls.ClientCAs = pool
	l.tls.AllowInsecure = config.Validation.Mode == gatewayv1.AllowInsecureFallback
}

// caBundles joins the CA certificates that refs name; why says what is wrong with the first that is no good. nil: none is good.
func (t *translation) caBundles(fromKind, fromNamespace string, refs []gatewayv1.ObjectReference) (pool *x509.CertPool, why *refusal) {
	var bundles []string
	for i := range refs {
		bundle, bad := t.caBundle(fromKind, fromNamespace, &refs[i])
		if bad == nil {
			bundles = append(bundles, string(bundle))
		} else if why == nil {
			why = refusef(bad.reason, "caCertificateRefs[%d]: %s", i, bad.message)
		}
	}
	if len(refs) == 0 {
		why = refuse(gatewayv1.ListenerReasonInvalidCACertificateRef, "caCertificateRefs is empty")
	}
	if len(bundles) == 0 {
		return nil, why
	}
	pool, err := t.Cache.pool([]byte(strings.Join(bundles, "\n")))
	if err != nil { // cannot be: each was parsed
		return nil, refuse(gatewayv1.ListenerReasonInvalidCACertificateRef, err.Error())
	}
	return pool, why
}

// caBundle resolves one reference to a ConfigMap or a Secret with CA certificates.
func (t *translation) caBundle(fromKind, fromNamespace string, ref *gatewayv1.ObjectReference) ([]byte, *refusal) {
	if ref.Group != "" || ref.Kind != "ConfigMap" && ref.Kind != "Secret" {
		return nil, refuse(gatewayv1.ListenerReasonInvalidCACertificateKind,
			kindOf(string(ref.Group), string(ref.Kind))+" is no kind that holds CA certificates: name a ConfigMap or a Secret")
	}
	name := types.NamespacedName{Namespace: stringOr(ref.Namespace, fromNamespace), Name: string(ref.Name)}
	if !t.granted(gatewayv1.GroupName, fromKind, fromNamespace, "", string(ref.Kind), name.Namespace, name.Name) {
		return nil, notPermitted(fromKind, fromNamespace, string(ref.Kind), name)
	}
	if ref.Kind == "Secret" {
		return t.caSecret(name)
	}
	m := t.configMap(name)
	if m == nil {
		return nil, badBundle("there is no ConfigMap %s", name)
	}
	bundle := []byte(m.Data[caKey])
	if len(bundle) == 0 {
		bundle = m.BinaryData[caKey]
	}
	return bundle, t.checkBundle("ConfigMap", name, bundle)
}

// caSecret is the bundle of CA certificates of a Secret.
func (t *translation) caSecret(name types.NamespacedName) ([]byte, *refusal) {
	s := t.secret(name)
	if s == nil {
		return nil, badBundle("there is no Secret %s", name)
	}
	return s.Data[caKey], t.checkBundle("Secret", name, s.Data[caKey])
}

func (t *translation) checkBundle(kind string, name types.NamespacedName, bundle []byte) *refusal {
	if len(bundle) == 0 {
		return badBundle("%s %s has no %s", kind, name, caKey)
	}
	if _, err := t.Cache.pool(bundle); err != nil {
		return badBundle("%s %s: %s: %v", kind, name, caKey, err)
	}
	return nil
}

func badBundle(format string, args ...any) *refusal {
	return refusef(gatewayv1.ListenerReasonInvalidCACertificateRef, format, args...)
}
