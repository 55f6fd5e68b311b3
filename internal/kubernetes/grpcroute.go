package kubernetes

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// grpcRoute is what the spec of r means for gw, parents and hostnames aside.
func (t *translation) grpcRoute(r *gatewayv1.GRPCRoute, gw *gateway) translated {
	rd := t.reading("GRPCRoute", r, gw)
	rd.grpc = true
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		rd.rule(i, rule.Name, func(out *route.Rule) error { return rd.grpcRule(fmt.Sprintf("rules[%d]", i), rule, out) })
	}
	return rd.done()
}

func (r *reading) grpcRule(field string, rule *gatewayv1.GRPCRouteRule, out *route.Rule) (err error) {
	out.GRPC = true
	for i := range rule.Matches {
		m, err := grpcMatch(&rule.Matches[i])
		if err != nil {
			return fmt.Errorf("matches[%d].%w", i, err)
		}
		out.Matches = append(out.Matches, m)
	}
	filters, err := grpcFilters(rule.Filters)
	if err != nil {
		return err
	}
	if out.Filters, err = r.httpFilters(field, filters, out.Matches); err != nil {
		return err
	}
	for i := range rule.BackendRefs {
		ref := &rule.BackendRefs[i]
		if filters, err = grpcFilters(ref.Filters); err != nil {
			return fmt.Errorf("backendRefs[%d].%w", i, err)
		}
		if err := r.addBackend(field, i, &ref.BackendRef, filters, out); err != nil {
			return err
		}
	}
	if out.Persistence, err = persistence(rule.SessionPersistence, out.ID, cookiePath(out.Matches)); err != nil {
		return fmt.Errorf("sessionPersistence.%w", err)
	}
	r.finish(out, route.Timeouts{})
	return nil
}

// grpcFilters are the filters of a GRPCRoute as those of an HTTPRoute, which has the same and more.
func grpcFilters(list []gatewayv1.GRPCRouteFilter) ([]gatewayv1.HTTPRouteFilter, error) {
	out := make([]gatewayv1.HTTPRouteFilter, len(list))
	for i, f := range list {
		switch f.Type {
		case gatewayv1.GRPCRouteFilterRequestHeaderModifier, gatewayv1.GRPCRouteFilterResponseHeaderModifier,
			gatewayv1.GRPCRouteFilterRequestMirror, gatewayv1.GRPCRouteFilterExtensionRef:
		default:
			return nil, fmt.Errorf("filters[%d] %s: no such type of filter for GRPCRoutes", i, f.Type)
		}
		out[i] = gatewayv1.HTTPRouteFilter{
			Type: gatewayv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		}
	}
	return out, nil
}

func grpcMatch(m *gatewayv1.GRPCRouteMatch) (out route.RuleMatch, err error) {
	out.Path = route.PathMatch{Kind: route.PathPrefix, Value: "/"}
	if m.Method != nil {
		if out.Path, err = grpcPath(m.Method); err != nil {
			return out, fmt.Errorf("method.%w", err)
		}
	}
	for i, h := range m.Headers {
		if out.Headers, err = addMatch(out.Headers, string(h.Name), h.Value, orElse(h.Type, gatewayv1.GRPCHeaderMatchExact), true); err != nil {
			return out, fmt.Errorf("headers[%d].%w", i, err)
		}
	}
	return out, nil
}

var errNoMethod = errors.New("service: it is empty, and so is method")

// grpcPath is the path of the requests that a method match means: "/service/method" (gRPC over HTTP/2).
func grpcPath(m *gatewayv1.GRPCMethodMatch) (p route.PathMatch, err error) {
	service, method := orElse(m.Service, ""), orElse(m.Method, "")
	if service == "" && method == "" {
		return p, errNoMethod
	}
	exact := false
	switch kind := orElse(m.Type, gatewayv1.GRPCMethodMatchExact); kind {
	case gatewayv1.GRPCMethodMatchExact:
		exact = true
	case gatewayv1.GRPCMethodMatchRegularExpression:
		if err := checkPattern("service", service); err != nil {
			return p, err
		}
		if err := checkPattern("method", method); err != nil {
			return p, err
		}
	default:
		return p, fmt.Errorf("type %q: want Exact or RegularExpression", kind)
	}
	if exact {
		if strings.Contains(service, "/") || strings.Contains(method, "/") {
			return p, fmt.Errorf("service %q, method %q: neither has a slash", service, method)
		}
		if err := route.CheckPath("/" + service + "/" + method); err != nil {
			return p, fmt.Errorf("service %q, method %q: %w", service, method, err)
		}
		switch {
		case method == "":
			return route.PathMatch{Kind: route.PathPrefix, Value: "/" + service}, nil
		case service != "":
			return route.PathMatch{Kind: route.PathExact, Value: "/" + service + "/" + method}, nil
		}
		method = regexp.QuoteMeta(method)
	}
	group := func(pattern string) string {
		if pattern == "" {
			return "[^/]+"
		}
		return "(?:" + pattern + ")"
	}
	return route.PathMatch{Kind: route.PathRegexp, Value: "/" + group(service) + "/" + group(method)}, nil
}
