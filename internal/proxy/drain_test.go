package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"syscall"
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

// drained opens a session at each of two services under a policy, has the endpoint of the first leave by how, and returns both
// clients' readers.
func drained(t *testing.T, policy func(*route.Policy), leave func(*gateway, service)) (g *gateway, gone, staying *bufio.Reader) {
	t.Helper()
	soon := func(p *route.Policy) {
		p.WebSocket.CloseTimeout, p.WebSocket.DrainWindow = 50*time.Millisecond, time.Millisecond
		p.WebSocket.Failover = route.FailoverOff
		policy(p)
	}
	first := service{id: "svc", routes: wsRoute, endpoints: []string{silent(t)}, policy: soon}
	g = startGateway(t, first, service{id: "other", routes: wsRoute, endpoints: []string{silent(t)}, policy: soon})
	_, gone, _ = talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	_, staying, _ = talk(t, g, handshake("/other/ws/v1/x", "gw"))
	frame(t, gone)
	frame(t, staying)
	leave(g, first)
	return g, gone, staying
}

// An endpoint that leaves takes its sessions with it as websocket.drain says, and nobody else's.
func TestDrain(t *testing.T) {
	deregister := func(g *gateway, s service) { g.pool.Service(s.id, nil) }
	for name, c := range map[string]struct {
		how    route.Wait
		leave  func(*gateway, service)
		cause  string
		reason string
	}{
		"close":                      {route.CloseAll, deregister, "drain", "The service instance is going away"},
		"move, of one that may not":  {route.MoveAway, deregister, "drain", "The service instance is going away"},
		"an operator's word":         {route.WaitForEnd, func(g *gateway, s service) { g.drain(t, s, 1) }, "drain", "The service instance is going away"},
		"an operator's word, closed": {route.CloseAll, func(g *gateway, s service) { g.drain(t, s, 1) }, "drain", "The service instance is going away"},
	} {
		t.Run(name, func(t *testing.T) {
			g, gone, _ := drained(t, func(p *route.Policy) { p.WebSocket.Drain = c.how }, c.leave)
			if code, reason := closing(t, gone); code != websocket.ServiceRestart || reason != c.reason {
				t.Errorf("Close %d %q, want 1012 %q", code, reason, c.reason)
			}
			if rec := g.log.next(t); rec["close_code"] != 1012.0 || rec["cause"] != c.cause || rec["closed_by"] != "gateway" || rec["service"] != "svc" {
				t.Errorf("line %v", rec)
			}
			if n := g.Sessions.Len(); n != 1 {
				t.Errorf("%d sessions are left, want 1", n)
			}
		})
	}
}

// drain drains the one endpoint of s, which has that many sessions, by an operator's word.
func (g *gateway) drain(t *testing.T, s service, sessions int) {
	t.Helper()
	if n := g.DrainEndpoint(g.pool.Service(s.id, s.specs()).Endpoints[0]); n != sessions {
		t.Errorf("%d sessions at the endpoint, want %d", n, sessions)
	}
}

// Where websocket.drain says wait, sessions stay, and so they do where the endpoint comes back in time.
func TestDrainWaits(t *testing.T) {
	for name, c := range map[string]struct {
		policy func(*route.Policy)
		leave  func(*gateway, service)
	}{
		"wait": {func(*route.Policy) {}, func(g *gateway, s service) { g.pool.Service(s.id, nil) }},
		"back": {
			func(p *route.Policy) { p.WebSocket.Drain = route.CloseAll },
			func(g *gateway, s service) {
				e := g.pool.Service(s.id, s.specs()).Endpoints[0]
				g.depart(e, causeDrain, e.Leaving, func(p *sessionPolicy) route.Wait { return p.moving.Drain })
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, _, _ := drained(t, c.policy, c.leave)
			g.endBackground() // all that was to be done has been
			if n := g.Sessions.Len(); n != 2 {
				t.Errorf("%d sessions are left, want 2", n)
			}
		})
	}
}

// An endpoint that probes find dead takes its sessions with it as websocket.onUnhealthy says; its connections are reset.
func TestOnUnhealthy(t *testing.T) {
	reset := make(chan error, 1)
	frozen := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		_, err := br.ReadByte()
		reset <- err
	})
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{frozen}, policy: func(p *route.Policy) {
		p.WebSocket.OnUnhealthy, p.WebSocket.DrainWindow = route.CloseAll, time.Millisecond
	}})
	_, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	frame(t, br)
	m, _ := g.Table().Match("/svc/ws/v1/x")
	sick := m.Service.Endpoints[0]
	g.depart(sick, causeUnhealthy, func() bool { return true }, func(p *sessionPolicy) route.Wait { return p.moving.OnUnhealthy })
	if code, reason := closing(t, br); code != websocket.ServiceRestart || reason != "The service instance does not answer" {
		t.Errorf("Close %d %q, want 1012", code, reason)
	}
	if err := <-reset; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the service's connection: %v, want a reset", err)
	}
	if rec := g.log.next(t); rec["close_code"] != 1012.0 || rec["cause"] != "unhealthy" {
		t.Errorf("line %v", rec)
	}
}

// A client has as many sessions on a route as websocket.maxSessionsPerClient says, and gets a place back with each that ends.
func TestSessionsPerClient(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{silent(t)}, policy: func(p *route.Policy) {
		p.WebSocket.MaxSessionsPerClient, p.WebSocket.ConnectFailure = 2, route.StatusOnFailure
	}})
	g.settings(t, func(r *Reloadable) { r.TrustedProxies = []string{"127.0.0.1"} })
	open := func(client string) (net.Conn, string) {
		c, _, head := talk(t, g, handshake("/svc/ws/v1/x", "gw", "X-Forwarded-For: "+client))
		return c, head[len("HTTP/1.1 "):][:3]
	}
	first, status := open("2001:db8::1")
	if status != "101" {
		t.Fatal(status)
	}
	if _, status := open("2001:db8::2"); status != "101" {
		t.Error(status)
	}
	if _, status := open("2001:db8::3"); status != "503" {
		t.Errorf("a third one of the same network: %s", status)
	}
	if rec := g.log.next(t); rec["cause"] != "limit reached: sessions of this client" {
		t.Errorf("line %v", rec)
	}
	if _, status := open("2001:db8:0:1::1"); status != "101" {
		t.Errorf("another client: %s", status)
	}
	first.Close()
	g.log.next(t)
	if _, status := open("2001:db8::4"); status != "101" {
		t.Errorf("after one has ended: %s", status)
	}
}
