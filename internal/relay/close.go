package relay

import (
	"errors"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// admit decides whether the data frame of x whose header has just been read goes to the peer. What it starts is done
// later, by speak: the header and all before it are not written yet.
func (s *Session) admit(x *side) bool {
	if x.has(flagCloseIn) || x.peer().has(flagShut) {
		return false
	}
	p := s.policy
	if p.MaxFrame > 0 && x.cur.Left() > p.MaxFrame || p.MaxMessage > 0 && x.cur.MessageSize() > p.MaxMessage {
		s.shut(websocket.TooBig, CauseTooBig, CauseTooBig, websocket.GoingAway)
		return false
	}
	return !s.toldTooOften(x)
}

// control reads the control frame of x that lies whole in frame, and decides whether it goes to the peer.
func (s *Session) control(x *side, frame []byte) bool {
	y := x.peer()
	if x.has(flagCloseIn) { // RFC 6455, section 5.5.1: nothing follows a Close
		return false
	}
	var buf [websocket.MaxControl]byte
	switch x.cur.Opcode() {
	case websocket.OpClose:
		if l := s.link; l != nil && x == &s.client && l.move != nil && l.move.next.Stream != nil && s.up.has(flagHold) {
			s.swap() // so that it goes where what the client said before it goes
		}
		code, reason, err := websocket.ParseClose(websocket.AppendPayload(buf[:0], frame))
		if err != nil {
			s.broke(x, err)
			return false
		}
		if s.link != nil && x == &s.up && s.closes(code, reason) {
			return false
		}
		x.set(flagCloseIn)
		c := x.cold()
		c.code, c.reason = code, reason
		if r := s.result(); r.Code == 0 && r.By == 0 {
			r.By = x.by()
		}
		s.code(code, reason)
		s.bound(false)
		if y.has(flagGone) {
			s.say(x, 0, "") // in the middle of a move: there is no other to answer it
			return false
		}
		if y.has(flagShut) {
			return false
		}
		y.set(flagShut | flagCloseOut)
		return true
	case websocket.OpPing:
		if y.has(flagShut) {
			return false
		}
		if l := s.link; l != nil && l.control(x, websocket.OpPing, websocket.AppendPayload(buf[:0], frame)) {
			if !s.policy.IdleMessages {
				s.life = s.now() // it is answered here
			}
			return false
		}
		if s.policy.Ping > 0 && !y.has(flagOwing) {
			y.set(flagOwing)
			if !y.has(flagPinging) {
				y.cold().pingAt = s.now()
			}
			s.stale = true
		}
		return true
	default:
		if x.has(flagPinging) && string(websocket.AppendPayload(buf[:0], frame)) == string(x.cold().ping[:]) {
			x.clear(flagPinging)
			return false
		}
		// A Pong answers every Ping before it (RFC 6455, section 5.5.3). Ours may still come; it is known by its bytes.
		x.clear(flagOwing)
		if x.has(flagPinging) {
			x.cold().pingAt = s.now()
		}
		if l := s.link; l != nil && l.control(x, websocket.OpPong, websocket.AppendPayload(buf[:0], frame)) {
			return false
		}
		return !y.has(flagShut)
	}
}

// result is what is known of the end. It is asked for only when that has begun.
func (s *Session) result() *Result { return &s.need().result }

// shut begins the end by the gateway: code and reason for the client, upCode and reason for the upstream.
func (s *Session) shut(code websocket.Code, reason, cause string, upCode websocket.Code) {
	s.blame(Gateway, cause)
	s.say(&s.client, code, reason)
	s.say(&s.up, upCode, reason)
	s.bound(true)
}

// broke ends the session because x broke a frame rule. Nothing of it can be read any more.
func (s *Session) broke(x *side, err error) {
	x.set(flagBroken)
	code, reason := websocket.ProtocolError, CauseProtocol+": "+err.Error()
	if errors.Is(err, websocket.ErrCloseReason) { // RFC 6455, section 8.1
		code = websocket.InvalidPayload
	}
	s.blame(x.by(), CauseProtocol)
	if x.by() == Client {
		s.say(&s.client, code, reason)
		s.say(&s.up, websocket.GoingAway, CauseProtocol)
	} else {
		s.say(&s.client, websocket.Internal, CauseProtocol)
		s.say(&s.up, code, reason)
	}
	s.bound(true)
}

// depart begins the end with the upstream: it is told that the gateway goes, the client what v says.
func (s *Session) depart(cause string, v Verdict) {
	s.blame(Gateway, cause)
	s.client.set(flagPolite)
	s.up.set(flagPolite)
	s.say(&s.client, v.Code, v.Reason)
	s.say(&s.up, websocket.GoingAway, cause)
	s.bound(true)
}

// ended is the end of what comes from x: lost if the connection failed, else FIN. why overrides the cause.
func (s *Session) ended(x *side, lost bool, why string) {
	if x.has(flagEOF) {
		return
	}
	lost = lost || x.has(flagDead)
	var v *Verdict // what the owner has said already
	var tails int
	if s.link != nil {
		goesOn := false
		if goesOn, v, tails = s.endedMovable(x, lost, why); goesOn {
			return
		}
	}
	y := x.peer()
	cut := y.inFrame() // that frame will never end
	if x.has(flagEarly) {
		x.cold().early = nil
	}
	x.clear(flagReadable | flagEarly)
	x.set(flagEOF)
	y.clear(flagPolite) // its message will not come to its end
	undelivered := len(x.cur.Held()) + tails
	handshake := x.has(flagCloseIn | flagCloseOut | flagWantClose) // the end had begun for x
	if lost {
		x.set(flagLost)
		x.abort()
	}
	client := x.by() == Client
	half := client && !lost && !handshake
	switch {
	case cut && !half && !y.has(flagGone):
		s.blame(x.by(), CauseCut)
		y.set(flagCut | flagShut)
		y.clear(flagWantClose)
		x.release()
		s.bound(true)
	case client:
		s.clientEnded(half, why)
	default:
		s.upstreamEnded(why, v)
	}
	s.discard(undelivered)
}

// clientEnded tells the upstream that its client is gone. half: by FIN alone, so it may still be reading.
func (s *Session) clientEnded(half bool, why string) {
	c, u := &s.client, &s.up
	if why == "" {
		why = CauseClientLost
	}
	switch {
	case u.has(flagGone) && s.phase == open: // in the middle of a move
		if half {
			s.blame(Client, CauseClientFIN)
			c.set(flagShut | flagWantFIN)
		} else {
			s.blame(Client, why)
		}
	case u.has(flagGone):
	case u.has(flagEOF): // it went first; its own Close may still be unanswered
		if u.has(flagCloseIn) {
			s.say(u, 0, "")
		}
		u.set(flagWantFIN)
	case half:
		s.blame(Client, CauseClientFIN)
		u.set(flagShut | flagWantFIN)
	case u.has(flagCloseIn | flagWantClose | flagCloseOut):
		// Its own Close is echoed, or it has been told.
		s.say(u, websocket.GoingAway, "client gone")
		if u.has(flagCloseIn) {
			u.set(flagWantFIN)
		}
	default:
		s.blame(Client, why)
		s.say(u, websocket.GoingAway, "client gone")
		u.set(flagWantFIN)
	}
	if c.has(flagLost) || half {
		s.bound(true)
		return
	}
	s.bound(false)
}

// upstreamEnded tells the client that its upstream is gone, unless one of them has said goodbye before.
func (s *Session) upstreamEnded(why string, v *Verdict) {
	c, u := &s.client, &s.up
	if !u.has(flagCloseIn) {
		u.release()
	}
	switch {
	case u.has(flagCloseIn) || c.has(flagGone|flagCloseOut|flagWantClose):
	case c.has(flagCloseIn):
		s.say(c, 0, "") // its own Close is answered for the upstream that does not do it
	case c.has(flagEOF):
		c.set(flagShut | flagWantFIN)
	default:
		if why == "" {
			why = CauseLost
		}
		s.blame(Upstream, why)
		if v == nil {
			now := s.ask(&Loss{Cause: why})
			v = &now
		}
		s.say(c, v.Code, v.Reason)
	}
	s.bound(u.has(flagLost) || !u.has(flagCloseIn))
}

// say has x sent a Close at its next boundary, unless it has had one. A Close of its own is answered with the same code.
func (s *Session) say(x *side, code websocket.Code, reason string) {
	if x.has(flagGone | flagDead | flagFIN | flagWantFIN | flagCloseOut | flagWantClose) {
		return
	}
	c := x.cold()
	if x.has(flagCloseIn) {
		code, reason = c.code, c.reason
	}
	x.set(flagWantClose)
	if !x.has(flagPolite) { // else it may still be sent the rest of a message
		x.set(flagShut)
	}
	c.farewell = Verdict{Code: code, Reason: websocket.Reason(reason)}
}

// release lets go of x, whose end has come: nothing that waits for it is of use. If that leaves it inside a frame, it is
// reset.
func (x *side) release() {
	if x.has(flagGone) {
		return
	}
	waiting := x.waiting()
	if waiting > 0 || x.inFrame() {
		x.set(flagCut)
	}
	x.set(flagShut | flagWantFIN)
	x.clear(flagWantClose)
	x.s.result().Discarded += int64(waiting)
	x.peer().clear(flagPassing)
	x.drop()
}

// die is a write that failed, of which the stream did not take the last rest bytes. What x sent before is still read: the kernel has
// kept it.
func (x *side) die(rest int) {
	if x == &x.s.up && x.s.link != nil && x.s.dies(rest) {
		return
	}
	x.s.result().Discarded += int64(x.waiting())
	x.drop()
	x.set(flagDead | flagShut)
	x.clear(flagWantClose)
	x.peer().clear(flagPassing)
	if x.has(flagEOF) {
		x.set(flagLost)
	}
	x.s.bound(true)
}

func (x *side) abort() {
	if x.has(flagGone) {
		return
	}
	x.set(flagGone | flagShut)
	x.peer().clear(flagPassing)
	x.drop()
	x.stream.Abort()
}

// blame notes who ended the session and why. The first one did.
func (s *Session) blame(by By, cause string) {
	r := s.result()
	if r.By == 0 {
		r.By = by
	}
	if r.Cause == "" {
		r.Cause = cause
	}
}

// code notes the first close code.
func (s *Session) code(code websocket.Code, reason string) {
	if r := s.result(); r.Code == 0 {
		r.Code, r.Reason = code, reason
	}
}

// bound gives the end its deadline. hard: nothing moves it any more.
func (s *Session) bound(hard bool) {
	if s.link != nil {
		s.fix()
	}
	if s.phase > closing || s.phase == closing && (s.hard || !hard) {
		return
	}
	s.phase, s.hard = closing, hard
	s.need().deadline = s.now() + s.policy.closeTimeout()
	s.stale = true
}
