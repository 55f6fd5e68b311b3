package relay_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// lose has the upstream go, and returns what the owner was asked.
func (r *moveRig) lose() relay.Loss {
	r.t.Helper()
	r.hello()
	_ = r.upstream.Close()
	return r.expectLoss(relay.CauseLost)
}

// Nobody takes over in time, or the owner gives up: the client is told what the owner said.
func TestMoveFails(t *testing.T) {
	for _, giveUp := range []bool{true, false} {
		wait := 50 * time.Millisecond
		if giveUp {
			wait = patience
		}
		r := newMoveRig(t, rigOptions{verdict: relay.Verdict{Wait: wait, Code: websocket.ServiceRestart, Reason: "nowhere"}})
		l := r.lose()
		want := "nowhere"
		if giveUp {
			want = "gave up"
			r.session.GiveUp(l.Epoch, relay.Verdict{Code: websocket.ServiceRestart, Reason: want})
		}
		r.client.expectClose(websocket.ServiceRestart, want)
		r.expectMoved(false)
		r.late(l)
		_ = r.client.Close()
		r.expectResult(websocket.ServiceRestart, relay.Upstream, relay.CauseLost)
	}
}

// late sees that the session takes no upstream any more.
func (r *moveRig) late(l relay.Loss) {
	r.t.Helper()
	outer, inner := pair(r.t, false, false)
	defer outer.Close()
	ok := make(chan bool)
	lp := r.session.Loop()
	stream := loop.Attach(lp, inner)
	lp.Post(func() {
		took := r.session.Resume(relay.Side{Stream: stream}, l.Epoch)
		if !took {
			stream.Close()
		}
		ok <- took
	})
	if <-ok {
		r.t.Fatal("another upstream was taken")
	}
}

// The client does not wait for the end of the move.
func TestMoveWithoutClient(t *testing.T) {
	for name, leave := range map[string]func(r *moveRig){
		"close": func(r *moveRig) {
			r.client.send(r.client.closeFrame(4001, "bye"))
			r.client.expectClose(4001, "bye")
			_ = r.client.Close()
		},
		"fin": func(r *moveRig) {
			r.client.fin()
			r.client.expectEnd(false)
		},
		"reset": func(r *moveRig) { r.client.reset() },
		"gateway": func(r *moveRig) {
			r.session.Close(away, "that is it", "test")
			r.client.expectClose(away, "that is it")
			_ = r.client.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newMoveRig(t, rigOptions{policy: relay.Policy{CloseTimeout: 500 * time.Millisecond}})
			l := r.lose()
			leave(r)
			r.expectMoved(false)
			r.late(l)
			r.owner.result()
		})
	}
}

// An upstream that says that it goes is left; the client hears nothing of it.
func TestMoveByClose(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newMoveRig(t, o)
		r.hello()
		r.upstream.send(append(r.upstream.text("last"), r.upstream.closeFrame(websocket.ServiceRestart, "maintenance")...))
		r.client.expect(r.upstream.text("last"))
		l := r.expectLoss(relay.CauseClosed)
		if l.Code != websocket.ServiceRestart || l.Reason != "maintenance" || !l.Movable {
			t.Errorf("loss %+v", l)
		}
		r.upstream.expectClose(websocket.ServiceRestart, "maintenance")
		_ = r.upstream.Close()
		r.client.send(r.client.text("held"))
		up := r.resume(l)
		r.expectMoved(true)
		up.expect(r.client.text("held"))
		if res := r.finish(up); res.Moves != 1 || res.Uncertain != 0 {
			t.Errorf("result %+v", res)
		}
	})
}

// Where nobody takes over, the client gets the Close as it came.
func TestMoveByCloseFails(t *testing.T) {
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		r := newMoveRig(t, rigOptions{verdict: relay.Verdict{Wait: wait, Code: websocket.ServiceRestart, Reason: "nowhere"}})
		r.hello()
		r.upstream.send(r.upstream.closeFrame(away, "idle"))
		r.expectLoss(relay.CauseClosed)
		if wait > 0 {
			r.upstream.expectClose(away, "idle")
		}
		r.client.expectClose(away, "idle")
		r.client.send(r.client.closeFrame(away, ""))
		if wait == 0 {
			r.upstream.expectClose(away, "")
		}
		_ = r.client.Close()
		_ = r.upstream.Close()
		r.expectResult(away, relay.Upstream, map[bool]string{true: relay.CauseClosed, false: relay.CauseHandshake}[wait > 0])
	}
}

// A message that is too large, or too slow, goes on alone: until it ends there is no move.
func TestPinned(t *testing.T) {
	part := strings.Repeat("x", 3000)
	for name, hold := range map[string]int{"large": 1000, "slow": 64 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newMoveRig(t, rigOptions{policy: relay.Policy{Hold: hold}})
			r.hello()
			first := r.client.frame(websocket.OpText, false, part)
			r.client.send(first)
			r.upstream.expect(first)
			_ = r.upstream.Close()
			if l := r.expectLoss(relay.CauseLost); l.Movable {
				t.Errorf("loss %+v", l)
			}
			r.client.expectClose(websocket.ServiceRestart, "nowhere to go")
			_ = r.client.Close()
			if res := r.expectResult(websocket.ServiceRestart, relay.Upstream, relay.CauseLost); res.Uncertain != 1 {
				t.Errorf("result %+v", res)
			}
		})
	}
}

// The start of a message that its upstream could not end is not seen by the client.
func TestMoveInsideMessage(t *testing.T) {
	r := newMoveRig(t, rigOptions{})
	r.hello()
	r.upstream.send(r.upstream.text("never whole")[:5])
	r.client.send(r.client.text("a question")[:7])
	r.upstream.fin()
	l := r.expectLoss(relay.CauseLost)
	up := r.resume(l)
	r.expectMoved(true)
	r.client.send(r.client.text("a question")[7:])
	up.expect(r.client.text("a question"))
	up.send(up.text("an answer"))
	r.client.expect(up.text("an answer"))
	r.finish(up)
}

// A Pong for a Ping of the old upstream does not go to the new one, and the client's Ping is answered once.
func TestMovePings(t *testing.T) {
	r := newMoveRig(t, rigOptions{})
	r.hello()
	r.upstream.send(r.upstream.frame(websocket.OpPing, true, "old"))
	r.client.expect(r.upstream.frame(websocket.OpPing, true, "old"))
	r.client.send(r.client.frame(websocket.OpPing, true, "mine"))
	r.upstream.expect(r.client.frame(websocket.OpPing, true, "mine"))
	_ = r.upstream.Close()
	l := r.expectLoss(relay.CauseLost)
	r.client.expect(r.upstream.frame(websocket.OpPong, true, "mine"))
	up := r.resume(l)
	r.expectMoved(true)
	r.client.send(r.client.frame(websocket.OpPong, true, "old"))
	r.client.send(r.client.text("next"))
	up.expect(r.client.text("next"))
	up.send(up.frame(websocket.OpPing, true, "new"))
	r.client.expect(up.frame(websocket.OpPing, true, "new"))
	r.client.send(r.client.frame(websocket.OpPong, true, "new"))
	up.expect(r.client.frame(websocket.OpPong, true, "new"))
	r.finish(up)
}

// A planned move for which nobody is found leaves the session where it is.
func TestMovePlannedStays(t *testing.T) {
	r := newMoveRig(t, rigOptions{verdict: relay.Verdict{Wait: 20 * time.Millisecond, Stay: true}})
	r.hello()
	for range 2 {
		r.session.Detach("rebalance")
		r.expectLoss("rebalance")
		r.expectMoved(false)
		r.hello()
	}
	if res := r.finish(r.upstream); res.Moves != 0 {
		t.Errorf("result %+v", res)
	}
}

// A session that ends while it waits for the old upstream's answer tells all three.
func TestMovePlannedEnds(t *testing.T) {
	r := newMoveRig(t, rigOptions{})
	r.hello()
	r.client.send(r.client.text("question"))
	r.upstream.expect(r.client.text("question"))
	r.session.Detach("drain")
	up := r.resume(r.expectLoss("drain"))
	r.session.Close(away, "bye", "test")
	r.expectMoved(false)
	r.client.expectClose(away, "bye")
	r.upstream.expectClose(away, "bye")
	up.expectClose(away, "session ended")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.owner.result()
}

// With replay, what is not answered goes to the new upstream, too; without, it is counted.
func TestMoveUnanswered(t *testing.T) {
	for _, replay := range []bool{true, false} {
		r := newMoveRig(t, rigOptions{policy: relay.Policy{Replay: replay}})
		r.hello()
		both := append(r.client.text("one"), r.client.text("two")...)
		r.client.send(both)
		r.upstream.expect(both)
		r.upstream.fin()
		up := r.resume(r.expectLoss(relay.CauseLost))
		r.expectMoved(true)
		uncertain := 2
		if replay {
			up.expect(both)
			uncertain = 0
		}
		r.client.send(r.client.text("three"))
		up.expect(r.client.text("three"))
		if res := r.finish(up); res.Uncertain != uncertain {
			t.Errorf("replay %v: result %+v", replay, res)
		}
	}
}

// With replay, more than the window unanswered is counted, and a loss then ends the session.
func TestMoveOverflow(t *testing.T) {
	r := newMoveRig(t, rigOptions{policy: relay.Policy{Replay: true, Hold: 1000}})
	r.hello()
	for range 4 {
		m := r.client.text(strings.Repeat("x", 400))
		r.client.send(m)
		r.upstream.expect(m)
	}
	_ = r.upstream.Close()
	if l := r.expectLoss(relay.CauseLost); l.Movable {
		t.Errorf("loss %+v", l)
	}
	r.client.expectClose(websocket.ServiceRestart, "nowhere to go")
	_ = r.client.Close()
	if res := r.expectResult(websocket.ServiceRestart, relay.Upstream, relay.CauseLost); res.Overflows == 0 {
		t.Errorf("result %+v", res)
	}
}

// Of what an upstream that does not read is sent, nothing is given to two, and what is missing was counted.
func TestMoveFromSlowUpstream(t *testing.T) {
	for _, reset := range []bool{true, false} {
		r := newMoveRig(t, rigOptions{smallBuffers: true})
		r.hello()
		const many = 300
		message := func(i int) []byte { return r.client.text(fmt.Sprintf("%d%s", i, strings.Repeat(" ", 4000))) }
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range many {
				if _, err := r.client.Write(message(i)); err != nil {
					return
				}
			}
		})
		next := 0
		for ; next < 20; next++ {
			r.upstream.expect(message(next))
		}
		var st relay.Stats
		for end := time.Now().Add(patience); st.Held == 0 && time.Now().Before(end); r.session.Stats(&st) {
			runtime.Gosched() // until the upstream takes no more
		}
		if reset {
			r.upstream.reset()
		} else {
			_ = r.upstream.Close() // with bytes unread that is a reset, too
		}
		up := r.resume(r.expectLoss(relay.CauseLost))
		r.expectMoved(true)
		missing := many - next
		for next < many-1 {
			h, payload := up.next()
			if h.Opcode != websocket.OpText {
				t.Fatalf("got opcode %d", h.Opcode)
			}
			var n int
			if _, err := fmt.Sscan(string(payload), &n); err != nil || n < next {
				t.Fatalf("got %q behind %d", payload[:10], next)
			}
			next = n
			missing--
		}
		sending.Wait()
		if res := r.finish(up); missing > res.Uncertain || missing == many-20 {
			t.Errorf("%d missing, %d uncertain", missing, res.Uncertain)
		} else {
			t.Logf("%d missing, %d uncertain", missing, res.Uncertain)
		}
	}
}
