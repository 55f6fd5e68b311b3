package kubernetes

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// routeObjects takes up the routes of all kinds.
func (t *translation) routeObjects() []*routeObject {
	n := len(t.HTTPRoutes) + len(t.GRPCRoutes) + len(t.TLSRoutes) + len(t.TCPRoutes) + len(t.UDPRoutes)
	routes := make([]*routeObject, 0, n)
	for _, o := range t.HTTPRoutes {
		routes = append(routes, &routeObject{
			Object: o, kind: "HTTPRoute", common: &o.Spec.CommonRouteSpec, hostnames: o.Spec.Hostnames,
			translate: func(gw *gateway, _ bool) translated { return t.httpRoute(o, gw) },
		})
	}
	for _, o := range t.GRPCRoutes {
		routes = append(routes, &routeObject{
			Object: o, kind: "GRPCRoute", common: &o.Spec.CommonRouteSpec, hostnames: o.Spec.Hostnames,
			translate: func(gw *gateway, _ bool) translated { return t.grpcRoute(o, gw) },
		})
	}
	for _, o := range t.TLSRoutes {
		routes = append(routes, &routeObject{
			Object: o, kind: "TLSRoute", common: &o.Spec.CommonRouteSpec, hostnames: o.Spec.Hostnames,
			translate: func(gw *gateway, terminated bool) translated { return t.tlsRoute(o, gw, terminated) },
		})
	}
	for _, o := range t.TCPRoutes {
		routes = append(routes, &routeObject{
			Object: o, kind: "TCPRoute", common: &o.Spec.CommonRouteSpec,
			translate: func(gw *gateway, _ bool) translated { return t.tcpRoute(o, gw) },
		})
	}
	for _, o := range t.UDPRoutes {
		routes = append(routes, &routeObject{
			Object: o, kind: "UDPRoute", common: &o.Spec.CommonRouteSpec,
			translate: func(gw *gateway, _ bool) translated { return t.udpRoute(o, gw) },
		})
	}
	return routes
}

// publishRoutes publishes the status of every route: without parents if none of them is ours.
func (t *translation) publishRoutes(routes []*routeObject) {
	byKind := make(map[string][]*routeObject)
	for _, r := range routes {
		byKind[r.kind] = append(byKind[r.kind], r)
	}
	for _, kind := range []string{"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"} {
		for _, r := range sorted(byKind[kind]) {
			t.publish(kind, r, r.status())
		}
	}
}

func (r *routeObject) status() any {
	s := gatewayv1.RouteStatus{Parents: r.parents}
	if s.Parents == nil {
		s.Parents = []gatewayv1.RouteParentStatus{}
	}
	switch r.kind {
	case "HTTPRoute":
		return gatewayv1.HTTPRouteStatus{RouteStatus: s}
	case "GRPCRoute":
		return gatewayv1.GRPCRouteStatus{RouteStatus: s}
	case "TLSRoute":
		return gatewayv1.TLSRouteStatus{RouteStatus: s}
	case "TCPRoute":
		return gatewayv1.TCPRouteStatus{RouteStatus: s}
	}
	return gatewayv1.UDPRouteStatus{RouteStatus: s}
}

// tlsRoute is what the spec of r means for gw. Where TLS has ended at the gateway, backends may be spoken to under a TLS of its own.
func (t *translation) tlsRoute(r *gatewayv1.TLSRoute, gw *gateway, terminated bool) translated {
	rd := t.reading("TLSRoute", r, gw)
	rd.stream, rd.passthrough = true, !terminated
	for i := range r.Spec.Rules {
		rd.streamRule(i, r.Spec.Rules[i].Name, r.Spec.Rules[i].BackendRefs)
	}
	return rd.streamsDone()
}

// tcpRoute is what the spec of r means for gw.
func (t *translation) tcpRoute(r *gatewayv1.TCPRoute, gw *gateway) translated {
	rd := t.reading("TCPRoute", r, gw)
	rd.stream = true
	for i := range r.Spec.Rules {
		rd.streamRule(i, r.Spec.Rules[i].Name, r.Spec.Rules[i].BackendRefs)
	}
	return rd.streamsDone()
}

// udpRoute is what the spec of r means for gw.
func (t *translation) udpRoute(r *gatewayv1.UDPRoute, gw *gateway) translated {
	rd := t.reading("UDPRoute", r, gw)
	rd.stream, rd.passthrough, rd.udp = true, true, true
	for i := range r.Spec.Rules {
		rd.streamRule(i, r.Spec.Rules[i].Name, r.Spec.Rules[i].BackendRefs)
	}
	return rd.streamsDone()
}

// streamRule takes one rule that carries connections or datagrams as they are.
func (r *reading) streamRule(i int, name *gatewayv1.SectionName, refs []gatewayv1.BackendRef) {
	r.rule(i, name, func(out *route.Rule) error {
		field := fmt.Sprintf("rules[%d]", i)
		for j := range refs {
			if err := r.addBackend(field, j, &refs[j], nil, out); err != nil {
				return err
			}
		}
		r.finish(out, route.Timeouts{})
		return nil
	})
}

// streamsDone is the result of a route without matches: of several rules only the first can ever be chosen.
func (r *reading) streamsDone() translated {
	out := r.done()
	if len(out.rules) > 0 {
		out.streams = []route.Stream{{Route: out.rules[0].Route}}
	}
	out.rules = nil
	return out
}
