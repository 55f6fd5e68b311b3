package relay_test

import (
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A session leaves its upstream between two messages, each way, and the client is told what the owner says.
func TestDetach(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		o.verdict = relay.Verdict{Code: websocket.ServiceRestart, Reason: "moving"}
		r := newRig(t, o)
		r.hello()
		down := [2][]byte{r.upstream.frame(websocket.OpText, false, "one "), r.upstream.frame(websocket.OpContinuation, true, "message")}
		up := [2][]byte{r.client.frame(websocket.OpText, false, "another "), r.client.frame(websocket.OpContinuation, true, "message")}
		r.upstream.send(down[0])
		r.client.expect(down[0])
		r.client.send(up[0])
		r.upstream.expect(up[0])
		r.session.Detach("planned")
		r.upstream.send(down[1])
		r.client.expect(down[1])
		r.client.expectClose(websocket.ServiceRestart, "moving")
		r.client.send(append(up[1], r.client.text("too late")...))
		r.upstream.expect(up[1])
		r.upstream.expectClose(away, "planned")
		r.upstream.send(r.upstream.closeFrame(away, ""))
		r.client.send(r.client.closeFrame(websocket.ServiceRestart, ""))
		r.client.expectEnd(false)
		_ = r.client.Close()
		_ = r.upstream.Close()
		res := r.expectResult(websocket.ServiceRestart, relay.Gateway, "planned")
		if r.owner.lost.Load() != 1 || r.owner.why != "planned" || res.MessagesOut != 2 || res.MessagesIn != 2 {
			t.Errorf("Lost %d times, %q; result %+v", r.owner.lost.Load(), r.owner.why, res)
		}
	})
}

// A message that does not end is not waited for longer than CloseTimeout, a frame is.
func TestDetachInsideMessage(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{
		policy:  relay.Policy{CloseTimeout: 100 * time.Millisecond},
		verdict: relay.Verdict{Code: websocket.ServiceRestart, Reason: "moving"},
	})
	r.hello()
	part := r.upstream.frame(websocket.OpText, false, "never ")
	r.upstream.send(part)
	r.client.expect(part)
	r.session.Detach("planned")
	r.session.Detach("twice")
	r.client.expectClose(websocket.ServiceRestart, "moving")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.expectResult(websocket.ServiceRestart, relay.Gateway, "planned")
}

// An upstream that goes while its message is waited for leaves nothing to wait for.
func TestDetachAndLoss(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{verdict: relay.Verdict{Code: websocket.ServiceRestart, Reason: "moving"}})
	r.hello()
	part := r.upstream.frame(websocket.OpText, false, "never ")
	r.upstream.send(part)
	r.client.expect(part)
	r.session.Detach("planned")
	r.caughtUp()
	_ = r.upstream.Close()
	r.client.expectClose(websocket.ServiceRestart, "moving")
	_ = r.client.Close()
	if r.expectResult(websocket.ServiceRestart, relay.Gateway, "planned"); r.owner.lost.Load() != 1 {
		t.Errorf("Lost %d times", r.owner.lost.Load())
	}
}
