package kubernetes

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/api/fairlead/v1alpha1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// referrer is who refers to a backend, and what for.
type referrer struct {
	kind, namespace string // of the route: "HTTPRoute"
	gateway         *gateway

	// grpc asks for HTTP/2, stream for bytes as they come. Else it is HTTP/1.1, or what the backend says.
	grpc, stream bool

	// passthrough forbids a TLS of the gateway's own to the backend: a client's TLS passes.
	passthrough bool

	udp bool // else TCP
}

// A refError is why a reference cannot be followed: the reason of ResolvedRefs, and a text.
type refError struct {
	reason gatewayv1.RouteConditionReason
	text   string
}

func badRef(reason gatewayv1.RouteConditionReason, format string, args ...any) *refError {
	return &refError{reason, fmt.Sprintf(format, args...)}
}

// backendKey is what the meaning of a reference depends on.
type backendKey struct {
	group, kind string
	name        types.NamespacedName
	port        int32
	gateway     types.NamespacedName // if it shows backends a certificate

	grpc, stream, passthrough, udp bool
}

// A resolved is what a reference leads to.
type resolved struct {
	backend route.Backend
	bad     *refError
	layers  []*routePolicy // of the backend, the weakest first
}

// backend is what ref leads to, without weight and filters. If it leads nowhere, Invalid says why, and bad is for ResolvedRefs.
func (t *translation) backend(from referrer, ref gatewayv1.BackendObjectReference) resolved {
	k := backendKey{
		group: string(orElse(ref.Group, "")), kind: string(orElse(ref.Kind, "Service")),
		name: types.NamespacedName{Namespace: string(orElse(ref.Namespace, gatewayv1.Namespace(from.namespace))), Name: string(ref.Name)},
		port: orElse(ref.Port, 0), grpc: from.grpc, stream: from.stream, passthrough: from.passthrough, udp: from.udp,
	}
	if from.gateway != nil && from.gateway.clientCertificate != nil && !from.passthrough {
		k.gateway = nameOf(from.gateway)
	}
	if !t.granted(gatewayv1.GroupName, from.kind, from.namespace, k.group, k.kind, k.name.Namespace, k.name.Name) {
		bad := badRef(gatewayv1.RouteReasonRefNotPermitted, "no ReferenceGrant in namespace %s lets %ss of namespace %s refer to %s %s",
			k.name.Namespace, from.kind, from.namespace, kindOf(k.group, k.kind), k.name.Name)
		return resolved{backend: route.Backend{Name: k.String(), Invalid: bad.text}, bad: bad}
	}
	t.uses(k.target(), from.gateway)
	r, known := t.backends[k]
	if !known {
		r = t.resolve(k, from.gateway)
		r.backend.Name = k.String()
		if r.bad != nil {
			r.backend.Service, r.backend.Invalid = nil, r.bad.text
		}
		if rules := t.policies.traffic[k.target()]; rules != nil {
			r.backend.Persistence, r.backend.Budget = rules.persistence, rules.budget
		}
		t.backends[k] = r
	}
	return r
}

// target is the backend as policies name it.
func (k *backendKey) target() policyTarget {
	return policyTarget{group: k.group, kind: k.kind, name: k.name}
}

// String is the name of a backend in logs and lists: "default/web:8080".
func (k *backendKey) String() string {
	s := k.name.String()
	if k.kind != "Service" {
		s = k.kind + "/" + s
	}
	if k.port != 0 {
		s = fmt.Sprintf("%s:%d", s, k.port)
	}
	return s
}

// service is the name of a backend in the pool, unique for where it leads to and how it is spoken to.
func (k *backendKey) service(s speech) string {
	name := k.String()
	switch {
	case k.udp:
		name += " udp"
	case k.passthrough:
		name += " passthrough"
	case k.stream:
		name += " tcp"
	case k.grpc:
		name += " grpc"
	}
	if k.gateway.Name != "" && s.scheme == "https" {
		name += " for " + k.gateway.String()
	}
	return name
}

// pooled is the Service of a backend. Port is the name of its port, tls how it is spoken to over TLS, nil: as everybody; says is what
// holds of its health where no policy says anything else.
func (t *translation) pooled(k backendKey, port string, specs []upstream.Spec, s speech, tls *upstream.TLSSettings, gw *gateway,
	says backendSays,
) *upstream.Service {
	var o upstream.Options
	if !k.udp {
		o = t.healthOf(k.target(), port, says)
	}
	o.Protocol = s.protocol
	if s.scheme == "https" {
		o.TLS = tls
		if k.gateway.Name != "" && (tls == nil || tls.Certificate == nil) { // GEP-3155
			with := upstream.TLSSettings{}
			if tls != nil {
				with = *tls
			}
			with.Certificate = gw.clientCertificate
			o.TLS = &with
		}
	}
	return t.Pool.ServiceWith(k.service(s), specs, o)
}

// kindOf names a kind in messages: "Service", "Backend.fairlead.dev".
func kindOf(group, kind string) string {
	if group == "" {
		return kind
	}
	return kind + "." + group
}

// resolve follows a reference that is permitted.
func (t *translation) resolve(k backendKey, gw *gateway) (r resolved) {
	switch {
	case k.group == "" && k.kind == "Service":
		return t.serviceBackend(k, gw)
	case k.group == v1alpha1.Group && k.kind == "Backend":
		r.backend, r.bad = t.ownBackend(k, gw)
	case k.group == v1alpha1.Group && k.kind == "EurekaService":
		r.backend, r.bad = t.eurekaBackend(k, gw)
	default:
		r.bad = badRef(gatewayv1.RouteReasonInvalidKind, "%s: no kind of backend that is known here", kindOf(k.group, k.kind))
	}
	r.layers = t.layersOf(k.target(), "")
	return r
}

// serviceBackend resolves one port of a Service.
func (t *translation) serviceBackend(k backendKey, gw *gateway) (r resolved) {
	svc := t.services[k.name]
	if svc == nil {
		r.bad = badRef(gatewayv1.RouteReasonBackendNotFound, "Service %s: it does not exist", k.name)
		return r
	}
	var port *corev1.ServicePort
	if port, r.bad = servicePort(svc, k); r.bad != nil {
		return r
	}
	r.layers = t.layersOf(k.target(), port.Name)
	policy := t.tlsFor(k.target(), port)
	var tls *upstream.TLSSettings
	if k.passthrough || k.udp {
		policy = nil
	}
	if policy != nil {
		if tls = policy.settings; policy.invalid != "" { // never in the clear instead (BackendTLSPolicy)
			r.bad = badRef(reasonInvalidTLSPolicy, "Service %s, port %d: %s %s: %s", k.name, k.port, policy.kind, nameOf(policy.policy), policy.invalid)
			return r
		}
	}
	speaks, bad := protocolOf(port.AppProtocol, k, policy != nil)
	if bad != nil {
		bad.text = fmt.Sprintf("Service %s, port %d: %s", k.name, k.port, bad.text)
		r.bad = bad
		return r
	}
	r.backend.Service = t.pooled(k, port.Name, t.endpoints(svc, port, speaks.scheme), speaks, tls, gw, backendSays{probe: t.podProbe(svc, port)})
	return r
}

// reasonInvalidTLSPolicy is ours: the specification has none for a reference that a BackendTLSPolicy makes impossible.
const reasonInvalidTLSPolicy gatewayv1.RouteConditionReason = "InvalidBackendTLSPolicy"

// servicePort is the port of svc that k means. A Service of type ExternalName has any.
func servicePort(svc *corev1.Service, k backendKey) (*corev1.ServicePort, *refError) {
	if k.port < 1 || k.port > 65535 {
		return nil, badRef(gatewayv1.RouteReasonBackendNotFound, "Service %s: a port is needed, by number", k.name)
	}
	protocol := corev1.ProtocolTCP
	if k.udp {
		protocol = corev1.ProtocolUDP
	}
	var other corev1.Protocol
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		if p.Port != k.port {
			continue
		}
		if has := p.Protocol; has == protocol || has == "" && protocol == corev1.ProtocolTCP {
			return p, nil
		}
		other = p.Protocol
	}
	if other != "" {
		return nil, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "Service %s: port %d is of %s, not of %s", k.name, k.port, other, protocol)
	}
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return &corev1.ServicePort{Port: k.port}, nil
	}
	return nil, badRef(gatewayv1.RouteReasonBackendNotFound, "Service %s: it has no port %d", k.name, k.port)
}

// speech is how a backend is spoken to.
type speech struct {
	scheme   string // of its endpoints: http or https
	protocol upstream.Protocol
}

// protocolOf reads a port's appProtocol (GEP-1911): names of Kubernetes (KEP-3726), and those of IANA that mean HTTP. They compare
// without case. Policy tells that a policy has the backend spoken to over TLS.
func protocolOf(appProtocol *string, k backendKey, policy bool) (speech, *refError) {
	s := speech{scheme: "http"}
	if policy {
		s.scheme = "https"
	}
	if k.stream {
		return s, nil
	}
	h2 := k.grpc
	switch p := strings.ToLower(orElse(appProtocol, "")); p {
	case "", "http", "tcp":
	case "kubernetes.io/h2c", "h2c", "grpc":
		h2 = true
	case "kubernetes.io/ws", "ws":
		if k.grpc {
			return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %s does not carry gRPC", p)
		}
	case "kubernetes.io/wss", "wss":
		switch {
		case k.grpc:
			return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %s does not carry gRPC", p)
		case !policy:
			return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %s needs a BackendTLSPolicy", p)
		}
	case "https":
		s.scheme = "https"
	default:
		return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %q is not one that is spoken here", p)
	}
	switch {
	case h2 && s.scheme == "https":
		s.protocol = upstream.H2
	case h2:
		s.protocol = upstream.H2C
	}
	return s, nil
}
