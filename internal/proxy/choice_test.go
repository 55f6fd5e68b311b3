package proxy

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

func jwtOf(subject string) string {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q}`, subject))
	return "eyJhbGciOiJub25lIn0." + claims + ".c2ln"
}

// TestHashKeepsClients: a request and a session with one key reach one endpoint, and many keys reach all.
func TestHashKeepsClients(t *testing.T) {
	for name, tt := range map[string]struct {
		hash  route.Hash
		field func(key string) string
	}{
		"header":         {route.Hash{Header: "X-Tenant"}, func(k string) string { return "X-Tenant: " + k }},
		"cookie":         {route.Hash{Cookie: "JSESSIONID"}, func(k string) string { return "Cookie: a=1; JSESSIONID=" + k }},
		"token":          {route.Hash{User: true}, func(k string) string { return "Cookie: apimlAuthenticationToken=" + jwtOf(k) }},
		"bearer":         {route.Hash{User: true}, func(k string) string { return "Authorization: bearer " + jwtOf(k) }},
		"client address": {route.Hash{}, func(string) string { return "X-Test: 1" }},
	} {
		t.Run(name, func(t *testing.T) {
			var addrs []string
			for i := range 3 {
				addrs = append(addrs, rawService(t, switches(fmt.Sprint(i))))
			}
			svc := service{id: "svc", routes: wsRoute, endpoints: addrs, policy: func(p *route.Policy) {
				p.LoadBalancing, p.Hash = upstream.Hash, tt.hash
			}}
			g := startGateway(t, svc)
			reached := map[string]bool{}
			for key := range 50 { // that an endpoint has none of them is as good as impossible
				var first string
				for range 2 {
					_, br, head := talk(t, g, handshake("/svc/ws/v1/x", "gw", tt.field(fmt.Sprint("key", key))))
					if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
						t.Fatalf("answer %q", head)
					}
					_, at := frame(t, br)
					if first != "" && at != first {
						t.Errorf("key %d is at %s and at %s", key, first, at)
					}
					first = at
				}
				reached[first] = true
			}
			if want := map[bool]int{true: 1, false: 3}[name == "client address"]; len(reached) != want {
				t.Errorf("%d endpoints were reached", len(reached))
			}
		})
	}
}

// TestInstanceIsAskedFor is zowe.md, section 5.2.
func TestInstanceIsAskedFor(t *testing.T) {
	svc := service{id: "svc", routes: map[string]string{"ws/v1": "/ws", "api/v1": "/api"}}
	svc.policy = func(p *route.Policy) { p.LoadBalancing = upstream.Named }
	for i := range 3 {
		svc.endpoints = append(svc.endpoints, naming(t, fmt.Sprint(i)))
	}
	g := startGateway(t, svc)
	for range 3 {
		_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-InstanceId: 127.0.0.1:svc:1\r\n\r\n")
		if body := readBody(t, br, head); !strings.HasPrefix(body, "1 ") {
			t.Errorf("%q %q", head, body)
		}
	}
	_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-InstanceId: 127.0.0.1:svc:9\r\n\r\n")
	if body := readBody(t, br, head); !strings.HasPrefix(head, "HTTP/1.1 503 ") || !strings.Contains(body, "ZWEAG710E") {
		t.Errorf("%q %q", head, body)
	}
	_, br, _ = talk(t, g, handshake("/svc/ws/v1/x", "gw", "X-InstanceId: 127.0.0.1:svc:9"))
	if code, reason := closing(t, br); code != 1012 {
		t.Errorf("Close %d %q", code, reason)
	}
	seen := map[string]bool{}
	for range 3 {
		_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n")
		seen[readBody(t, br, head)[:1]] = true
	}
	if len(seen) != 3 {
		t.Errorf("without the field: %v", seen)
	}
}

func TestSubject(t *testing.T) {
	for token, want := range map[string]string{
		jwtOf("alice"): "alice",
		"":             "", "a": "", "a.b": "", "a.!!.c": "", "a.e30.c": "", "a.W10.c": "", "a." + strings.Repeat("A", maxClaims+4) + ".c": "",
	} {
		if got := subject(token); got != want {
			t.Errorf("%.40q: %q", token, got)
		}
	}
}

// TestLoadAware: what endpoints report of their load says how much they get, over HTTP and by the answers to handshakes, and clients do not
// see it.
func TestLoadAware(t *testing.T) {
	report := func(used string) string {
		return "Endpoint-Load-Metrics: TEXT rps_fractional=10,cpu_utilization=" + used + "\r\n"
	}
	answering := func(name, used string) string {
		return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
			if strings.Contains(head, "Sec-WebSocket-Key") {
				answer := strings.Replace(acceptSwitch(head), "\r\n\r\n", "\r\n"+report(used)+"\r\n", 1)
				_, _ = io.WriteString(c, answer+unmasked(websocket.OpText, name))
				_, _ = io.Copy(io.Discard, br)
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n"+report(used)+"\r\n"+name)
		})
	}
	s := service{id: "svc", routes: map[string]string{"ws/v1": "/ws", "api/v1": "/"}, endpoints: []string{answering("a", "0.1"), answering("b", "0.9")}}
	s.policy = func(p *route.Policy) { p.LoadBalancing, p.LoadAware.BlackoutPeriod = upstream.LoadAware, -1 }
	g := startGateway(t, s)
	seen := map[string]int{}
	for i := range 62 {
		var by string
		send := get("gw", "/svc/api/v1/x")
		if i%2 == 0 {
			send = handshake("/svc/ws/v1/x", "gw")
		}
		_, br, head := talk(t, g, send)
		if strings.Contains(strings.ToLower(head), "load-metrics") {
			t.Errorf("the client sees %q", head)
		}
		if i%2 == 0 {
			_, by = frame(t, br)
		} else {
			by = readBody(t, br, head)
		}
		if i >= 2 { // the first two are shared alike
			seen[by]++
		}
	}
	if seen["a"] < 52 || seen["a"] > 56 || seen["b"] == 0 {
		t.Errorf("%v, want 54 and 6", seen)
	}
	s.id, s.policy = "plain", nil
	g = startGateway(t, s)
	if _, _, head := talk(t, g, get("gw", "/plain/api/v1/x")); !strings.Contains(strings.ToLower(head), "load-metrics") {
		t.Errorf("where nobody goes by it, it is the client's: %q", head)
	}
}
