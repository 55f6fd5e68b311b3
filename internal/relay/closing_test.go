package relay_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

const (
	normal = websocket.Normal
	away   = websocket.GoingAway
)

// engines runs f over every mix of plain and TLS connections.
func engines(t *testing.T, f func(t *testing.T, o rigOptions)) {
	for name, o := range map[string]rigOptions{
		"plain":        {},
		"tls_client":   {tlsClient: true},
		"tls_upstream": {tlsUpstream: true},
		"tls_both":     {tlsClient: true, tlsUpstream: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, o)
		})
	}
}

// hello passes one message each way, so that the session is known to be up.
func (r *rig) hello() {
	r.t.Helper()
	r.client.send(r.client.text("hello"))
	r.upstream.expect(r.client.text("hello"))
	r.upstream.send(r.upstream.text("welcome"))
	r.client.expect(r.upstream.text("welcome"))
}

// caughtUp waits until the loop has done what it was asked to do.
func (r *rig) caughtUp() {
	r.t.Helper()
	done := make(chan struct{})
	relay.LoopOf(r.session).Post(func() { close(done) })
	select {
	case <-done:
	case <-time.After(patience):
		r.t.Fatal("the loop hangs")
	}
}

func TestCloseByClient(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		r.hello()
		bye := r.client.closeFrame(4001, "bye")
		r.client.send(bye)
		r.upstream.expect(bye)
		r.upstream.send(append(r.upstream.text("still yours"), r.upstream.closeFrame(4001, "")...))
		r.client.expect(r.upstream.text("still yours"))
		r.client.expectClose(4001, "")
		r.client.expectEnd(false) // FIN from the server first
		r.client.fin()
		_ = r.upstream.Close()
		res := r.expectResult(4001, relay.Client, relay.CauseHandshake)
		if res.Reason != "bye" || res.FramesIn != 2 || res.FramesOut != 3 || res.MessagesIn != 1 || res.MessagesOut != 2 {
			t.Errorf("result %+v", res)
		}
		if want := int64(len(bye) + len(r.client.text("hello"))); res.BytesIn != want {
			t.Errorf("bytes in %d, want %d", res.BytesIn, want)
		}
	})
}

func TestCloseByUpstream(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		r.hello()
		bye := r.upstream.closeFrame(normal, "")
		r.upstream.send(bye)
		r.client.expect(bye)
		r.client.send(r.client.closeFrame(normal, ""))
		r.upstream.expectClose(normal, "")
		r.client.expectEnd(false)
		_ = r.client.Close()
		r.upstream.fin()
		r.upstream.expectEnd(false)
		r.expectResult(normal, relay.Upstream, relay.CauseHandshake)
		if r.owner.lost.Load() != 0 {
			t.Error("Lost was called")
		}
	})
}

func TestCloseWithoutCode(t *testing.T) {
	r := newRig(t, rigOptions{})
	bye := r.client.closeFrame(websocket.NoStatus, "")
	r.client.send(bye)
	r.upstream.expect(bye)
	r.upstream.send(r.upstream.closeFrame(websocket.NoStatus, ""))
	r.client.expectClose(websocket.NoStatus, "")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.expectResult(websocket.NoStatus, relay.Client, relay.CauseHandshake)
}

func TestNothingFollowsAClose(t *testing.T) {
	r := newRig(t, rigOptions{})
	bye := r.client.closeFrame(normal, "")
	r.client.send(append(append([]byte{}, bye...), r.client.text("too late")...))
	r.upstream.expect(bye)
	r.client.send(r.client.closeFrame(normal, "again"))
	r.upstream.send(append(r.upstream.closeFrame(normal, ""), r.upstream.text("too late")...))
	r.client.expectClose(normal, "")
	r.client.expectEnd(false)
	_ = r.client.Close()
	r.upstream.fin()
	r.upstream.expectEnd(false)
	if res := r.expectResult(normal, relay.Client, relay.CauseHandshake); res.Discarded == 0 {
		t.Error("what was discarded was not counted")
	}
}

func TestClientFIN(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		r.client.send(r.client.text("last words"))
		r.client.fin()
		r.upstream.expect(r.client.text("last words"))
		r.upstream.expectEnd(false)
		answer := r.upstream.text(strings.Repeat("answer", 50_000))
		r.upstream.send(answer)
		_ = r.upstream.Close()
		r.client.expect(answer)
		r.client.expectEnd(false)
		r.expectResult(0, relay.Client, relay.CauseClientFIN)
		if r.owner.lost.Load() != 0 {
			t.Error("Lost was called")
		}
	})
}

func TestClientFINIsBounded(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{CloseTimeout: 100 * time.Millisecond}})
	r.client.fin()
	r.upstream.expectEnd(false)
	r.client.expectEnd(false)
	r.expectResult(0, relay.Client, relay.CauseClientFIN)
}

func TestClientReset(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		r.hello()
		r.client.reset()
		r.upstream.expectClose(away, "client gone")
		r.upstream.expectEnd(false)
		_ = r.upstream.Close()
		r.expectResult(away, relay.Client, relay.CauseClientLost)
	})
}

func TestClientResetInsideFrame(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.hello()
	whole := r.client.text("only a part of this")
	r.client.send(whole[:12])
	r.upstream.expect(whole[:12])
	r.client.reset()
	r.upstream.expectEnd(true)
	r.expectResult(0, relay.Client, relay.CauseCut)
}

func TestUpstreamLost(t *testing.T) {
	for name, leave := range map[string]func(*peer){
		"fin":   func(p *peer) { p.fin() },
		"reset": func(p *peer) { p.reset() },
	} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, o rigOptions) {
				o.verdict = relay.Verdict{Code: websocket.ServiceRestart, Reason: "instance left"}
				r := newRig(t, o)
				r.hello()
				last := r.upstream.text("last words")
				r.upstream.send(last)
				if name == "reset" {
					r.client.expect(last) // a reset of TLS may overtake its data
				}
				leave(r.upstream)
				if name == "fin" {
					r.client.expect(last)
				}
				r.client.expectClose(websocket.ServiceRestart, "instance left")
				r.client.send(r.client.closeFrame(websocket.ServiceRestart, ""))
				r.client.expectEnd(false)
				_ = r.client.Close()
				r.expectResult(websocket.ServiceRestart, relay.Upstream, relay.CauseLost)
				if r.owner.lost.Load() != 1 || r.owner.why != relay.CauseLost {
					t.Errorf("Lost: %d times, %q", r.owner.lost.Load(), r.owner.why)
				}
			})
		})
	}
}

func TestUpstreamLostDefaultVerdict(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.upstream.fin()
	r.client.expectClose(websocket.Internal, "")
	_ = r.client.Close()
	r.expectResult(websocket.Internal, relay.Upstream, relay.CauseLost)
}

func TestUpstreamLostInsideFrame(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		whole := r.upstream.text("first")
		cut := r.upstream.text("only a part of this")[:9]
		r.upstream.send(append(whole, cut...))
		r.client.expect(append(whole, cut...))
		r.upstream.fin()
		r.client.expectEnd(true)
		r.expectResult(0, relay.Upstream, relay.CauseCut)
		if r.owner.lost.Load() != 0 {
			t.Error("Lost was called though nobody can be told")
		}
	})
}

func TestUpstreamLostInsideHeader(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.upstream.send([]byte{0x82, 126, 1}) // is held back, so the client is at a boundary
	r.upstream.fin()
	r.client.expectClose(websocket.Internal, "")
	_ = r.client.Close()
	if res := r.expectResult(websocket.Internal, relay.Upstream, relay.CauseLost); res.Discarded != 3 {
		t.Errorf("discarded %d", res.Discarded)
	}
}

// The upstream went after the client's Close and before its own: the client gets its answer.
func TestUpstreamLostAfterClose(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		o.policy.CloseTimeout = 2 * patience // it is not the timer that answers
		r := newRig(t, o)
		r.client.send(r.client.closeFrame(4002, "enough"))
		r.upstream.expectClose(4002, "enough")
		r.upstream.fin()
		r.client.expectClose(4002, "enough")
		r.client.expectEnd(false)
		_ = r.client.Close()
		r.expectResult(4002, relay.Client, relay.CauseUnanswered)
		if r.owner.lost.Load() != 0 {
			t.Error("Lost was called")
		}
	})
}

func TestClientLostAfterUpstreamClose(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.upstream.send(r.upstream.closeFrame(4003, "enough"))
	r.client.expectClose(4003, "enough")
	r.client.reset()
	r.upstream.expectClose(4003, "enough")
	r.upstream.expectEnd(false)
	_ = r.upstream.Close()
	r.expectResult(4003, relay.Upstream, relay.CauseUnanswered)
}

func TestUnansweredClose(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{CloseTimeout: 100 * time.Millisecond}})
	r.client.send(r.client.closeFrame(normal, "x"))
	r.upstream.expectClose(normal, "x")
	r.client.expectClose(normal, "x") // by the gateway, when time is up
	r.client.expectEnd(false)
	r.upstream.expectEnd(false)
	r.expectResult(normal, relay.Client, relay.CauseUnanswered)
}

// The one who has not answered yet may first send what it has, however long that takes.
func TestSlowAnswerToClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{policy: relay.Policy{CloseTimeout: time.Second}})
	r.client.send(r.client.closeFrame(normal, ""))
	r.upstream.expectClose(normal, "")
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	for range 8 {
		<-tick.C
		r.upstream.send(r.upstream.text("rest"))
		r.client.expect(r.upstream.text("rest"))
	}
	r.upstream.send(r.upstream.closeFrame(normal, ""))
	r.client.expectClose(normal, "")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.expectResult(normal, relay.Client, relay.CauseHandshake)
}

func TestCloseByGateway(t *testing.T) {
	engines(t, func(t *testing.T, o rigOptions) {
		r := newRig(t, o)
		r.hello()
		r.session.Close(websocket.Policy, "kicked", "policy")
		r.client.expectClose(websocket.Policy, "kicked")
		r.upstream.expectClose(away, "kicked")
		r.client.send(append(r.client.text("dropped"), r.client.closeFrame(websocket.Policy, "")...))
		r.client.expectEnd(false)
		_ = r.client.Close()
		r.upstream.send(r.upstream.closeFrame(away, ""))
		r.upstream.fin()
		r.upstream.expectEnd(false)
		r.expectResult(websocket.Policy, relay.Gateway, "policy")
	})
}

func TestCloseByGatewayUnanswered(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{CloseTimeout: 100 * time.Millisecond}})
	r.session.Close(away, "", "shutdown")
	r.client.expectClose(away, "")
	r.upstream.expectClose(away, "")
	r.client.expectEnd(false)
	r.upstream.expectEnd(false)
	r.expectResult(away, relay.Gateway, "shutdown")
}

// A frame that is under way is finished before the gateway speaks; the next one is not begun.
func TestCloseByGatewayInsideFrame(t *testing.T) {
	r := newRig(t, rigOptions{})
	down, up := r.upstream.text("a long message down"), r.client.text("a long message up")
	r.upstream.send(down[:8])
	r.client.send(up[:9])
	r.client.expect(down[:8])
	r.upstream.expect(up[:9])
	r.session.Close(away, "maintenance", "shutdown")
	r.caughtUp() // the turn that read the first parts may still be reading
	r.upstream.send(append(append([]byte{}, down[8:]...), r.upstream.text("next")...))
	r.client.expect(down[8:])
	r.client.expectClose(away, "maintenance")
	r.client.send(append(append([]byte{}, up[9:]...), r.client.text("next")...))
	r.upstream.expect(up[9:])
	r.upstream.expectClose(away, "maintenance")
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.expectResult(away, relay.Gateway, "shutdown")
}

func TestCloseByGatewayCut(t *testing.T) {
	r := newRig(t, rigOptions{policy: relay.Policy{CloseTimeout: 100 * time.Millisecond}})
	down := r.upstream.text("a message that never ends")
	r.upstream.send(down[:8])
	r.client.expect(down[:8])
	r.session.Close(away, "maintenance", "shutdown")
	r.upstream.expectClose(away, "maintenance")
	r.client.expectEnd(true)
	r.expectResult(0, relay.Gateway, relay.CauseCut)
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		policy relay.Policy
		frames func(p *peer) (pass, fail []byte)
	}{
		"frame": {
			relay.Policy{MaxFrame: 1000},
			func(p *peer) ([]byte, []byte) {
				return p.text(strings.Repeat("x", 1000)), p.text(strings.Repeat("x", 1001))
			},
		},
		"message": {
			relay.Policy{MaxMessage: 1000},
			func(p *peer) ([]byte, []byte) {
				pass := append(p.text(strings.Repeat("x", 1000)), p.frame(websocket.OpText, false, strings.Repeat("x", 600))...)
				return append(pass, p.frame(websocket.OpPing, true, "p")...), p.frame(websocket.OpContinuation, false, strings.Repeat("x", 401))
			},
		},
	} {
		for _, from := range []string{"client", "upstream"} {
			t.Run(name+"_from_"+from, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, rigOptions{policy: c.policy})
				src, dst := r.client, r.upstream
				if from == "upstream" {
					src, dst = dst, src
				}
				pass, fail := c.frames(src)
				src.send(pass)
				dst.expect(pass)
				src.send(fail)
				r.client.expectClose(websocket.TooBig, relay.CauseTooBig)
				r.upstream.expectClose(away, relay.CauseTooBig)
				_ = r.client.Close()
				_ = r.upstream.Close()
				r.expectResult(websocket.TooBig, relay.Gateway, relay.CauseTooBig)
			})
		}
	}
}

func TestBrokenFrameRule(t *testing.T) {
	for name, c := range map[string]struct {
		client, upstream []byte
		code             websocket.Code
		reason           string
	}{
		"opcode":       {[]byte{0x83, 0x80, 0, 0, 0, 0}, []byte{0x83, 0}, websocket.ProtocolError, "reserved opcode"},
		"rsv":          {[]byte{0xC1, 0x80, 0, 0, 0, 0}, []byte{0xC1, 0}, websocket.ProtocolError, "reserved bit set"},
		"continuation": {[]byte{0x80, 0x80, 0, 0, 0, 0}, []byte{0x80, 0}, websocket.ProtocolError, "continuation without a message"},
		"close_code": {
			websocket.AppendFrame(nil, websocket.OpClose, true, &[4]byte{}, []byte{0x03, 0xEC}),
			websocket.AppendFrame(nil, websocket.OpClose, true, nil, []byte{0x03, 0xEC}),
			websocket.ProtocolError, "invalid close code",
		},
		"close_utf8": {
			websocket.AppendFrame(nil, websocket.OpClose, true, &[4]byte{}, []byte{0x03, 0xE8, 0xFF}),
			websocket.AppendFrame(nil, websocket.OpClose, true, nil, []byte{0x03, 0xE8, 0xFF}),
			websocket.InvalidPayload, "close reason is not UTF-8",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{})
			r.hello()
			r.client.send(append(r.client.text("good"), c.client...))
			r.upstream.expect(r.client.text("good"))
			r.client.expectClose(c.code, "protocol error: "+c.reason)
			r.client.expectEnd(false)
			r.upstream.expectClose(away, relay.CauseProtocol)
			_ = r.client.Close()
			_ = r.upstream.Close()
			r.expectResult(c.code, relay.Client, relay.CauseProtocol)

			r = newRig(t, rigOptions{})
			r.hello()
			r.upstream.send(append(r.upstream.text("good"), c.upstream...))
			r.client.expect(r.upstream.text("good"))
			r.client.expectClose(websocket.Internal, relay.CauseProtocol)
			r.upstream.expectClose(c.code, "protocol error: "+c.reason)
			r.upstream.expectEnd(false)
			_ = r.client.Close()
			_ = r.upstream.Close()
			r.expectResult(websocket.Internal, relay.Upstream, relay.CauseProtocol)
		})
	}
}

func TestDeflateOnlyWhenAgreed(t *testing.T) {
	r := newRig(t, rigOptions{deflate: true})
	up := append([]byte{0xC1, 0x82, 0, 0, 0, 0}, "ab"...)
	down := []byte{0xC2, 2, 'c', 'd'}
	r.client.send(up)
	r.upstream.expect(up)
	r.upstream.send(down)
	r.client.expect(down)
	r.client.reset()
	_ = r.upstream.Close()
	r.owner.result()
}

func TestIdleAndAge(t *testing.T) {
	for cause, p := range map[string]relay.Policy{
		relay.CauseIdle:   {Idle: 500 * time.Millisecond},
		relay.CauseMaxAge: {MaxAge: 500 * time.Millisecond},
	} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{policy: p})
			r.hello()
			r.client.expectClose(away, cause)
			r.upstream.expectClose(away, cause)
			_ = r.client.Close()
			_ = r.upstream.Close()
			r.expectResult(away, relay.Gateway, cause)
		})
	}
}
