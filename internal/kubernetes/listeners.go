package kubernetes

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A listener is a listener of a Gateway or of a ListenerSet while it is translated.
type listener struct {
	gw   *gateway
	set  *listenerSet // nil: the Gateway's own
	spec gatewayv1.Listener

	hostname  string          // in lower case; "" for protocols that know none
	transport route.Transport // "": no protocol of ours
	kinds     []gatewayv1.RouteGroupKind
	tls       *route.HostTLS // where TLS ends

	// Why it is not as its owner wants it; nil: it is.
	unaccepted *refusal
	conflict   *refusal
	refs       *refusal
	unserved   *refusal // refs leave nothing that could be served
	down       *refusal // its address cannot be bound

	overlaps string // hostnames of the same port that overlap under TLS

	host     *route.Host  // what is served; nil: nothing
	attached int32        // routes
	last     *routeObject // that was attached

	allowed    map[string]bool // by namespace: whether its routes may be attached; a cache
	http, grpc nameSet         // hostnames of the attached HTTPRoutes and GRPCRoutes
}

// name is how messages and logs call a listener.
func (l *listener) name() string {
	if l.set != nil {
		return l.set.Namespace + "/" + l.set.Name + "/" + string(l.spec.Name)
	}
	return l.gw.Namespace + "/" + l.gw.Name + "/" + string(l.spec.Name)
}

// owner is the kind and namespace that ReferenceGrants and allowedRoutes mean.
func (l *listener) owner() (kind, namespace string) {
	if l.set != nil {
		return "ListenerSet", l.set.Namespace
	}
	return "Gateway", l.gw.Namespace
}

// examine judges a listener by itself.
func (t *translation) examine(l *listener) {
	kinds := t.protocol(l)
	t.routeKinds(l, kinds)
	switch {
	case l.transport == "":
	case l.spec.Port < 1 || l.spec.Port > 65535:
		l.unaccepted = refusef(gatewayv1.ListenerReasonPortUnavailable, "port %d is not between 1 and 65535", l.spec.Port)
	case int(l.spec.Port)+t.PortOffset < 1 || int(l.spec.Port)+t.PortOffset > 65535:
		l.unaccepted = refusef(gatewayv1.ListenerReasonPortUnavailable,
			"port %d with the port offset %d is not between 1 and 65535", l.spec.Port, t.PortOffset)
	case l.transport == route.TransportTLS:
		t.listenerTLS(l)
	}
}

// protocol finds what a listener speaks, and the kinds of routes that go with it.
func (t *translation) protocol(l *listener) (kinds []string) {
	l.hostname = strings.ToLower(string(orElse(l.spec.Hostname, "")))
	switch l.spec.Protocol {
	case gatewayv1.HTTPProtocolType:
		l.transport, kinds = route.TransportHTTP, []string{"HTTPRoute", "GRPCRoute"}
	case gatewayv1.HTTPSProtocolType:
		l.transport, kinds = route.TransportTLS, []string{"HTTPRoute", "GRPCRoute"}
	case gatewayv1.TLSProtocolType:
		l.transport, kinds = route.TransportTLS, []string{"TLSRoute"}
	case gatewayv1.TCPProtocolType:
		l.transport, l.hostname, kinds = route.TransportTCP, "", []string{"TCPRoute"}
	case gatewayv1.UDPProtocolType:
		l.transport, l.hostname, kinds = route.TransportUDP, "", []string{"UDPRoute"}
	default:
		l.unaccepted = refusef(gatewayv1.ListenerReasonUnsupportedProtocol,
			"protocol %q is not supported: write HTTP, HTTPS, TLS, TCP or UDP", l.spec.Protocol)
	}
	return kinds
}

// routeKinds narrows what a listener's protocol supports to what allowedRoutes.kinds asks for.
func (t *translation) routeKinds(l *listener, supported []string) {
	l.kinds = []gatewayv1.RouteGroupKind{}
	own := gatewayv1.Group(gatewayv1.GroupName)
	if l.spec.AllowedRoutes == nil || len(l.spec.AllowedRoutes.Kinds) == 0 {
		for _, k := range supported {
			l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &own, Kind: gatewayv1.Kind(k)})
		}
		return
	}
	for _, k := range l.spec.AllowedRoutes.Kinds {
		group, _ := strings.CutPrefix(stringOr(k.Group, gatewayv1.GroupName), gatewayv1.GroupName)
		if group != "" || !slices.Contains(supported, string(k.Kind)) {
			if l.transport != "" {
				l.refs = refusef(gatewayv1.ListenerReasonInvalidRouteKinds, "allowedRoutes.kinds: %s does not go with protocol %s: write %s",
					kindOf(group, string(k.Kind)), l.spec.Protocol, strings.Join(supported, " or "))
			}
			continue
		}
		if !l.takes(string(k.Kind)) {
			l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &own, Kind: k.Kind})
		}
	}
	if l.refs != nil && len(l.kinds) == 0 {
		l.unserved = l.refs
	}
}

// takes tells whether routes of a kind may be attached.
func (l *listener) takes(kind string) bool {
	return slices.ContainsFunc(l.kinds, func(k gatewayv1.RouteGroupKind) bool { return string(k.Kind) == kind })
}

// takesHTTP tells whether HTTP ends at the listener.
func (l *listener) takesHTTP() bool {
	return l.spec.Protocol == gatewayv1.HTTPProtocolType || l.spec.Protocol == gatewayv1.HTTPSProtocolType
}

// allows tells whether routes of a namespace may be attached.
func (t *translation) allows(l *listener, namespace string) bool {
	if ok, known := l.allowed[namespace]; known {
		return ok
	}
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if r := l.spec.AllowedRoutes; r != nil && r.Namespaces != nil {
		selector = r.Namespaces.Selector
		if r.Namespaces.From != nil {
			from = *r.Namespaces.From
		}
	}
	_, own := l.owner()
	if l.allowed == nil {
		l.allowed = make(map[string]bool)
	}
	ok := t.namespaceAllowed(from, selector, own, namespace)
	l.allowed[namespace] = ok
	return ok
}

// invalid says why a listener is not served; nil: it is.
func (l *listener) invalid() *refusal {
	for _, why := range []*refusal{l.gw.refusal, l.conflict, l.unaccepted, l.unserved} {
		if why != nil {
			return why
		}
	}
	return nil
}

func (l *listener) valid() bool { return l.invalid() == nil }

// conditions are those of its status.
func (l *listener) conditions() *conditions {
	var c conditions
	unaccepted := l.unaccepted
	if l.conflict != nil {
		unaccepted = l.conflict
		say(&c, gatewayv1.ListenerConditionConflicted, true, l.conflict.reason, l.conflict.message)
	} else {
		say(&c, gatewayv1.ListenerConditionConflicted, false, gatewayv1.ListenerReasonNoConflicts, "no listener conflicts with it")
	}
	unless(&c, unaccepted, gatewayv1.ListenerConditionAccepted, gatewayv1.ListenerReasonAccepted, "the listener is valid")
	unless(&c, l.unprogrammed(), gatewayv1.ListenerConditionProgrammed, gatewayv1.ListenerReasonProgrammed, "configured")
	unless(&c, l.refs, gatewayv1.ListenerConditionResolvedRefs, gatewayv1.ListenerReasonResolvedRefs, "every reference is resolved")
	if l.overlaps != "" {
		say(&c, gatewayv1.ListenerConditionOverlappingTLSConfig, true, gatewayv1.ListenerReasonOverlappingHostnames,
			"its hostname overlaps with that of listener "+l.overlaps+": what comes on a connection for the other one is answered 421")
	}
	return &c
}

// unprogrammed says why nothing listens for it; nil: something does.
func (l *listener) unprogrammed() *refusal {
	switch {
	case l.conflict != nil:
		return l.conflict
	case l.unaccepted != nil && l.set != nil && l.unaccepted.reason == string(gatewayv1.ListenerReasonPortUnavailable):
		return l.unaccepted
	case l.unaccepted != nil:
		return refuse(gatewayv1.ListenerReasonInvalid, l.unaccepted.message)
	case l.unserved != nil:
		return refuse(gatewayv1.ListenerReasonInvalid, l.unserved.message)
	case l.gw.refusal != nil:
		return refuse(gatewayv1.ListenerReasonPending, "the Gateway is not accepted")
	case l.down != nil:
		return refuse(gatewayv1.ListenerReasonPending, l.down.message)
	}
	return nil
}
