package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// counted counts the handshakes that a service gets before it does what serve does.
func counted(n *atomic.Int32, serve func(c net.Conn, head string)) func(net.Conn, *bufio.Reader, string) {
	return func(c net.Conn, br *bufio.Reader, head string) {
		n.Add(1)
		serve(c, head)
	}
}

func resets(c net.Conn, _ string) { reset(c) }

func answers(status string) func(net.Conn, string) {
	return func(c net.Conn, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 4\r\n\r\nbusy")
	}
}

func switches(name string) func(net.Conn, *bufio.Reader, string) {
	return func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, name))
		_, _ = io.Copy(io.Discard, br)
	}
}

// TestSessionOpensAtTheNextEndpoint has the first endpoint fail in each way.
func TestSessionOpensAtTheNextEndpoint(t *testing.T) {
	for name, fails := range map[string]func(net.Conn, string){
		"reset": resets, "closed": func(net.Conn, string) {}, "503": answers("503 Busy"),
		"half an answer": func(c net.Conn, _ string) { _, _ = io.WriteString(c, "HTTP/1.1 10") },
		"silent":         func(c net.Conn, _ string) { _, _ = io.Copy(io.Discard, c) },
		"refused":        nil,
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			first := closedPort(t)
			if fails != nil {
				first = rawService(t, counted(&n, fails))
			}
			g := startGateway(t, service{
				id: "svc", routes: wsRoute, endpoints: []string{first, rawService(t, switches("good"))},
				policy: func(p *route.Policy) {
					p.LoadBalancing = "round-robin"
					if name == "silent" {
						p.Timeouts.Handshake = 300 * time.Millisecond
					}
				},
			})
			for range 2 {
				_, br, head := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
				if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
					t.Fatalf("answer %q", head)
				}
				if _, p := frame(t, br); p != "good" {
					t.Fatalf("frame %q", p)
				}
			}
			if fails != nil && n.Load() != 1 {
				t.Errorf("the one that fails was asked %d times for two sessions that take turns", n.Load())
			}
			if e := g.pool.Endpoints(); e[0].Sessions() != 0 || e[1].Sessions() != 2 {
				t.Errorf("places: %d %d", e[0].Sessions(), e[1].Sessions())
			}
		})
	}
}

// TestSessionOpeningIsBounded: three endpoints at most, each once, and the last one's answer is the client's; other answers
// than 503 go to the client at once.
func TestSessionOpeningIsBounded(t *testing.T) {
	for _, tt := range []struct {
		fails     func(net.Conn, string)
		endpoints int
		asked     int32
		status    string
	}{
		{answers("503 Busy"), 5, 3, "HTTP/1.1 503 "},
		{answers("503 Busy"), 2, 2, "HTTP/1.1 503 "},
		{answers("500 Broken"), 5, 1, "HTTP/1.1 500 "},
		{answers("429 Later"), 5, 1, "HTTP/1.1 429 "},
		{resets, 5, 3, "HTTP/1.1 502 "},
	} {
		var n atomic.Int32
		svc := service{id: "svc", routes: wsRoute, policy: func(p *route.Policy) { p.WebSocket.ConnectFailure = route.StatusOnFailure }}
		for range tt.endpoints {
			svc.endpoints = append(svc.endpoints, rawService(t, counted(&n, tt.fails)))
		}
		g := startGateway(t, svc)
		_, br, head := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		if !strings.HasPrefix(head, tt.status) || n.Load() != tt.asked {
			t.Errorf("%q after %d asked, want %q after %d", head, n.Load(), tt.status, tt.asked)
		}
		if body := readBody(t, br, head); tt.status != "HTTP/1.1 502 " && body != "busy" {
			t.Errorf("%s: body %q", tt.status, body)
		}
	}
}

// TestGETGoesOnAfter503 is zowe.md, section 5.3: GET alone, six endpoints at most.
func TestGETGoesOnAfter503(t *testing.T) {
	var n atomic.Int32
	busy := func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Content-Length", "40000")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, strings.Repeat("busy", 10_000))
	}
	all := service{id: "all", routes: map[string]string{"api/v1": "/"}}
	for range 8 {
		all.endpoints = append(all.endpoints, httpService(t, busy))
	}
	some := service{id: "some", routes: map[string]string{"api/v1": "/"}, endpoints: []string{
		httpService(t, busy), httpService(t, busy),
		httpService(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "good") }),
	}}
	g := startGateway(t, all, some)
	for _, tt := range []struct {
		method, path string
		asked        int32
		status       int
	}{
		{"GET", "/some/api/v1/x", 2, 200},
		{"GET", "/all/api/v1/x", 6, 503},
		{"POST", "/all/api/v1/x", 1, 503},
		{"PUT", "/all/api/v1/x", 1, 503},
	} {
		n.Store(0)
		_, br, head := talk(t, g, tt.method+" "+tt.path+" HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) || n.Load() != tt.asked {
			t.Errorf("%s %s: %.40q after %d were busy, want %d after %d", tt.method, tt.path, head, n.Load(), tt.status, tt.asked)
		}
		if body := readBody(t, br, head); tt.status == 503 && len(body) != 40_000 {
			t.Errorf("%s %s: body of %d bytes", tt.method, tt.path, len(body))
		}
	}
}

// TestGETOutlivesItsEndpoint: where the connection breaks without an answer a GET goes to an endpoint that has not failed, once each; what is
// not idempotent does not.
func TestGETOutlivesItsEndpoint(t *testing.T) {
	var n atomic.Int32
	dies := func(t *testing.T) string {
		return rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
			n.Add(1)
			reset(c)
		})
	}
	all := service{id: "all", routes: map[string]string{"api/v1": "/"}, endpoints: []string{dies(t), dies(t)}, options: ejectAfter(100)}
	some := service{id: "some", routes: map[string]string{"api/v1": "/"}, endpoints: []string{dies(t), naming(t, "good")}, options: ejectAfter(100)}
	g := startGateway(t, all, some)
	for _, tt := range []struct {
		request string
		asked   int32
		status  int
	}{
		{"GET /some/api/v1/x", 1, 200},
		{"GET /all/api/v1/x", 2, 502},
		{"POST /all/api/v1/x", 1, 502},
		{"PUT /all/api/v1/x", 1, 502},
	} {
		n.Store(0)
		_, _, head := talk(t, g, tt.request+" HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")
		if !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", tt.status)) || n.Load() != tt.asked {
			t.Errorf("%s: %.40q after %d have died, want %d after %d", tt.request, head, n.Load(), tt.status, tt.asked)
		}
	}
}
