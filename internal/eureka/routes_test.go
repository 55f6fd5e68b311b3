package eureka

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// upAt is an UP instance of SVC on plain port 8000+n that registered n-th; metadata are keys and values in turn.
func upAt(n int, metadata ...string) *Instance {
	in := &Instance{
		ID: fmt.Sprintf("host:svc:%d", n), App: "SVC", HostName: "svc.test", Status: Up,
		Port: Port{Number: 8000 + n, Enabled: true}, SecurePort: Port{Number: 8443},
		Metadata: map[string]string{}, Order: uint64(n), UpOrder: uint64(n),
	}
	for kv := range slices.Chunk(metadata, 2) {
		in.Metadata[kv[0]] = kv[1]
	}
	return in
}

// ws is one route of the seed's metadata.
func ws(serviceURL string, more ...string) []string {
	return append([]string{"apiml.routes.ws-v1.gatewayUrl", "ws/v1", "apiml.routes.ws-v1.serviceUrl", serviceURL}, more...)
}

func translated(operator route.Policy, instances ...*Instance) []route.Route {
	return translation{
		policy: route.DefaultEureka().Overlay(operator), operator: operator, pool: upstream.NewPool(),
	}.routes(instances)
}

// served spells the routes that have prefixes: "prefix | prefix -> target".
func served(routes []route.Route) (list []string) {
	for _, r := range routes {
		if len(r.Prefixes) > 0 {
			list = append(list, strings.Join(r.Prefixes, " | ")+" -> "+r.Target)
		}
	}
	return list
}

func problems(routes []route.Route) (list []string) {
	for _, r := range routes {
		list = append(list, r.Problems...)
	}
	return list
}

func TestRoutesFromMetadata(t *testing.T) {
	tests := []struct {
		name     string
		metadata []string
		want     []string
	}{
		{"the seed's", ws("/discoverableclient/ws"), []string{"/svc/ws/v1 | /ws/v1/svc -> /discoverableclient/ws"}},
		{"slashes", []string{
			"apiml.routes.a.gatewayUrl", "/ws/v1/", "apiml.routes.a.serviceUrl", "app/ws/",
			"apiml.routes.b.gatewayUrl", "//api/v1", "apiml.routes.b.serviceUrl", "//app",
			"apiml.routes.c.gatewayUrl", "ui/v1//", "apiml.routes.c.serviceUrl", "",
		}, []string{"/svc/api/v1 | /api/v1/svc -> /app", "/svc/ui/v1 | /ui/v1/svc -> /", "/svc/ws/v1 | /ws/v1/svc -> /app/ws/"}},
		{"any depth", []string{
			"apiml.routes.0.gatewayUrl", "ws", "apiml.routes.0.serviceUrl", "/a",
			"apiml.routes.1.gatewayUrl", "a/b/c/d", "apiml.routes.1.serviceUrl", "/b",
		}, []string{"/svc/a/b/c/d | /a/b/c/d/svc -> /b", "/svc/ws | /ws/svc -> /a"}},
		{"exactly four parts", []string{
			"apiml.routes.gatewayUrl", "three", "apiml.routes.serviceUrl", "/three",
			"apiml.routes.a.b.gatewayUrl", "five", "apiml.routes.a.b.serviceUrl", "/five",
			"routes.a.gatewayUrl", "ws/v1", "routes.a.serviceUrl", "/a",
			"apiml.routesX.a.gatewayUrl", "ws/v1", "apiml.routesX.a.serviceUrl", "/a",
			"apiml.routes.a.GatewayUrl", "ws/v1", "apiml.routes.a.ServiceUrl", "/a",
		}, nil},
		{"half a pair", []string{
			"apiml.routes.a.gatewayUrl", "ws/v1", "apiml.routes.b.serviceUrl", "/b",
		}, nil},
		{"a later label with the same gatewayUrl", []string{
			"apiml.routes.a.gatewayUrl", "ws/v1", "apiml.routes.a.serviceUrl", "/first",
			"apiml.routes.b.gatewayUrl", "/ws/v1/", "apiml.routes.b.serviceUrl", "/later",
		}, []string{"/svc/ws/v1 | /ws/v1/svc -> /later"}},
		{"apimlId", ws("/ws", "apiml.service.apimlId", "Domain1"), []string{"/domain1/ws/v1 | /ws/v1/domain1 -> /ws"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			routes := translated(route.Policy{}, upAt(1, tt.metadata...))
			if got := served(routes); !slices.Equal(got, tt.want) {
				t.Errorf("routes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			for _, r := range routes {
				if r.Source != "eureka" || r.ServiceID == "" || r.Service == nil || r.Service.Name != "svc" {
					t.Errorf("route %q: source %q, service %q of %v", r.ID, r.Source, r.ServiceID, r.Service)
				}
				if len(r.Prefixes) > 0 && (r.Policy == nil || r.ID != "svc/"+r.GatewayURL) {
					t.Errorf("route %q of gatewayUrl %q: policy %v", r.ID, r.GatewayURL, r.Policy)
				}
			}
		})
	}
}

// TestBadRoutesSufferAlone gives one instance a good route and a bad one.
func TestBadRoutesSufferAlone(t *testing.T) {
	tests := []struct{ gatewayURL, serviceURL, key, reason string }{
		{"", "/x", "gatewayUrl", "empty"},
		{"///", "/x", "gatewayUrl", "empty"},
		{"a//b", "/x", "gatewayUrl", "empty segment"},
		{"../x", "/x", "gatewayUrl", "dot segment"},
		{"a/..;b", "/x", "gatewayUrl", "dot segment"},
		{"a%2Fb", "/x", "gatewayUrl", "percent-escape"},
		{"a?b", "/x", "gatewayUrl", "'?'"},
		{"a#b", "/x", "gatewayUrl", "'#'"},
		{"a\r\nb", "/x", "gatewayUrl", "control byte"},
		{"a b", "/x", "gatewayUrl", "space"},
		{"a\\b", "/x", "gatewayUrl", "backslash"},
		{"https://evil.test/x", "/x", "gatewayUrl", "absolute URL"},
		{"x/v1", "/../x", "serviceUrl", "dot segment"},
		{"x/v1", "/a/%2e%2e", "serviceUrl", "dot segment"},
		{"x/v1", "/a?b=c", "serviceUrl", "'?'"},
		{"x/v1", "/a#b", "serviceUrl", "'#'"},
		{"x/v1", "/a%0d%0ab", "serviceUrl", "control byte"},
		{"x/v1", "/a\r\nb", "serviceUrl", "control byte"},
		{"x/v1", "/a%zz", "serviceUrl", "percent-escape"},
		{"x/v1", "https://evil.test/x", "serviceUrl", "absolute URL"},
		{"x/v1", "/" + strings.Repeat("\x01", 500), "serviceUrl", "control byte"},
	}
	for _, tt := range tests {
		routes := translated(route.Policy{}, upAt(1, ws("/good",
			"apiml.routes.bad.gatewayUrl", tt.gatewayURL, "apiml.routes.bad.serviceUrl", tt.serviceURL)...))
		if got := served(routes); !slices.Equal(got, []string{"/svc/ws/v1 | /ws/v1/svc -> /good"}) {
			t.Errorf("%q -> %q: served %q, want the good route alone", tt.gatewayURL, tt.serviceURL, got)
		}
		got := problems(routes)
		want := "instance host:svc:1: apiml.routes.bad." + tt.key + " "
		if len(got) != 1 || !strings.HasPrefix(got[0], want) || !strings.Contains(got[0], tt.reason) {
			t.Errorf("%q -> %q: problems %q, want one with %q and %q", tt.gatewayURL, tt.serviceURL, got, want, tt.reason)
		}
		if len(got) > 0 && (len(got[0]) > 700 || strings.ContainsAny(got[0], "\r\n\x01")) {
			t.Errorf("problem %q is long or raw", got[0])
		}
	}
}

func TestBadServiceIDs(t *testing.T) {
	for _, app := range []string{"..", "A/B", "A%2FB", "A?B", "A#B", "A B", "A\x00", "HTTP://X"} {
		in := upAt(1, ws("/x")...)
		in.App = app
		routes := translated(route.Policy{}, in)
		if got := served(routes); got != nil || len(problems(routes)) != 1 {
			t.Errorf("%q: served %q with problems %q, want none and one", app, got, problems(routes))
		}
	}
	routes := translated(route.Policy{}, upAt(1, ws("/x", "apiml.service.apimlId", "../evil")...))
	if got := served(routes); !slices.Equal(got, []string{"/svc/ws/v1 | /ws/v1/svc -> /x"}) || len(problems(routes)) != 1 {
		t.Errorf("bad apimlId: served %q, problems %q, want the service's own id and one problem", got, problems(routes))
	}
}

func TestEndpoints(t *testing.T) {
	plain, secure, both := upAt(1), upAt(2), upAt(3)
	secure.Port.Enabled, secure.SecurePort.Enabled = false, true
	both.SecurePort.Enabled = true
	down, starting := upAt(4), upAt(5)
	down.Status, starting.Status = OutOfService, Starting
	noPort, badHost, noHost, v6 := upAt(6), upAt(7), upAt(8), upAt(9)
	noPort.Port.Number = 0
	badHost.HostName = "svc.test\r\nX: y"
	noHost.HostName = ""
	v6.HostName = "::1"
	routes := translated(route.Policy{}, plain, secure, both, down, starting, noPort, badHost, noHost, v6)

	want := []upstream.Spec{
		{ID: "host:svc:1", Scheme: "http", Host: "svc.test", Port: 8001},
		{ID: "host:svc:2", Scheme: "https", Host: "svc.test", Port: 8443},
		{ID: "host:svc:3", Scheme: "https", Host: "svc.test", Port: 8443},
		{ID: "host:svc:9", Scheme: "http", Host: "::1", Port: 8009},
	}
	var got []upstream.Spec
	for _, e := range routes[0].Service.Endpoints {
		got = append(got, e.Spec)
	}
	if !slices.Equal(got, want) {
		t.Errorf("endpoints %v, want %v", got, want)
	}
	if p := problems(routes); len(p) != 3 || !strings.Contains(p[0], "host:svc:6: port 0") {
		t.Errorf("problems %q, want one for each of instances 6, 7 and 8", p)
	}
}

func TestInstancesAreMerged(t *testing.T) {
	a := upAt(1, ws("/old", "apiml.routes.api.gatewayUrl", "api/v1", "apiml.routes.api.serviceUrl", "/api")...)
	b := upAt(2, ws("/new", "apiml.routes.ui.gatewayUrl", "ui/v1", "apiml.routes.ui.serviceUrl", "/ui")...)
	down := upAt(3, ws("/down")...)
	down.Status = Down

	routes := translated(route.Policy{}, a, b, down)
	want := []string{
		"/svc/api/v1 | /api/v1/svc -> /api",
		"/svc/ui/v1 | /ui/v1/svc -> /ui",
		"/svc/ws/v1 | /ws/v1/svc -> /new",
	}
	if got := served(routes); !slices.Equal(got, want) {
		t.Errorf("routes %q, want %q", got, want)
	}
	wantConflicts := []string{
		`serviceUrl: instance host:svc:3 has "/down", instance host:svc:2 has "/new" and wins`,
		`serviceUrl: instance host:svc:1 has "/old", instance host:svc:2 has "/new" and wins`,
	}
	for _, r := range routes {
		if r.GatewayURL == "ws/v1" {
			if !slices.Equal(r.Conflicts, wantConflicts) {
				t.Errorf("conflicts %q, want %q", r.Conflicts, wantConflicts)
			}
		} else if len(r.Conflicts) > 0 {
			t.Errorf("%s: conflicts %q, want none", r.ID, r.Conflicts)
		}
	}

	a.UpOrder = 9 // turned UP again
	if got := served(translated(route.Policy{}, a, b, down)); got[2] != "/svc/ws/v1 | /ws/v1/svc -> /old" {
		t.Errorf("after the first instance turned UP again: %q", got[2])
	}

	c := upAt(10, ws("/../bad")...) // the newest, refused
	if got := served(translated(route.Policy{}, a, b, c)); got[2] != "/svc/ws/v1 | /ws/v1/svc -> /old" {
		t.Errorf("a refused route took the place of a good one: %q", got[2])
	}
}

// TestRoutesAreDeterministic shuffles everything that has no order.
func TestRoutesAreDeterministic(t *testing.T) {
	var instances []*Instance
	for i := range 4 {
		in := upAt(i + 1)
		for j := range 10 {
			label := fmt.Sprintf("apiml.routes.r%d", j)
			in.Metadata[label+".gatewayUrl"] = fmt.Sprintf("x/v%d", j%7)
			in.Metadata[label+".serviceUrl"] = fmt.Sprintf("/%d/%d", i, j)
		}
		instances = append(instances, in)
	}
	first := translated(route.Policy{}, instances...)
	for range 20 {
		rand.Shuffle(len(instances), func(a, b int) { instances[a], instances[b] = instances[b], instances[a] })
		for _, in := range instances {
			in.Metadata = maps.Clone(in.Metadata)
		}
		again := translated(route.Policy{}, instances...)
		for i := range again {
			again[i].Service = first[i].Service // in the order of the instances
		}
		if !reflect.DeepEqual(again, first) {
			t.Fatalf("another order gave other routes:\n%+v\n%+v", again, first)
		}
	}
}

func TestPolicyFromMetadata(t *testing.T) {
	metadata := ws("/ws",
		"apiml.routes.api.gatewayUrl", "api/v1", "apiml.routes.api.serviceUrl", "/api",
		"fairlead.websocket.idleTimeout", "10m",
		"fairlead.routes.ws-v1.websocket.idleTimeout", "20m",
		"fairlead.routes.ws-v1.hostHeader", "client",
		"fairlead.routes.other.hostHeader", "client",
		"fairlead.websocket.closeTimeout", "soon",
		"fairlead.nonsense", "1",
	)
	routes := translated(route.Policy{WebSocket: route.WebSocket{MaxSessions: 5}}, upAt(1, metadata...))
	byID := make(map[string]route.Route)
	for _, r := range routes {
		byID[r.ID] = r
	}
	api, wsv1 := byID["svc/api/v1"].Policy, byID["svc/ws/v1"].Policy
	if api.WebSocket.IdleTimeout != 10*time.Minute || api.HostHeader != route.HostOfEndpoint || api.WebSocket.MaxSessions != 5 {
		t.Errorf("api: %+v", api)
	}
	if wsv1.WebSocket.IdleTimeout != 20*time.Minute || wsv1.HostHeader != route.HostOfClient || wsv1.WebSocket.MaxSessions != 5 {
		t.Errorf("ws: %+v", wsv1)
	}
	if wsv1.WebSocket.CloseTimeout != 5*time.Second {
		t.Errorf("a refused value changed the policy: closeTimeout %v", wsv1.WebSocket.CloseTimeout)
	}
	got := strings.Join(byID["svc/ws/v1"].Problems, "\n")
	for _, want := range []string{`fairlead.nonsense "1": nonsense "1": unknown field`, `fairlead.websocket.closeTimeout "soon"`} {
		if !strings.Contains(got, want) {
			t.Errorf("problems %q, want %q", got, want)
		}
	}
}

func TestPolicyNeverLoosens(t *testing.T) {
	operator := route.Policy{Auth: route.AuthBasic}
	routes := translated(operator, upAt(1, ws("/ws", "fairlead.auth", "none")...))
	if r := routes[1]; r.Policy.Auth != route.AuthBasic || len(r.Problems) != 1 {
		t.Errorf("auth %s, problems %q, want basic and one problem", r.Policy.Auth, r.Problems)
	}
	// What a service asks for its protection and cannot get takes its route away, not the protection.
	for _, ask := range [][]string{{"fairlead.auth", "forward"}, {"fairlead.routes.ws-v1.auth", "bsic"}, {"fairlead.websocket.allowedOrigins", "app.test"}} {
		routes := translated(route.Policy{}, upAt(1, ws("/ws", ask...)...))
		if got := served(routes); got != nil || len(problems(routes)) != 1 {
			t.Errorf("%q: served %q, problems %q", ask, got, problems(routes))
		}
	}
}

func TestPolicyConflict(t *testing.T) {
	a := upAt(1, ws("/ws", "fairlead.auth", "basic", "fairlead.websocket.idleTimeout", "1m")...)
	b := upAt(2, ws("/ws", "fairlead.websocket.idleTimeout", "2m")...)
	r := translated(route.Policy{}, a, b)[1]
	if r.Policy.WebSocket.IdleTimeout != 2*time.Minute || r.Policy.Auth != route.AuthNone {
		t.Errorf("policy %+v, want that of the instance that registered UP last", r.Policy)
	}
	want := []string{"policy websocket.idleTimeout, auth: instances host:svc:1 and host:svc:2 differ, the latter wins"}
	if !slices.Equal(r.Conflicts, want) {
		t.Errorf("conflicts %q, want %q", r.Conflicts, want)
	}
}

func TestOriginsFromCORS(t *testing.T) {
	tests := []struct {
		name     string
		metadata []string
		want     []string
		problems int
	}{
		{"nothing", nil, []string{}, 0},
		{"enabled alone", []string{keyCORSEnabled, "true"}, []string{}, 0},
		{"list", []string{keyCORSEnabled, "true", keyCORSOrigins, "https://a.test, https://b.test:8443,"}, []string{"https://a.test", "https://b.test:8443"}, 0},
		{"list alone", []string{keyCORSOrigins, "https://a.test"}, []string{"https://a.test"}, 0},
		{"disabled", []string{keyCORSEnabled, "False", keyCORSOrigins, "https://a.test"}, []string{}, 0},
		{"any", []string{keyCORSEnabled, "true", keyCORSOrigins, "*"}, []string{"*"}, 0},
		{"one bad", []string{keyCORSOrigins, "a.test,https://b.test"}, []string{"https://b.test"}, 1},
		{"Fairlead's own wins", []string{keyCORSOrigins, "*", "fairlead.websocket.allowedOrigins", "https://b.test"}, []string{"https://b.test"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := translated(route.Policy{}, upAt(1, ws("/ws", tt.metadata...)...))[1]
			if r.Policy == nil || !slices.Equal(r.Policy.WebSocket.AllowedOrigins, tt.want) || len(r.Problems) != tt.problems {
				t.Fatalf("%+v with problems %q, want %q", r.Policy, r.Problems, tt.want)
			}
		})
	}
	operator := route.Policy{WebSocket: route.WebSocket{AllowedOrigins: []string{"https://a.test"}}}
	r := translated(operator, upAt(1, ws("/ws", keyCORSOrigins, "*")...))[1]
	if !slices.Equal(r.Policy.WebSocket.AllowedOrigins, []string{"https://a.test"}) || len(r.Problems) != 1 {
		t.Errorf("operator's list: %q with problems %q", r.Policy.WebSocket.AllowedOrigins, r.Problems)
	}
}

// The gateway answers CORS where that was asked for, and for pages of any origin only where nobody has named some.
func TestCORSOfRoutes(t *testing.T) {
	for _, tt := range []struct {
		operator     []string
		metadata     []string
		cors, anyone bool
		same         bool // pages of other origins are refused
	}{
		{nil, nil, false, false, true},
		{nil, []string{keyCORSOrigins, "https://a.test"}, false, false, true},
		{nil, []string{keyCORSEnabled, "true"}, true, true, false},
		{nil, []string{keyCORSEnabled, " TRUE ", keyCORSOrigins, "https://a.test"}, true, false, false},
		{nil, []string{keyCORSEnabled, "true", keyCORSOrigins, "no origin"}, true, false, false},
		{[]string{"https://a.test"}, []string{keyCORSEnabled, "true"}, true, false, false},
		{[]string{"https://a.test"}, nil, false, false, true},
		{[]string{"*"}, nil, false, false, false},
	} {
		operator := route.Policy{WebSocket: route.WebSocket{AllowedOrigins: tt.operator}}
		r := translated(operator, upAt(1, ws("/ws", tt.metadata...)...))[1]
		if r.CORS != tt.cors || r.CORSAnyone != tt.anyone || r.SameOrigin != tt.same {
			t.Errorf("%q, %q: %v, %v, %v", tt.operator, tt.metadata, r.CORS, r.CORSAnyone, r.SameOrigin)
		}
	}
}

func TestHeadersOfRoutes(t *testing.T) {
	r := translated(route.Policy{}, upAt(1, ws("/ws")...))[1]
	if r.Filters != nil {
		t.Errorf("without metadata: %+v", r.Filters)
	}
	a := upAt(1, ws("/ws")...)
	b := upAt(2, ws("/ws", keyAnswerHeaders, " X-Frame-Options:DENY, Location : http://a:1/ ,, bad name:x, X-Line:a\nb, lone",
		keyIgnoredHeaders, "X-A, Cookie,x y")...)
	r = translated(route.Policy{}, a, b)[1]
	want := route.Filters{
		ResponseHeaders: route.HeaderEdit{Set: []route.HeaderValue{{Name: "X-Frame-Options", Value: "DENY"}, {Name: "Location", Value: "http://a:1/"}}},
		RequestHeaders:  route.HeaderEdit{Remove: []string{"X-A", "Cookie"}},
	}
	if r.Filters == nil || !reflect.DeepEqual(*r.Filters, want) || len(r.Problems) != 4 || len(r.Conflicts) != 2 {
		t.Errorf("%+v, problems %q, conflicts %q", r.Filters, r.Problems, r.Conflicts)
	}
}

// Zowe's keys for paths and times, which the operator's policy and Fairlead's own keys overrule.
func TestPolicyOfZoweKeys(t *testing.T) {
	bounded := route.Policy{Timeouts: route.Timeouts{Response: time.Second}}
	for _, tt := range []struct {
		operator          route.Policy
		metadata          []string
		encoded           route.EncodedPath
		connect, response time.Duration
		problems          int
	}{
		{route.Policy{}, nil, route.EncodedAny, 5 * time.Second, time.Minute, 0},
		{route.Policy{}, []string{keyEncoded, " True "}, route.EncodedAny, 5 * time.Second, time.Minute, 0},
		{route.Policy{}, []string{keyEncoded, "false"}, route.EncodedNothing, 5 * time.Second, time.Minute, 0},
		{route.Policy{EncodedPath: route.EncodedNoSlash}, []string{keyEncoded, "true"}, route.EncodedNoSlash, 5 * time.Second, time.Minute, 0},
		{route.Policy{}, []string{keyEncoded, "false", "fairlead.encodedPath", "any"}, route.EncodedAny, 5 * time.Second, time.Minute, 0},
		{route.Policy{}, []string{keyConnectTimeout, "1500", keyReadTimeout, " 120000"}, route.EncodedAny, 1500 * time.Millisecond, 2 * time.Minute, 0},
		{bounded, []string{keyReadTimeout, "5000"}, route.EncodedAny, 5 * time.Second, time.Second, 1},
		{route.Policy{}, []string{keyReadTimeout, "5000", "fairlead.timeouts.response", "7s"}, route.EncodedAny, 5 * time.Second, 7 * time.Second, 0},
		{route.Policy{}, []string{keyReadTimeout, "5s", keyConnectTimeout, "0"}, route.EncodedAny, 5 * time.Second, time.Minute, 2},
		{route.Policy{}, []string{keyReadTimeout, "99999999999999999999"}, route.EncodedAny, 5 * time.Second, time.Minute, 1},
	} {
		r := translated(tt.operator, upAt(1, ws("/ws", tt.metadata...)...))[1]
		times := r.Policy.Timeouts.Effective()
		if r.Policy.EncodedPath != tt.encoded || times.Connect != tt.connect || times.Response != tt.response || len(r.Problems) != tt.problems {
			t.Errorf("%q: %s, %+v, %q; want %+v", tt.metadata, r.Policy.EncodedPath, times, r.Problems, tt)
		}
	}
}

// FuzzRoutes holds the translation to: whatever is registered, the table has no problem with what
// is served, each prefix leads to its route, and what goes to the service is a clean path.
func FuzzRoutes(f *testing.F) {
	f.Add("SVC", "ws/v1", "/app", "", "svc.test", "fairlead.auth", "basic")
	f.Add("A.B", "/a/b/c/", "x/", "Other", "::1", "fairlead.routes.x.hostHeader", "client")
	f.Add("..", "a//b", "http://x", "a/b", "h h", "apiml.corsAllowedOrigins", "*,x")
	f.Add("S;P", "é;x", "/%2e", "a%2fb", "", "fairlead.", "")
	f.Fuzz(func(t *testing.T, app, gatewayURL, serviceURL, apimlID, host, key, value string) {
		in := upAt(1, key, value, "apiml.routes.x.gatewayUrl", gatewayURL, "apiml.routes.x.serviceUrl", serviceURL, "apiml.service.apimlId", apimlID)
		in.App, in.HostName = strings.ToUpper(app), host
		routes := translated(route.Policy{Auth: route.AuthBasic}, in)
		table := route.Build(route.Set{Routes: routes}, nil)
		if n := len(problems(routes)); len(table.Problems) != n {
			// Only a prefix beyond the table's bounds may be one more.
			if last := table.Problems[n:]; !strings.Contains(last[0].Text, "are served") {
				t.Fatalf("table's own problems: %v", last)
			}
			return
		}
		for _, r := range table.Routes() {
			if r.Policy.Auth != route.AuthBasic {
				t.Fatalf("%q: authentication is gone", r.ID)
			}
			for _, p := range r.Prefixes {
				m, ok := table.Match(p + "/rest")
				if !ok || m.ID != r.ID || m.Rest != "/rest" {
					t.Fatalf("%q/rest leads to %v, %q", p, m.Route, m.Rest)
				}
				if err := route.CheckPath(m.Upstream()); err != nil || strings.HasPrefix(m.Upstream(), "//") {
					t.Fatalf("%q/rest -> %q: %v", p, m.Upstream(), err)
				}
			}
		}
	})
}

func TestZoweLoadBalancers(t *testing.T) {
	for _, tt := range []struct {
		metadata []string
		want     upstream.Balance
		hash     route.Hash
		problems int
	}{
		{nil, "", route.Hash{}, 0},
		{[]string{keyBalancer, "headerRequest"}, upstream.Named, route.Hash{}, 0},
		{[]string{keyBalancer, "authentication"}, upstream.Hash, route.Hash{User: true}, 0},
		{[]string{keyBalancer, "authentication", "fairlead.hash.header", "X-Tenant"}, upstream.Hash, route.Hash{User: true}, 1},
		{[]string{"fairlead.loadBalancing", "hash", "fairlead.hash.header", "X-Tenant"}, upstream.Hash, route.Hash{Header: "X-Tenant"}, 0},
		{[]string{keyBalancer, "magic"}, "", route.Hash{}, 1},
	} {
		routes := translated(route.Policy{}, upAt(1, ws("/ws", tt.metadata...)...))
		r := routes[len(routes)-1]
		if r.Policy.LoadBalancing != tt.want || r.Policy.Hash != tt.hash || len(r.Problems) != tt.problems {
			t.Errorf("%q: %q %+v %q", tt.metadata, r.Policy.LoadBalancing, r.Policy.Hash, r.Problems)
		}
	}
}

// TestRetriesAndCookies are what a route has of its policy beside the policy itself.
func TestRetriesAndCookies(t *testing.T) {
	at := func(metadata ...string) *route.Route {
		routes := translated(route.Policy{}, upAt(1, ws("/ws", metadata...)...))
		r := routes[len(routes)-1]
		if len(r.Problems) > 0 {
			t.Errorf("%q: %q", metadata, r.Problems)
		}
		return &r
	}
	if r := at(); r.Retry != nil || r.Persistence != nil || r.Policy.Retries.Methods != "" {
		t.Errorf("nothing said: %+v %+v", r.Retry, r.Persistence)
	}
	if r := at(keyRetryAll, "TRUE"); r.Retry != nil || r.Policy.Retries.Methods != route.RetryAll {
		t.Errorf("%s: %+v", keyRetryAll, r.Policy.Retries)
	}
	if r := at(keyRetryAll, "true", "fairlead.retries.methods", "idempotent"); r.Policy.Retries.Methods != route.RetryIdempotent {
		t.Errorf("our own key goes over %s: %+v", keyRetryAll, r.Policy.Retries)
	}
	r := at("fairlead.retries.codes", "502,503", "fairlead.retries.backoff", "50ms")
	if want := (route.Retry{Attempts: 1, Codes: []int{502, 503}, Backoff: 50 * time.Millisecond, Methods: route.RetryIdempotent}); !reflect.DeepEqual(*r.Retry, want) {
		t.Errorf("%+v, want %+v", *r.Retry, want)
	}
	if r := at("fairlead.retries.attempts", "off"); r.Retry == nil || r.Retry.Attempts != 0 {
		t.Errorf("off: %+v", r.Retry)
	}
	r = at("fairlead.loadBalancing", "sticky", "fairlead.sticky.cookieName", "at", "fairlead.sticky.lifetime", "off", "fairlead.routes.ws-v1.sticky.path", "/svc")
	if want := (route.Persistence{Name: "at", Managed: true, Path: "/svc"}); *r.Persistence != want {
		t.Errorf("%+v, want %+v", *r.Persistence, want)
	}
	one, other := at("fairlead.loadBalancing", "sticky").Persistence, at("fairlead.loadBalancing", "sticky").Persistence
	if *one != *other || one.Path != "/" || one.Lifetime != 24*time.Hour || !strings.HasPrefix(one.Name, "fairlead-endpoint-") {
		t.Errorf("%+v and %+v", one, other)
	}
}

// TestWeightsFromMetadata: each instance says its own; one that is no weight is told of and counts as 1.
func TestWeightsFromMetadata(t *testing.T) {
	all := []*Instance{
		upAt(0, ws("/a", keyWeight, " 5 ")...), upAt(1, ws("/a")...), upAt(2, ws("/a", keyWeight, "0")...), upAt(3, ws("/a", keyWeight, "1.5")...),
		upAt(4, ws("/a", keyWeight, "-1")...), upAt(5, ws("/a", keyWeight, "1001")...), upAt(6, ws("/a", keyWeight, "1000")...),
	}
	routes := translated(route.Policy{}, all...)
	var got []int
	for _, e := range routes[0].Service.Endpoints {
		got = append(got, e.Weight())
	}
	if want := []int{5, 1, 0, 1, 1, 1, 1000}; !slices.Equal(got, want) {
		t.Errorf("weights %v, want %v", got, want)
	}
	want := []string{
		`instance host:svc:3: fairlead.weight "1.5": want a whole number from 0 to 1000; it counts as 1`,
		`instance host:svc:4: fairlead.weight "-1": want a whole number from 0 to 1000; it counts as 1`,
		`instance host:svc:5: fairlead.weight "1001": want a whole number from 0 to 1000; it counts as 1`,
	}
	if got := problems(routes); !slices.Equal(got, want) {
		t.Errorf("problems %q", got)
	}
	if len(routes[1].Conflicts) > 0 {
		t.Errorf("conflicts %q: weights are each instance's own", routes[1].Conflicts)
	}
	if _, weights, _, _ := Endpoints(all, "svc", route.Policy{}); !maps.Equal(weights, map[string]int{"host:svc:0": 5, "host:svc:2": 0, "host:svc:6": 1000}) {
		t.Errorf("for other sources %v", weights)
	}
}
