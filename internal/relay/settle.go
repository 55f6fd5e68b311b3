package relay

// The steps of an end that has begun: close.go begins it.

// crossed reports whether both peers have sent a Close and been sent one.
func (s *Session) crossed() bool {
	const both = flagCloseIn | flagCloseOut
	return s.client.state&s.up.state&both == both
}

// settle takes every step of the end that is possible now.
func (s *Session) settle() {
	c, u := &s.client, &s.up
	c.speak()
	u.speak()
	if s.phase == open {
		return
	}
	if s.phase == closing && !s.hard && s.crossed() {
		s.bound(true) // now the connections
	}
	// The first may release the second.
	c.settle()
	u.settle()
	c.settle()
	if c.has(flagGone) && u.has(flagGone) {
		s.finish()
	}
}

// settle takes the steps of x.
func (x *side) settle() {
	if x.has(flagGone) || x.has(flagWaiting) && !x.has(flagDead) {
		return
	}
	if x.has(flagCut) {
		// A reset makes the kernel drop what it has not sent, so that is waited for, too.
		if x.has(flagDead) || x.stream.Queued() == 0 && x.stream.Unacked() <= 0 {
			x.abort()
		}
		x.s.stale = true
		return
	}
	if x.finDue() {
		x.set(flagFIN | flagShut)
		if x.finished() {
			x.close()
			return
		}
		if err := x.stream.CloseWrite(); err != nil {
			x.die(0)
		}
	}
	if x.has(flagEOF) && (x.has(flagDead) || x.has(flagFIN) && x.stream.Queued() == 0) {
		x.close()
	}
}

func (x *side) close() {
	x.set(flagGone)
	x.stream.Close()
}

// finished reports whether the client's connection can be closed at once, without FIN and a wait for its own: the Closes
// have crossed, after which no peer may send (RFC 6455, section 5.5.1), all that came has been read, and all that goes is
// with the kernel. Not under TLS: its close_notify would come to a closed socket, and the answer to that is a reset.
func (x *side) finished() bool {
	if !x.parting() || x.has(flagReadable|flagEarly|flagDead) || x.stream.Queued() > 0 {
		return false
	}
	return x.plain()
}

// plain reports whether nothing but what x is given goes over the wire, and nothing else comes: it is not under TLS, nor pumped.
func (x *side) plain() bool {
	p, ok := x.stream.(interface{ Plain() bool })
	return ok && p.Plain()
}

// finDue reports whether it is time to send FIN to x.
func (x *side) finDue() bool {
	switch {
	case x.has(flagFIN | flagDead | flagWantClose):
		return false
	case x.has(flagWantFIN):
		return true
	case !x.has(flagCloseOut):
		return false
	case x.has(flagEOF | flagBroken):
		return true
	default:
		// RFC 6455, section 7.1.1: the server closes first. For the client that is us.
		return x.has(flagCloseIn) && x.by() == Client
	}
}

// expire is the deadline of the end. First what can still be said is said and a short grace given; then everything goes.
func (s *Session) expire() {
	sides := [...]*side{&s.client, &s.up}
	if s.phase == closing {
		s.phase = grace
		s.need().deadline = s.now() + min(s.policy.closeTimeout()/4, maxGrace)
		s.stale = true
		for _, x := range sides {
			x.clear(flagPolite)
			x.flush()
			if x.has(flagDead) && !x.has(flagEOF) {
				s.ended(x, true, "")
			}
			if x.has(flagCloseIn) {
				s.say(x, 0, "")
			}
			if !x.inFrame() {
				x.set(flagWantFIN)
			}
		}
		return
	}
	for _, x := range sides {
		switch {
		case x.has(flagGone):
		case x.inFrame() || x.queued() > 0 || x.has(flagCut):
			if r := s.result(); x.inFrame() && r.Cause != CauseClientFIN {
				r.Cause = CauseCut
			}
			x.abort()
		default:
			x.close()
		}
	}
}

// finish is the last thing that happens.
func (s *Session) finish() {
	s.phase = ended
	s.timer.Stop()
	if s.link != nil {
		s.link.end()
	}
	s.count()
	r := s.result()
	switch {
	case r.Cause != "":
	case s.crossed():
		r.Cause = CauseHandshake
	default:
		r.Cause = CauseUnanswered
	}
	s.Stats(&r.Stats)
	s.endWatch()
	s.owner.Done(s, r)
	s.freeze()
}
