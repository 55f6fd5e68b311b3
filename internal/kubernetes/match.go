package kubernetes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// maxPattern bounds a regular expression in bytes, as the schema does for the longest of them (a header's value).
const maxPattern = 4096

// matchMethods are those of HTTPMethod.
var matchMethods = []gatewayv1.HTTPMethod{
	gatewayv1.HTTPMethodGet, gatewayv1.HTTPMethodHead, gatewayv1.HTTPMethodPost, gatewayv1.HTTPMethodPut, gatewayv1.HTTPMethodDelete,
	gatewayv1.HTTPMethodConnect, gatewayv1.HTTPMethodOptions, gatewayv1.HTTPMethodTrace, gatewayv1.HTTPMethodPatch,
}

// httpMatches are the alternatives of a rule; none match everything.
func httpMatches(list []gatewayv1.HTTPRouteMatch) ([]route.RuleMatch, error) {
	matches := make([]route.RuleMatch, 0, len(list))
	for i := range list {
		m, err := httpMatch(&list[i])
		if err != nil {
			return nil, fmt.Errorf("matches[%d].%w", i, err)
		}
		matches = append(matches, m)
	}
	return matches, nil
}

func httpMatch(m *gatewayv1.HTTPRouteMatch) (route.RuleMatch, error) {
	var out route.RuleMatch
	var err error
	if out.Path, err = pathMatch(m.Path); err != nil {
		return out, err
	}
	if m.Method != nil {
		if !slices.Contains(matchMethods, *m.Method) {
			return out, fmt.Errorf("method %q: not a method of HTTP", *m.Method)
		}
		out.Method = string(*m.Method)
	}
	for i, h := range m.Headers {
		if out.Headers, err = addMatch(out.Headers, string(h.Name), h.Value, orElse(h.Type, gatewayv1.HeaderMatchExact), true); err != nil {
			return out, fmt.Errorf("headers[%d].%w", i, err)
		}
	}
	for i, q := range m.QueryParams {
		kind := orElse(q.Type, gatewayv1.QueryParamMatchExact)
		if out.Query, err = addMatch(out.Query, string(q.Name), q.Value, kind, false); err != nil {
			return out, fmt.Errorf("queryParams[%d].%w", i, err)
		}
	}
	return out, nil
}

func pathMatch(m *gatewayv1.HTTPPathMatch) (route.PathMatch, error) {
	p := route.PathMatch{Kind: route.PathPrefix, Value: "/"}
	if m == nil {
		return p, nil
	}
	p.Value = orElse(m.Value, "/")
	switch kind := orElse(m.Type, gatewayv1.PathMatchPathPrefix); kind {
	case gatewayv1.PathMatchPathPrefix:
	case gatewayv1.PathMatchExact:
		p.Kind = route.PathExact
	case gatewayv1.PathMatchRegularExpression:
		p.Kind = route.PathRegexp
		return p, checkPattern("path.value", p.Value)
	default:
		return p, fmt.Errorf("path.type %q: want Exact, PathPrefix or RegularExpression", kind)
	}
	if err := route.CheckPath(p.Value); err != nil {
		return p, fmt.Errorf("path.value %q: %w", p.Value, err)
	}
	if strings.Contains(p.Value, "//") {
		return p, fmt.Errorf("path.value %q: two slashes in a row", p.Value)
	}
	return p, nil
}

// addMatch appends a condition on a header field or query parameter. Of equal names the first counts; fold compares them without case.
func addMatch[T ~string](list []route.ValueMatch, name, value string, kind T, fold bool) ([]route.ValueMatch, error) {
	same := func(m route.ValueMatch) bool { return m.Name == name || fold && strings.EqualFold(m.Name, name) }
	if name == "" {
		return list, fmt.Errorf("name: it is empty")
	}
	if slices.ContainsFunc(list, same) {
		return list, nil
	}
	m := route.ValueMatch{Name: name, Value: value}
	switch kind {
	case "Exact":
	case "RegularExpression":
		m.Regexp = true
		if err := checkPattern("value", value); err != nil {
			return list, err
		}
	default:
		return list, fmt.Errorf("type %q: want Exact or RegularExpression", kind)
	}
	return append(list, m), nil
}

func checkPattern(field, pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("%s: a regular expression of %d bytes, at most %d are taken", field, len(pattern), maxPattern)
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return fmt.Errorf("%s %q: no regular expression in RE2's syntax: %w", field, pattern, err)
	}
	return nil
}

// orElse is what p points to, or otherwise.
func orElse[T any](p *T, otherwise T) T {
	if p != nil {
		return *p
	}
	return otherwise
}
