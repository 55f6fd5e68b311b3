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
	verdict  Verdict
	code     websocket.Code // with which the upstream closed
	reason   string
	settled  bool  // it is known what the old upstream has
	parkedAt int64 // what was given to the old upstream
	next     Side  // the next upstream; no Stream: not here yet
}

// movable reports whether the session could go on with another upstream if it lost this one now.
func (s *Session) movable() bool {
	l := s.link
	return l != nil && !l.fixed && s.phase == open && l.skip == 0 && s.client.has(flagHold) && s.up.has(flagHold) &&
		!s.client.has(flagEOF|flagDead)
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
	l.settleAcks(!failed)
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
	if !s.link.fixed {
		s.uncertain.Add(s.link.unanswered())
	}
	return false, v, x.dropTail() + s.client.dropTail()
}

// dies is a write to the upstream that failed. It reports whether the session may survive that: what the upstream has sent is
// read first.
func (s *Session) dies() bool {
	l, u := s.link, &s.up
	if u.has(flagEOF) || !s.movable() {
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
	l.settleAcks(false)
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

// part gives the old upstream's stream up, unless it was left.
func (s *Session) part() {
	u, l := &s.up, s.link
	u.dropTail()
	u.drop()
	if !l.left {
		l.left = true
		u.stream.Abort()
	}
	u.state = u.state&flagHold | flagGone | flagEOF
	s.answerPing()
}

// answerPing answers the Ping that the client still waits for.
func (s *Session) answerPing() {
	if s.link.ping != nil {
		s.client.set(flagWantPong)
	}
}

// settleAcks drops what the upstream is known to have, or may have, from what is to be sent again. exact: the end of the
// connection has brought the last acknowledgement with it.
func (l *link) settleAcks(exact bool) {
	k, m, u := l.keep, l.move, &l.s.up
	if k == nil || l.s.policy.Replay || m.settled {
		return
	}
	m.settled = true
	taken := m.parkedAt - int64(u.waiting())
	unacked := u.stream.Unacked()
	if !l.exact || unacked < 0 {
		l.forget(l.before(taken))
		return
	}
	l.forget(l.before(taken - int64(unacked)))
	if !exact && len(k.marks) > 0 && l.s.now()-k.marks[0].when < ackTime {
		// A reset may have overtaken the acknowledgement.
		l.forget(l.before(taken))
	}
}

// closes is a Close of the upstream. It reports whether the client is not to see it.
func (s *Session) closes(code websocket.Code, reason string) bool {
	l, u := s.link, &s.up
	m := l.move
	if m != nil && m.step == stepLeaving && u.has(flagHold) && !l.fixed {
		m.step = stepSwap
		l.settleAcks(true)
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
	l.settleAcks(true)
	var buf [websocket.MaxHeld]byte
	s.seeOff(websocket.AppendClose(buf[:0], u.mask(), code, reason))
	return true
}

// seeOff leaves the upstream: it is sent last behind what waits for it, and has CloseTimeout to go.
func (s *Session) seeOff(last []byte) {
	u, l := &s.up, s.link
	if !u.has(flagDead) {
		rest := last
		if u.waiting() > 0 {
			c := u.cold()
			rest = append(append([]byte(nil), c.out[c.sent:]...), last...)
		}
		l.left = true
		if l.old != nil {
			l.old.end(true)
		}
		l.old = newLeaver(l, u.stream, rest)
	}
	s.part()
}

// Resume gives a session whose owner was asked by Lost another upstream. epoch is that of the Loss. False: it is too late, and
// the caller closes up. Else the session owns its stream, and the owner is told by Moved when it takes over. On the loop only,
// not inside a call of the owner.
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
			m.step, m.deadline = stepLeaving, s.now()+s.policy.closeTimeout()
		}
		s.stale = true
	default:
		return false
	}
	m.next = up
	s.turn()
	return true
}

// GiveUp ends a move for which the owner found no upstream. A planned one with v.Stay leaves the session as it is. Any
// goroutine; nothing happens if that move is over.
func (s *Session) GiveUp(epoch uint32, v Verdict) {
	s.loop().Post(func() {
		if l := s.link; l == nil || l.fixed || s.phase != open || l.epoch != epoch || l.move == nil || !l.move.asked || l.move.next.Stream != nil {
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
		m.asked, m.step, m.verdict = false, stepDead, v
		m.deadline = s.now() + s.policy.closeTimeout()
		s.owner.Moved(s, s.link.epoch, false)
		return
	}
	s.fail(v)
}

// fail ends a session that has lost its upstream and found no other.
func (s *Session) fail(v Verdict) {
	m, l := s.link.move, s.link
	s.uncertain.Add(l.unanswered() + int32(l.waiting()))
	if m.code != 0 {
		s.result().By = Upstream
		v.Code, v.Reason = m.code, m.reason
	} else {
		s.blame(Upstream, m.why)
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
		t.buf = nil
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
	if l.old != nil {
		l.old.end(true)
	}
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

// tellOld tells the old upstream that the session leaves it.
func (s *Session) tellOld() {
	u, m := &s.up, s.link.move
	m.step, m.deadline = stepLeaving, s.now()+s.policy.closeTimeout()
	s.stale = true
	var buf [websocket.MaxHeld]byte
	u.emit(websocket.AppendClose(buf[:0], u.mask(), websocket.GoingAway, movedReason))
}

// movedReason is what an upstream is told that the session leaves.
const movedReason = "session moved"

// late is the deadline of a move's step.
func (s *Session) late() {
	switch m := s.link.move; m.step {
	case stepPinned:
		s.plan(false)
	case stepPlanned, stepGone:
		s.giveUp(m.verdict)
	case stepDead, stepLeaving:
		s.ended(&s.up, true, "")
	}
}

// swap has the next upstream take over.
func (s *Session) swap() {
	l, u := s.link, &s.up
	m := l.move
	if !u.has(flagGone) {
		l.settleAcks(false)
		s.part()
	}
	l.move = nil
	n := &link{s: s, old: l.old, ping: l.ping, epoch: l.epoch, swallow: uint8(min(int(l.pings)+int(l.swallow), 255))}
	l.ping, l.fixed = nil, true
	s.link = n
	u.state = flagHold
	u.stream, u.cur = m.next.Stream, websocket.NewCursor(false, m.next.Deflate)
	u.lastRead.Store(int64(s.now()))
	if len(m.next.Head) > 0 {
		u.set(flagEarly)
		u.cold().early = m.next.Head
	}
	n.judge()
	u.stream.Handle(n)
	unknown := l.unanswered()
	if l.keep != nil {
		n.keep, l.keep = l.keep, nil
		unknown -= int32(n.sendAgain(m.parkedAt))
	}
	s.uncertain.Add(max(unknown, 0))
	s.moves.Add(1)
	s.stale = true
	s.owner.Moved(s, n.epoch, true)
	s.again()
}

// sendAgain sends the new upstream of l what its keep has from the one before. It returns how many messages of it that one
// was given, too: they are among the first parkedAt bytes.
func (l *link) sendAgain(parkedAt int64) (twice int) {
	k := l.keep
	all, marks := k.window, k.marks
	twice = l.before(parkedAt)
	k.window, k.marks, k.given = nil, nil, 0
	from := k.base
	var data []byte
	var ends []int
	for _, m := range marks {
		data = appendData(data, all[:m.at-from])
		all, from = all[m.at-from:], m.at
		ends = append(ends, len(data))
	}
	k.base = 0
	l.pending, l.recent = int32(len(ends)), int32(len(ends))
	if len(ends) == 0 {
		return twice
	}
	if l.keeping() {
		now := l.s.now()
		for _, end := range ends {
			k.marks = append(k.marks, mark{at: int64(end), sent: int64(end), when: now})
		}
	}
	l.s.up.send(data)
	return twice
}

// appendData appends the data frames of frames, which are whole, to b.
func appendData(b, frames []byte) []byte {
	for len(frames) > 0 {
		h, n, err := websocket.ParseHeader(frames)
		end := n + int(h.Length)
		if err != nil || n == 0 || end > len(frames) {
			return b // it has been walked before: this does not happen
		}
		if !h.Opcode.Control() {
			b = append(b, frames[:end]...)
		}
		frames = frames[end:]
	}
	return b
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
	k.look = now + lookTime
	if len(k.marks) > 0 && !l.parked() {
		if l.s.policy.Replay {
			k.look = 0 // the answers come, or do not
			return
		}
		if unacked := u.stream.Unacked(); unacked >= 0 {
			l.forget(l.before(k.given - int64(u.waiting()+unacked)))
		}
	}
	if len(k.marks) == 0 && len(k.tails[0].buf)+len(k.tails[1].buf) == 0 && l.move == nil && l.s.client.has(flagHold) {
		l.free()
	}
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
		l.s.overflows.Add(1)
		l.skip = l.pending
	}
	l.tear(!l.s.client.has(flagHold))
	l.keep.window = nil
	return true
}
