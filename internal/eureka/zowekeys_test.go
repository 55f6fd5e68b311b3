package eureka

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// TestEveryZoweKey: of the keys that matter to a gateway's data path (zowe.md, section 4.7, M) each either changes what is served, or
// is told with its effect; and none is both.
func TestEveryZoweKey(t *testing.T) {
	for _, row := range []struct{ key, value string }{
		{"apiml.routes.other.gatewayUrl", "api/v2"}, // with its serviceUrl below
		{"apiml.service.externalUrl", "https://outside.example/"},
		{"apiml.service.apimlId", "other"},
		{"apiml.service.supportClientCertForwarding", "true"},
		{"apiml.authentication.scheme", "zoweJwt"},
		{"apiml.authentication.scheme", "httpBasicPassTicket"},
		{"apiml.authentication.scheme", "zosmf"},
		{"apiml.authentication.scheme", "x509"},
		{"apiml.authentication.scheme", "safIdt"},
		{"apiml.authentication.applid", "APPL"},
		{"apiml.authentication.headers", "X-Certificate-Public"},
		{"apiml.enableUrlEncodedCharacters", "false"},
		{"apiml.connectTimeout", "1234"},
		{"apiml.readTimeout", "1234"},
		{"apiml.connectionManagerTimeout", "1234"},
		{"apiml.okToRetryOnAllOperations", "true"},
		{"apiml.corsEnabled", "true"},
		{"apiml.corsAllowedOrigins", "https://page.example"},
		{"apiml.corsAllowedHeaders", "X-A"},
		{"apiml.corsAllowedMethods", "GET"},
		{"apiml.corsAllowCredentials", "false"},
		{"apiml.lb.type", "headerRequest"},
		{"apiml.lb.type", "authentication"},
		{"apiml.lb.cacheRecordExpirationTimeInHours", "2"},
		{"apiml.response.compress", "true"},
		{"apiml.response.compressRoutes", "/a/**"},
		{"apiml.response.headers", "X-A:b"},
		{"apiml.headersToIgnore", "X-A"},
		{"zone", "east"},
	} {
		plain := ws("/s", "apiml.routes.other.serviceUrl", "/o")
		before := translated(route.Policy{}, upAt(1, plain...))
		after := translated(route.Policy{}, upAt(1, slices.Concat(plain, []string{row.key, row.value})...))
		told := problems(after)
		followed := len(before) != len(after)
		for n := range before {
			followed = followed || !reflect.DeepEqual(servedAs(before[n]), servedAs(after[min(n, len(after)-1)]))
		}
		want := []string{`instance host:svc:1: ` + row.key + ` "` + row.value + `" is not supported: `}
		switch {
		case followed && len(told) == 0:
		case !followed && len(told) == 1 && strings.HasPrefix(told[0], want[0]) && len(told[0]) > len(want[0])+10:
		default:
			t.Errorf("%s %s: followed %v, told %q", row.key, row.value, followed, told)
		}
	}
}

// servedAs is everything about a route that a request can notice.
func servedAs(r route.Route) []any {
	var endpoints []string
	for _, e := range r.Service.Endpoints {
		endpoints = append(endpoints, e.Scheme+" "+e.Address())
	}
	return []any{r.Prefixes, r.ServiceID, r.Target, r.Policy, r.CORS, r.SameOrigin, r.CORSAnyone, r.Filters, r.Retry, r.Persistence, endpoints}
}

// TestExternalURL: requests go there, unless it is none; it is held to the same rules as the instance's own address.
func TestExternalURL(t *testing.T) {
	for value, want := range map[string]string{
		"https://out.example": "https out.example 443", "http://out.example/path": "http out.example 80", "https://out.example:8443": "https out.example 8443",
		" ": "http svc.test 8001", "ftp://out.example": "http svc.test 8001", "https://u:p@out.example": "http svc.test 8001", "https://out.example:99999": "http svc.test 8001", "https://": "http svc.test 8001",
	} {
		routes := translated(route.Policy{}, upAt(1, ws("/s", keyExternalURL, value)...))
		e := routes[0].Service.Endpoints[0]
		if got := strings.Join([]string{e.Scheme, strings.ReplaceAll(e.Address(), ":", " ")}, " "); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
		if bad := want == "http svc.test 8001" && value != " "; bad != (len(problems(routes)) > 0) {
			t.Errorf("%q: %q", value, problems(routes))
		}
	}

	s := newServer(t, Config{AllowedHosts: []string{"h", "*.example"}})
	with := func(url string) string { return doc("A", "1", `,"metadata":{"apiml.service.externalUrl":"`+url+`"}`) }
	s.want(204, "POST", "/eureka/apps/A", with("https://out.example/"), ofJSON)
	s.want(403, "POST", "/eureka/apps/A", with("https://elsewhere/"), ofJSON)
	s.want(400, "POST", "/eureka/apps/A", with("https://169.254.169.254/"), ofJSON)
	s.want(400, "PUT", "/eureka/apps/A/1/metadata?apiml.service.externalUrl=http://169.254.169.254/", "")
	if got := s.stored("A", "1").Metadata[keyExternalURL]; got != "https://out.example/" {
		t.Error(got)
	}
	s.want(200, "PUT", "/eureka/apps/A/1/metadata?apiml.service.externalUrl=http://in.example/", "")
}
