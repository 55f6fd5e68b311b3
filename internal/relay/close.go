package relay

import (
	"errors"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// admit decides whether the data frame of x whose header has just been read goes to the peer. What it starts is done
// later, by speak: the header and all before it are not written yet.
func (s *Session) admit(x *side) bool {
	if x.closeIn || x.peer.shut {
		return false
	}
	p := s.policy
	if p.MaxFrame > 0 && x.cur.Header().Length > p.MaxFrame || p.MaxMessage > 0 && x.cur.MessageSize() > p.MaxMessage {
		s.shut(websocket.TooBig, CauseTooBig, CauseTooBig, websocket.GoingAway)
		return false
	}
	return true
}

// control reads the control frame of x that lies whole in frame, and decides whether it goes to the peer.
func (s *Session) control(x *side, frame []byte) bool {
	y := x.peer
	if x.closeIn { // RFC 6455, section 5.5.1: nothing follows a Close
		return false
	}
	var buf [websocket.MaxControl]byte
	switch x.cur.Header().Opcode {
	case websocket.OpClose:
		code, reason, err := websocket.ParseClose(websocket.AppendPayload(buf[:0], frame))
		if err != nil {
			s.broke(x, err)
			return false
		}
		x.closeIn, x.code, x.reason = true, code, reason
		if s.result.Code == 0 && s.result.By == 0 {
			s.result.By = x.by
		}
		s.code(code, reason)
		s.bound(false)
		if y.shut {
			return false
		}
		y.shut, y.closeOut = true, true
		return true
	case websocket.OpPing:
		if y.shut {
			return false
		}
		if !y.owing {
			y.owing = true
			if !y.pinging {
				y.pingAt = s.now()
			}
			s.stale = s.stale || s.policy.Ping > 0
		}
		return true
	default:
		if x.pinging && string(websocket.AppendPayload(buf[:0], frame)) == string(x.ping[:]) {
			x.pinging = false
			return false
		}
		// A Pong answers every Ping before it (RFC 6455, section 5.5.3). Ours may still come; it is known by its bytes.
		x.owing = false
		x.pingAt = s.now()
		return !y.shut
	}
}

// shut begins the end by the gateway: code and reason for the client, upCode and reason for the upstream.
func (s *Session) shut(code websocket.Code, reason, cause string, upCode websocket.Code) {
	s.blame(Gateway, cause)
	s.say(&s.client, code, reason)
	s.say(&s.up, upCode, reason)
	s.bound(true)
}

// broke ends the session because x broke a frame rule. Nothing of it can be read any more.
func (s *Session) broke(x *side, err error) {
	x.broken = true
	code, reason := websocket.ProtocolError, CauseProtocol+": "+err.Error()
	if errors.Is(err, websocket.ErrCloseReason) { // RFC 6455, section 8.1
		code = websocket.InvalidPayload
	}
	s.blame(x.by, CauseProtocol)
	if x.by == Client {
		s.say(&s.client, code, reason)
		s.say(&s.up, websocket.GoingAway, CauseProtocol)
	} else {
		s.say(&s.client, websocket.Internal, CauseProtocol)
		s.say(&s.up, code, reason)
	}
	s.bound(true)
}

// ended is the end of what comes from x: lost if the connection failed, else FIN. why overrides the cause.
func (s *Session) ended(x *side, lost bool, why string) {
	if x.eof {
		return
	}
	y := x.peer
	cut := y.inFrame() // that frame will never end
	x.eof, x.readable, x.head = true, false, nil
	x.lost = lost || x.dead
	s.result.Discarded += int64(len(x.cur.Held()))
	handshake := x.closeIn || x.closeOut || x.wantClose // the end had begun for x
	if x.lost {
		x.abort()
	}
	half := x.by == Client && !x.lost && !handshake
	if cut && !half && !y.gone {
		s.blame(x.by, CauseCut)
		y.cut, y.shut, y.wantClose = true, true, false
		x.release()
		s.bound(true)
		return
	}
	if x.by == Client {
		s.clientEnded(half, why)
	} else {
		s.upstreamEnded(why)
	}
}

// clientEnded tells the upstream that its client is gone. half: by FIN alone, so it may still be reading.
func (s *Session) clientEnded(half bool, why string) {
	c, u := &s.client, &s.up
	switch {
	case u.gone:
	case u.eof: // it went first; its own Close may still be unanswered
		if u.closeIn {
			s.say(u, 0, "")
		}
		u.wantFIN = true
	case half:
		s.blame(Client, CauseClientFIN)
		u.shut, u.wantFIN = true, true
	case u.closeIn || u.wantClose || u.closeOut:
		// Its own Close is echoed, or it has been told.
		s.say(u, websocket.GoingAway, "client gone")
		u.wantFIN = u.wantFIN || u.closeIn
	default:
		if why == "" {
			why = CauseClientLost
		}
		s.blame(Client, why)
		s.say(u, websocket.GoingAway, "client gone")
		u.wantFIN = true
	}
	if c.lost || half {
		s.bound(true)
		return
	}
	s.bound(false)
}

// upstreamEnded tells the client that its upstream is gone, unless one of them has said goodbye before.
func (s *Session) upstreamEnded(why string) {
	c, u := &s.client, &s.up
	if !u.closeIn {
		u.release()
	}
	switch {
	case u.closeIn || c.gone || c.closeOut || c.wantClose:
	case c.closeIn:
		s.say(c, 0, "") // its own Close is answered for the upstream that does not do it
	case c.eof:
		c.shut, c.wantFIN = true, true
	default:
		if why == "" {
			why = CauseLost
		}
		s.blame(Upstream, why)
		v := s.owner.Lost(s, why)
		if !v.Code.Valid() {
			v.Code = websocket.Internal
		}
		s.say(c, v.Code, v.Reason)
	}
	s.bound(u.lost || !u.closeIn)
}

// say has x sent a Close at its next boundary, unless it has had one. A Close of its own is answered with the same code.
func (s *Session) say(x *side, code websocket.Code, reason string) {
	if x.gone || x.dead || x.fin || x.wantFIN || x.closeOut || x.wantClose {
		return
	}
	if x.closeIn {
		code, reason = x.code, x.reason
	}
	x.shut, x.wantClose = true, true
	x.farewell = Verdict{Code: code, Reason: websocket.Reason(reason)}
}

// release lets go of x, whose end has come: nothing that waits for it is of use. If that leaves it inside a frame, it is
// reset.
func (x *side) release() {
	if x.gone {
		return
	}
	waiting := len(x.out) - x.sent
	x.cut = x.cut || waiting > 0 || x.inFrame()
	x.shut, x.wantFIN, x.wantClose = true, true, false
	x.s.result.Discarded += int64(waiting)
	x.peer.passing = false
	x.drop()
}

// die is a write that failed. What x sent before is still read: the kernel has kept it.
func (x *side) die() {
	x.s.result.Discarded += int64(len(x.out) - x.sent)
	x.drop()
	x.dead, x.shut, x.wantClose = true, true, false
	x.peer.passing = false
	if x.eof {
		x.lost = true
	}
	x.s.bound(true)
}

func (x *side) abort() {
	if x.gone {
		return
	}
	x.gone, x.shut = true, true
	x.peer.passing = false
	x.drop()
	x.stream.Abort()
}

// blame notes who ended the session and why. The first one did.
func (s *Session) blame(by By, cause string) {
	if s.result.By == 0 {
		s.result.By = by
	}
	if s.result.Cause == "" {
		s.result.Cause = cause
	}
}

// code notes the first close code.
func (s *Session) code(code websocket.Code, reason string) {
	if s.result.Code == 0 {
		s.result.Code, s.result.Reason = code, reason
	}
}

// bound gives the end its deadline. hard: nothing moves it any more.
func (s *Session) bound(hard bool) {
	if s.phase > closing || s.phase == closing && (s.hard || !hard) {
		return
	}
	s.phase, s.hard = closing, hard
	s.deadline = s.now() + s.policy.closeTimeout()
	s.stale = true
}

// settle takes every step of the end that is possible now.
func (s *Session) settle() {
	c, u := &s.client, &s.up
	c.speak()
	u.speak()
	if s.phase == open {
		return
	}
	if s.phase == closing && !s.hard && c.closeIn && c.closeOut && u.closeIn && u.closeOut {
		s.bound(true) // the Closes have crossed; now the connections
	}
	// The first may release the second.
	c.settle()
	u.settle()
	c.settle()
	if c.gone && u.gone {
		s.finish()
	}
}

// settle takes the steps of x.
func (x *side) settle() {
	if x.gone || len(x.out) > 0 && !x.dead {
		return
	}
	if x.cut {
		// A reset makes the kernel drop what it has not sent, so that is waited for, too.
		if x.dead || x.stream.Queued() == 0 && x.stream.Unacked() <= 0 {
			x.abort()
		}
		x.s.stale = true
		return
	}
	if x.finDue() {
		x.fin, x.shut = true, true
		if err := x.stream.CloseWrite(); err != nil {
			x.die()
		}
	}
	if x.eof && (x.dead || x.fin && x.stream.Queued() == 0) {
		x.gone = true
		x.stream.Close()
	}
}

// finDue reports whether it is time to send FIN to x.
func (x *side) finDue() bool {
	switch {
	case x.fin || x.dead || x.wantClose:
		return false
	case x.wantFIN:
		return true
	case !x.closeOut:
		return false
	case x.eof || x.broken:
		return true
	default:
		// RFC 6455, section 7.1.1: the server closes first. For the client that is us.
		return x.closeIn && x.by == Client
	}
}

// expire is the deadline of the end. First what can still be said is said and a short grace given; then everything goes.
func (s *Session) expire() {
	sides := [...]*side{&s.client, &s.up}
	if s.phase == closing {
		s.phase = grace
		s.deadline = s.now() + min(s.policy.closeTimeout()/4, maxGrace)
		s.stale = true
		for _, x := range sides {
			x.flush()
			if x.dead && !x.eof {
				s.ended(x, true, "")
			}
			if x.closeIn {
				s.say(x, 0, "")
			}
			x.wantFIN = x.wantFIN || !x.inFrame()
		}
		return
	}
	for _, x := range sides {
		switch {
		case x.gone:
		case x.inFrame() || x.queued() > 0 || x.cut:
			if x.inFrame() && s.result.Cause != CauseClientFIN {
				s.result.Cause = CauseCut
			}
			x.abort()
		default:
			x.gone = true
			x.stream.Close()
		}
	}
}

// finish is the last thing that happens.
func (s *Session) finish() {
	s.phase = ended
	s.timer.Stop()
	s.held.Store(0)
	c, u := &s.client, &s.up
	crossed := c.closeIn && c.closeOut && u.closeIn && u.closeOut
	switch {
	case s.result.Cause != "":
	case crossed:
		s.result.Cause = CauseHandshake
	default:
		s.result.Cause = CauseUnanswered
	}
	s.Stats(&s.result.Stats)
	s.owner.Done(s, &s.result)
}
