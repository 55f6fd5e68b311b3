package kubernetes

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

var (
	errRedirectAndRewrite = incompatible{errors.New("RequestRedirect and URLRewrite exclude each other")}
	errNoSettings         = errors.New("the field that its type names is missing")
)

// httpFilters reads the filters of a rule or of a backend in it, which field names; nil if there are none. Matches are the rule's.
func (r *reading) httpFilters(field string, list []gatewayv1.HTTPRouteFilter, matches []route.RuleMatch) (*route.Filters, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := &route.Filters{}
	seen := make(map[gatewayv1.HTTPRouteFilterType]bool, len(list))
	for i := range list {
		f := &list[i]
		if seen[f.Type] && f.Type != gatewayv1.HTTPRouteFilterRequestMirror && f.Type != gatewayv1.HTTPRouteFilterExtensionRef {
			return nil, incompatible{fmt.Errorf("filters[%d]: a second %s", i, f.Type)}
		}
		seen[f.Type] = true
		if err := r.httpFilter(fmt.Sprintf("%s.filters[%d]", field, i), f, out, matches); err != nil {
			return nil, fmt.Errorf("filters[%d] %s: %w", i, f.Type, err)
		}
	}
	if out.Redirect != nil && out.Rewrite != nil {
		return nil, errRedirectAndRewrite
	}
	return out, nil
}

func (r *reading) httpFilter(field string, f *gatewayv1.HTTPRouteFilter, out *route.Filters, matches []route.RuleMatch) (err error) {
	switch f.Type {
	case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
		out.RequestHeaders, err = headerEdit(f.RequestHeaderModifier)
	case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		out.ResponseHeaders, err = headerEdit(f.ResponseHeaderModifier)
	case gatewayv1.HTTPRouteFilterRequestRedirect:
		out.Redirect, err = redirect(f.RequestRedirect, matches)
	case gatewayv1.HTTPRouteFilterURLRewrite:
		out.Rewrite, err = rewrite(f.URLRewrite, matches)
	case gatewayv1.HTTPRouteFilterRequestMirror:
		err = r.mirror(field, f.RequestMirror, out)
	case gatewayv1.HTTPRouteFilterCORS:
		out.CORS, err = cors(f.CORS)
	case gatewayv1.HTTPRouteFilterExternalAuth:
		err = r.externalAuth(field, f.ExternalAuth, out)
	case gatewayv1.HTTPRouteFilterExtensionRef:
		r.extension(field, f.ExtensionRef, out)
	default:
		err = errors.New("no such type of filter")
	}
	return err
}

// extension notes a filter that nobody here knows. It must not be skipped: requests get an error (HTTPRouteFilter.type).
func (r *reading) extension(field string, ref *gatewayv1.LocalObjectReference, out *route.Filters) {
	text := "no extensionRef"
	if ref != nil {
		text = fmt.Sprintf("%s: unknown kind of filter", kindOf(string(ref.Group), string(ref.Kind)))
	}
	out.Unsupported = text
	r.unresolved(gatewayv1.RouteReasonInvalidKind, field+".extensionRef", text)
}

// untouchable are the fields that the gateway itself writes on each hop: framing, and what the two sides of a handshake agree on.
var untouchable = []string{
	"connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "sec-websocket-accept",
	"sec-websocket-extensions", "sec-websocket-key", "sec-websocket-version", "te", "trailer", "transfer-encoding", "upgrade",
}

func headerEdit(f *gatewayv1.HTTPHeaderFilter) (e route.HeaderEdit, err error) {
	if f == nil {
		return e, errNoSettings
	}
	taken := make(map[string]string, len(f.Set)+len(f.Add)+len(f.Remove)) // action by name
	if e.Set, err = headerValues("set", f.Set, taken); err != nil {
		return e, err
	}
	if e.Add, err = headerValues("add", f.Add, taken); err != nil {
		return e, err
	}
	for i, name := range f.Remove {
		first, err := takeHeader("remove", i, name, taken)
		if err != nil {
			return e, err
		}
		if first {
			e.Remove = append(e.Remove, name)
		}
	}
	return e, nil
}

func headerValues(action string, list []gatewayv1.HTTPHeader, taken map[string]string) (out []route.HeaderValue, err error) {
	for i, h := range list {
		first, err := takeHeader(action, i, string(h.Name), taken)
		if err != nil {
			return nil, err
		}
		if !httpguts.ValidHeaderFieldValue(h.Value) {
			return nil, fmt.Errorf("%s[%d] %s: the value has bytes that no header field may have", action, i, h.Name)
		}
		if first {
			out = append(out, route.HeaderValue{Name: string(h.Name), Value: h.Value})
		}
	}
	return out, nil
}

// takeHeader notes that action has the field of that name. Of equal names in one action the first counts; two actions on one name are
// an error (HTTPHeaderFilter).
func takeHeader(action string, i int, name string, taken map[string]string) (first bool, err error) {
	key := strings.ToLower(name)
	switch has, ok := taken[key]; {
	case !httpguts.ValidHeaderFieldName(name):
		return false, fmt.Errorf("%s[%d] %q: no name of a header field", action, i, name)
	case key == "host":
		return false, fmt.Errorf("%s[%d] %s: use a URLRewrite with hostname", action, i, name)
	case slices.Contains(untouchable, key):
		return false, fmt.Errorf("%s[%d] %s: the gateway itself has to write this field", action, i, name)
	case ok && has != action:
		return false, fmt.Errorf("%s[%d] %s: %s has it too", action, i, name, has)
	default:
		taken[key] = action
		return !ok, nil
	}
}

// redirectStatuses are those that the schema takes.
var redirectStatuses = []int{301, 302, 303, 307, 308}

func redirect(f *gatewayv1.HTTPRequestRedirectFilter, matches []route.RuleMatch) (*route.Redirect, error) {
	if f == nil {
		return nil, errNoSettings
	}
	out := &route.Redirect{
		Scheme: orElse(f.Scheme, ""), Hostname: strings.ToLower(string(orElse(f.Hostname, ""))),
		Port: int(orElse(f.Port, 0)), Status: orElse(f.StatusCode, 302),
	}
	switch {
	case out.Scheme != "" && out.Scheme != "http" && out.Scheme != "https":
		return nil, fmt.Errorf("scheme %q: want http or https", out.Scheme)
	case f.Port != nil && (out.Port < 1 || out.Port > 65535):
		return nil, fmt.Errorf("port %d: want 1 to 65535", out.Port)
	case !slices.Contains(redirectStatuses, out.Status):
		return nil, fmt.Errorf("statusCode %d: want 301, 302, 303, 307 or 308", out.Status)
	case !plainHostname(out.Hostname):
		return nil, fmt.Errorf("hostname %q: no name of a host", out.Hostname)
	}
	var err error
	out.Path, err = pathRewrite(f.Path, matches)
	return out, err
}

func rewrite(f *gatewayv1.HTTPURLRewriteFilter, matches []route.RuleMatch) (*route.Rewrite, error) {
	if f == nil {
		return nil, errNoSettings
	}
	out := &route.Rewrite{Hostname: strings.ToLower(string(orElse(f.Hostname, "")))}
	if !plainHostname(out.Hostname) {
		return nil, fmt.Errorf("hostname %q: no name of a host", out.Hostname)
	}
	var err error
	out.Path, err = pathRewrite(f.Path, matches)
	return out, err
}

// plainHostname tells whether name may stand in a URL; empty may.
func plainHostname(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return len(name) <= 253
}

var errNotPrefix = errors.New("replacePrefixMatch: every match of the rule must then have a path of type PathPrefix")

func pathRewrite(m *gatewayv1.HTTPPathModifier, matches []route.RuleMatch) (*route.PathRewrite, error) {
	if m == nil {
		return nil, nil
	}
	out := &route.PathRewrite{}
	switch m.Type {
	case gatewayv1.FullPathHTTPPathModifier:
		out.Full, out.Value = true, orElse(m.ReplaceFullPath, "")
	case gatewayv1.PrefixMatchHTTPPathModifier:
		out.Value = orElse(m.ReplacePrefixMatch, "")
		for _, match := range matches {
			if match.Path.Kind != route.PathPrefix {
				return nil, errNotPrefix
			}
		}
	default:
		return nil, fmt.Errorf("path.type %q: want ReplaceFullPath or ReplacePrefixMatch", m.Type)
	}
	if out.Value != "" {
		value := out.Value
		if value[0] != '/' { // the schema takes it: "xyz" is "/xyz"
			value = "/" + value
		}
		if err := route.CheckPath(value); err != nil {
			return nil, fmt.Errorf("path %q: %w", out.Value, err)
		}
		out.Value = value
	}
	return out, nil
}

func (r *reading) mirror(field string, f *gatewayv1.HTTPRequestMirrorFilter, out *route.Filters) error {
	if f == nil {
		return errNoSettings
	}
	m := route.Mirror{}
	switch {
	case f.Percent != nil && f.Fraction != nil:
		return errors.New("percent and fraction exclude each other")
	case f.Percent != nil:
		m.Numerator, m.Denominator = int(*f.Percent), 100
	case f.Fraction != nil:
		m.Numerator, m.Denominator = int(f.Fraction.Numerator), int(orElse(f.Fraction.Denominator, 100))
	}
	if m.Numerator < 0 || m.Denominator < 0 || m.Numerator > m.Denominator || (f.Fraction != nil && m.Denominator == 0) {
		return fmt.Errorf("%d of %d requests: want a share from none to all", m.Numerator, m.Denominator)
	}
	b := r.target(field+".requestMirror.backendRef", f.BackendRef, r.referrer).backend
	if b.Invalid != "" {
		return nil // "dropped from the Gateway"; ResolvedRefs says so
	}
	m.Backend = &b
	out.Mirrors = append(out.Mirrors, m)
	return nil
}

// defaultMaxAge is the schema's, in seconds.
const defaultMaxAge = 5

func cors(f *gatewayv1.HTTPCORSFilter) (*route.CORS, error) {
	if f == nil {
		return nil, errNoSettings
	}
	out := &route.CORS{AllowCredentials: orElse(f.AllowCredentials, false), MaxAge: int(f.MaxAge)}
	if out.MaxAge <= 0 {
		out.MaxAge = defaultMaxAge
	}
	for i, o := range f.AllowOrigins {
		origin, err := corsOrigin(string(o))
		if err != nil {
			return nil, fmt.Errorf("allowOrigins[%d] %q: %w", i, o, err)
		}
		out.AllowOrigins = append(out.AllowOrigins, origin)
	}
	for i, m := range f.AllowMethods {
		if !httpguts.ValidHeaderFieldName(string(m)) { // both are tokens
			return nil, fmt.Errorf("allowMethods[%d] %q: no name of a method", i, m)
		}
		out.AllowMethods = append(out.AllowMethods, string(m))
	}
	var err error
	if out.AllowHeaders, err = headerNames("allowHeaders", f.AllowHeaders); err != nil {
		return nil, err
	}
	if out.ExposeHeaders, err = headerNames("exposeHeaders", f.ExposeHeaders); err != nil {
		return nil, err
	}
	return out, nil
}

var errOrigin = errors.New(`want "http://host", "https://host:port" or "*"; the host may begin with "*."`)

// corsOrigin checks one allowed origin, and returns it in lower case.
func corsOrigin(o string) (string, error) {
	o = strings.ToLower(o)
	if o == "*" {
		return o, nil
	}
	_, host, ok := strings.Cut(o, "://")
	if !ok || (!strings.HasPrefix(o, "http://") && !strings.HasPrefix(o, "https://")) || host == "" ||
		!httpguts.ValidHostHeader(host) || strings.ContainsAny(host, "/?#@ ") {
		return "", errOrigin
	}
	if rest, wild := strings.CutPrefix(host, "*"); strings.Contains(rest, "*") || wild && rest != "" && rest[0] != '.' && rest[0] != ':' {
		return "", errOrigin
	}
	return o, nil
}

func headerNames[T ~string](field string, list []T) (out []string, err error) {
	for i, name := range list {
		if !httpguts.ValidHeaderFieldName(string(name)) { // "*" is one too
			return nil, fmt.Errorf("%s[%d] %q: no name of a header field", field, i, name)
		}
		out = append(out, string(name))
	}
	return out, nil
}

func (r *reading) externalAuth(field string, f *gatewayv1.HTTPExternalAuthFilter, out *route.Filters) error {
	if f == nil {
		return errNoSettings
	}
	from := r.referrer
	a := &route.ExternalAuth{}
	var err error
	switch f.ExternalAuthProtocol {
	case gatewayv1.HTTPRouteExternalAuthGRPCProtocol:
		a.GRPC, from.grpc = true, true
		if c := f.GRPCAuthConfig; c != nil {
			a.AllowedHeaders, err = headerNames("grpc.allowedHeaders", c.AllowedRequestHeaders)
		}
	case gatewayv1.HTTPRouteExternalAuthHTTPProtocol:
		from.grpc = false
		if c := f.HTTPAuthConfig; c != nil {
			a.Path = c.Path
			a.AllowedHeaders, err = headerNames("http.allowedHeaders", c.AllowedRequestHeaders)
			if err == nil {
				a.AllowedResponseHeaders, err = headerNames("http.allowedResponseHeaders", c.AllowedResponseHeaders)
			}
		}
	default:
		err = fmt.Errorf("protocol %q: want HTTP or GRPC", f.ExternalAuthProtocol)
	}
	if err != nil {
		return err
	}
	if a.Path != "" {
		if err := route.CheckPath(a.Path); err != nil {
			return fmt.Errorf("http.path %q: %w", a.Path, err)
		}
	}
	if f.ForwardBody != nil {
		a.ForwardBody = int(f.ForwardBody.MaxSize)
	}
	b := r.target(field+".externalAuth.backendRef", f.BackendRef, from).backend
	if b.Invalid != "" { // "this filter MUST fail closed"
		out.Unsupported = "externalAuth: " + b.Invalid
	}
	a.Backend = &b
	out.ExternalAuth = a
	return nil
}
