package kubernetes

import (
	"regexp"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Bounds that several kinds of routes share.
const (
	maxHostnames    = 16
	maxRules        = 16
	maxRuleMatches  = 64
	maxRouteMatches = 128
	maxRuleBackends = 16
)

// addHTTPRouteChecks adds HTTPRoute, its rules and matches.
func addHTTPRouteChecks(t checkTable) {
	t.add(on[gatewayv1.HTTPRoute](nil, "spec"))
	t.add(on(checkHTTPRouteSpec))
	t.add(on(checkHTTPRule))
	t.add(on(func(at spot, m *gatewayv1.HTTPRouteMatch) {
		setDefault(&m.Path, rootPath())
		at.at("headers").items(len(m.Headers), 0, 16)
		unique(at.at("headers"), m.Headers, "name", func(h *gatewayv1.HTTPHeaderMatch) gatewayv1.HTTPHeaderName { return h.Name })
		at.at("queryParams").items(len(m.QueryParams), 0, 16)
		unique(at.at("queryParams"), m.QueryParams, "name", func(q *gatewayv1.HTTPQueryParamMatch) gatewayv1.HTTPHeaderName { return q.Name })
	}))
	t.add(on(checkPathMatch))
	t.add(on(enumOf(gatewayv1.PathMatchExact, gatewayv1.PathMatchPathPrefix, gatewayv1.PathMatchRegularExpression)))
	t.add(on(func(at spot, h *gatewayv1.HTTPHeaderMatch) {
		setDefault(&h.Type, gatewayv1.HeaderMatchExact)
		at.at("value").headerValue(h.Value)
	}, "name", "value"))
	t.add(on(enumOf(gatewayv1.HeaderMatchExact, gatewayv1.HeaderMatchRegularExpression)))
	t.add(on(func(at spot, q *gatewayv1.HTTPQueryParamMatch) {
		setDefault(&q.Type, gatewayv1.QueryParamMatchExact)
		at.at("value").length(q.Value, 1, 1024)
	}, "name", "value"))
	t.add(on(enumOf(gatewayv1.QueryParamMatchExact, gatewayv1.QueryParamMatchRegularExpression)))
	t.add(on(enumOf(matchMethods...)))
	t.add(on(func(at spot, o *gatewayv1.HTTPRouteTimeouts) {
		request, _ := parseDuration(orElse(o.Request, "0s"))
		backend, _ := parseDuration(orElse(o.BackendRequest, "0s"))
		if request != 0 && o.Request != nil && backend > request {
			at.at("backendRequest").refuse("", "%s is longer than request, %s", *o.BackendRequest, *o.Request)
		}
	}))
	t.add(on(func(at spot, r *gatewayv1.HTTPRouteRetry) {
		unique(at.at("codes"), r.Codes, "status code", same)
		for i := range r.Codes {
			between(at.at("codes", i), &r.Codes[i], 400, 599)
		}
		atLeast(at.at("attempts"), r.Attempts, 1)
	}))
	t.add(on(checkPersistence))
	t.add(on(enumOf(gatewayv1.CookieBasedSessionPersistence, gatewayv1.HeaderBasedSessionPersistence)))
	t.add(on(func(_ spot, c *gatewayv1.CookieConfig) {
		setDefault(&c.LifetimeType, gatewayv1.SessionCookieLifetimeType)
	}))
	t.add(on(enumOf(gatewayv1.PermanentCookieLifetimeType, gatewayv1.SessionCookieLifetimeType)))
}

// rootPath is the match of every path.
func rootPath() gatewayv1.HTTPPathMatch {
	return gatewayv1.HTTPPathMatch{Type: new(gatewayv1.PathMatchPathPrefix), Value: new("/")}
}

func checkHTTPRouteSpec(at spot, s *gatewayv1.HTTPRouteSpec) {
	checkParents(at, &s.CommonRouteSpec)
	at.at("hostnames").items(len(s.Hostnames), 0, maxHostnames)
	if s.Rules == nil && !at.has("rules") {
		s.Rules = []gatewayv1.HTTPRouteRule{{Matches: []gatewayv1.HTTPRouteMatch{{Path: new(rootPath())}}}}
	}
	at = at.at("rules")
	at.items(len(s.Rules), 1, maxRules)
	matches := 0
	for i := range s.Rules {
		matches += len(s.Rules[i].Matches)
	}
	at.routeMatches(matches)
	uniqueNames(at, s.Rules, func(r *gatewayv1.HTTPRouteRule) *gatewayv1.SectionName { return r.Name })
}

// has tells whether a field is in the file with a value.
func (s spot) has(field string) bool { return !isNull(childOf(s.node, step{field: field})) }

func (s spot) routeMatches(n int) {
	if n > maxRouteMatches {
		s.refuse("make two routes of it", "have %d matches in all: at most %d", n, maxRouteMatches)
	}
}

// uniqueNames checks that no two rules have the same name; they need none.
func uniqueNames[T any](at spot, rules []T, name func(*T) *gatewayv1.SectionName) {
	first := map[gatewayv1.SectionName]int{}
	for i := range rules {
		n := name(&rules[i])
		if n == nil {
			continue
		}
		if j, ok := first[*n]; ok {
			at.at(i, "name").refuse("give one of them another name", "%s is the name of item %d too", *n, j)
			continue
		}
		first[*n] = i
	}
}

func checkHTTPRule(at spot, r *gatewayv1.HTTPRouteRule) {
	if r.Matches == nil && !at.has("matches") {
		r.Matches = []gatewayv1.HTTPRouteMatch{{Path: new(rootPath())}}
	}
	at.at("matches").items(len(r.Matches), 0, maxRuleMatches)
	at.at("backendRefs").items(len(r.BackendRefs), 0, maxRuleBackends)
	checkHTTPFilters(at.at("filters"), r.Filters)
	for i := range r.Filters {
		if len(r.BackendRefs) > 0 && r.Filters[i].RequestRedirect != nil {
			at.at("filters", i, "requestRedirect").refuse("remove the filter or the backendRefs", "answers the request: there may be no backendRefs beside it")
		}
	}
	if len(r.Matches) == 1 && *r.Matches[0].Path.Type == gatewayv1.PathMatchPathPrefix {
		return
	}
	refusePrefix(at.at("filters"), r.Filters)
	for i := range r.BackendRefs {
		refusePrefix(at.at("backendRefs", i, "filters"), r.BackendRefs[i].Filters)
	}
}

// refusePrefix refuses filters that replace the prefix of a match: there is none, or not exactly one.
func refusePrefix(at spot, list []gatewayv1.HTTPRouteFilter) {
	const remedy = "the rule needs exactly one match, with a path of type PathPrefix"
	for i := range list {
		if f := list[i].RequestRedirect; f != nil && f.Path != nil && f.Path.ReplacePrefixMatch != nil {
			at.at(i, "requestRedirect", "path", "replacePrefixMatch").refuse(remedy, "has no prefix to replace")
		}
		if f := list[i].URLRewrite; f != nil && f.Path != nil && f.Path.ReplacePrefixMatch != nil {
			at.at(i, "urlRewrite", "path", "replacePrefixMatch").refuse(remedy, "has no prefix to replace")
		}
	}
}

var (
	pathForm   = regexp.MustCompile(`^([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$`)
	headerForm = regexp.MustCompile(`^[!-~]+([\t ]?[!-~]+)*$`)
)

func checkPathMatch(at spot, m *gatewayv1.HTTPPathMatch) {
	setDefault(&m.Type, gatewayv1.PathMatchPathPrefix)
	setDefault(&m.Value, "/")
	at = at.at("value")
	at.length(*m.Value, 0, 1024)
	if *m.Type == gatewayv1.PathMatchRegularExpression {
		return
	}
	v := *m.Value
	if !strings.HasPrefix(v, "/") {
		at.refuse("write /"+v, `%s does not begin with "/"`, shown(v, true))
		return
	}
	for _, part := range []string{"//", "/./", "/../", "%2f", "%2F", "#"} {
		if strings.Contains(v, part) {
			at.refuse("", "%s contains %s, which no path that is matched does", shown(v, true), part)
			return
		}
	}
	switch {
	case strings.HasSuffix(v, "/.."), strings.HasSuffix(v, "/."):
		at.refuse("", "%s ends in a dot segment, which no path that is matched does", shown(v, true))
	case !pathForm.MatchString(v):
		remedy := "other characters than letters, digits and -._~!$&'()*+,;=:@/ are written as %XX"
		if strings.ContainsAny(v, "^[\\{|") {
			remedy = "a regular expression has type: RegularExpression"
		} else if strings.Contains(v, "?") {
			remedy = "parameters are matched by queryParams"
		}
		at.refuse(remedy, "%s is no path of a URL", shown(v, true))
	}
}

func (s spot) headerValue(v string) {
	if s.length(v, 1, 4096) && !headerForm.MatchString(v) {
		s.refuse("", "%s is no value of a header field: want ASCII, without spaces at its ends and two in a row", shown(v, true))
	}
}

func checkPersistence(at spot, p *gatewayv1.SessionPersistence) {
	setDefault(&p.Type, gatewayv1.CookieBasedSessionPersistence)
	at.at("sessionName").length(orElse(p.SessionName, ""), 0, 128)
	if p.CookieConfig == nil {
		return
	}
	if *p.Type != gatewayv1.CookieBasedSessionPersistence {
		at.at("cookieConfig").refuse("say type: Cookie, or remove it", "is for type Cookie alone")
	}
	if orElse(p.CookieConfig.LifetimeType, "") == gatewayv1.PermanentCookieLifetimeType && p.AbsoluteTimeout == nil {
		at.at("absoluteTimeout").refuse("say how long the cookie lives: absoluteTimeout: 24h", "is missing with lifetimeType Permanent")
	}
}
