package proxy

import (
	"net/http"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// What has become of sessions and requests is counted by route, and what open sessions do is in it at once.
func TestCounts(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, nil, a, b)
	of := func(name string) RouteCounts {
		t.Helper()
		for _, r := range g.Counts().Routes {
			if r.Route == name {
				return r
			}
		}
		t.Fatalf("no counts of route %q", name)
		return RouteCounts{}
	}
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("one")
	p.hear("a one")
	a.kill(true)
	moved(t, &g.Sessions)
	p.say("two")
	p.hear("b two")
	const name = "svc:ws/v1"
	if c := of(name); c.Opened != 1 || c.Live != 1 || len(c.Closed) != 0 || c.Traffic.MessagesIn == 0 || c.Traffic.Moves != 1 {
		t.Errorf("while it is open: %+v", c)
	}
	if err := p.Close(4321, "bye"); err != nil {
		t.Fatal(err)
	}
	g.log.next(t)
	c := of(name)
	if c.Live != 0 || c.Closed[Closing{4000, "client"}] != 1 || c.Lifetimes.Total != 1 || c.Traffic.MessagesIn != 2 || c.Traffic.MessagesOut != 2 || c.Unmoved != 0 {
		t.Errorf("when it has ended: %+v", c)
	}
	b.refuse.Store(404)
	if conn, _, err := ws.Dial(t.Context(), "ws://"+g.http+"/svc/ws/v1/room", nil); err == nil {
		_, _, _ = conn.Read(t.Context()) // its Close
		_ = conn.CloseNow()
	}
	g.log.next(t)
	if c := of(name); c.Refused[1003] != 1 || c.Opened != 1 {
		t.Errorf("a handshake that was refused: %+v", c)
	}
	resp, err := http.Get("http://" + g.http + "/nothing/here")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	g.log.next(t)
	if c := of(""); c.Requests != [6]uint64{4: 1} || c.Times.Total != 1 || c.Times.Sum <= 0 {
		t.Errorf("a request to no route: %+v", c)
	}
}

// Services that come and go cannot make the counts grow without bound, and what was told never falls.
func TestTallyIsBounded(t *testing.T) {
	var counts tally
	for i := range maxTallies + 10 {
		counts.request(&accesslog.Record{Route: string(rune('a'+i%26)) + time.Duration(i).String(), Status: 200}, false)
	}
	if n := len(counts.routes); n != maxTallies+1 {
		t.Errorf("%d routes", n)
	}
	if n := counts.of("new").requests[2].Load(); n != 10 {
		t.Errorf("%d requests of others, want 10", n)
	}
	r := counts.of("a0s")
	live := &liveTraffic{sessions: 1, traffic: Traffic{BytesIn: 100, Moves: 2}}
	traffic := func(live *liveTraffic) RouteCounts { return r.counts(counts.ended()[r], live) }
	if got := traffic(live).Traffic; got != live.traffic {
		t.Errorf("%+v", got)
	}
	if got := traffic(nil); got.Traffic != live.traffic || got.Live != 0 { // it has left the list, and is not counted yet
		t.Errorf("between: %+v", got)
	}
	before := counts.ended()[r]
	r.close(&relay.Result{Stats: relay.Stats{BytesIn: 120, Moves: 2}}, time.Hour)
	if got := r.counts(before, live).Traffic; got != live.traffic {
		t.Errorf("while it ends: %+v", got)
	}
	if got := traffic(nil).Traffic; got != (Traffic{BytesIn: 120, Moves: 2}) {
		t.Errorf("at last: %+v", got)
	}
}

// Services that register one policy after the other, and open a session with each, do not make the gateway remember them all.
func TestPoliciesAreBounded(t *testing.T) {
	g := startGateway(t)
	var last *sessionPolicy
	for i := range maxPolicies + 10 {
		p := route.Policy{WebSocket: route.WebSocket{IdleTimeout: time.Second + time.Duration(i)}}
		last = g.sessionPolicyOf(&p, route.FailoverOff)
		if last.relay.Idle != time.Second+time.Duration(i) || g.findPolicy(&p, route.FailoverOff) != last {
			t.Fatalf("policy %d: %+v, or not shared", i, last.relay)
		}
	}
	if n := len(g.policies); n != 10 {
		t.Errorf("%d policies are remembered", n)
	}
}
