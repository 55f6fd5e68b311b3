package kubernetes

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// addFilterChecks adds the filters of HTTPRoutes and GRPCRoutes.
func addFilterChecks(t checkTable) {
	t.add(on(func(at spot, f *gatewayv1.HTTPRouteFilter) {
		checkUnion(at, string(f.Type), []unionField{
			{"requestHeaderModifier", "RequestHeaderModifier", f.RequestHeaderModifier != nil},
			{"responseHeaderModifier", "ResponseHeaderModifier", f.ResponseHeaderModifier != nil},
			{"requestMirror", "RequestMirror", f.RequestMirror != nil},
			{"requestRedirect", "RequestRedirect", f.RequestRedirect != nil},
			{"urlRewrite", "URLRewrite", f.URLRewrite != nil},
			{"extensionRef", "ExtensionRef", f.ExtensionRef != nil},
			{"cors", "CORS", f.CORS != nil},
			{"externalAuth", "ExternalAuth", f.ExternalAuth != nil},
		})
	}, "type"))
	t.add(on(func(at spot, f *gatewayv1.GRPCRouteFilter) {
		checkUnion(at, string(f.Type), []unionField{
			{"responseHeaderModifier", "ResponseHeaderModifier", f.ResponseHeaderModifier != nil},
			{"requestHeaderModifier", "RequestHeaderModifier", f.RequestHeaderModifier != nil},
			{"requestMirror", "RequestMirror", f.RequestMirror != nil},
			{"extensionRef", "ExtensionRef", f.ExtensionRef != nil},
		})
	}, "type"))
	t.add(on(func(at spot, h *gatewayv1.HTTPHeader) { at.at("value").headerValue(h.Value) }, "name", "value"))
	t.add(on(func(at spot, f *gatewayv1.HTTPHeaderFilter) {
		name := func(h *gatewayv1.HTTPHeader) gatewayv1.HTTPHeaderName { return h.Name }
		at.at("set").items(len(f.Set), 0, 16)
		unique(at.at("set"), f.Set, "name", name)
		at.at("add").items(len(f.Add), 0, 16)
		unique(at.at("add"), f.Add, "name", name)
		at.at("remove").items(len(f.Remove), 0, 16)
		unique(at.at("remove"), f.Remove, "name", same)
	}))
	t.add(on(func(at spot, f *gatewayv1.HTTPRequestMirrorFilter) {
		between(at.at("percent"), f.Percent, 0, 100)
		if f.Percent != nil && f.Fraction != nil {
			at.at("fraction").refuse("remove one of them", "may not be set beside percent")
		}
	}, "backendRef"))
	t.add(on(func(at spot, f *gatewayv1.Fraction) {
		setDefault(&f.Denominator, 100)
		atLeast(at.at("numerator"), &f.Numerator, 0)
		atLeast(at.at("denominator"), f.Denominator, 1)
		if f.Numerator > *f.Denominator {
			at.at("numerator").refuse("", "%d is more than the denominator, %d", f.Numerator, *f.Denominator)
		}
	}, "numerator"))
	t.add(on(func(at spot, f *gatewayv1.HTTPRequestRedirectFilter) {
		if f.Scheme != nil {
			enum(at.at("scheme"), *f.Scheme, "http", "https")
		}
		at.at("port").port(f.Port)
		setDefault(&f.StatusCode, 302)
		if !slices.Contains(redirectStatuses, *f.StatusCode) {
			at.at("statusCode").refuse("", "%d: want 301, 302, 303, 307 or 308", *f.StatusCode)
		}
	}))
	t.add(on(func(at spot, m *gatewayv1.HTTPPathModifier) {
		checkUnion(at, string(m.Type), []unionField{
			{"replaceFullPath", string(gatewayv1.FullPathHTTPPathModifier), m.ReplaceFullPath != nil},
			{"replacePrefixMatch", string(gatewayv1.PrefixMatchHTTPPathModifier), m.ReplacePrefixMatch != nil},
		})
		at.at("replaceFullPath").length(orElse(m.ReplaceFullPath, ""), 0, 1024)
		at.at("replacePrefixMatch").length(orElse(m.ReplacePrefixMatch, ""), 0, 1024)
	}, "type"))
	addCORSChecks(t)
	addExternalAuthChecks(t)
}

func addCORSChecks(t checkTable) {
	t.add(on(enumOf(append([]gatewayv1.HTTPMethodWithWildcard{"*"}, methodsWithWildcard()...)...)))
	t.add(on(func(at spot, c *gatewayv1.HTTPCORSFilter) {
		if c.MaxAge == 0 && !at.has("maxAge") {
			c.MaxAge = defaultMaxAge
		}
		atLeast(at.at("maxAge"), &c.MaxAge, 1)
		anyAlone(at.at("allowOrigins"), c.AllowOrigins, 64)
		anyAlone(at.at("allowMethods"), c.AllowMethods, 9)
		anyAlone(at.at("allowHeaders"), c.AllowHeaders, 64)
		at.at("exposeHeaders").items(len(c.ExposeHeaders), 0, 64)
		unique(at.at("exposeHeaders"), c.ExposeHeaders, "name", same)
	}))
}

func methodsWithWildcard() (list []gatewayv1.HTTPMethodWithWildcard) {
	for _, m := range matchMethods {
		list = append(list, gatewayv1.HTTPMethodWithWildcard(m))
	}
	return list
}

// anyAlone checks a set in which "*" stands for everything.
func anyAlone[T ~string](at spot, list []T, most int) {
	at.items(len(list), 0, most)
	unique(at, list, "value", same)
	if len(list) > 1 && slices.Contains(list, "*") {
		at.refuse(`remove "*" or the others`, `"*" stands for everything, and may not be beside others`)
	}
}

func addExternalAuthChecks(t checkTable) {
	t.add(on(func(at spot, f *gatewayv1.HTTPExternalAuthFilter) {
		checkUnion(at, string(f.ExternalAuthProtocol), []unionField{
			{"http", string(gatewayv1.HTTPRouteExternalAuthHTTPProtocol), f.HTTPAuthConfig != nil},
			{"grpc", string(gatewayv1.HTTPRouteExternalAuthGRPCProtocol), f.GRPCAuthConfig != nil},
		})
	}, "protocol", "backendRef"))
	t.add(on(func(at spot, c *gatewayv1.GRPCAuthConfig) {
		at.at("allowedHeaders").items(len(c.AllowedRequestHeaders), 0, 64)
		unique(at.at("allowedHeaders"), c.AllowedRequestHeaders, "name", same)
	}))
	t.add(on(func(at spot, c *gatewayv1.HTTPAuthConfig) {
		if at.has("path") && at.at("path").length(c.Path, 0, 1024) && !pathForm.MatchString(c.Path) {
			at.at("path").refuse("", "%s is no path of a URL", shown(c.Path, true))
		}
		at.at("allowedHeaders").items(len(c.AllowedRequestHeaders), 0, 64)
		unique(at.at("allowedHeaders"), c.AllowedRequestHeaders, "name", same)
		at.at("allowedResponseHeaders").items(len(c.AllowedResponseHeaders), 0, 64)
		unique(at.at("allowedResponseHeaders"), c.AllowedResponseHeaders, "name", same)
	}))
}

// unionField is a field that belongs to one value of type (or protocol).
type unionField struct {
	field, value string
	set          bool
}

// checkUnion checks that the discriminator has a value, and that the field of this value is set and no other.
func checkUnion(at spot, value string, fields []unionField) {
	discriminator := "type"
	if at.has("protocol") {
		discriminator = "protocol"
	}
	var values []string
	for _, f := range fields {
		values = append(values, f.value)
	}
	if !slices.Contains(values, value) {
		enum(at.at(discriminator), value, values...)
		return
	}
	for _, f := range fields {
		switch {
		case f.set && f.value != value:
			at.at(f.field).refuse("remove it, or say "+discriminator+": "+f.value, "may not be set with %s %s", discriminator, value)
		case !f.set && f.value == value:
			at.at(f.field).refuse("add "+f.field, "is missing with %s %s", discriminator, value)
		}
	}
}

// checkHTTPFilters holds the filters of a rule, or of a backend, to what may stand together.
func checkHTTPFilters(at spot, list []gatewayv1.HTTPRouteFilter) {
	at.items(len(list), 0, 16)
	first := map[gatewayv1.HTTPRouteFilterType]int{}
	for i := range list {
		kind := list[i].Type
		j, repeated := first[kind]
		switch {
		case !repeated:
			first[kind] = i
		case kind != gatewayv1.HTTPRouteFilterRequestMirror && kind != gatewayv1.HTTPRouteFilterExtensionRef &&
			kind != gatewayv1.HTTPRouteFilterExternalAuth:
			at.at(i).refuse("make one of the two", "is a second %s; the first is item %d", kind, j)
		}
	}
	_, redirects := first[gatewayv1.HTTPRouteFilterRequestRedirect]
	if i, rewrites := first[gatewayv1.HTTPRouteFilterURLRewrite]; redirects && rewrites {
		at.at(i).refuse("remove one of them", "may not stand beside a RequestRedirect")
	}
}

func checkGRPCFilters(at spot, list []gatewayv1.GRPCRouteFilter) {
	at.items(len(list), 0, 16)
	first := map[gatewayv1.GRPCRouteFilterType]int{}
	for i := range list {
		kind := list[i].Type
		j, repeated := first[kind]
		switch {
		case !repeated:
			first[kind] = i
		case kind == gatewayv1.GRPCRouteFilterRequestHeaderModifier || kind == gatewayv1.GRPCRouteFilterResponseHeaderModifier:
			at.at(i).refuse("make one of the two", "is a second %s; the first is item %d", kind, j)
		}
	}
}
