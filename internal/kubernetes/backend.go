package kubernetes

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// referrer is who refers to a backend, and what for.
type referrer struct {
	kind, namespace string // of the route: "HTTPRoute"
	gateway         *gateway

	// grpc asks for HTTP/2, raw for bytes as they come: TCP, UDP, and TLS that is passed through. Else it is HTTP/1.1, or what the
	// backend says.
	grpc, raw bool

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
	grpc, raw   bool
	udp         bool
}

// A resolved is what a reference leads to.
type resolved struct {
	backend route.Backend
	bad     *refError
}

// backend is what ref leads to, without weight and filters. If it leads nowhere, Invalid says why, and bad is for ResolvedRefs.
func (t *translation) backend(from referrer, ref gatewayv1.BackendObjectReference) (b route.Backend, bad *refError) {
	k := backendKey{
		group: string(orElse(ref.Group, "")), kind: string(orElse(ref.Kind, "Service")),
		name: types.NamespacedName{Namespace: string(orElse(ref.Namespace, gatewayv1.Namespace(from.namespace))), Name: string(ref.Name)},
		port: orElse(ref.Port, 0), grpc: from.grpc, raw: from.raw, udp: from.udp,
	}
	if from.gateway != nil && from.gateway.clientCertificate != nil && !from.raw {
		k.gateway = nameOf(from.gateway)
	}
	if !t.granted(gatewayv1.GroupName, from.kind, from.namespace, k.group, k.kind, k.name.Namespace, k.name.Name) {
		bad = badRef(gatewayv1.RouteReasonRefNotPermitted, "no ReferenceGrant in namespace %s lets %ss of namespace %s refer to %s %s",
			k.name.Namespace, from.kind, from.namespace, kindOf(k.group, k.kind), k.name.Name)
		return route.Backend{Name: k.String(), Invalid: bad.text}, bad
	}
	r, known := t.backends[k]
	if !known {
		r.backend, r.bad = t.resolve(k, from.gateway)
		r.backend.Name = k.String()
		if r.bad != nil {
			r.backend.Service, r.backend.Invalid = nil, r.bad.text
		}
		t.backends[k] = r
	}
	return r.backend, r.bad
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

// service is the name of a backend in the pool, unique for what it leads to.
func (k *backendKey) service() string {
	s := k.String()
	switch {
	case k.grpc:
		s += " grpc"
	case k.udp:
		s += " udp"
	case k.raw:
		s += " raw"
	}
	if k.gateway.Name != "" {
		s += " for " + k.gateway.String()
	}
	return s
}

// kindOf names a kind in messages: "Service", "Backend.fairlead.dev".
func kindOf(group, kind string) string {
	if group == "" {
		return kind
	}
	return kind + "." + group
}

// resolve follows a reference that is permitted.
func (t *translation) resolve(k backendKey, gw *gateway) (route.Backend, *refError) {
	switch {
	case k.group == "" && k.kind == "Service":
		return t.serviceBackend(k, gw)
	}
	return route.Backend{}, badRef(gatewayv1.RouteReasonInvalidKind, "%s: no kind of backend that is known here", kindOf(k.group, k.kind))
}

// serviceBackend resolves one port of a Service.
func (t *translation) serviceBackend(k backendKey, gw *gateway) (b route.Backend, bad *refError) {
	svc := t.services[k.name]
	if svc == nil {
		return b, badRef(gatewayv1.RouteReasonBackendNotFound, "Service %s: it does not exist", k.name)
	}
	port, bad := servicePort(svc, k)
	if bad != nil {
		return b, bad
	}
	speaks, bad := protocolOf(port.AppProtocol, k)
	if bad != nil {
		bad.text = fmt.Sprintf("Service %s, port %d: %s", k.name, k.port, bad.text)
		return b, bad
	}
	b.Service = t.Pool.ServiceWith(k.service(), t.endpoints(svc, port, speaks.scheme), upstream.Options{Protocol: speaks.protocol})
	return b, nil
}

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

// protocolOf reads a port's appProtocol (GEP-1911): names of Kubernetes (KEP-3726), and those of IANA that mean HTTP.
func protocolOf(appProtocol *string, k backendKey) (speech, *refError) {
	s := speech{scheme: "http"}
	if k.raw {
		return s, nil
	}
	if k.grpc {
		s.protocol = upstream.H2C
	}
	switch p := orElse(appProtocol, ""); p {
	case "", "http", "tcp":
	case "kubernetes.io/h2c", "h2c", "grpc":
		s.protocol = upstream.H2C
	case "kubernetes.io/ws", "ws":
		if k.grpc {
			return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %s does not carry gRPC", p)
		}
	case "kubernetes.io/wss", "wss":
		return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %s needs a BackendTLSPolicy", p)
	case "https":
		s.scheme = "https"
		if k.grpc {
			s.protocol = upstream.H2
		}
	default:
		return s, badRef(gatewayv1.RouteReasonUnsupportedProtocol, "appProtocol %q is not one that is spoken here", p)
	}
	return s, nil
}
