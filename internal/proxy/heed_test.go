package proxy

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A session does not stay where it comes to just when that instance begins to leave.
func TestMoveToOneThatLeaves(t *testing.T) {
	for name, leave := range map[string]func(g *gateway, all ...*instance){
		"drained by an operator": func(g *gateway, _ ...*instance) { g.DrainEndpoint(g.endpoint(1)) },
		"out of service": func(g *gateway, all ...*instance) {
			specs := (&service{id: "svc", endpoints: []string{all[0].addr, all[1].addr, all[2].addr}}).specs()
			g.pool.Service("svc", slices.Delete(specs, 1, 2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, c := startInstance(t, "a", ""), startInstance(t, "b", ""), startInstance(t, "c", "")
			g := between(t, func(p *route.Policy) {
				p.WebSocket.DrainWindow = -1
				if name == "out of service" {
					p.WebSocket.Drain = route.MoveAway
				}
			}, a, b, c)
			p := play(t, g, "/svc/ws/v1/room", nil)
			p.say("one")
			p.hear("a one")
			third := g.endpoint(2)
			third.Drain(true) // b is asked first
			b.onHandshake(func() { leave(g, a, b, c); third.Drain(false) })
			a.kill(true)
			eventually(t, "two moves", func() bool { return g.listed(t, 1)[0].Moves == 2 })
			p.say("two")
			p.hear("c two")
		})
	}
}

// A session that an operator could not move stays where it is, unless that instance has begun to leave meanwhile.
func TestStaysNotAtOneThatLeaves(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, func(p *route.Policy) { p.WebSocket.DrainWindow = -1 }, a, b)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	var once sync.Once
	b.refuse.Store(503)
	b.onHandshake(func() {
		first := false
		once.Do(func() { first = true; g.DrainEndpoint(g.endpoint(0)) })
		if !first {
			b.refuse.Store(0)
		}
	})
	if err := g.MoveSession(g.only(t), ""); err != nil {
		t.Fatal(err)
	}
	moved(t, &g.Sessions)
	p.say("two")
	p.hear("b two")
}

// A journal is a log that can be read.
type journal struct {
	mu   sync.Mutex // guards the following
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// says tells whether a line of the log holds text.
func (j *journal) says(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

// What the log and the counts say of moves: planned ones count, and those whose client or service has said goodbye have not failed.
func TestMovesAreTold(t *testing.T) {
	start := func(t *testing.T, policy func(*route.Policy), instances ...*instance) (*gateway, *journal, *player) {
		g, j := between(t, policy, instances...), new(journal)
		g.Log = slog.New(slog.NewTextHandler(j, nil))
		p := play(t, g, "/svc/ws/v1/room", nil)
		p.say("one")
		p.hear("a one")
		return g, j, p
	}
	unmoved := func(g *gateway) uint64 { return g.Counts().Routes[0].Unmoved }
	t.Run("planned", func(t *testing.T) {
		a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
		g, j, p := start(t, nil, a, b)
		if err := g.MoveSession(g.only(t), ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a line of the log", func() bool { return j.says("moved=1 lost=0") })
		p.say("two")
		p.hear("b two")
	})
	t.Run("planned, refused", func(t *testing.T) {
		a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
		g, j, p := start(t, nil, a, b)
		b.refuse.Store(503)
		if err := g.MoveSession(g.only(t), ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a search that failed", func() bool { return unmoved(g) == 1 })
		if j.says("sessions moved") {
			t.Error("the log says that sessions were moved or lost")
		}
		p.say("two")
		p.hear("a two")
	})
	t.Run("lost", func(t *testing.T) {
		a := startInstance(t, "a", "")
		g, j, p := start(t, soon, a)
		a.kill(true)
		p.end(ws.StatusServiceRestart)
		eventually(t, "a line of the log", func() bool { return j.says("moved=0 lost=1") && unmoved(g) == 1 })
	})
	t.Run("left by its client", func(t *testing.T) {
		a := startInstance(t, "a", "")
		g, j, p := start(t, nil, a)
		a.kill(true)
		eventually(t, "a search", func() bool {
			m := g.moverOf("svc")
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.searches == 1
		})
		_ = p.Close(ws.StatusNormalClosure, "")
		g.log.next(t)
		if unmoved(g) != 0 || j.says("sessions moved") {
			t.Errorf("%d searches failed", unmoved(g))
		}
	})
	t.Run("1001 of a service that stays", func(t *testing.T) {
		a := startInstance(t, "a", "")
		a.serve = restarting(1001)
		g := between(t, nil, a)
		p := play(t, g, "/svc/ws/v1/room", nil)
		p.say("one")
		p.end(ws.StatusGoingAway)
		g.log.next(t)
		if n := unmoved(g); n != 0 {
			t.Errorf("%d searches failed", n)
		}
	})
}
