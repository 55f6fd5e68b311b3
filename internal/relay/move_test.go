package relay_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A mover is an owner that waits for the test to find another upstream.
type mover struct {
	owner
	losses chan relay.Loss
	moved  chan bool
	asked  atomic.Uint32 // epoch
}

func (m *mover) Lost(s *relay.Session, loss relay.Loss) relay.Verdict {
	m.lost.Add(1)
	m.asked.Store(loss.Epoch)
	m.losses <- loss
	return m.verdict
}

func (m *mover) Moved(_ *relay.Session, epoch uint32, ok bool) {
	if epoch != m.asked.Load() {
		m.t.Errorf("moved with epoch %d, want %d", epoch, m.asked.Load())
	}
	m.moved <- ok
}

// A moveRig is a session that can move.
type moveRig struct {
	*rig
	by *mover
	o  rigOptions
}

func newMoveRig(t testing.TB, o rigOptions) *moveRig {
	t.Helper()
	if o.policy.Hold == 0 {
		o.policy.Hold = 64 << 10
	}
	if o.verdict == (relay.Verdict{}) {
		o.verdict = relay.Verdict{Wait: patience, Code: websocket.ServiceRestart, Reason: "nowhere to go"}
	}
	m := &mover{owner: owner{t: t, done: make(chan relay.Result, 1), verdict: o.verdict}, losses: make(chan relay.Loss, 10), moved: make(chan bool, 10)}
	o.by = m
	return &moveRig{rig: newRig(t, o), by: m, o: o}
}

func (r *moveRig) expectLoss(cause string) relay.Loss {
	r.t.Helper()
	select {
	case l := <-r.by.losses:
		if l.Cause != cause {
			r.t.Fatalf("lost by %q, want %q", l.Cause, cause)
		}
		return l
	case <-time.After(patience):
		r.t.Fatal("the owner was not asked")
	}
	return relay.Loss{}
}

func (r *moveRig) expectMoved(ok bool) {
	r.t.Helper()
	select {
	case got := <-r.by.moved:
		if got != ok {
			r.t.Fatalf("moved: %v, want %v", got, ok)
		}
	case <-time.After(patience):
		r.t.Fatal("the owner was not told")
	}
}

// resume brings another upstream, and returns its far end.
func (r *moveRig) resume(l relay.Loss) *peer {
	r.t.Helper()
	outer, inner := pair(r.t, r.o.tlsUpstream, r.o.smallBuffers)
	r.t.Cleanup(func() { _ = outer.Close() })
	ok := make(chan bool)
	lp := r.session.Loop()
	side := relay.Side{Stream: loop.Attach(lp, inner), Deflate: r.o.deflate}
	lp.Post(func() { ok <- r.session.Resume(side, l.Epoch) })
	if !<-ok {
		r.t.Fatal("too late")
	}
	return &peer{t: r.t, Conn: outer}
}

func (r *moveRig) finish(up *peer) relay.Result {
	r.t.Helper()
	r.session.Close(away, "", "test")
	_ = r.client.Close()
	_ = up.Close()
	return r.owner.result()
}

// A lost upstream is replaced; the client notices nothing.
func TestMoveAfterLoss(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newMoveRig(t, o)
		r.hello()
		_ = r.upstream.Close()
		l := r.expectLoss(relay.CauseLost)
		if !l.Movable || l.Planned || !l.Answered {
			t.Errorf("loss %+v", l)
		}
		r.client.send(r.client.text("one"))
		r.client.send(r.client.frame(websocket.OpPing, true, "ping"))
		r.client.expect(r.upstream.frame(websocket.OpPong, true, "ping"))
		r.client.send(r.client.text("two"))
		up := r.resume(l)
		r.expectMoved(true)
		up.expect(r.client.text("one"))
		up.expect(r.client.text("two"))
		up.send(up.text("answer"))
		r.client.expect(up.text("answer"))
		if res := r.finish(up); res.Moves != 1 || res.Uncertain != 0 || res.MessagesIn != 3 || res.MessagesOut != 2 {
			t.Errorf("result %+v", res)
		}
	})
}

// A planned move waits for the answers and for the old upstream's Close.
func TestMovePlanned(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newMoveRig(t, o)
		r.hello()
		r.client.send(r.client.text("question"))
		r.upstream.expect(r.client.text("question"))
		r.session.Detach("drain")
		l := r.expectLoss("drain")
		if !l.Movable || !l.Planned {
			t.Errorf("loss %+v", l)
		}
		r.client.send(r.client.text("another"))
		r.upstream.expect(r.client.text("another"))
		up := r.resume(l)
		r.client.send(r.client.text("for the new one"))
		r.upstream.send(append(r.upstream.text("answer"), r.upstream.text("second")...))
		r.client.expect(append(r.upstream.text("answer"), r.upstream.text("second")...))
		r.upstream.expectClose(away, "session moved")
		r.upstream.send(append(r.upstream.text("last words"), r.upstream.closeFrame(away, "")...))
		r.client.expect(r.upstream.text("last words"))
		r.expectMoved(true)
		up.expect(r.client.text("for the new one"))
		_ = r.upstream.Close()
		if res := r.finish(up); res.Moves != 1 || res.Uncertain != 0 {
			t.Errorf("result %+v", res)
		}
	})
}
