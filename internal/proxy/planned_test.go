package proxy

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// count has a player send numbers, some of them ahead of the answers, until stop, and wants each answered once and in order. It
// returns which instances have answered.
func count(t *testing.T, p *player, stop func(n int, by string) bool) map[string]int {
	t.Helper()
	by := map[string]int{}
	const ahead = 4
	sent, done := 0, false
	for got := 0; !done || got < sent; {
		for ; !done && sent < got+ahead; sent++ {
			p.say(strconv.Itoa(sent))
		}
		_, text, err := p.Read(p.ctx)
		if err != nil {
			t.Fatalf("after %d answers: %v", got, err)
		}
		name, number, _ := strings.Cut(string(text), " ")
		if number != strconv.Itoa(got) {
			t.Fatalf("answer %s, want %d", text, got)
		}
		by[name]++
		got++
		done = done || stop(got, name)
	}
	return by
}

// A planned move loses and repeats nothing, while the client goes on talking: by an operator's word, and because the instance leaves.
func TestPlannedMove(t *testing.T) {
	quick := func(p *route.Policy) { p.WebSocket.Drain, p.WebSocket.DrainWindow = route.MoveAway, -1 }
	for name, leave := range map[string]func(g *gateway, id string, a, b *instance){
		"operator": func(g *gateway, id string, _, _ *instance) {
			if err := g.MoveSession(id, ""); err != nil {
				t.Error(err)
			}
		},
		"deregistered": func(g *gateway, _ string, a, b *instance) {
			g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr}}).specs()[1:])
		},
		"drained": func(g *gateway, _ string, _, _ *instance) {
			g.DrainEndpoint(g.endpoint(0))
		},
	} {
		for _, failover := range []route.Failover{route.FailoverReconnect, route.FailoverReplay} {
			t.Run(name+", "+string(failover), func(t *testing.T) {
				a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
				g := between(t, func(p *route.Policy) { quick(p); p.WebSocket.Failover = failover }, a, b)
				p := play(t, g, "/svc/ws/v1/room", nil)
				by := count(t, p, func(n int, by string) bool {
					if n == 20 {
						leave(g, g.listed(t, 1)[0].SessionID, a, b)
					}
					return by == "b" && n > 30
				})
				if by["a"] < 20 || by["b"] == 0 {
					t.Errorf("answers by %v", by)
				}
				_ = p.Close(ws.StatusNormalClosure, "")
				if rec := g.log.next(t); rec["moves"] != 1.0 || rec["uncertain"] != 0.0 || rec["messages_in"] != rec["messages_out"] {
					t.Errorf("line %v", rec)
				}
			})
		}
	}
}

// The instance that is left is told so.
func TestPlannedMoveSaysGoodbye(t *testing.T) {
	told := make(chan ws.StatusCode, 1)
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	a.serve = func(ctx context.Context, c *ws.Conn) {
		_, _, err := c.Read(ctx)
		told <- ws.CloseStatus(err)
	}
	g := between(t, nil, a, b)
	p := play(t, g, "/svc/ws/v1/room", nil)
	if err := g.MoveSession(g.listed(t, 1)[0].SessionID, ""); err != nil {
		t.Fatal(err)
	}
	if code := <-told; code != ws.StatusGoingAway {
		t.Errorf("the instance was told %d, want 1001", code)
	}
	p.say("one")
	p.hear("b one")
}

// An operator may say which instance a session moves to.
func TestPlannedMoveToOne(t *testing.T) {
	a, b, c := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
	g := between(t, nil, a, b, c)
	p := play(t, g, "/svc/ws/v1/room", nil)
	id := g.only(t)
	for _, instance := range []string{g.endpoint(0).ID, "none"} {
		if err := g.MoveSession(id, instance); !errors.Is(err, ErrNotThere) {
			t.Errorf("to %s: %v", instance, err)
		}
	}
	for i, name := range []string{"c", "b", "a"} {
		if err := g.MoveSession(id, g.endpoint(2-i).ID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a move", func() bool { return g.listed(t, 1)[0].Moves == i+1 })
		p.say("x")
		p.hear(name + " x")
	}
	// Where that one refuses it, no other is asked.
	c.refuse.Store(503)
	if err := g.MoveSession(id, g.endpoint(2).ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a search that found none", func() bool { return g.Counts().Routes[0].Unmoved == 1 })
	p.say("x")
	p.hear("a x")
}

// A session that an operator moves is not given up because its instance dies meanwhile.
func TestLostWhileMoved(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, nil, a, b)
	p := play(t, g, "/svc/ws/v1/room", nil)
	b.refuse.Store(503)
	asked := 0
	b.onHandshake(func() {
		if asked++; asked == 1 {
			a.kill(true)
			return
		}
		b.refuse.Store(0)
	})
	if err := g.MoveSession(g.only(t), ""); err != nil {
		t.Fatal(err)
	}
	moved(t, &g.Sessions)
	p.say("one")
	p.hear("b one")
}

// Some sessions stay where they are, and the operator is told why.
func TestNotMoved(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, nil, a, b)
	play(t, g, "/svc/ws/v1/room?EIO=4", nil)
	g.pool.Service("alone", (&service{id: "alone", endpoints: []string{a.addr}}).specs())
	if err := g.MoveSession(g.listed(t, 1)[0].SessionID, ""); !errors.Is(err, ErrStays) {
		t.Errorf("failover off: %v", err)
	}
	if err := g.MoveSession("none", ""); !errors.Is(err, ErrNoSession) {
		t.Errorf("none: %v", err)
	}
	p := play(t, g, "/svc/ws/v1/room", nil) // at b
	g.endpoint(0).Drain(true)
	id := g.listed(t, 2)[1].SessionID
	if err := g.MoveSession(id, ""); !errors.Is(err, ErrNoOther) {
		t.Errorf("no other: %v", err)
	}
	// One that takes no session over keeps nobody from going on.
	g.endpoint(0).Drain(false)
	a.refuse.Store(503)
	if err := g.MoveSession(id, ""); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p.say("x")
		p.hear("b x")
	}
}

// Sessions are levelled among instances, when an operator says so and when an instance joins.
func TestRebalance(t *testing.T) {
	const sessions = 9
	for name, auto := range map[string]bool{"by an operator": false, "when an instance joins": true} {
		t.Run(name, func(t *testing.T) {
			a, b, c := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
			g := between(t, func(p *route.Policy) {
				if auto {
					p.WebSocket.Rebalance = route.RebalanceAuto
				}
			}, a)
			g.settling = time.Millisecond
			var players []*player
			for range sessions {
				players = append(players, play(t, g, "/svc/ws/v1/room", nil))
			}
			g.listed(t, sessions)
			sv := g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr, c.addr}}).specs())
			if !auto {
				g.mu.Lock()
				if len(g.joined) > 0 {
					t.Error("an instance that joins has sessions looked through, though no route asks for it")
				}
				g.mu.Unlock()
				if n := g.Rebalance(sv); n != sessions*2/3 {
					t.Errorf("%d sessions are to move, want %d", n, sessions*2/3)
				}
			}
			at := func() string {
				var n []int64
				for _, e := range sv.Endpoints {
					n = append(n, e.Sessions())
				}
				return fmt.Sprint(n)
			}
			for end := time.Now().Add(wait); at() != "[3 3 3]"; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("sessions %s", at())
				}
			}
			if n := g.Rebalance(sv); n != 0 {
				t.Errorf("%d more are to move", n)
			}
			for _, p := range players {
				p.say("still")
				if _, text, err := p.Read(p.ctx); err != nil || !strings.HasSuffix(string(text), " still") {
					t.Errorf("%q %v", text, err)
				}
			}
		})
	}
}

// TestRebalanceByWeight: the share of an instance is its weight's; a spare keeps none.
func TestRebalanceByWeight(t *testing.T) {
	const sessions = 12
	a, b, c := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
	g := between(t, nil, a, b, c)
	svc := &service{id: "svc", endpoints: []string{a.addr, b.addr, c.addr}}
	for range sessions {
		play(t, g, "/svc/ws/v1/room", nil)
	}
	g.listed(t, sessions)
	sv := g.pool.ServiceWith("svc", svc.specs(), upstream.Options{Weights: map[string]int{svc.specs()[0].ID: 2, svc.specs()[2].ID: 0}})
	if n := g.Rebalance(sv); n != sessions/3 {
		t.Errorf("%d sessions are to move, want %d", n, sessions/3)
	}
	at := func() string {
		var n []int64
		for _, e := range sv.Endpoints {
			n = append(n, e.Sessions())
		}
		return fmt.Sprint(n)
	}
	eventually(t, "8 and 4 sessions", func() bool { return at() == "[8 4 0]" })
	if n := g.Rebalance(sv); n != 0 {
		t.Errorf("%d more are to move", n)
	}
}

// TestRebalanceThoughOneBeginsAgainAndAgain: an instance that flaps does not keep the others from being levelled.
func TestRebalanceThoughOneBeginsAgainAndAgain(t *testing.T) {
	a, b, c := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
	g := between(t, func(p *route.Policy) {
		p.WebSocket.Rebalance, p.SlowStart.Window = route.RebalanceAuto, 100*time.Millisecond
	}, a)
	g.settling = time.Millisecond
	for range 6 {
		play(t, g, "/svc/ws/v1/room", nil)
	}
	sv := g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr, c.addr}}).specs())
	flapping := sv.Endpoints[2]
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-stopped }()
	go func() {
		defer close(stopped)
		for {
			flapping.Drain(true)
			flapping.Drain(false)
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	eventually(t, "sessions that have left the first", func() bool {
		first, others := sv.Endpoints[0].Sessions(), sv.Endpoints[1].Sessions()+flapping.Sessions()
		return first <= 3 && first+others == 6
	})
}

// An endpoint that is drained and comes back before its sessions have found another one keeps them.
func TestDrainTakenBack(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, func(p *route.Policy) { p.WebSocket.FailoverTimeout = 2 * time.Second }, a)
	p := play(t, g, "/svc/ws/v1/room", nil)
	g.listed(t, 1)
	g.DrainEndpoint(g.endpoint(0))
	searching := func(n int) func() bool {
		return func() bool {
			m := g.moverOf("svc")
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.searches == n
		}
	}
	eventually(t, "a search", searching(1))
	g.endpoint(0).Drain(false)
	eventually(t, "the end of the search", searching(0))
	p.say("one")
	p.hear("a one")
}
