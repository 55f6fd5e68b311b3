package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

var wsRoute = map[string]string{"ws/v1": "/svc/ws"}

func TestSessionPassesBothWays(t *testing.T) {
	got := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		got <- head
		// A frame glued to the 101 must not be lost.
		_, _ = io.WriteString(c, acceptSwitch(head, "Sec-WebSocket-Protocol: b", "Set-Cookie: a=1", "Set-Cookie: b=2",
			"Connection: X-Hop", "X-Hop: secret", "X-End: kept")+unmasked(websocket.OpText, "early"))
		buf := make([]byte, 11) // the client's "hello", masked: 2+4+5
		if _, err := io.ReadFull(br, buf); err != nil {
			t.Error(err)
			return
		}
		websocket.Mask(buf[6:], [4]byte(buf[2:6]), 0)
		_, _ = io.WriteString(c, unmasked(websocket.OpText, strings.ToUpper(string(buf[6:])))+
			string(websocket.AppendClose(nil, nil, 4001, "enough")))
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}})
	// The client's first frame is glued to its request.
	_, br, head := talk(t, g, handshake("/svc/ws/v1/a%2Fb%20c;x?q=%2F&token=abc", "gw.example:10080",
		"Sec-WebSocket-Protocol: a, b", "Authorization: Basic dXNlcjpwYXNz", "Cookie: c=1", "X-Test: value",
		"X-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6", "Fairlead-User: root", "Connection: authorization, x-gone", "X-Gone: 1",
		"X-Request-Id: abc-1")+masked(websocket.OpText, "hello"))

	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || one(head, "Sec-WebSocket-Accept") != websocket.AcceptKey(clientKey) {
		t.Fatalf("answer %q", head)
	}
	for name, want := range map[string]string{
		"Sec-WebSocket-Protocol": "b", "X-End": "kept", "X-Request-Id": "abc-1",
	} {
		if v := one(head, name); v != want {
			t.Errorf("client's 101: %s: %s, want %s", name, v, want)
		}
	}
	if v := field(head, "Set-Cookie"); len(v) != 2 {
		t.Errorf("client's 101: Set-Cookie %q, want both", v)
	}
	if v := field(head, "X-Hop"); len(v) != 0 {
		t.Errorf("client's 101 carries a header of the other connection: %q", v)
	}

	up := <-got
	if line, _, _ := strings.Cut(up, "\r\n"); line != "GET /svc/ws/a%2Fb%20c;x?q=%2F&token=abc HTTP/1.1" {
		t.Errorf("request line %q", line)
	}
	for name, want := range map[string]string{
		"Host": addr, "Authorization": "Basic dXNlcjpwYXNz", "Cookie": "c=1", "X-Test": "value", "Sec-WebSocket-Protocol": "a, b",
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "gw.example:10080", "X-Forwarded-Port": "10080",
		"X-Forwarded-Proto": "http", "X-Forwarded-Prefix": "/svc/ws/v1", "X-Request-Id": "abc-1",
		"Forwarded": `for=127.0.0.1;host="gw.example:10080";proto=http`, "Connection": "Upgrade",
	} {
		if v := one(up, name); v != want {
			t.Errorf("service's request: %s: %s, want %s", name, v, want)
		}
	}
	for _, name := range []string{"X_Forwarded_For", "Fairlead-User", "X-Gone"} {
		if v := field(up, name); len(v) != 0 {
			t.Errorf("service's request carries %s: %q", name, v)
		}
	}
	if one(up, "Sec-WebSocket-Key") == clientKey {
		t.Error("the gateway uses the client's key: it cannot tell a service that answers from one that echoes")
	}

	for _, want := range []string{"early", "HELLO"} {
		if _, p := frame(t, br); p != want {
			t.Fatalf("frame %q, want %q", p, want)
		}
	}
	if code, reason := closing(t, br); code != 4001 || reason != "enough" {
		t.Errorf("Close %d %q", code, reason)
	}
}

func TestAccessLogOfSession(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "hi"))
		_, _ = io.Copy(c, io.MultiReader(strings.NewReader(string(websocket.AppendClose(nil, nil, 1000, ""))), eofReader{br}))
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}})
	c, br, head := talk(t, g, handshake("/ws/v1/svc/x?token=abc", "gw"))
	frame(t, br)
	if views, _ := g.Sessions.List(0, 10); len(views) != 1 || views[0].GatewayPath != "ws://gw/ws/v1/svc/x?token=<redacted>" ||
		views[0].ServiceURL != "ws://"+addr+"/svc/ws/x?token=<redacted>" {
		t.Errorf("list %+v", views)
	}
	if _, err := io.WriteString(c, maskedClose(1000, "")); err != nil {
		t.Fatal(err)
	}
	closing(t, br)
	rec := g.log.next(t)
	for key, want := range map[string]any{
		"status": 101.0, "path": "/ws/v1/svc/x?token=<redacted>", "service": "svc", "instance": "127.0.0.1:svc:0",
		"close_code": 1000.0, "messages_out": 1.0, "request_id": one(head, "X-Request-Id"), "cause": "close handshake",
	} {
		if rec[key] != want {
			t.Errorf("%s = %v, want %v (line %v)", key, rec[key], want, rec)
		}
	}
	if rec["session_id"] == nil || rec["duration_ms"] == nil {
		t.Errorf("line %v", rec)
	}
	if n := g.Sessions.Len(); n != 0 {
		t.Errorf("%d sessions are still listed", n)
	}
}

// eofReader reads to its end and gives nothing: it keeps a connection open until its peer ends it.
type eofReader struct{ r io.Reader }

func (e eofReader) Read([]byte) (int, error) {
	_, err := io.Copy(io.Discard, e.r)
	if err == nil {
		err = io.EOF
	}
	return 0, err
}

// refusals are the failures of zowe.md, section 2, with a service that answers with one head.
func TestConnectFailure(t *testing.T) {
	answer := func(head string) func(net.Conn, *bufio.Reader, string) {
		return func(c net.Conn, _ *bufio.Reader, _ string) { _, _ = io.WriteString(c, head) }
	}
	gone := closedPort(t)
	tests := []struct {
		name, path string
		serve      func(net.Conn, *bufio.Reader, string)
		endpoints  []string // instead of serve
		code       websocket.Code
		reason     string // "…" at its end: a prefix
		status     string
		patience   time.Duration // of the gateway with the service; 0: the default's
	}{
		{name: "short", path: "/ws/wrong", code: 1003, reason: "Invalid URL format", status: "404"},
		{name: "unknown service", path: "/wrong-service/ws/v1/uppercase", code: 1003, reason: "Requested service wrong-service is not known by the gateway", status: "404"},
		{name: "unknown service, old order", path: "/ws/v1/wrong-service/uppercase", code: 1003, reason: "Requested service wrong-service is not known by the gateway", status: "404"},
		{name: "upper case", path: "/SVC/ws/v1/uppercase", code: 1003, reason: "Requested service SVC is not known by the gateway", status: "404"},
		{name: "no such route", path: "/svc/ws/v2/x", code: 1003, reason: "Requested ws/v2 url is not known by the gateway", status: "404"},
		{name: "no instance", path: "/svc/ws/v1/x", endpoints: []string{}, code: 1012, reason: "Requested service svc does not have available instance", status: "503"},
		{
			name: "401", path: "/svc/ws/v1/x", serve: answer("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno"),
			code: 1003, reason: "Invalid login credentials", status: "401",
		},
		{
			name: "404", path: "/svc/ws/v1/x", serve: answer("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"),
			code: 1003, reason: "Failed to upgrade to websocket: Unexpected HTTP Response Status Code: 404 Not Found", status: "404",
		},
		{
			name: "200", path: "/svc/ws/v1/x", serve: answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
			code: 1003, reason: "Failed to upgrade to websocket: Unexpected HTTP Response Status Code: 200 OK", status: "200",
		},
		{
			name: "500", path: "/svc/ws/v1/x", serve: answer("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
			code: 1011, reason: "Failed to upgrade to websocket: Unexpected HTTP Response Status Code: 500 Internal Server Error", status: "500",
		},
		{name: "refused", path: "/svc/ws/v1/x", endpoints: []string{gone}, code: 1011, reason: "Connection refused", status: "502"},
		{name: "no TLS there", path: "/svc/ws/v1/x", endpoints: []string{"https://" + gone}, code: 1011, reason: "Connection refused", status: "502"},
		{
			name: "echoed key", path: "/svc/ws/v1/x",
			serve: answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + websocket.AcceptKey(clientKey) + "\r\n\r\n"),
			code:  1011, reason: "Failed to upgrade to websocket: the service's handshake is invalid…", status: "502",
		},
		{name: "hang up", path: "/svc/ws/v1/x", serve: answer(""), code: 1011, reason: "Connection to the service was lost…", status: "502"},
		{
			name: "silence", path: "/svc/ws/v1/x", serve: func(c net.Conn, br *bufio.Reader, _ string) { _, _ = br.ReadByte() },
			code: 1011, reason: "Connection timed out…", status: "504", patience: 200 * time.Millisecond,
		},
	}
	for _, tt := range tests {
		endpoints := tt.endpoints
		if endpoints == nil && tt.serve != nil {
			endpoints = []string{rawService(t, tt.serve)}
		}
		t.Run(tt.name+"/close", func(t *testing.T) {
			g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: endpoints, policy: func(p *route.Policy) {
				p.Timeouts.Handshake = tt.patience
			}})
			c, br, head := talk(t, g, handshake(tt.path, "gw", "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: permessage-deflate"))
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") || one(head, "Sec-WebSocket-Protocol") != "a" || len(field(head, "Sec-WebSocket-Extensions")) != 0 {
				t.Fatalf("answer %q", head)
			}
			code, reason := closing(t, br)
			want, prefix := strings.CutSuffix(tt.reason, "…")
			if code != tt.code || reason != want && (!prefix || !strings.HasPrefix(reason, want)) {
				t.Errorf("Close %d %q, want %d %q", code, reason, tt.code, tt.reason)
			}
			_, _ = io.WriteString(c, maskedClose(code, ""))
			if rec := g.log.next(t); rec["status"] != 101.0 || rec["close_code"] != float64(code) || rec["closed_by"] != "gateway" {
				t.Errorf("line %v", rec)
			}
		})
		t.Run(tt.name+"/status", func(t *testing.T) {
			g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: endpoints, policy: func(p *route.Policy) {
				p.Timeouts.Handshake, p.WebSocket.ConnectFailure = tt.patience, route.StatusOnFailure
			}})
			d := route.DefaultEureka()
			d.WebSocket.ConnectFailure = route.StatusOnFailure
			g.apply(t, Reloadable{Defaults: d, Dialer: &upstream.Dialer{}})
			_, br, head := talk(t, g, handshake(tt.path, "gw"))
			if !strings.HasPrefix(head, "HTTP/1.1 "+tt.status+" ") || one(head, "Connection") != "close" {
				t.Fatalf("answer %q, want status %s and the end of the connection", head, tt.status)
			}
			if _, err := io.Copy(io.Discard, br); err != nil {
				t.Errorf("body: %v", err)
			}
			if n := g.Sessions.Len(); n != 0 {
				t.Errorf("%d sessions are listed", n)
			}
		})
	}
}

func TestMalformedHandshakes(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{"127.0.0.1:1"}})
	good := handshake("/svc/ws/v1/x", "gw")
	tests := []struct{ name, send, status, header string }{
		{"version", strings.Replace(good, "Version: 13", "Version: 8", 1), "426", "Sec-WebSocket-Version"},
		{"no key", strings.Replace(good, "Sec-WebSocket-Key: "+clientKey+"\r\n", "", 1), "400", ""},
		{"post", strings.Replace(good, "GET ", "POST ", 1), "405", "Allow"},
		{"body", strings.Replace(good, "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", 1), "400", ""},
		{"mixed upgrade", strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c, websocket", 1), "400", ""},
		{"two upgrades", strings.Replace(good, "Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket", 1), "400", ""},
		{"no connection", strings.Replace(good, "Connection: Upgrade", "Connection: keep-alive", 1), "400", ""},
		{"foreign origin", strings.Replace(good, "\r\n\r\n", "\r\nOrigin: https://evil.example\r\n\r\n", 1), "403", ""},
		{"null origin", strings.Replace(good, "\r\n\r\n", "\r\nOrigin: null\r\n\r\n", 1), "403", ""},
		{"dots", handshake("/svc/ws/v1/..;x/y", "gw"), "400", ""},
		{"encoded dots", handshake("/svc/ws/v1/%2e%2E/y", "gw"), "400", ""},
		{"encoded slash in the prefix", handshake("/svc%2Fws/v1/y", "gw"), "404", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, head := talk(t, g, tt.send)
			if !strings.HasPrefix(head, "HTTP/1.1 "+tt.status+" ") {
				t.Errorf("answer %q, want %s", head, tt.status)
			}
			if tt.header != "" && len(field(head, tt.header)) != 1 {
				t.Errorf("answer %q lacks %s", head, tt.header)
			}
		})
	}
}

func TestGatewayChecksCredentials(t *testing.T) {
	got := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		got <- head
		_, _ = io.WriteString(c, acceptSwitch(head))
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}, policy: func(p *route.Policy) { p.Auth = route.AuthBasic }})
	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Users: users(t, "user", "pass")})

	_, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw", "Authorization: Basic dXNlcjp3cm9uZw=="))
	if code, reason := closing(t, br); code != 1003 || reason != "Invalid login credentials" {
		t.Errorf("Close %d %q", code, reason)
	}
	_, _, head := talk(t, g, handshake("/svc/ws/v1/x", "gw", "Authorization: Basic dXNlcjpwYXNz"))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("answer %q", head)
	}
	if v := field(<-got, "Authorization"); len(v) != 0 {
		t.Errorf("the service sees the credential that the gateway checked: %q", v)
	}
}

func TestShutdownSays1001(t *testing.T) {
	ended := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		h := make([]byte, 6)
		_, _ = io.ReadFull(br, h)
		p := make([]byte, h[1]&127)
		_, _ = io.ReadFull(br, p)
		websocket.Mask(p, [4]byte(h[2:6]), 0)
		ended <- string(p)
		_, _ = c.Write(websocket.AppendClose(nil, nil, 1001, ""))
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}})
	c, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	frame(t, br)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		g.Shutdown(ctx)
	}()
	if code, reason := closing(t, br); code != 1001 || reason == "" {
		t.Errorf("client's Close %d %q", code, reason)
	}
	if code, _, err := websocket.ParseClose([]byte(<-ended)); code != 1001 || err != nil {
		t.Errorf("service's Close %d %v", code, err)
	}
	_, _ = io.WriteString(c, maskedClose(1001, ""))
	<-done
	if rec := g.log.next(t); rec["close_code"] != 1001.0 || rec["closed_by"] != "gateway" || rec["cause"] != "shutdown" {
		t.Errorf("line %v", rec)
	}
}

// TestDeadEndpointIsPassedOver has one instance that is gone without a word. Under
// least-sessions it would be picked first for ever: it never has a session.
func TestDeadEndpointIsPassedOver(t *testing.T) {
	gone := closedPort(t)
	alive := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.Copy(w, r.Body)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, acceptSwitch("Sec-WebSocket-Key: "+r.Header.Get("Sec-WebSocket-Key")+"\r\n")+unmasked(websocket.OpText, "up"))
		_, _ = io.Copy(io.Discard, rw)
	})
	g := startGateway(t, service{
		id: "svc", routes: map[string]string{"ws/v1": "/ws", "api/v1": "/api"},
		endpoints: []string{gone, alive},
	})
	for range 4 {
		c, br, head := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		if op, p := frame(t, br); op != websocket.OpText || p != "up" {
			t.Fatalf("%q, then opcode %d %q", head, op, p)
		}
		c.Close()
		if rec := g.log.next(t); rec["instance"] != "127.0.0.1:svc:1" {
			t.Errorf("line %v", rec)
		}
		_, br, head = talk(t, g, "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
		if body, _ := io.ReadAll(br); !strings.HasPrefix(head, "HTTP/1.1 200 ") || string(body) != "hello" {
			t.Errorf("%q %q", head, body)
		}
		if rec := g.log.next(t); rec["instance"] != "127.0.0.1:svc:1" || rec["bytes_in"] != 5.0 {
			t.Errorf("line %v", rec)
		}
	}
}

// TestShutdownCutsWhatDoesNotEnd has peers that never answer the Close: each session still
// gets its line.
func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}, policy: func(p *route.Policy) { p.WebSocket.CloseTimeout = time.Hour }})
	for range 3 {
		_, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		frame(t, br)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	g.Shutdown(ctx)
	for range 3 {
		if rec := g.log.next(t); rec["close_code"] != 1001.0 || rec["cause"] != "shutdown" || rec["closed_by"] != "gateway" {
			t.Errorf("line %v", rec)
		}
	}
}

func TestSessionLimits(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		_, _ = io.Copy(io.Discard, br)
	})
	for name, limit := range map[string]struct {
		all int
		set func(*route.Policy)
	}{
		"of all":     {all: 1},
		"of a route": {set: func(p *route.Policy) { p.WebSocket.MaxSessions = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}, policy: limit.set})
			g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Limits: Limits{Sessions: limit.all}})
			first, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
			frame(t, br)
			_, br, _ = talk(t, g, handshake("/svc/ws/v1/x", "gw"))
			if code, _ := closing(t, br); code != websocket.TryAgain {
				t.Errorf("Close %d, want 1013", code)
			}
			first.Close()
			for range 2 { // both lines: the place is free again
				g.log.next(t)
			}
			_, br, _ = talk(t, g, handshake("/svc/ws/v1/x", "gw"))
			if op, p := frame(t, br); op != websocket.OpText {
				t.Errorf("after the first has ended: opcode %d %q", op, p)
			}
		})
	}
}
