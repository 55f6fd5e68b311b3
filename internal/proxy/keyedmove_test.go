package proxy

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// byKey is a session of a client with that key.
func byKey(t *testing.T, g *gateway, key string) *player {
	return play(t, g, "/svc/ws/v1/room", &ws.DialOptions{HTTPHeader: http.Header{"X-Tenant": {key}}})
}

// leads names the instance to which a key leads among all but the first of those given by index.
func leads(t *testing.T, sv *upstream.Service, key string, without ...*upstream.Endpoint) *upstream.Endpoint {
	t.Helper()
	e, err := sv.PickBy(upstream.KeyOf(key), without...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func hashed(p *route.Policy) { p.LoadBalancing, p.Hash.Header = upstream.Hash, "X-Tenant" }

// TestMovesFollowTheKey: after a loss each session goes where a new one of its key goes; when the instance is back, rebalancing takes those
// there that belong there, and no others; by an operator's word one goes where its key leads among the rest.
func TestMovesFollowTheKey(t *testing.T) {
	const sessions = 24
	ins := []*instance{startInstance(t, "0", ""), startInstance(t, "1", ""), startInstance(t, "2", "")}
	g := between(t, hashed, ins...)
	svc := &service{id: "svc", endpoints: []string{ins[0].addr, ins[1].addr, ins[2].addr}}
	sv := g.pool.Service("svc", svc.specs())
	var players []*player
	for i := range sessions {
		players = append(players, byKey(t, g, fmt.Sprint(i)))
	}
	g.listed(t, sessions)
	settled := func(what string, want func(key string) *upstream.Endpoint) {
		t.Helper()
		eventually(t, what, func() bool {
			for i, r := range g.listed(t, sessions) {
				if r.Instance != want(fmt.Sprint(i)).ID {
					return false
				}
			}
			return true
		})
		for i, p := range players {
			p.say("x")
			p.hear(want(fmt.Sprint(i)).ID[len("127.0.0.1:svc:"):] + " x")
		}
	}
	settled("keys", func(key string) *upstream.Endpoint { return leads(t, sv, key) })

	lost := sv.Endpoints[1]
	two := g.pool.Service("svc", append(svc.specs()[:1:1], svc.specs()[2]))
	ins[1].kill(true)
	settled("keys without the one that is lost", func(key string) *upstream.Endpoint { return leads(t, two, key) })
	if n := g.Rebalance(two); n != 0 {
		t.Errorf("%d sessions are to move though all are where they belong", n)
	}

	startInstance(t, "1", ins[1].addr)
	sv = g.pool.Service("svc", svc.specs())
	belong := 0
	for i := range sessions {
		if leads(t, sv, fmt.Sprint(i)) == lost {
			belong++
		}
	}
	if n := g.Rebalance(sv); n != belong || n == 0 {
		t.Errorf("%d sessions are to move, want the %d that belong to the one that is back", n, belong)
	}
	settled("keys of all", func(key string) *upstream.Endpoint { return leads(t, sv, key) })

	id, first := g.listed(t, sessions)[0].SessionID, leads(t, sv, "0")
	if err := g.MoveSession(id, ""); err != nil {
		t.Fatal(err)
	}
	settled("the second of the key", func(key string) *upstream.Endpoint {
		if key == "0" {
			return leads(t, sv, key, first)
		}
		return leads(t, sv, key)
	})
}

// TestKeptSessionsAreNotLevelled: those that a cookie has brought to their instance, or that have asked for it.
func TestKeptSessionsAreNotLevelled(t *testing.T) {
	for name, tt := range map[string]struct {
		balance upstream.Balance
		header  http.Header
		moves   int
	}{
		"sticky":   {upstream.Sticky, nil, 0},
		"instance": {upstream.Named, http.Header{"X-InstanceId": {"127.0.0.1:svc:0"}}, 0},
		"nothing":  {upstream.Named, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
			g := between(t, func(p *route.Policy) { p.LoadBalancing = tt.balance }, a)
			for range 4 {
				play(t, g, "/svc/ws/v1/room", &ws.DialOptions{HTTPHeader: tt.header})
			}
			g.listed(t, 4)
			sv := g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr}}).specs())
			if n := g.Rebalance(sv); n != tt.moves {
				t.Errorf("%d sessions are to move, want %d", n, tt.moves)
			}
		})
	}
}

// TestRebalanceWaitsForSlowStart: an endpoint that starts slowly is not given its sessions at once by rebalancing.
func TestRebalanceWaitsForSlowStart(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	for _, slow := range []time.Duration{-1, 20 * time.Millisecond, time.Hour} {
		g := between(t, func(p *route.Policy) {
			p.WebSocket.Rebalance, p.SlowStart.Window = route.RebalanceAuto, slow
		}, a)
		g.settling = time.Millisecond
		for range 4 {
			play(t, g, "/svc/ws/v1/room", nil)
		}
		g.listed(t, 4)
		sv := g.pool.Service("svc", (&service{id: "svc", endpoints: []string{a.addr, b.addr}}).specs())
		if slow == time.Hour {
			if left := g.untilSettled(sv, 0); left < 59*time.Minute || left > time.Hour {
				t.Errorf("it is left alone for %s", left)
			}
			continue
		}
		eventually(t, "two sessions each", func() bool { return sv.Endpoints[0].Sessions() == 2 && sv.Endpoints[1].Sessions() == 2 })
		if since := sv.Settled(); since < slow {
			t.Errorf("levelled %s after it has joined, its slow start is %s", since, slow)
		}
	}
}
