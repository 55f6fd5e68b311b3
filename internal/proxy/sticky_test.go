package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// either answers requests with its name and the cookies that it sees, and handshakes with its name in a frame.
func either(t *testing.T, name string) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		if strings.Contains(head, "Sec-WebSocket-Key") {
			switches(name)(c, br, head)
			return
		}
		cookies := ""
		for line := range strings.Lines(head) {
			if value, ok := strings.CutPrefix(line, "Cookie: "); ok {
				cookies = strings.TrimSpace(value)
			}
		}
		body := name + " " + cookies
		_, _ = io.WriteString(c, fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	})
}

// cookieOf is the Set-Cookie of a head, in two parts.
func cookieOf(head string) (pair, attributes string) {
	for line := range strings.Lines(head) {
		if value, ok := strings.CutPrefix(line, "Set-Cookie: "); ok {
			pair, attributes, _ = strings.Cut(strings.TrimSpace(value), "; ")
		}
	}
	return pair, attributes
}

// asks sends a request, or a handshake if path is one of ws/v1, and tells who has answered and the cookie that was set.
func asks(t *testing.T, g *gateway, path, cookies string) (by, cookie string) {
	t.Helper()
	if strings.HasPrefix(path, "/svc/ws/") {
		_, br, head := talk(t, g, handshake(path, "gw", "Cookie: "+cookies))
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatalf("answer %q", head)
		}
		_, by = frame(t, br)
		cookie, _ = cookieOf(head)
		return by, cookie
	}
	_, br, head := talk(t, g, "GET "+path+" HTTP/1.1\r\nHost: gw\r\nCookie: "+cookies+"\r\n\r\n")
	by, rest, _ := strings.Cut(readBody(t, br, head), " ")
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || strings.Contains(rest, "fairlead-endpoint") {
		t.Fatalf("answer %q, the service saw %q", head, rest)
	}
	cookie, _ = cookieOf(head)
	return by, cookie
}

func stickyService(t *testing.T, n int) service {
	s := service{id: "svc", routes: map[string]string{"ws/v1": "/ws", "api/v1": "/"}, policy: func(p *route.Policy) { p.LoadBalancing = upstream.Sticky }}
	for i := range n {
		s.endpoints = append(s.endpoints, either(t, fmt.Sprint(i)))
	}
	return s
}

// TestStickyOnEurekaRoutes: one cookie keeps a client's requests and sessions at one instance, by whichever route it has come first.
func TestStickyOnEurekaRoutes(t *testing.T) {
	g := startGateway(t, stickyService(t, 3))
	_, br, head := talk(t, g, get("gw", "/svc/api/v1/x"))
	readBody(t, br, head)
	pair, attributes := cookieOf(head)
	if !strings.HasPrefix(pair, "fairlead-endpoint-") || attributes != "Path=/; Max-Age=86400; HttpOnly; SameSite=Lax" {
		t.Errorf("cookie %q with %q", pair, attributes)
	}
	seen := map[string]bool{}
	for i, first := range []string{"/svc/api/v1/x", "/svc/ws/v1/x", "/ws/v1/svc/x", "/svc/api/v1/x", "/svc/ws/v1/x", "/svc/api/v1/x"} {
		if first == "/ws/v1/svc/x" {
			continue
		}
		at, cookie := asks(t, g, first, "a=1")
		if seen[at] = true; cookie == "" {
			t.Fatalf("client %d gets no cookie", i)
		}
		for _, path := range []string{"/svc/ws/v1/x", "/svc/api/v1/x", "/svc/ws/v1/y", "/api/v1/svc/x"} {
			if by, again := asks(t, g, path, "a=1; "+cookie+"; b=2"); by != at || again != "" {
				t.Errorf("client %d, kept at %s, is at %s, with another cookie %q", i, at, by, again)
			}
		}
	}
	if len(seen) < 2 {
		t.Errorf("clients without a cookie were all sent to one: %v", seen)
	}
}

// TestStickyIsChosenAnew where the endpoint that the cookie leads to takes nothing, cannot be reached, or is not known: the client is
// served, and kept where it then is.
func TestStickyIsChosenAnew(t *testing.T) {
	for name, lose := range map[string]func(g *gateway, s *service, i int){
		"drained": func(g *gateway, _ *service, i int) { g.endpoint(i).Drain(true) },
		"deregistered": func(g *gateway, s *service, i int) {
			g.pool.Service(s.id, slices.Delete(s.specs(), i, i+1))
		},
		"ejected": func(g *gateway, s *service, i int) {
			g.pool.ServiceWith(s.id, s.specs(), upstream.Options{Outliers: upstream.Outliers{Failures: 1}})
			g.endpoint(i).Failed(io.EOF)
		},
		"dead": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s := stickyService(t, 3)
			if name == "dead" {
				s.endpoints[1] = closedPort(t)
			}
			g := startGateway(t, s)
			for _, path := range []string{"/svc/ws/v1/x", "/svc/api/v1/x"} {
				var at, cookie string
				if lose == nil {
					var keep route.Persistence
					p := route.Policy{LoadBalancing: upstream.Sticky}
					keep = *p.Kept("svc")
					at, cookie = "1", keep.Name+"="+pass{at: g.endpoint(1).Identity()}.String()
				} else {
					at, cookie = asks(t, g, path, "a=1")
					i := 0
					_, _ = fmt.Sscan(at, &i)
					lose(g, &s, i)
				}
				by, again := asks(t, g, path, cookie)
				if by == at || again == "" || again == cookie {
					t.Fatalf("%s: at %s, then %s with cookie %q", path, at, by, again)
				}
				for range 3 {
					if now, more := asks(t, g, path, again); now != by || more != "" {
						t.Errorf("%s: then at %s with %q", path, now, more)
					}
				}
				for i := range g.pool.Endpoints() {
					g.endpoint(i).Drain(false)
				}
				g.pool.Service(s.id, s.specs())
			}
		})
	}
}

// TestStickyForged: what clients make up is as good as nothing.
func TestStickyForged(t *testing.T) {
	s := stickyService(t, 2)
	s.policy = func(p *route.Policy) { p.LoadBalancing, p.Sticky.CookieName = upstream.Sticky, "at" }
	g := startGateway(t, s)
	gone := g.pool.Service("svc", append(s.specs(), upstream.Spec{ID: "x", Scheme: "http", Host: "192.0.2.1", Port: 1})).Endpoints[2]
	g.pool.Service("svc", s.specs())
	other := g.pool.Service("other", []upstream.Spec{{ID: "o", Scheme: "http", Host: "192.0.2.1", Port: 1}}).Endpoints[0]
	for _, value := range []string{
		"", "x", strings.Repeat("A", passSize), strings.Repeat("/", 4000), `"`, pass{at: gone.Identity()}.String(), pass{at: other.Identity()}.String(),
		strings.Repeat(pass{at: other.Identity()}.String()+".", maxPasses-1) + pass{at: gone.Identity()}.String(), "%00", strings.Repeat("A=", 3000),
	} {
		for _, path := range []string{"/svc/ws/v1/x", "/svc/api/v1/x"} {
			by, cookie := asks(t, g, path, "at="+value)
			if by != "0" && by != "1" || !strings.HasPrefix(cookie, "at=") {
				t.Errorf("%.40q: at %q with cookie %q", value, by, cookie)
			}
		}
	}
}

// TestZoweRetries is the rest of zowe.md, sections 5.3 and 5.10: six calls whatever the number of instances, any method where the service
// says so; policies that say more replace it.
func TestZoweRetries(t *testing.T) {
	var n atomic.Int32
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			if body, _ := io.ReadAll(r.Body); string(body) != "body" {
				t.Errorf("%s with body %q", r.Method, body)
			}
			w.WriteHeader(code)
		}
	}
	breaks := func(http.ResponseWriter, *http.Request) { n.Add(1); panic(http.ErrAbortHandler) }
	api := map[string]string{"api/v1": "/"}
	all := func(p *route.Policy) { p.Retries.Methods = route.RetryAll }
	g := startGateway(t,
		service{id: "one", routes: api, endpoints: []string{httpService(t, status(503))}},
		service{id: "two", routes: api, endpoints: []string{httpService(t, status(503)), httpService(t, status(503))}},
		service{id: "all", routes: api, endpoints: []string{httpService(t, status(503))}, policy: all},
		service{id: "denied", routes: api, endpoints: []string{httpService(t, status(401))}, policy: all},
		service{id: "off", routes: api, endpoints: []string{httpService(t, status(503))}, policy: func(p *route.Policy) { p.Retries.Attempts = -1 }},
		service{id: "codes", routes: api, endpoints: []string{httpService(t, status(502))}, policy: func(p *route.Policy) {
			p.Retries = route.Retries{Codes: []int{502}, Attempts: 2}
		}},
		service{id: "codesall", routes: api, endpoints: []string{httpService(t, status(502))}, policy: func(p *route.Policy) {
			p.Retries = route.Retries{Codes: []int{502}, Attempts: 2, Methods: route.RetryAll}
		}},
		service{id: "breaks", routes: api, endpoints: []string{httpService(t, breaks)}, policy: func(p *route.Policy) { p.Retries.Attempts = 3 }},
		service{id: "breaksall", routes: api, endpoints: []string{httpService(t, breaks)}, policy: func(p *route.Policy) {
			p.Retries.Attempts, p.Retries.Methods = 3, route.RetryAll
		}},
		service{id: "zowebreaks", routes: api, endpoints: []string{httpService(t, breaks), httpService(t, breaks)}},
	)
	for _, tt := range []struct {
		method, id    string
		calls, status int
	}{
		{"GET", "one", 6, 503},
		{"GET", "two", 6, 503},
		{"POST", "one", 1, 503},
		{"PUT", "one", 1, 503},
		{"GET", "all", 6, 503},
		{"POST", "all", 6, 503},
		{"DELETE", "all", 6, 503},
		{"GET", "denied", 1, 401},
		{"POST", "denied", 1, 401},
		{"GET", "off", 1, 503},
		{"GET", "codes", 3, 502},
		{"PUT", "codes", 3, 502},
		{"POST", "codes", 1, 502},
		{"POST", "codesall", 3, 502},
		{"GET", "breaks", 4, 502},
		{"POST", "breaks", 1, 502},
		{"POST", "breaksall", 4, 502},
		{"POST", "zowebreaks", 1, 502},
	} {
		for _, chunked := range []bool{false, true} {
			n.Store(0)
			body := "Content-Length: 4\r\n\r\nbody"
			if chunked {
				if tt.method == "GET" { // a body that has not come whole with its head is not kept for it
					continue
				}
				body = "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
			}
			_, br, head := talk(t, g, tt.method+" /"+tt.id+"/api/v1/x HTTP/1.1\r\nHost: gw\r\n"+body)
			readBody(t, br, head)
			if got := int(n.Load()); got != tt.calls || !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
				t.Errorf("%s %s, chunked %t: %.30q after %d calls, want %d after %d", tt.method, tt.id, chunked, head, got, tt.status, tt.calls)
			}
		}
	}
}
