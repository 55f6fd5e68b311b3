package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// silent is a service that greets every session and then says nothing more.
func silent(t *testing.T) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		_, _ = io.Copy(io.Discard, br)
	})
}

// Each goes through the sessions that were open when it began, oldest first, and ends with its context.
func TestEach(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{silent(t)}})
	const n = 5
	for range n {
		_, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		frame(t, br)
	}
	var all []*relay.Session
	note := func(r *relay.Session) { all = append(all, r) }
	began := time.Now()
	const window = 50 * time.Millisecond
	if called := g.Sessions.Each(t.Context(), nil, window, note); called != n || len(all) != n {
		t.Fatalf("called for %d of %d", called, n)
	}
	if took := time.Since(began); took < window*(n-1)/n {
		t.Errorf("not spread: %v", took)
	}
	seen := 0
	again := func(r *relay.Session) {
		if r != all[seen] {
			t.Errorf("session %d is out of order", seen)
		}
		seen++
	}
	g.Sessions.Each(t.Context(), nil, 0, again)
	if none := g.Sessions.Each(t.Context(), func(*Session) bool { return false }, 0, again); none != 0 || seen != n {
		t.Errorf("filtered: %d, %d", none, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if called := g.Sessions.Each(ctx, nil, time.Hour, func(*relay.Session) { cancel() }); called != 1 {
		t.Errorf("called %d times after the end", called)
	}
}

// The planned end of an endpoint is told the clients that have a session there, and nobody else.
func TestDetachEndpoint(t *testing.T) {
	soon := func(p *route.Policy) { p.WebSocket.CloseTimeout = 50 * time.Millisecond }
	g := startGateway(t,
		service{id: "svc", routes: wsRoute, endpoints: []string{silent(t)}, policy: soon},
		service{id: "other", routes: wsRoute, endpoints: []string{silent(t)}})
	_, leaving, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	_, staying, _ := talk(t, g, handshake("/other/ws/v1/x", "gw"))
	frame(t, leaving)
	frame(t, staying)
	m, ok := g.Table().Match("/svc/ws/v1/x")
	if !ok {
		t.Fatal("no route")
	}
	if n := g.Sessions.Detach(t.Context(), m.Service.Endpoints[0], time.Millisecond); n != 1 {
		t.Errorf("%d sessions were told", n)
	}
	if code, _ := closing(t, leaving); code != websocket.ServiceRestart {
		t.Errorf("Close %d, want 1012", code)
	}
	if rec := g.log.next(t); rec["close_code"] != 1012.0 || rec["cause"] != "drain" || rec["closed_by"] != "gateway" || rec["service"] != "svc" {
		t.Errorf("line %v", rec)
	}
	if n := g.Sessions.Len(); n != 1 {
		t.Errorf("%d sessions are left, want 1", n)
	}
}
