package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// TestUnhealthyServiceTakesNothingNew has a probe find the only endpoint ill and well again while a session is open on it.
func TestUnhealthyServiceTakesNothingNew(t *testing.T) {
	var ill atomic.Bool
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		switch {
		case strings.HasPrefix(head, "GET /health "):
			status := "200 OK"
			if ill.Load() {
				status = "500 Internal Server Error"
			}
			_, _ = io.WriteString(c, "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
		case strings.Contains(head, "Upgrade: websocket"):
			_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "hello"))
			buf := make([]byte, 6+2)
			if _, err := io.ReadFull(br, buf); err == nil {
				_, _ = io.WriteString(c, unmasked(websocket.OpText, "still here"))
			}
			_, _ = io.Copy(io.Discard, br)
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		}
	})
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	g := startGateway(t)
	pool, policy := upstream.NewPool(), route.DefaultEureka()
	policy.WebSocket.CloseTimeout = 200 * time.Millisecond
	sv := pool.ServiceWith("svc", []upstream.Spec{{ID: "one", Scheme: "http", Host: "127.0.0.1", Port: at.Port}}, upstream.Options{
		Probe: upstream.Probe{Kind: upstream.HTTPProbe, Path: "/health", Interval: 100 * time.Millisecond, UnhealthyThreshold: 2},
	})
	g.table(route.Build(route.Set{Routes: []route.Route{{
		ID: "svc", Source: "eureka", ServiceID: "svc", Prefixes: []string{"/svc/ws/v1"}, Target: "/ws", Service: sv, Policy: &policy,
	}}}, nil))
	changed := make(chan upstream.HealthState, 10)
	prober := &upstream.Prober{
		Pool: pool, Dialer: func() *upstream.Dialer { return new(upstream.Dialer) },
		OnChange: func(e *upstream.Endpoint) { changed <- e.Health().State },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- prober.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	turns := func(want upstream.HealthState) {
		t.Helper()
		select {
		case got := <-changed:
			if got != want {
				t.Fatalf("the endpoint turned %s, want %s", got, want)
			}
		case <-time.After(wait):
			t.Fatalf("the endpoint did not turn %s", want)
		}
	}

	turns(upstream.Healthy)
	c, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	frame(t, br)
	ill.Store(true)
	turns(upstream.Unhealthy)

	_, refused, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	const said = "Requested service svc does not have available instance: the only endpoint is unhealthy"
	if code, reason := closing(t, refused); code != websocket.ServiceRestart || reason != said {
		t.Errorf("Close %d %q, want 1012 %q", code, reason, said)
	}
	if rec := g.log.next(t); rec["cause"] != "the only endpoint is unhealthy" {
		t.Errorf("access log %v", rec)
	}
	resp, err := g.client(t, false).Get("http://" + g.http + "/svc/ws/v1/x")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "ZWEAG710E") ||
		!strings.Contains(string(body), "the only endpoint is unhealthy") {
		t.Errorf("%d %s, want 503 that says why", resp.StatusCode, body)
	}
	if rec := g.log.next(t); rec["cause"] != "the only endpoint is unhealthy" {
		t.Errorf("access log %v", rec)
	}

	if _, err := io.WriteString(c, masked(websocket.OpText, "hi")); err != nil {
		t.Fatal(err)
	}
	if _, p := frame(t, br); p != "still here" {
		t.Errorf("the open session got %q", p)
	}

	ill.Store(false)
	turns(upstream.Healthy)
	_, again, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	if _, p := frame(t, again); p != "hello" {
		t.Errorf("a new session got %q", p)
	}
}
