package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// An instance that takes connections and says nothing does not keep the sessions of another one that died from those that live.
func TestMovePassesHungInstance(t *testing.T) {
	const sessions = 2 * movesInFlight
	a, hung, c := startInstance(t, "a", ""), startInstance(t, "hung", ""), startInstance(t, "c", "")
	release := make(chan struct{})
	defer close(release)
	hung.onHandshake(func() { <-release })
	g := between(t, func(p *route.Policy) {
		p.LoadBalancing, p.WebSocket.FailoverTimeout = upstream.LeastSessions, 8*time.Second
	}, a, hung, c)
	g.endpoint(1).Drain(true)
	g.endpoint(2).Drain(true)
	var players []*player
	for range sessions {
		players = append(players, play(t, g, "/svc/ws/v1/room", nil))
	}
	g.endpoint(1).Drain(false)
	g.endpoint(2).Drain(false)
	a.kill(true)
	for i, p := range players {
		eventually(t, "every session at c", func() bool { return g.endpoint(2).Sessions() == sessions })
		text := fmt.Sprint("number ", i)
		p.say(text)
		p.hear("c " + text)
	}
	if n := len(hung.handshakes()); n == 0 || n > movesInFlight {
		t.Errorf("the instance that hangs was asked %d times", n)
	}
}

// Sessions that have found no instance do not wait for the end of their pause once one joins.
func TestJoiningInstanceEndsPause(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, nil, a)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	a.kill(true)
	m := g.moverOf("svc")
	eventually(t, "a pause", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, timer := range m.paused {
			timer.Stop() // so that nothing else ends it
		}
		return len(m.paused) == 1
	})
	sv := g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr}}).specs())
	g.EndpointJoined(sv.Endpoints[1])
	p.say("two")
	p.hear("b two")
}

// A mover passes over an endpoint whose sessions miss their Pongs, or that leaves attempts unanswered, until it answers one.
func TestShy(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, nil, a)
	e, m := g.endpoint(0), g.moverOf("svc")
	want := func(n int, when string) {
		t.Helper()
		if got := len(m.shy()); got != n {
			t.Errorf("%s: %d are passed over, want %d", when, got, n)
		}
	}
	want(0, "at first")
	m.hangs(e)
	want(1, "after a Pong was missed")
	m.asks(e)
	m.heard(e, nil)
	want(0, "after an answer")
	for range shareOfMoves {
		want(0, "while few attempts are under way")
		m.asks(e)
	}
	want(1, "while many attempts are under way")
	for range shareOfMoves {
		m.heard(e, errInterim)
	}
	want(0, "after refusals")
	if len(m.asked) != 0 {
		t.Errorf("%d are remembered for nothing", len(m.asked))
	}
}
