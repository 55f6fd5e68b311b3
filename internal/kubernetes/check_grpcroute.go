package kubernetes

import (
	"net/netip"
	"regexp"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// addGRPCRouteChecks adds GRPCRoute, its rules and matches.
func addGRPCRouteChecks(t checkTable) {
	t.add(on[gatewayv1.GRPCRoute](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.GRPCRouteSpec) {
		checkParents(at, &s.CommonRouteSpec)
		at.at("hostnames").items(len(s.Hostnames), 0, maxHostnames)
		at = at.at("rules")
		at.items(len(s.Rules), 0, maxRules)
		matches := 0
		for i := range s.Rules {
			matches += len(s.Rules[i].Matches)
		}
		at.routeMatches(matches)
		uniqueNames(at, s.Rules, func(r *gatewayv1.GRPCRouteRule) *gatewayv1.SectionName { return r.Name })
	}))
	t.add(on(func(at spot, r *gatewayv1.GRPCRouteRule) {
		at.at("matches").items(len(r.Matches), 0, maxRuleMatches)
		at.at("backendRefs").items(len(r.BackendRefs), 0, maxRuleBackends)
		checkGRPCFilters(at.at("filters"), r.Filters)
	}))
	t.add(on(func(at spot, m *gatewayv1.GRPCRouteMatch) {
		at.at("headers").items(len(m.Headers), 0, 16)
		unique(at.at("headers"), m.Headers, "name", func(h *gatewayv1.GRPCHeaderMatch) gatewayv1.GRPCHeaderName { return h.Name })
	}))
	t.add(on(func(at spot, h *gatewayv1.GRPCHeaderMatch) {
		setDefault(&h.Type, gatewayv1.GRPCHeaderMatchExact)
		at.at("value").length(h.Value, 1, 4096)
	}, "name", "value"))
	t.add(on(enumOf(gatewayv1.GRPCHeaderMatchExact, gatewayv1.GRPCHeaderMatchRegularExpression)))
	t.add(on(enumOf(gatewayv1.GRPCMethodMatchExact, gatewayv1.GRPCMethodMatchRegularExpression)))
	t.add(on(checkMethodMatch))
}

var (
	grpcServiceForm = regexp.MustCompile(`^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$`)
	grpcMethodForm  = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*$`)
)

func checkMethodMatch(at spot, m *gatewayv1.GRPCMethodMatch) {
	setDefault(&m.Type, gatewayv1.GRPCMethodMatchExact)
	at.at("service").length(orElse(m.Service, ""), 0, 1024)
	at.at("method").length(orElse(m.Method, ""), 0, 1024)
	if m.Service == nil && m.Method == nil {
		at.refuse("add service: my.package.Service, or method: Name", "has neither service nor method")
	}
	if *m.Type != gatewayv1.GRPCMethodMatchExact {
		return
	}
	if m.Service != nil && !grpcServiceForm.MatchString(*m.Service) {
		at.at("service").refuse("a regular expression has type: RegularExpression", "%s is no name of a service: want my.package.Service",
			shown(*m.Service, true))
	}
	if m.Method != nil && !grpcMethodForm.MatchString(*m.Method) {
		at.at("method").refuse("a regular expression has type: RegularExpression", "%s is no name of a method", shown(*m.Method, true))
	}
}

// addStreamRouteChecks adds TLSRoute, TCPRoute and UDPRoute. Their older versions allow more rules than one, of which only one
// can be served, and TLSRoutes without hostnames.
func addStreamRouteChecks(t checkTable) {
	t.add(on[gatewayv1.TLSRoute](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.TLSRouteSpec) {
		checkParents(at, &s.CommonRouteSpec)
		at.streamRules(len(s.Rules), 16)
		if at.d.version == "v1alpha2" {
			at.at("hostnames").items(len(s.Hostnames), 0, 1024)
			return
		}
		at.at("hostnames").items(len(s.Hostnames), 1, 1024)
		for i, h := range s.Hostnames {
			if _, err := netip.ParseAddr(string(h)); err == nil {
				at.at("hostnames", i).refuse("TLS clients send no address as a server name", "%s is an address", shown(string(h), true))
			}
		}
	}, "rules"))
	t.add(on(func(at spot, r *gatewayv1.TLSRouteRule) {
		at.at("backendRefs").items(len(r.BackendRefs), 1, maxRuleBackends)
	}, "backendRefs"))
	t.add(on[gatewayv1.TCPRoute](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.TCPRouteSpec) {
		checkParents(at, &s.CommonRouteSpec)
		at.streamRules(len(s.Rules), 16)
	}, "rules"))
	t.add(on(func(at spot, r *gatewayv1.TCPRouteRule) {
		at.at("backendRefs").items(len(r.BackendRefs), 1, maxRuleBackends)
	}, "backendRefs"))
	t.add(on[gatewayv1.UDPRoute](nil, "spec"))
	t.add(on(func(at spot, s *gatewayv1.UDPRouteSpec) {
		checkParents(at, &s.CommonRouteSpec)
		at.streamRules(len(s.Rules), 16)
	}, "rules"))
	t.add(on(func(at spot, r *gatewayv1.UDPRouteRule) {
		at.at("backendRefs").items(len(r.BackendRefs), 1, maxRuleBackends)
	}, "backendRefs"))
}

func (s spot) streamRules(n, mostOfOld int) {
	most := 1
	if s.d.version == "v1alpha2" {
		most = mostOfOld
	}
	s.at("rules").items(n, 1, most)
}
