package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// GiveUp ends a move for which the owner found no upstream. A planned one with v.Stay leaves the session as it is. Any
// goroutine; nothing happens if that move is over.
func (s *Session) GiveUp(epoch uint32, v Verdict) {
	s.loop().Post(func() {
		l := s.link
		if l == nil || l.fixed || s.phase != open || l.epoch != epoch || l.move == nil || !l.move.asked || l.move.next.Stream != nil {
			return
		}
		s.giveUp(v)
		s.turn()
	})
}

func (s *Session) giveUp(v Verdict) {
	m := s.link.move
	if !v.Code.Valid() {
		v.Code = websocket.Internal
	}
	if m.step == stepPlanned && !s.up.has(flagDead) {
		s.cancel()
		if !v.Stay {
			s.depart(m.why, v)
		}
		return
	}
	if m.step == stepPlanned { // it has still something to say
		m.asked, m.step = false, stepDead
		m.deadline = s.now() + s.policy.closeTimeout()
		s.owner.Moved(s, s.link.epoch, false)
		return
	}
	if v.Stay && !s.askAgain(&v) {
		return
	}
	s.fail(v)
}

// askAgain asks an owner that would have the session stay with an upstream which has gone since it was asked. It reports whether
// the session ends: then v is what the owner says.
func (s *Session) askAgain(v *Verdict) (ends bool) {
	m := s.link.move
	m.asked = false
	s.owner.Moved(s, s.link.epoch, false)
	loss := Loss{Cause: CauseLost, Movable: s.movable()}
	if m.code != 0 {
		loss.Cause, loss.Code, loss.Reason = CauseClosed, m.code, m.reason
	}
	m.why = loss.Cause
	if *v = s.ask(&loss); v.Wait <= 0 {
		return true
	}
	m.begin(s, stepGone, m.why, *v)
	return false
}

// fail ends a session that has lost its upstream and found no other.
func (s *Session) fail(v Verdict) {
	m, l := s.link.move, s.link
	l.uncertain.Add(l.unanswered() + int32(l.waiting()))
	s.blame(Upstream, m.why)
	if m.code != 0 {
		v.Code, v.Reason = m.code, m.reason
	}
	s.say(&s.client, v.Code, v.Reason)
	s.bound(true)
}

// unanswered is how many client messages went to this upstream without being known to be answered.
func (l *link) unanswered() int32 { return max(l.pending, l.recent) }

// waiting is how many whole messages of the client wait for another upstream.
func (l *link) waiting() int {
	if !l.parked() || l.keep == nil {
		return 0
	}
	return len(l.keep.marks) - l.unparked()
}

// cancel ends a move that is under way.
func (s *Session) cancel() {
	l := s.link
	m := l.move
	if m == nil {
		return
	}
	l.move = nil
	if next := m.next.Stream; next != nil {
		dismiss(s, next)
	}
	if m.asked {
		s.owner.Moved(s, l.epoch, false)
	}
	s.again() // the client may be read again
}

// fix is the end of the session's being movable: the end has begun.
func (s *Session) fix() {
	l := s.link
	if l.fixed {
		return
	}
	m := l.move
	l.fixed = true
	if m != nil {
		l.deaf = m.parked
		if m.step == stepLeaving {
			s.up.set(flagShut | flagCloseOut) // it has been told
		}
		if s.up.has(flagDead | flagGone) {
			s.up.set(flagShut)
		}
		s.cancel()
	}
	for _, x := range [...]*side{&s.client, &s.up} {
		x.clear(flagHold)
		if x.heldBack() == 0 {
			continue
		}
		if x.peer().has(flagGone|flagDead) || x == &s.client && l.deaf {
			s.discard(x.dropTail())
			continue
		}
		t := x.tail()
		b := t.buf
		t.buf = b[:0]
		x.pass(b)
	}
	l.free()
}

// end is the end of the session.
func (l *link) end() {
	l.fixed = true
	l.s.cancel()
	l.free()
	l.forgetPing()
	for _, v := range [...]*leaver{l.ear.off, l.ear.prev} {
		if v != nil {
			v.end(true)
		}
	}
}

// late is the deadline of a move's step.
func (s *Session) late() {
	switch m := s.link.move; m.step {
	case stepPinned:
		s.plan(false)
	case stepPlanned, stepGone:
		s.giveUp(m.verdict)
	case stepDead, stepLeaving:
		if s.up.has(flagReadable|flagEarly) && (m.step == stepDead || s.now() < m.last) { // it has come, but the client is slow
			m.deadline = s.now() + s.policy.closeTimeout()
			return
		}
		s.ended(&s.up, true, "")
	}
}

// watch does what is due.
func (l *link) watch(now time.Duration) {
	s := l.s
	for _, x := range [...]*side{&s.client, &s.up} {
		if due := x.heldUntil(); due != 0 && now >= due {
			x.pin()
		}
	}
	if k := l.keep; k != nil && k.look != 0 && now >= k.look {
		l.review(now)
	}
	if m := l.move; m != nil && m.deadline != 0 && now >= m.deadline {
		s.late()
	}
}

// review drops what has been acknowledged, and the keep, if nothing is in it.
func (l *link) review(now time.Duration) {
	k, u := l.keep, &l.s.up
	k.look = nextLook(now)
	if len(k.marks) > 0 && !l.parked() {
		if l.s.policy.Replay {
			k.look = 0 // the answers come, or do not
			return
		}
		if unacked := u.stream.Unacked(); unacked >= 0 {
			l.forget(l.before(k.given - int64(u.waiting()+unacked)))
		}
	}
	l.rest()
}

// nearest calls sooner with every time at which watch has something to do.
func (l *link) nearest(sooner func(time.Duration)) {
	if l.fixed {
		return
	}
	s := l.s
	for _, x := range [...]*side{&s.client, &s.up} {
		if due := x.heldUntil(); due != 0 {
			sooner(due)
		}
	}
	if k := l.keep; k != nil && k.look != 0 {
		sooner(k.look)
	}
	if m := l.move; m != nil && m.deadline != 0 {
		sooner(m.deadline)
	}
}

// shed gives up what is kept to be sent again, because the loop holds too much. It reports whether that was anything.
func (l *link) shed() bool {
	if l.fixed || l.keep == nil || l.parked() || len(l.keep.window) <= smallKeep {
		return false
	}
	if l.s.policy.Replay {
		l.overflows.Add(1)
		l.skip = l.pending
	}
	l.tear(!l.s.client.has(flagHold))
	l.keep.window = l.keep.emptied()
	return true
}
