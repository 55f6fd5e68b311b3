package proxy

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
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
