package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// rules has g serve those rules on a listener of its own, and returns its address.
func (g *programmable) rules(rules ...route.Rule) string {
	g.t.Helper()
	at := freeAddress(g.t)
	if unbound := g.program(plain(at, &route.Host{Name: "gw/http", Rules: rules})); len(unbound) > 0 {
		g.t.Fatal(unbound)
	}
	return at.String()
}

// below is a rule that takes the paths below prefix to backends.
func below(prefix string, backends ...route.Backend) route.Rule {
	return route.Rule{Route: leadsTo(prefix, backends...), Matches: []route.RuleMatch{{Path: route.PathMatch{Value: prefix}}}}
}

// filtered is below with filters.
func filtered(prefix string, f route.Filters, backends ...route.Backend) route.Rule {
	r := below(prefix, backends...)
	r.Filters = &f
	return r
}

// httpClient is a client of HTTP/1.1, or of HTTP/2 with prior knowledge.
func httpClient(t *testing.T, h2 bool) *http.Client {
	tr := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: wait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// overBoth runs f with a client of each version of HTTP.
func overBoth(t *testing.T, f func(t *testing.T, c *http.Client)) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "http1", true: "http2"}[h2], func(t *testing.T) { f(t, httpClient(t, h2)) })
	}
}

// ask sends a request whose fields are pairs, and returns the answer with its body read.
func ask(t *testing.T, c *http.Client, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	return do(t, c, r)
}

func do(t *testing.T, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// echoSession is a service that answers every message with its own number, and says what it was asked in the 101.
func echoSession(t *testing.T, extra ...string) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		line, _, _ := strings.Cut(head, "\r\n")
		say := append([]string{"X-Saw: " + line, "X-Saw-Host: " + one(head, "Host")}, extra...)
		for _, name := range []string{"X-Set", "X-Add", "X-Gone", "X-Forwarded-Proto", "X-Forwarded-Prefix", "X-Auth"} {
			for _, v := range field(head, name) {
				say = append(say, "Saw-"+name+": "+v)
			}
		}
		_, _ = io.WriteString(c, acceptSwitch(head, say...))
		for i := 0; ; i++ {
			b := make([]byte, 7)
			if _, err := io.ReadFull(br, b); err != nil || b[0]&15 == byte(websocket.OpClose) {
				return
			}
			_, _ = io.WriteString(c, unmasked(websocket.OpText, fmt.Sprint(i)))
		}
	})
}

// A rule's failures are problem documents, and its WebSocket handshakes fail with a status.
func TestRuleFailures(t *testing.T) {
	g := startProgrammable(t)
	invalid := route.Backend{Name: "ns/gone:80", Weight: 1, Invalid: "Service ns/gone: not found"}
	grpc := below("/grpc", g.backend("none"))
	grpc.GRPC = true
	wrong := filtered("/filter", route.Filters{Unsupported: "ExtensionRef: no such filter"}, g.backend("any", naming(t, "any")))
	refused := closedPort(t)
	addr := g.rules(below("/none", g.backend("none")), below("/invalid", invalid), below("/zero", route.Backend{Name: "zero"}), below("/empty"),
		below("/refused", g.backend("refused", refused)), grpc, wrong)
	for _, c := range []struct {
		path   string
		status int
	}{
		{"/nowhere", 404}, {"/none", 503}, {"/invalid", 500}, {"/zero", 500}, {"/empty", 500}, {"/refused", 502}, {"/filter", 500}, {"/none/%2e%2e", 400},
	} {
		overBoth(t, func(t *testing.T, cl *http.Client) {
			resp, body := ask(t, cl, "GET", "http://"+addr+c.path)
			var p problem
			if err := json.Unmarshal([]byte(body), &p); err != nil || resp.StatusCode != c.status || p.Status != c.status ||
				p.Type != "about:blank" || p.Title != http.StatusText(c.status) || p.Detail == "" ||
				resp.Header.Get("Content-Type") != "application/problem+json" || resp.Header.Get("X-Request-Id") == "" {
				t.Errorf("%s: %d %v %q", c.path, resp.StatusCode, resp.Header, body)
			}
			if strings.Contains(body, "ns/gone") || strings.Contains(body, refused) {
				t.Errorf("%s: tells of the inside: %q", c.path, body)
			}
			if rec := g.log.next(t); fmt.Sprint(rec["status"]) != fmt.Sprint(c.status) || rec["cause"] == "" {
				t.Errorf("line %v", rec)
			}
		})
		_, _, head := talkTo(t, addr, handshake(c.path, "a"))
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || one(head, "Content-Type") != "application/problem+json" ||
			one(head, "Connection") != "close" {
			t.Errorf("%s, as a handshake: %q", c.path, head)
		}
		g.log.next(t)
	}
	for path, code := range map[string]string{"/grpc": "14", "/elsewhere": "12"} {
		resp, body := ask(t, httpClient(t, true), "POST", "http://"+addr+path, "Content-Type", "application/grpc+proto")
		if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != code || resp.Header.Get("Grpc-Message") == "" || body != "" ||
			resp.Header.Get("Content-Type") != "application/grpc" {
			t.Errorf("%s: %d %v %q", path, resp.StatusCode, resp.Header, body)
		}
	}
}

func TestRuleWeights(t *testing.T) {
	g := startProgrammable(t)
	a, b, c := g.backend("a", naming(t, "a")), g.backend("b", naming(t, "b")), g.backend("c", naming(t, "c"))
	a.Weight, b.Weight, c.Weight = 3, 1, 0
	addr := g.rules(below("/", a, b, c))
	got := map[string]int{}
	cl := httpClient(t, false)
	for range 40 {
		_, body := ask(t, cl, "GET", "http://"+addr+"/x", "Host", "gw.test")
		name, rest, _ := strings.Cut(body, " ")
		if !strings.HasPrefix(rest, "gw.test /x ") {
			t.Fatalf("%q", body)
		}
		got[name]++
		rec := g.log.next(t)
		if rec["service"] != name || rec["route"] != "/" || rec["backend"] == "" || rec["instance"] == "" {
			t.Fatalf("line %v", rec)
		}
	}
	if got["a"] < 28 || got["a"] > 32 || got["c"] != 0 || got["a"]+got["b"] != 40 {
		t.Errorf("shares %v, want 30 and 10", got)
	}
}

// edit changes X-Set, X-Add and X-Gone, tries what no rule may, and takes a field of the gateway's own away.
var edit = route.HeaderEdit{
	Set: []route.HeaderValue{
		{Name: "x-set", Value: "rule"},
		{Name: "Host", Value: "evil"},
		{Name: "Content-Length", Value: "7"},
		{Name: "Transfer-Encoding", Value: "chunked"},
		{Name: "Sec-WebSocket-Accept", Value: "bad"},
		{Name: "Sec-WebSocket-Key", Value: "bad"},
		{Name: "Connection", Value: "close"},
		{Name: "X-Split", Value: "a\r\nX-Injected: 1"},
	},
	Add:    []route.HeaderValue{{Name: "X-Add", Value: "rule"}, {Name: "Upgrade", Value: "evil"}},
	Remove: []string{"x-gone", "x-forwarded-proto", "Upgrade", "Sec-WebSocket-Accept", "Content-Length"},
}

func TestRuleHeaders(t *testing.T) {
	g := startProgrammable(t)
	rest := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		for _, f := range [][2]string{{"X-Set", "service"}, {"X-Set", "again"}, {"X-Add", "service"}, {"X-Gone", "1"}, {"X-Split", "0"}, {"X-Kept", "1"}} {
			w.Header().Add(f[0], f[1])
		}
		echoHandler(w, r)
	})
	ws := echoSession(t, "X-Set: service", "X-Add: service", "X-Gone: 1", "X-Kept: 1")
	own := route.HeaderEdit{Set: []route.HeaderValue{{Name: "X-Backend", Value: "1"}}, Add: []route.HeaderValue{{Name: "X-ADD", Value: "backend"}}}
	make := func(prefix, address string) route.Rule {
		b := g.backend(prefix, address)
		b.Filters = &route.Filters{RequestHeaders: own, ResponseHeaders: own}
		return filtered(prefix, route.Filters{RequestHeaders: edit, ResponseHeaders: edit}, b)
	}
	addr := g.rules(make("/rest", rest), make("/ws", ws))
	overBoth(t, func(t *testing.T, c *http.Client) {
		resp, body := ask(t, c, "GET", "http://"+addr+"/rest/x", "Host", "gw.test", "X-Set", "client", "X-Add", "client", "X-Gone", "1", "X-Kept", "1")
		saw := strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n")
		for name, want := range map[string]string{
			"Host": "gw.test", "X-Set": "rule", "X-Add": "client,rule,backend", "X-Gone": "", "X-Forwarded-Proto": "", "X-Kept": "1", "X-Backend": "1",
			"X-Injected": "", "Content-Length": "", "Transfer-Encoding": "", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Prefix": "",
		} {
			if got := strings.Join(field(saw, name), ","); got != want {
				t.Errorf("the backend saw %s: %q, want %q", name, got, want)
			}
		}
		for name, want := range map[string]string{"X-Set": "rule", "X-Add": "service,rule,backend", "X-Gone": "", "X-Kept": "1", "X-Backend": "1", "X-Injected": ""} {
			if got := strings.Join(resp.Header.Values(name), ","); got != want {
				t.Errorf("the client saw %s: %q, want %q", name, got, want)
			}
		}
	})
	c, br, head := talkTo(t, addr, handshake("/ws/x", "gw.test", "X-Set: client", "X-Add: client", "X-Gone: 1"))
	for name, want := range map[string]string{
		"X-Saw-Host": "gw.test", "Saw-X-Set": "rule", "Saw-X-Add": "client,rule,backend", "Saw-X-Gone": "", "Saw-X-Forwarded-Proto": "",
		"X-Set": "rule", "X-Add": "service,rule,backend", "X-Gone": "", "X-Kept": "1", "Upgrade": "websocket", "Connection": "Upgrade",
		"Sec-WebSocket-Accept": websocket.AcceptKey(clientKey),
	} {
		if got := strings.Join(field(head, name), ","); got != want {
			t.Errorf("handshake: %s: %q, want %q", name, got, want)
		}
	}
	_, _ = io.WriteString(c, masked(websocket.OpText, "x"))
	if _, got := frame(t, br); got != "0" {
		t.Errorf("message %q", got)
	}
}

func TestRuleRewrites(t *testing.T) {
	g := startProgrammable(t)
	prefix := func(to string) *route.PathRewrite { return &route.PathRewrite{Value: to} }
	own := g.backend("own", echoSession(t))
	own.Filters = &route.Filters{Rewrite: &route.Rewrite{Hostname: "own.test", Path: prefix("/own")}}
	at := echoSession(t)
	addr := g.rules(
		filtered("/p", route.Filters{Rewrite: &route.Rewrite{Path: prefix("/q/")}}, g.backend("p", at)),
		filtered("/strip", route.Filters{Rewrite: &route.Rewrite{Path: prefix("/")}}, g.backend("s", at)),
		filtered("/full", route.Filters{Rewrite: &route.Rewrite{Hostname: "full.test", Path: &route.PathRewrite{Full: true, Value: "/all"}}}, g.backend("f", at)),
		filtered("/own", route.Filters{Rewrite: &route.Rewrite{Hostname: "rule.test"}}, own),
		below("/", g.backend("asis", at)),
	)
	for _, c := range []struct{ path, want, host, prefix string }{
		{"/p/a%2Fb?x=%20", "/q/a%2Fb?x=%20", "gw.test", "/p"},
		{"/strip", "/", "gw.test", "/strip"},
		{"/strip/", "/", "gw.test", "/strip"},
		{"/strip?a", "/?a", "gw.test", "/strip"},
		{"/full/x?a=b", "/all?a=b", "full.test", ""},
		{"/own/x", "/own/x", "own.test", "/own"},
		{"/other//x/", "/other//x/", "gw.test", ""},
	} {
		_, _, head := talkTo(t, addr, handshake(c.path, "gw.test"))
		if one(head, "X-Saw") != "GET "+c.want+" HTTP/1.1" || one(head, "X-Saw-Host") != c.host || strings.Join(field(head, "Saw-X-Forwarded-Prefix"), "") != c.prefix {
			t.Errorf("%s: %q", c.path, head)
		}
	}
}

func TestRuleRedirects(t *testing.T) {
	g := startProgrammable(t)
	redirect := func(prefix string, r route.Redirect) route.Rule { return filtered(prefix, route.Filters{Redirect: &r}) }
	rules := []route.Rule{
		redirect("/plain", route.Redirect{Hostname: "example.org", Status: 302}),
		redirect("/scheme", route.Redirect{Scheme: "https", Status: 301}),
		redirect("/port80", route.Redirect{Port: 80, Status: 302}),
		redirect("/port8443", route.Redirect{Scheme: "https", Port: 8443, Hostname: "e.test", Status: 307}),
		redirect("/port443", route.Redirect{Scheme: "https", Port: 443, Status: 308}),
		redirect("/pre", route.Redirect{Path: &route.PathRewrite{Value: "/post"}, Port: 80, Status: 303}),
		redirect("/full", route.Redirect{Path: &route.PathRewrite{Full: true, Value: "/all"}, Port: 80, Status: 302}),
	}
	at := freeAddress(t)
	l := plain(at, &route.Host{Name: "gw/http", Rules: rules})
	l.Port = at.Port() - 8000 // shifted
	g.program(l)
	plainHost := fmt.Sprintf("http://example.org:%d/plain", at.Port())
	for _, c := range []struct{ path, location, status string }{
		{"/plain/a?b=c", plainHost + "/a?b=c", "302"},
		{"/scheme", "https://gw.test:8443/scheme", "301"},
		{"/port80/%20", "http://gw.test/port80/%20", "302"},
		{"/port8443", "https://e.test:8443/port8443", "307"},
		{"/port443", "https://gw.test/port443", "308"},
		{"/pre/a?b", "http://gw.test/post/a?b", "303"},
		{"/full/a?b", "http://gw.test/all?b", "302"},
	} {
		for _, send := range []string{get("gw.test:1234", c.path), handshake(c.path, "gw.test:1234")} {
			_, br, head := talkTo(t, at.String(), send)
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || one(head, "Location") != c.location || len(field(head, "X-Request-Id")) != 1 {
				t.Errorf("%q: %q", send, head)
			}
			if body := readBody(t, br, head); body != "" {
				t.Errorf("%q: body %q", send, body)
			}
			if rec := g.log.next(t); fmt.Sprint(rec["status"]) != c.status {
				t.Errorf("line %v", rec)
			}
		}
	}
	for path, status := range map[string]string{"/scheme": "400", "/plain": "302"} { // HTTP/1.0 without a Host: nowhere to go, but what the rule says
		if _, _, head := talkTo(t, at.String(), "GET "+path+" HTTP/1.0\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
			t.Errorf("%s without a Host: %q", path, head)
		}
		g.log.next(t)
	}
	resp, _ := ask(t, httpClient(t, true), "GET", "http://"+at.String()+"/plain", "Host", "gw.test")
	if resp.StatusCode != 302 || resp.Header.Get("Location") != plainHost {
		t.Errorf("over HTTP/2: %d %v", resp.StatusCode, resp.Header)
	}
}

// TestRuleEncodedPath has paths that a service could take for those of another rule refused.
func TestRuleEncodedPath(t *testing.T) {
	g := startProgrammable(t)
	r := below("/", g.backend("svc", httpService(t, echoHandler)))
	strict := *r.Policy
	strict.EncodedPath = route.EncodedNothing
	r.Policy = &strict
	at := g.rules(r)
	for path, status := range map[string]string{"/a": "200", "/a;b": "400", "/a%2fb": "400", "/%61": "400", "/a?b=%2f;": "200"} {
		_, br, head := talkTo(t, at, get("gw.test", path))
		if body := readBody(t, br, head); !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") || status == "400" && !strings.Contains(body, "not taken here: "+path) {
			t.Errorf("%s: %q %q", path, head, body)
		}
	}
	for _, path := range []string{"/a;b", "/a%2fb", "/%61"} { // a handshake is held to it, too
		if _, _, head := talkTo(t, at, handshake(path, "gw.test")); !strings.HasPrefix(head, "HTTP/1.1 400 ") {
			t.Errorf("handshake %s: %q", path, head)
		}
	}
}

// TestRuleOtherReading: no rule's authentication is passed by with a path that a service, but not the gateway, takes for one below it.
func TestRuleOtherReading(t *testing.T) {
	g := startProgrammable(t)
	to := g.backend("svc", httpService(t, echoHandler))
	free, guarded, other := below("/", to), below("/admin", to), below("/other", to)
	strict := *guarded.Policy
	strict.Auth = route.AuthBasic
	guarded.Policy = &strict
	at := g.rules(free, guarded, other)
	for path, status := range map[string]string{
		"/admin/x": "503", "//admin": "400", "/admin;x": "400", "/admin%2Fx": "400", "/%2Fadmin/x": "400", "/;x/admin": "400", "/admin//x": "503",
		"//": "200", "//other": "200", "/other;x/y": "200", "/proxy/https://admin": "200",
	} {
		for _, send := range []string{get("gw.test", path), handshake(path, "gw.test")} {
			_, _, head := talkTo(t, at, send)
			if !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
				t.Errorf("%q: %q, want %s", send[:20], head, status)
			}
		}
	}
}

// TestRuleCORS is what the Gateway API's own HTTPRouteCORS asks, and what no page may get.
func TestRuleCORS(t *testing.T) {
	g := startProgrammable(t)
	service := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://of.the.service")
		w.Header().Set("Access-Control-Expose-Headers", "X-Service")
		_, _ = io.WriteString(w, "reached")
	})
	cors := func(prefix string, c route.CORS) route.Rule {
		return filtered(prefix, route.Filters{CORS: &c}, g.backend("s", service))
	}
	addr := g.rules(
		cors("/1", route.CORS{
			AllowOrigins: []string{"https://www.foo.com", "https://*.bar.com"}, AllowMethods: []string{"GET", "OPTIONS"},
			AllowHeaders: []string{"x-header-1", "x-header-2"}, ExposeHeaders: []string{"x-header-3", "x-header-4"}, AllowCredentials: true, MaxAge: 3600,
		}),
		cors("/2", route.CORS{AllowOrigins: []string{"https://www.foo.com"}, AllowMethods: []string{"*"}}),
		cors("/any", route.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"PUT"}, ExposeHeaders: []string{"*"}}),
		cors("/all", route.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}, ExposeHeaders: []string{"*"}, AllowCredentials: true}),
		filtered("/ws", route.Filters{CORS: &route.CORS{AllowOrigins: []string{"https://www.foo.com"}}}, g.backend("ws", echoSession(t))),
	)
	const none = "-"
	for _, c := range []struct {
		method, path, origin, asks, headers               string
		status                                            int
		allow, methods, allowed, credentials, expose, age string
	}{
		{"OPTIONS", "/1", "https://www.foo.com", "GET", "x-header-1, x-header-2", 204, "https://www.foo.com", "GET, OPTIONS", "x-header-1, x-header-2", "true", "x-header-3, x-header-4", "3600"},
		{"OPTIONS", "/1", "https://xpto.www.bar.com", "GET", "", 204, "https://xpto.www.bar.com", "GET, OPTIONS", "x-header-1, x-header-2", "true", "x-header-3, x-header-4", "3600"},
		{"OPTIONS", "/1", "https://foobar.com", "GET", "", 403, none, none, none, none, none, none},
		{"OPTIONS", "/1", "https://bar.com", "GET", "", 403, none, none, none, none, none, none},
		{"OPTIONS", "/1", "http://www.bar.com", "GET", "", 403, none, none, none, none, none, none},
		{"GET", "/1", "https://www.foo.com", "GET", "", 200, "https://www.foo.com", none, none, "true", "x-header-3, x-header-4", none},
		{"GET", "/1", "https://foobar.com", "GET", "", 200, none, none, none, none, none, none},
		{"GET", "/1", "", "", "", 200, none, none, none, none, none, none},
		{"OPTIONS", "/1", "https://www.foo.com", "", "", 200, "https://www.foo.com", none, none, "true", "x-header-3, x-header-4", none},
		{"OPTIONS", "/2", "https://www.foo.com", "POST", "", 204, "https://www.foo.com", "POST", none, none, none, "5"},
		{"OPTIONS", "/any", "https://foobar.com:12345", "PUT", "", 204, "*", "PUT", none, none, "*", "5"},
		{"PUT", "/any", "https://foobar.com", "", "", 200, "*", none, none, none, "*", none},
		{"GET", "/any", "null", "", "", 200, "*", none, none, none, "*", none},
		{"OPTIONS", "/all", "https://other.foo.com", "PUT", "x-header-1, x-header-2", 204, "https://other.foo.com", "PUT", "x-header-1, x-header-2", "true", none, "5"},
		{"GET", "/all", "https://other.foo.com", "", "", 200, "https://other.foo.com", none, none, "true", none, none},
		{"GET", "/all", "null", "", "", 200, none, none, none, none, none, none},
	} {
		overBoth(t, func(t *testing.T, cl *http.Client) {
			var fields []string
			for _, f := range [][2]string{{"Origin", c.origin}, {"Access-Control-Request-Method", c.asks}, {"Access-Control-Request-Headers", c.headers}} {
				if f[1] != "" {
					fields = append(fields, f[0], f[1])
				}
			}
			resp, body := ask(t, cl, c.method, "http://"+addr+c.path, fields...)
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": c.allow, "Access-Control-Allow-Methods": c.methods, "Access-Control-Allow-Headers": c.allowed,
				"Access-Control-Allow-Credentials": c.credentials, "Access-Control-Expose-Headers": c.expose, "Access-Control-Max-Age": c.age,
			} {
				got := none
				if v := resp.Header.Values(name); len(v) > 0 {
					got = strings.Join(v, "|")
				}
				if got != want {
					t.Errorf("%+v: %s: %q, want %q", c, name, got, want)
				}
			}
			if resp.StatusCode != c.status || (body == "reached") != (c.status == 200) {
				t.Errorf("%+v: %d %q", c, resp.StatusCode, body)
			}
			if varies := strings.Contains(strings.Join(resp.Header.Values("Vary"), ","), "Origin"); varies != (c.path != "/any") && resp.StatusCode != 403 {
				t.Errorf("%+v: Vary: %q", c, resp.Header.Values("Vary"))
			}
		})
	}
	if _, _, head := talkTo(t, addr, handshake("/ws", "a", "Origin: https://elsewhere.test")); !strings.HasPrefix(head, "HTTP/1.1 101 ") ||
		strings.Contains(head, "Access-Control") {
		t.Errorf("a handshake under a CORS filter: %q", head)
	}
}
