package route

import (
	"testing"
	"time"
)

func TestFailoverOf(t *testing.T) {
	for _, c := range []struct {
		policy             Failover
		query, subprotocol string
		want               Failover
	}{
		{FailoverAuto, "", "", FailoverReconnect},
		{FailoverAuto, "?room=1&id=7", "", FailoverReconnect},
		{FailoverAuto, "", "graphql-transport-ws", FailoverOff},
		{FailoverAuto, "?EIO=4&transport=websocket", "", FailoverOff},
		{FailoverAuto, "?transport=websocket&sid=x", "", FailoverOff},
		{FailoverAuto, "?sid", "", FailoverOff},
		{FailoverAuto, "?aside=1&x=sid=", "", FailoverReconnect},
		{FailoverReconnect, "?EIO=4&sid=x", "stomp", FailoverReconnect},
		{FailoverReplay, "?EIO=4", "", FailoverReplay},
		{FailoverOff, "", "", FailoverOff},
		{"", "", "", FailoverOff},
	} {
		if got := (&WebSocket{Failover: c.policy}).FailoverOf(c.query, c.subprotocol); got != c.want {
			t.Errorf("%s with %q and subprotocol %q: %s, want %s", c.policy, c.query, c.subprotocol, got, c.want)
		}
	}
}

func TestMoving(t *testing.T) {
	p := Policy{}
	if got, want := p.Moving(), (Moving{64 << 10, 10 * time.Second, WaitForEnd, 30 * time.Second, WaitForEnd, ""}); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
	p.WebSocket = WebSocket{FailoverBuffer: 1, FailoverTimeout: 2, Drain: MoveAway, DrainWindow: off, OnUnhealthy: CloseAll, Rebalance: RebalanceAuto}
	if got, want := p.Moving(), (Moving{1, 2, MoveAway, 0, CloseAll, RebalanceAuto}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
