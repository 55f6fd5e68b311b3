package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A step is where a move stands.
type step uint8

const (
	stepPinned   step = iota // Detach waits for the client's message to end
	stepDead                 // the upstream takes nothing any more; what it has sent is read to its end
	stepPlanned              // the owner looks for an upstream; the session goes on with the old one
	stepGone                 // the owner looks for an upstream; there is none
	stepSettling             // the next upstream is here; the old one may answer what it was sent
	stepLeaving              // the next upstream is here; the old one has been told, and may say its last
	stepSwap                 // the next upstream takes over at the end of this turn
)

// settleTime is how long an upstream that is left may take to answer what it was sent before it is told so.
const settleTime = time.Second

// A move is what is known of one that is under way.
type move struct {
	step     step
	parked   bool // client messages wait for the next upstream
	asked    bool // the owner knows of it
	why      string
	deadline time.Duration // of step; 0: none
	last     time.Duration // of stepLeaving: the old one is not waited for longer, however slow the client is
	verdict  Verdict
	code     websocket.Code // with which the upstream closed
	reason   string
	settled  bool  // it is known what the old upstream has
	parkedAt int64 // what was given to the old upstream, of messages
	farewell int   // and of the Close after them
	next     Side  // the next upstream; no Stream: not here yet
}

// movable reports whether the session could go on with another upstream if it lost this one now.
func (s *Session) movable() bool { return s.up.has(flagHold) && s.movableThen() }

// movableThen reports whether it will be movable once the upstream stands between two messages.
func (s *Session) movableThen() bool {
	l := s.link
	return l != nil && !l.fixed && s.phase == open && l.skip == 0 && s.client.has(flagHold) && !s.client.has(flagEOF|flagDead)
}

// park has client messages wait from now on.
func (l *link) park(m *move) {
	if m.parked {
		return
	}
	m.parked = true
	if k := l.keep; k != nil {
		m.parkedAt = k.given
	}
}

// ask asks the owner what is to become of a session that is about to lose its upstream.
func (s *Session) ask(o *Loss) Verdict {
	if l := s.link; l != nil {
		l.epoch++
		o.Epoch, o.Answered = l.epoch, l.spoke
		if l.keep != nil {
			o.Waiting = len(l.keep.tails[0].buf)
			if l.move != nil && l.move.parked {
				o.Waiting += len(l.keep.window)
			}
		}
	}
	v := s.owner.Lost(s, *o)
	if !v.Code.Valid() {
		v.Code = websocket.Internal
	}
	if !o.Movable {
		v.Wait = 0
	}
	return v
}

// lost is the end of the upstream. It reports whether the session goes on without it; if not, v is what the owner says, unless
// it is still to be asked.
func (s *Session) lost(failed bool, why string) (goesOn bool, v *Verdict) {
	l, u := s.link, &s.up
	m := l.move
	next := m != nil && m.next.Stream != nil
	if !s.movable() && (!next || l.fixed || !u.has(flagHold)) {
		return false, nil
	}
	if why == "" {
		why = CauseLost
	}
	if m == nil {
		m = new(move)
		l.move = m
	}
	l.park(m)
	l.settleAcks(!failed, u.waiting())
	switch {
	case next:
		m.step = stepSwap
	case m.asked:
		m.step = stepGone
	default:
		verdict := s.ask(&Loss{Cause: why, Movable: true})
		if verdict.Wait <= 0 {
			return false, &verdict
		}
		m.begin(s, stepGone, why, verdict)
	}
	s.part()
	return true, nil
}

// endedMovable is the end of x. It reports whether the session goes on without it; if not, what the owner has said of that, and how
// many bytes were held that will never go on.
func (s *Session) endedMovable(x *side, failed bool, why string) (goesOn bool, v *Verdict, tails int) {
	l := s.link
	client := x == &s.client
	if client && !failed && l.move != nil && l.move.next.Stream != nil && s.up.has(flagHold) {
		s.swap() // it may still wait for answers to what it has said
	}
	if client {
		if failed {
			tails = x.dropTail()
		}
		return false, nil, tails
	}
	if goesOn, v = s.lost(failed, why); goesOn {
		return true, nil, 0
	}
	if !l.fixed {
		l.uncertain.Add(l.unanswered() + int32(l.waiting()))
	}
	tails = x.dropTail() + s.client.dropTail()
	s.fix()
	return false, v, tails
}

// dies is a write to the upstream that failed: it did not take the last rest bytes. It reports whether the session may survive that: what
// the upstream has sent is read first.
func (s *Session) dies(rest int) bool {
	l, u := s.link, &s.up
	if u.has(flagEOF) || !s.movableThen() {
		return false
	}
	m := l.move
	if m == nil {
		m = &move{step: stepDead}
		l.move = m
	}
	if m.step == stepDead || m.step == stepPinned {
		m.step, m.deadline = stepDead, s.now()+s.policy.closeTimeout()
		s.stale = true
	}
	l.park(m)
	l.settleAcks(false, rest)
	u.drop()
	u.set(flagDead)
	return true
}

// begin is a move that the owner has agreed to.
func (m *move) begin(s *Session, to step, why string, v Verdict) {
	m.step, m.asked, m.why, m.verdict = to, true, why, v
	m.deadline = s.now() + v.Wait
	s.stale = true
}

// closes is a Close of the upstream. It reports whether the client is not to see it.
func (s *Session) closes(code websocket.Code, reason string) bool {
	l, u := s.link, &s.up
	m := l.move
	if m != nil && m.step == stepLeaving && u.has(flagHold) && !l.fixed {
		m.step = stepSwap
		l.settleAcks(true, u.waiting())
		s.seeOff(nil)
		return true
	}
	if code != websocket.GoingAway && code != websocket.ServiceRestart || !s.movable() {
		return false
	}
	var v Verdict
	asked := m != nil && m.asked
	if !asked {
		if v = s.ask(&Loss{Cause: CauseClosed, Code: code, Reason: reason, Movable: true}); v.Wait <= 0 {
			return false
		}
	}
	if m == nil {
		m = new(move)
		l.move = m
	}
	l.park(m)
	switch {
	case !asked:
		m.begin(s, stepGone, CauseClosed, v)
	case m.next.Stream != nil:
		m.step = stepSwap
	default:
		m.step = stepGone
	}
	m.code, m.reason = code, reason
	l.settleAcks(true, u.waiting())
	var buf [websocket.MaxHeld]byte
	s.seeOff(websocket.AppendClose(buf[:0], u.mask(), code, reason))
	return true
}

// Resume gives a session whose owner was asked by Lost another upstream. epoch is that of the Loss. False: it is too late, and
// the caller closes up. Else the session owns its stream, and the owner is told by Moved when it takes over, perhaps before
// Resume returns. On the loop only, not inside a call of the owner.
func (s *Session) Resume(up Side, epoch uint32) bool {
	l := s.link
	if l == nil || l.fixed || s.phase != open || l.epoch != epoch {
		return false
	}
	m := l.move
	if m == nil || m.next.Stream != nil {
		return false
	}
	switch m.step {
	case stepGone:
		m.step = stepSwap
	case stepPlanned:
		l.park(m)
		m.step, m.deadline = stepSettling, s.now()+settleTime
		if s.up.has(flagDead) {
			s.leaving(m)
		}
		s.stale = true
	default:
		return false
	}
	m.next = up
	s.turn()
	return true
}

// leave begins a planned move.
func (s *Session) leave(cause string) {
	l := s.link
	switch {
	case l == nil || l.fixed:
		v := s.ask(&Loss{Cause: cause, Planned: true})
		if !v.Stay {
			s.depart(cause, v)
		}
	case l.move == nil:
		l.move = &move{step: stepPinned, why: cause, deadline: s.now() + s.policy.closeTimeout()}
		s.stale = true
	}
}

// advance takes the step of a move that is possible now.
func (s *Session) advance() {
	l := s.link
	m := l.move
	if m == nil || s.phase != open {
		return
	}
	if m.step == stepPinned && s.client.has(flagHold) {
		s.plan(true)
		return
	}
	if m.step == stepSettling && (l.pending <= 0 || s.now() >= m.deadline) {
		s.tellOld()
	}
	if m.step == stepSwap {
		s.swap()
	}
}

// plan asks the owner for another upstream while the old one is there.
func (s *Session) plan(movable bool) {
	m := s.link.move
	v := s.ask(&Loss{Cause: m.why, Planned: true, Movable: movable})
	switch {
	case v.Wait > 0:
		m.begin(s, stepPlanned, m.why, v)
	default:
		s.cancel()
		if !v.Stay {
			s.depart(m.why, v)
		}
	}
}

// leaving bounds the wait for what the old upstream still says.
func (s *Session) leaving(m *move) {
	m.step, m.deadline = stepLeaving, s.now()+s.policy.closeTimeout()
	m.last = s.now() + max(s.policy.closeTimeout(), s.policy.stall())
	s.stale = true
}

// tellOld tells the old upstream that the session leaves it.
func (s *Session) tellOld() {
	u, m := &s.up, s.link.move
	s.leaving(m)
	var buf [websocket.MaxHeld]byte
	bye := websocket.AppendClose(buf[:0], u.mask(), websocket.GoingAway, movedReason)
	m.farewell = len(bye)
	s.showOwn(u, bye)
	u.emit(bye)
}

// movedReason is what an upstream is told that the session leaves.
const movedReason = "session moved"
