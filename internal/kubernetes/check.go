package kubernetes

import (
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// typeChecks is what the schemas of the Gateway API v1.6.3 (experimental channel), of config/crd and of Kubernetes itself say
// beyond the shape of the types: defaults, required fields, and rules. `make schema` holds it to what an API server makes of the
// published CRDs. It is never written.
var typeChecks = allChecks()

func allChecks() checkTable {
	t := checkTable{}
	for _, add := range []func(checkTable){
		addNameChecks, addReferenceChecks, addGatewayChecks, addHTTPRouteChecks, addFilterChecks, addGRPCRouteChecks,
		addStreamRouteChecks, addPolicyChecks, addCoreChecks, addALBChecks, addFairleadChecks,
	} {
		add(t)
	}
	return t
}

// addNameChecks adds the types that are texts.
func addNameChecks(t checkTable) {
	t.add(on(func(at spot, v *gatewayv1.Hostname) {
		if at.length(string(*v), 1, 253) && !isSubdomain(strings.TrimPrefix(string(*v), "*.")) {
			at.refuse(hostRemedy(string(*v)), `%s is no hostname: want "a.example" or "*.example", in lower case`, shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.PreciseHostname) { at.preciseHostname(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.AbsoluteURI) {
		if at.length(string(*v), 1, 253) && !absoluteURI.MatchString(string(*v)) {
			at.refuse("", `%s: want a URI with a scheme and an authority, as "spiffe://cluster.local/ns/default"`, shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.CORSOrigin) {
		if at.length(string(*v), 1, 253) && !corsOriginForm.MatchString(string(*v)) {
			at.refuse("without a path; no trailing /", `%s: want "https://host", "https://*.host:port" or "*"`, shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.Group) { at.group(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.Kind) { at.kind(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.ObjectName) { at.length(string(*v), 1, 253) }))
	t.add(on(func(at spot, v *gatewayv1.Namespace) { at.label(string(*v), "a namespace") }))
	t.add(on(func(at spot, v *gatewayv1.SectionName) {
		if at.length(string(*v), 1, 253) && !isSubdomain(string(*v)) {
			at.refuse("", "%s: want lower-case letters, digits, - and ., as in a DNS name", shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.GatewayController) {
		if domain, path, ok := strings.Cut(string(*v), "/"); at.length(string(*v), 1, 253) && (!ok || !isSubdomain(domain) || !isURLPath(path)) {
			at.refuse("Fairlead's is "+ControllerName, "%s: want a domain and a path, as example.com/controller", shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.AnnotationValue) { at.length(string(*v), 0, 4096) }))
	t.add(on(func(at spot, v *gatewayv1.LabelValue) { at.labelValue(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.AddressType) {
		if at.length(string(*v), 1, 253) && !addressType.MatchString(string(*v)) {
			at.refuse("", "%s: want IPAddress, Hostname, or a domain and a path", shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.HTTPHeaderName) { at.fieldName(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.GRPCHeaderName) { at.fieldName(string(*v)) }))
	t.add(on(func(at spot, v *gatewayv1.Duration) {
		if !durationForm.MatchString(string(*v)) {
			at.refuse(durationRemedy(string(*v)), `%s is no duration: want "500ms", "30s", "5m" or "1h30m", in whole numbers`, shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.ProtocolType) {
		if at.length(string(*v), 1, 255) && !protocolForm.MatchString(string(*v)) {
			at.refuse("", "%s: want HTTP, HTTPS, TLS, TCP or UDP", shown(string(*v), true))
		}
	}))
	t.add(on(func(at spot, v *gatewayv1.WellKnownCACertificatesType) {
		if at.length(string(*v), 1, 253) && *v != gatewayv1.WellKnownCACertificatesSystem && !isQualified(string(*v), true) {
			at.refuse("", "%s: want System", shown(string(*v), true))
		}
	}))
	t.add(on(enumOf(gatewayv1.GatewayDefaultScopeAll, gatewayv1.GatewayDefaultScopeNone)))
	t.add(on[metav1.LabelSelectorRequirement](nil, "key", "operator"))
}

var (
	absoluteURI    = regexp.MustCompile(`^[^:/?#]+://[^/?#]*[^?#]*(\?[^#]*)?(#.*)?`)
	corsOriginForm = regexp.MustCompile(`^(\*|https?://((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?)$`)
	addressType    = regexp.MustCompile(`^Hostname|IPAddress|NamedAddress|` + domainPath + `$`)
	protocolForm   = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|` + subdomainForm + `/[A-Za-z0-9]+$`)
)

const (
	subdomainForm = `[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*`
	domainPath    = subdomainForm + `/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+`

	letters         = "abcdefghijklmnopqrstuvwxyz"
	digits          = "0123456789"
	alphanumeric    = letters + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" + digits
	tokenCharacters = alphanumeric + "!#$%&'*+-.^_`|~"    // RFC 9110, 5.6.2
	pathCharacters  = alphanumeric + "/-._~%!$&'()*+,;=:" // of a controller's name
)

func isURLPath(s string) bool { return s != "" && strings.TrimLeft(s, pathCharacters) == "" }

// isLabel tells whether s is a label of DNS in lower case (RFC 1123).
func isLabel(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// isSubdomain tells whether s is one or more labels with dots.
func isSubdomain(s string) bool {
	for l := range strings.SplitSeq(s, ".") {
		if !isLabel(l) {
			return false
		}
	}
	return true
}

// isName tells whether s is a name in the sense of labels and annotations, without its prefix.
func isName(s string) bool {
	return s != "" && len(s) <= 63 && strings.Contains(alphanumeric, s[:1]) && strings.Contains(alphanumeric, s[len(s)-1:]) &&
		strings.TrimLeft(s, alphanumeric+"-_.") == ""
}

// isQualified tells whether s is a name with an optional prefix, a domain.
func isQualified(s string, prefixed bool) bool {
	prefix, name, ok := strings.Cut(s, "/")
	if !ok {
		return !prefixed && isName(s)
	}
	return isSubdomain(prefix) && len(prefix) < 253 && isName(name)
}

func hostRemedy(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "without a scheme"
	case strings.Contains(s, ":"):
		return "without a port: a listener has it"
	case strings.Contains(s, "/"):
		return "without a path: rules match it"
	case s != strings.ToLower(s):
		return "write " + strings.ToLower(s)
	case strings.Contains(s, "*"):
		return "* may only be the first label, and stands for one or more"
	}
	return ""
}

func durationRemedy(s string) string {
	switch {
	case s != "" && strings.Trim(s, digits) == "":
		return "add a unit: " + s + "s"
	case strings.Contains(s, "."):
		return "without a fraction: 1m30s, 1500ms"
	case strings.HasSuffix(s, "d"):
		return "days are written in hours: 24h"
	}
	return ""
}

func (s spot) preciseHostname(v string) {
	if s.length(v, 1, 253) && !isSubdomain(v) {
		s.refuse(hostRemedy(v), `%s is no hostname: want one without a wildcard, in lower case, as "a.example"`, shown(v, true))
	}
}

// fieldName checks the name of a header field, or of a query parameter.
func (s spot) fieldName(v string) {
	if s.length(v, 1, 256) && strings.Trim(v, tokenCharacters) != "" {
		s.refuse("", "%s is no name of a header field or parameter", shown(v, true))
	}
}

func (s spot) group(v string) {
	switch {
	case v == "" || !s.length(v, 0, 253) || isSubdomain(v):
	case strings.Contains(v, "/"):
		s.refuse("without the version: "+v[:strings.IndexByte(v, '/')], "%s is no group", shown(v, true))
	default:
		s.refuse("", `%s is no group: want a DNS name in lower case, or ""`, shown(v, true))
	}
}

func (s spot) kind(v string) {
	if s.length(v, 1, 63) && (strings.TrimLeft(v, alphanumeric+"-") != "" || strings.Contains(digits+"-", v[:1]) || strings.HasSuffix(v, "-")) {
		s.refuse("", `%s is no kind: want letters, digits and -, as "Service"`, shown(v, true))
	}
}

// label checks a name that is one label of DNS.
func (s spot) label(v, what string) {
	if s.length(v, 1, 63) && !isLabel(v) {
		s.refuse("", "%s is no name of %s: want lower-case letters, digits and -", shown(v, true), what)
	}
}

func (s spot) labelValue(v string) {
	if v != "" && s.length(v, 0, 63) && !isName(v) {
		s.refuse("", "%s is no value of a label: want letters, digits, -, _ and ., at most 63", shown(v, true))
	}
}
