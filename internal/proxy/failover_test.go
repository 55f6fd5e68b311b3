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

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// soon bounds what tests wait for in vain.
func soon(p *route.Policy) { p.WebSocket.FailoverTimeout = 300 * time.Millisecond }

// What another instance answers decides whether it is the last one that is asked, and what the client is told.
func TestTakeOverRefused(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   ws.StatusCode // 0: the third instance takes the session over
		reason string
	}{
		"401": {401, 1008, "The service refused the session at another instance: 401 Unauthorized"},
		"403": {403, 1008, "The service refused the session at another instance: 403 Forbidden"},
		"409": {409, 1012, "Another instance of the service does not take the session over: 409 Conflict"},
		"404": {404, 1012, "Another instance of the service does not take the session over: 404 Not Found"},
		"302": {302, 1012, "Another instance of the service does not take the session over: 302 Found"},
		"503": {503, 0, ""},
		"500": {500, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, last := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
			b.refuse.Store(int32(c.status))
			g := between(t, nil, a, b, last)
			p := play(t, g, "/svc/ws/v1/room", nil)
			p.say("one")
			p.hear("a one")
			g.endpoint(2).Drain(true) // b is asked first
			if c.code == 0 {
				b.onHandshake(func() { g.endpoint(2).Drain(false) })
			}
			a.kill(true)
			if c.code == 0 {
				moved(t, &g.Sessions)
				p.say("two")
				p.hear("c two")
				return
			}
			if reason := p.end(c.code); reason != c.reason {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
			if rec := g.log.next(t); rec["close_code"] != float64(c.code) || rec["moves"] != 0.0 || rec["cause"] != "upstream lost" {
				t.Errorf("line %v", rec)
			}
			if n := len(last.handshakes()); n != 0 {
				t.Errorf("another instance was asked %d times", n)
			}
		})
	}
}

// Another instance has to agree on what the first one has agreed on.
func TestTakeOverAgreesOnOther(t *testing.T) {
	spoken := func(protocols ...string) func(*http.Request) *ws.AcceptOptions {
		return func(*http.Request) *ws.AcceptOptions {
			return &ws.AcceptOptions{Subprotocols: protocols, InsecureSkipVerify: true, CompressionMode: ws.CompressionDisabled}
		}
	}
	packed := func(*http.Request) *ws.AcceptOptions {
		return &ws.AcceptOptions{InsecureSkipVerify: true, CompressionMode: ws.CompressionContextTakeover}
	}
	plain := spoken()
	for name, c := range map[string]struct {
		a, b   func(*http.Request) *ws.AcceptOptions
		reason string // "": b takes the session over
	}{
		"another subprotocol": {spoken("x"), spoken("y"), "Another instance of the service agrees on another subprotocol"},
		"the same":            {spoken("x"), spoken("y", "x"), ""},
		"no compression":      {packed, plain, "Another instance of the service agrees on other extensions"},
		"compression":         {packed, packed, ""},
		"none":                {plain, packed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
			a.accept, b.accept = c.a, c.b
			g := between(t, func(p *route.Policy) { p.WebSocket.Failover = route.FailoverReconnect }, a, b)
			p := play(t, g, "/svc/ws/v1/room", &ws.DialOptions{Subprotocols: []string{"x", "y"}, CompressionMode: ws.CompressionContextTakeover})
			long := strings.Repeat("text that is long enough to be compressed ", 100)
			p.say(long)
			p.hear("a " + long)
			a.kill(true)
			if c.reason != "" {
				if reason := p.end(ws.StatusServiceRestart); reason != c.reason {
					t.Errorf("reason %q, want %q", reason, c.reason)
				}
				return
			}
			moved(t, &g.Sessions)
			for range 3 { // each refers to the one before it, if it may
				p.say(long)
				p.hear("b " + long)
			}
		})
	}
}

// What is offered and answered on a route whose sessions can move depends on no message before.
func TestCompressionOfMovable(t *testing.T) {
	for _, failover := range []route.Failover{route.FailoverAuto, route.FailoverOff} {
		offered := make(chan string, 1)
		addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
			offered <- one(head, "Sec-WebSocket-Extensions")
			_, _ = io.WriteString(c, acceptSwitch(head, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"))
			_, _ = io.Copy(io.Discard, br)
		})
		g := startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}, policy: func(p *route.Policy) { p.WebSocket.Failover = failover }})
		_, _, head := talk(t, g, handshake("/svc/ws/v1/x", "gw", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
		wantOffer := "permessage-deflate; server_no_context_takeover; client_max_window_bits, permessage-deflate; client_max_window_bits"
		want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		if failover == route.FailoverOff {
			wantOffer, want = "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover"
		}
		if got := <-offered; got != wantOffer {
			t.Errorf("%s: offered %q, want %q", failover, got, wantOffer)
		}
		if got := one(head, "Sec-WebSocket-Extensions"); got != want {
			t.Errorf("%s: answered %q, want %q", failover, got, want)
		}
	}
}

// restarting is an instance that answers with a Close.
func restarting(code ws.StatusCode) func(ctx context.Context, c *ws.Conn) {
	return func(ctx context.Context, c *ws.Conn) {
		_, _, _ = c.Read(ctx)
		_ = c.Close(code, "back soon")
	}
}

// Where no instance takes the session over, the client is told so: 1012, or what the instance itself said, or 1011 where sessions do
// not move at all.
func TestNobodyTakesOver(t *testing.T) {
	for name, c := range map[string]struct {
		policy func(*route.Policy)
		path   string
		serve  func(ctx context.Context, c *ws.Conn)
		code   ws.StatusCode
		reason string
	}{
		"off":              {func(p *route.Policy) { p.WebSocket.Failover = route.FailoverOff }, "", nil, 1011, reasonLost},
		"auto, Engine.IO":  {func(*route.Policy) {}, "?EIO=4&transport=websocket", nil, 1012, reasonLost},
		"auto":             {soon, "", nil, 1012, reasonNoOther},
		"1012":             {soon, "", restarting(1012), 1012, "back soon"},
		"1012, off":        {func(p *route.Policy) { p.WebSocket.Failover = route.FailoverOff }, "", restarting(1012), 1012, "back soon"},
		"1001, it is idle": {soon, "", restarting(1001), 1001, "back soon"},
		"1000":             {soon, "", restarting(1000), 1000, "back soon"},
	} {
		t.Run(name, func(t *testing.T) {
			a := startInstance(t, "a", "")
			a.serve = c.serve
			g := between(t, c.policy, a)
			p := play(t, g, "/svc/ws/v1/room"+c.path, nil)
			p.say("one")
			if c.serve == nil {
				p.hear("a one")
				a.kill(true)
			}
			if reason := p.end(c.code); reason != c.reason {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
		})
	}
}

// An instance that says 1012, or 1001 and is seen to go, hands its sessions over.
func TestMoveAfterClose(t *testing.T) {
	for name, c := range map[string]struct {
		code ws.StatusCode
		goes func(g *gateway, a *instance)
	}{
		"1012":           {1012, func(*gateway, *instance) {}},
		"1001, refusing": {1001, func(_ *gateway, a *instance) { a.server.Close() }},
		"1001, leaving":  {1001, func(g *gateway, _ *instance) { g.endpoint(0).Drain(true) }},
		"1001, leaving now": {1001, func(g *gateway, _ *instance) {
			time.AfterFunc(300*time.Millisecond, func() { g.endpoint(0).Drain(true) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
			goes := make(chan struct{})
			a.serve = func(ctx context.Context, conn *ws.Conn) {
				<-goes
				_ = conn.Close(c.code, "going")
			}
			g := between(t, nil, a, b)
			p := play(t, g, "/svc/ws/v1/room", nil)
			c.goes(g, a)
			taken := make(chan struct{}, 1)
			b.onHandshake(func() { taken <- struct{}{} })
			close(goes)
			<-taken
			moved(t, &g.Sessions)
			p.say("one")
			p.hear("b one")
			if rec := g.listed(t, 1)[0]; rec.Moves != 1 {
				t.Errorf("%d moves", rec.Moves)
			}
		})
	}
}

// endpoint is one of the service of "between".
func (g *gateway) endpoint(i int) *upstream.Endpoint {
	m, _ := g.Table().Match("/svc/ws/v1/x")
	return m.Service.Endpoints[i]
}

// moved waits until the one session has moved: what a client says before that may go to an instance that is dying. Only where TCP
// tells what has arrived, which is not so over TLS and pumps, is it sent again.
func moved(t *testing.T, l *Sessions) {
	t.Helper()
	for end := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		if views, _ := l.List(0, 1); len(views) == 1 && views[0].Record.Moves > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no session has moved")
		}
	}
}

// listed is what the list says of the sessions, once there are n.
func (g *gateway) listed(t *testing.T, n int) (all []accesslog.Record) {
	t.Helper()
	for end := time.Now().Add(wait); ; time.Sleep(time.Millisecond) {
		views, _ := g.Sessions.List(0, n+1)
		if len(views) == n {
			for _, v := range views {
				all = append(all, v.Record)
			}
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("%d sessions, want %d", len(views), n)
		}
	}
}

// A session whose every instance fails before it has said anything ends.
func TestFlapping(t *testing.T) {
	var all []*instance
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		in := startInstance(t, name, "")
		in.serve = func(ctx context.Context, c *ws.Conn) { _, _, _ = c.Read(ctx); _ = c.CloseNow() }
		all = append(all, in)
	}
	g := between(t, func(p *route.Policy) { p.WebSocket.Failover = route.FailoverReplay }, all...)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("poison") // it is sent to each of them
	if reason := p.end(ws.StatusInternalError); reason != reasonFlapping {
		t.Errorf("reason %q", reason)
	}
	if rec := g.log.next(t); rec["moves"] != 3.0 {
		t.Errorf("line %v", rec)
	}
}

// An instance that is the only one is gone back to when it is there again.
func TestSameInstanceAgain(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, nil, a)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	a.kill(true)
	startInstance(t, "again", a.addr)
	moved(t, &g.Sessions)
	p.say("two")
	p.hear("again two")
}

// Sessions that their next instances send away have auto off for a while, and others do not.
func TestBrake(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	a.serve = func(ctx context.Context, c *ws.Conn) { _, _, _ = c.Read(ctx); _ = c.CloseNow() }
	b.serve = func(ctx context.Context, c *ws.Conn) { _ = c.Close(4001, "who are you?") }
	g := between(t, func(p *route.Policy) { p.LoadBalancing = upstream.LeastSessions }, a, b)
	g.endpoint(1).Drain(true)
	var players []*player
	for range badEnds + 1 {
		players = append(players, play(t, g, "/svc/ws/v1/room", nil))
	}
	g.endpoint(1).Drain(false)
	for i, p := range players {
		if !g.FailoverOffUntil("svc").IsZero() != (i == badEnds) {
			t.Errorf("after %d sessions: off until %v", i, g.FailoverOffUntil("svc"))
		}
		p.say("x")
		if i < badEnds {
			p.end(4001)
			g.log.next(t)
		} else if reason := p.end(ws.StatusServiceRestart); reason != reasonLost {
			t.Errorf("reason %q", reason)
		}
	}
}

// A session goes on over TLS, on a route of the Gateway API whose rule edits what is sent.
func TestMoveOverTLS(t *testing.T) {
	g := startProgrammable(t)
	a, b := startInstanceTLS(t, "a"), startInstanceTLS(t, "b")
	rule := filtered("/", route.Filters{
		RequestHeaders: route.HeaderEdit{Set: []route.HeaderValue{{Name: "X-Added", Value: "1"}}, Remove: []string{"X-Secret"}},
	}, g.backend("default/chat:443", "https://"+a.addr, "https://"+b.addr))
	rule.Policy.WebSocket.Failover, rule.Policy.LoadBalancing = route.FailoverReconnect, upstream.RoundRobin
	at := g.rules(rule)
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	c, _, err := ws.Dial(ctx, "ws://"+at+"/x?q=1", &ws.DialOptions{Host: "shop.example", HTTPHeader: http.Header{"X-Secret": {"s"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	p := &player{t, c, ctx}
	p.say("one")
	p.hear("a one")
	a.kill(true)
	moved(t, &g.Sessions)
	p.say("two")
	p.hear("b two")
	second := b.handshakes()[0]
	if second.Host != "shop.example" || second.RequestURI != "/x?q=1" || second.Header.Get("X-Added") != "1" || second.Header.Get("X-Secret") != "" ||
		second.Header.Get("X-Forwarded-Host") != "shop.example" {
		t.Errorf("second handshake %s %s %v", second.Host, second.RequestURI, second.Header)
	}
	views, _ := g.Sessions.List(0, 1)
	if len(views) != 1 || views[0].ServiceURL != "wss://"+b.addr+"/x?q=1" || views[0].Record.Instance != b.addr || views[0].Record.Moves != 1 {
		t.Errorf("%+v", views)
	}
}
