package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// The sessions of an instance that dies come to the others a few at a time, and all of them.
func TestHerd(t *testing.T) {
	const sessions = 3 * movesInFlight
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	var now, most atomic.Int32
	full := make(chan struct{})
	var once sync.Once
	b.onHandshake(func() {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n >= movesInFlight {
			once.Do(func() { close(full) })
		}
		<-full // the first of them wait for each other
		now.Add(-1)
	})
	g := between(t, func(p *route.Policy) { p.LoadBalancing = upstream.LeastSessions }, a, b)
	g.endpoint(1).Drain(true)
	var players []*player
	for range sessions {
		players = append(players, play(t, g, "/svc/ws/v1/room", nil))
	}
	g.endpoint(1).Drain(false)
	a.kill(true)
	for i, p := range players {
		eventually(t, "every session at b", func() bool { return g.endpoint(1).Sessions() == sessions && g.endpoint(0).Sessions() == 0 })
		text := fmt.Sprint("number ", i)
		p.say(text)
		p.hear("b " + text)
	}
	if n := most.Load(); n > movesInFlight {
		t.Errorf("%d handshakes at once", n)
	}
}

// A client that goes while an instance is looked for ends the search, and what it holds is given back.
func TestClientGoesMeanwhile(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	asked, release := make(chan struct{}), make(chan struct{})
	b.onHandshake(func() { close(asked); <-release })
	g := between(t, nil, a, b)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	a.kill(true)
	<-asked
	_ = p.CloseNow()
	rec := g.log.next(t)
	if rec["cause"] != "client lost" && rec["cause"] != "client fin" || rec["moves"] != 0.0 {
		t.Errorf("line %v", rec)
	}
	close(release)
	eventually(t, "no place taken", func() bool { return g.endpoint(0).Sessions()+g.endpoint(1).Sessions() == 0 })
}

// A stop does not wait for searches.
func TestStopMeanwhile(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, func(p *route.Policy) { p.WebSocket.FailoverTimeout = time.Hour }, a)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	a.kill(true)
	eventually(t, "a search", func() bool {
		m := g.moverOf("svc")
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.searches == 1
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		g.Shutdown(ctx)
	}()
	p.end(ws.StatusGoingAway)
	<-ended
}

// Instances that hang are left: found by the Ping of a session, or by probes.
func TestMoveFromHung(t *testing.T) {
	for name, c := range map[string]struct {
		policy func(*route.Policy)
		find   func(g *gateway)
		code   ws.StatusCode // 0: b takes the session over
	}{
		"ping": {func(p *route.Policy) {
			p.WebSocket.PingInterval, p.WebSocket.PongTimeout = 20*time.Millisecond, time.Second
		}, func(*gateway) {}, 0},
		"ping, close": {func(p *route.Policy) {
			p.WebSocket.PingInterval, p.WebSocket.PongTimeout = 20*time.Millisecond, time.Second
			p.WebSocket.OnUnhealthy = route.CloseAll
		}, func(*gateway) {}, 1012},
		"probe, move": {func(p *route.Policy) { p.WebSocket.OnUnhealthy = route.MoveAway }, (*gateway).findDead, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
			hung := make(chan struct{})
			defer close(hung)
			a.serve = func(context.Context, *ws.Conn) { <-hung } // it reads nothing, so it answers no Ping
			g := between(t, func(p *route.Policy) { p.WebSocket.DrainWindow = -1; c.policy(p) }, a, b)
			p := play(t, g, "/svc/ws/v1/room", nil)
			g.listed(t, 1)
			c.find(g)
			if c.code != 0 {
				if reason := p.end(c.code); reason != reasonUnhealthy {
					t.Errorf("reason %q", reason)
				}
				return
			}
			go func() { eventually(t, "a move", func() bool { return g.endpoint(1).Sessions() == 1 }); p.say("one") }()
			p.hear("b one")
		})
	}
}

// findDead is what a probe's verdict does.
func (g *gateway) findDead() {
	g.depart(g.endpoint(0), causeUnhealthy, func() bool { return true }, func(p *sessionPolicy) route.Wait { return p.moving.OnUnhealthy })
}

// A handshake that is too large to be kept opens a session that does not move.
func TestHandshakeTooLargeToKeep(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, nil, a, b)
	p := play(t, g, "/svc/ws/v1/room", &ws.DialOptions{HTTPHeader: http.Header{"X-Large": {strings.Repeat("x", maxKeptHead)}}})
	p.say("one")
	p.hear("a one")
	a.kill(true)
	if reason := p.end(ws.StatusServiceRestart); reason != reasonLost {
		t.Errorf("reason %q", reason)
	}
}

// What is kept of a handshake gives the same fields again, whatever they are.
func FuzzKeptHead(f *testing.F) {
	f.Add("/ws/room?x=1", "X-Mine", "1", "player/1", "gw.example", true)
	f.Add("/", "user-agent", "", "", "", false)
	f.Add("/", "Sec-WebSocket-Protocol", "a, b", "x", "h", true)
	f.Add("/", "X-Request-Id", "r", "", "h", false)
	f.Fuzz(func(t *testing.T, target, name, value, agent, host string, own bool) {
		rec := accesslog.Record{RequestID: "r", SessionID: "s", UserAgent: agent}
		b := []byte("GET " + strings.Join(strings.Fields(target), "") + " HTTP/1.1\r\n")
		b = http1.AppendField(b, "Host", host)
		b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: k\r\n"...)
		b = http1.AppendField(b, "User-Agent", agent)
		b = http1.AppendField(b, name, value)
		b = append(b, "X-Request-Id: r\r\nFairlead-Session-Id: s\r\n\r\n"...)
		again, extensions := keepHead(b, &rec, "e", own).append(nil, &rec, &resumption{host: "next:1", key: "k2", resumed: 3})
		if extensions != "e" {
			t.Errorf("extensions %q", extensions)
		}
		if first, second := steadyFields(b, own), steadyFields(again, own); first != second {
			t.Errorf("was\n%s\nis\n%s", first, second)
		}
		if own != !strings.Contains(string(again), "\r\nHost: next:1\r\n") && host != "next:1" {
			t.Errorf("%q", again)
		}
	})
}

// steadyFields are the request line and the fields that a move may not change.
func steadyFields(head []byte, ownHost bool) string {
	var kept []string
	for i, line := range strings.Split(string(head), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch k := kindOf(name); {
		case i == 0:
		case k == fieldHost && !ownHost, k == fieldConnection, k == fieldUpgrade, k == fieldHandshake && isWebSocketField(name):
			continue
		case name == "Fairlead-Session-Resumed", name == "Fairlead-Session-Id" && value == "s", k == fieldRequestID && value == "r":
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "\r\n")
}
