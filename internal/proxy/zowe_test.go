package proxy

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// TestZoweErrors goes through the table of zowe.md, section 5.9, that concerns plain requests: v2's numbers and keys, with
// the statuses of this gateway.
func TestZoweErrors(t *testing.T) {
	gone := closedPort(t)
	plain := httpService(t, echoHandler)
	silent := rawService(t, func(_ net.Conn, br *bufio.Reader, _ string) { _, _ = io.Copy(io.Discard, br) })
	broken := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
	})
	get := func(target string, more ...string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: gw\r\n" + strings.Join(append(more, "\r\n"), "\r\n")
	}
	for name, c := range map[string]struct {
		send, endpoint, status, number, key, content string
		auth                                         route.Auth
		encoded                                      route.EncodedPath
	}{
		"no such route": {
			send: get("/x/y?z"), status: "404", number: "ZWEAM104E", key: "org.zowe.apiml.common.endPointNotFound",
			content: "The endpoint you are looking for '/x/y?z' could not be located",
		},
		"no instance": {
			send: get("/svc/api/v1/x"), status: "503", number: "ZWEAG710E", key: "org.zowe.apiml.gateway.loadBalancerDoesNotHaveAvailableServer",
			content: "Load balancer does not have available server for client: svc",
		},
		"refused": {
			send: get("/svc/api/v1/x"), endpoint: gone, status: "502", number: "ZWEAG708E", key: "org.zowe.apiml.gateway.connectionRefused",
			content: "The request to the URL '/svc/api/v1/x' failed after retrying on all known service instances. Caused by: Connection refused",
		},
		"unknown host": {
			send: get("/svc/api/v1/x"), endpoint: "no-such-host.invalid:80", status: "502", number: "ZWEAG708E", key: "org.zowe.apiml.gateway.connectionRefused",
			content: "The request to the URL '/svc/api/v1/x' failed after retrying on all known service instances. Caused by: Unknown host",
		},
		"timeout": {
			send: get("/svc/api/v1/x"), endpoint: silent, status: "504", number: "ZWEAM700E", key: "org.zowe.apiml.common.serviceTimeout",
			content: "No response received within the allowed time: the service did not answer in time",
		},
		"TLS": {
			send: get("/svc/api/v1/x"), endpoint: "https://" + plain, status: "502", number: "ZWEAM511E", key: "org.zowe.apiml.common.tlsError",
			content: "There was a TLS request error accessing the URL '/svc/api/v1/x': 'TLS handshake with the service failed'",
		},
		"other": {
			send: get("/svc/api/v1/x"), endpoint: broken, status: "502", number: "ZWEAM701E", key: "org.zowe.apiml.common.serviceError",
			content: "The request to the URL '/svc/api/v1/x' has failed: the service's answer could not be read caused by: connection lost",
		},
		"no credentials": {
			send: get("/svc/api/v1/x"), endpoint: plain, auth: route.AuthBasic, status: "401", number: "ZWEAG105E", key: "org.zowe.apiml.security.authRequired",
			content: "Authentication is required for URL '/svc/api/v1/x'",
		},
		"bad credentials": {
			send: get("/svc/api/v1/x", "Authorization: Basic dXNlcjp4"), endpoint: plain, auth: route.AuthBasic, status: "401", number: "ZWEAG120E",
			key: "org.zowe.apiml.security.login.invalidCredentials", content: "Invalid username or password for URL '/svc/api/v1/x'",
		},
		"method": {
			send: strings.Replace(get("/svc/api/v1/x"), "GET", "TRACE", 1), endpoint: plain, status: "405", number: "ZWEAO405E", key: "org.zowe.apiml.common.methodNotAllowed",
			content: "The request method has been disabled and cannot be used for the requested resource.",
		},
		"encoded characters": {
			send: get("/svc/api/v1/a%20b?q=%2f"), endpoint: plain, encoded: route.EncodedNothing, status: "400", number: "ZWEAG701E",
			key: "org.zowe.apiml.gateway.requestContainEncodedCharacter", content: "Service 'svc' does not allow encoded characters in the request path: '/svc/api/v1/a%20b'.",
		},
		"semicolon": {
			send: get("/svc/api/v1/a;b"), endpoint: plain, encoded: route.EncodedNothing, status: "400", number: "ZWEAG701E",
			key: "org.zowe.apiml.gateway.requestContainEncodedCharacter", content: "Service 'svc' does not allow encoded characters in the request path: '/svc/api/v1/a;b'.",
		},
		"encoded slash": {
			send: get("/svc/api/v1/a%2fb"), endpoint: plain, encoded: route.EncodedNoSlash, status: "400", number: "ZWEAG702E",
			key: "org.zowe.apiml.gateway.requestContainEncodedSlash", content: "Gateway does not allow encoded slashes in request: '/svc/api/v1/a%2fb'.",
		},
		"bad path": {
			send: get("/svc/api/v1/%2e%2e/x"), endpoint: plain, status: "400", number: "ZWEAO400E", key: "org.zowe.apiml.common.badRequest",
			content: "The structure of the request is invalid: …",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := service{id: "svc", routes: restRoutes, policy: func(p *route.Policy) {
				p.Auth, p.EncodedPath = c.auth, c.encoded
				if c.endpoint == silent {
					p.Timeouts.Response = 100 * time.Millisecond
				}
			}}
			if c.endpoint != "" {
				s.endpoints = []string{c.endpoint}
			}
			g := startGateway(t, s)
			set := *g.Server.settings.Load()
			set.users = users(t, "user", "pass")
			g.Server.settings.Store(&set)
			_, br, head := talk(t, g, c.send)
			var doc struct{ Messages []Message }
			if err := json.Unmarshal([]byte(readBody(t, br, head)), &doc); err != nil || len(doc.Messages) != 1 {
				t.Fatalf("%q: %v %v", head, doc, err)
			}
			m := doc.Messages[0]
			want, prefix := strings.CutSuffix(c.content, "…")
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || m.Number != c.number || m.Key != c.key || m.Type != "ERROR" ||
				m.Content != want && (!prefix || !strings.HasPrefix(m.Content, want)) {
				t.Errorf("%q\n%+v\nwant %s %s %s %q", head, m, c.status, c.number, c.key, c.content)
			}
			if challenge := one(head, "WWW-Authenticate"); (challenge == `Basic realm="Realm"`) != (c.status == "401") {
				t.Errorf("%q: challenge %s", head, challenge)
			}
			if rec := g.log.next(t); rec["cause"] == nil {
				t.Errorf("line %v", rec)
			}
		})
	}
}

// TestEncodedPaths sends what the values of encodedPath leave alone.
func TestEncodedPaths(t *testing.T) {
	addr := httpService(t, echoHandler)
	with := func(id string, e route.EncodedPath) service {
		return service{id: id, routes: restRoutes, endpoints: []string{addr}, policy: func(p *route.Policy) { p.EncodedPath = e }}
	}
	g := startGateway(t, with("any", route.EncodedAny), with("slashes", route.EncodedNoSlash), with("none", route.EncodedNothing), with("unsaid", ""))
	for _, target := range []string{
		"/any/api/v1/a%2Fb;c", "/unsaid/api/v1/a%2fb%25", "/slashes/api/v1/a%20b;c%252f?%2f", "/none/api/v1/a=b+c,d?q=%2f;x",
	} {
		if _, _, head := talk(t, g, "GET "+target+" HTTP/1.1\r\nHost: gw\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("%s: %q", target, head)
		}
	}
}

// TestEncodedPathsOfHandshakes: handshakes are held to encodedPath as plain requests are, and no route's authentication is passed by with
// a path that a service would take for that route's.
func TestEncodedPathsOfHandshakes(t *testing.T) {
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, head string) { _, _ = io.WriteString(c, acceptSwitch(head)) })
	none := service{id: "none", routes: wsRoute, endpoints: []string{addr}, policy: func(p *route.Policy) { p.EncodedPath = route.EncodedNothing }}
	free := service{id: "svc", routes: wsRoute, endpoints: []string{addr}}
	guarded := service{id: "svc", routes: map[string]string{"ws/v1/admin": "/svc/ws/admin"}, endpoints: []string{addr}, policy: func(p *route.Policy) { p.Auth = route.AuthBasic }}
	g := startGateway(t, none, free, guarded)
	for target, status := range map[string]string{
		"/none/ws/v1/a": "101", "/none/ws/v1/a%20b": "400", "/none/ws/v1/a;b": "400",
		"/svc/ws/v1/a%20b": "101", "/svc/ws/v1//a;b": "101", "/svc/ws/v1//admin": "400", "/svc/ws/v1/admin;x/y": "400", "/svc/ws/v1/%2Fadmin": "400",
	} {
		if _, _, head := talk(t, g, handshake(target, "gw")); !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
			t.Errorf("%s: %q, want %s", target, head, status)
		}
	}
}

// TestZoweEvents: paths of server-sent events that no route takes get v2's lines of text (zowe.md, section 5.1).
func TestZoweEvents(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: map[string]string{"sse/v1": "/events"}, endpoints: []string{httpService(t, echoHandler)}})
	for _, c := range []struct{ target, status, text string }{
		{"/sse/v1", "400", "ZWEAG712E The URI '/sse/v1' is an invalid format"},
		{"/svc/sse/v2", "400", "ZWEAG712E The URI '/svc/sse/v2' is an invalid format"},
		{"/bad/sse/v1/x", "404", "ZWEAG700E No instance of the service 'bad' found. Routing will not be available."},
		{"/sse/v1/bad/x?q", "404", "ZWEAG700E No instance of the service 'bad' found. Routing will not be available."},
		{"/svc/sse/bad/x", "404", "ZWEAM104E The endpoint you are looking for 'sse/bad' could not be located"},
		{"/svc/sse/v1/x", "200", ""},
		{"/sse/v1/svc/x", "200", ""},
	} {
		_, br, head := talk(t, g, "GET "+c.target+" HTTP/1.1\r\nHost: gw\r\n\r\n")
		body := readBody(t, br, head)
		if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || c.text != "" && (body != c.text || one(head, "Content-Type") != "text/plain") {
			t.Errorf("%s: %q %q, want %s %q", c.target, head, body, c.status, c.text)
		}
	}
}

// TestForwardHeadersOnce sends each forward header twice (zowe.md, section 5.5): the service sees each once.
func TestForwardHeadersOnce(t *testing.T) {
	got := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, head string) {
		got <- head
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	names := []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Prefix", "Forwarded", "X-Request-Id", hopHeader}
	for _, trusted := range []bool{false, true} {
		if trusted {
			g.settings(t, func(r *Reloadable) { r.TrustedProxies = []string{"127.0.0.1"} })
		}
		send := "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\n"
		for _, name := range names {
			send += name + ": 1\r\n" + strings.ToLower(name) + ": 2\r\n"
		}
		talk(t, g, send+"\r\n")
		head := <-got
		for _, name := range names {
			if v := field(head, name); len(v) != 1 {
				t.Errorf("trusted %t: the service sees %s: %q", trusted, name, v)
			}
		}
	}
}
