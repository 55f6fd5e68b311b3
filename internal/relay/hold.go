package relay

import "time"

// On a session that can move, what comes from a side with flagHold goes to its peer by whole messages. The start of one that is
// not whole waits in the tail, so that a loss finds both ways between two messages.

// tail is what is held of x. There must be a keep.
func (x *side) tail() *tail {
	if x == &x.s.client {
		return &x.s.link.keep.tails[0]
	}
	return &x.s.link.keep.tails[1]
}

// heldBack is the length of the tail of x.
func (x *side) heldBack() int {
	if l := x.s.link; l == nil || l.keep == nil {
		return 0
	}
	return len(x.tail().buf)
}

// hold passes the first whole bytes of p on, behind the tail, and makes the rest the tail.
func (x *side) hold(p []byte, whole int) {
	s := x.s
	if whole > 0 {
		if x.heldBack() > 0 {
			t := x.tail()
			b := extend(t.buf, p[:whole])
			t.buf = b[:0]
			x.pass(b)
			s.link.rest()
		} else {
			x.pass(p[:whole])
		}
		p = p[whole:]
	}
	switch {
	case len(p) == 0:
	case x.heldBack()+len(p) > s.policy.Hold && x.mayPin():
		x.pin()
		x.pass(p)
	default:
		s.link.need()
		t := x.tail()
		if len(t.buf) == 0 {
			t.since, s.stale = s.now(), true
		}
		t.buf = extend(t.buf, p)
	}
}

// mayPin reports whether the start of a message of x may go on alone. While a planned move is under way, and while there is no
// upstream, a message of the client waits for the end of that.
func (x *side) mayPin() bool {
	m := x.s.link.move
	return m == nil || x != &x.s.client || m.step == stepPinned && !m.parked
}

// pin lets the start of the current message of x go on alone. Until it ends, the session cannot move.
func (x *side) pin() {
	l := x.s.link
	x.clear(flagHold)
	if x == &x.s.client {
		l.begin()
		l.need() // so that what goes on is recorded from its start
	}
	if x.heldBack() > 0 {
		t := x.tail()
		b := t.buf
		t.buf = b[:0]
		x.pass(b)
	}
}

// message is the end of a message of x, on a session that may move; p is what was not passed on yet. It reports whether p was
// passed on now: behind a message whose start went on alone.
func (x *side) message(p []byte) bool {
	l := x.s.link
	if l.fixed {
		return false
	}
	pinned := !x.has(flagHold)
	if x == &x.s.client {
		l.message(len(p), pinned)
	} else {
		l.answered(1)
	}
	if pinned {
		x.pass(p)
		x.unpin()
	}
	return pinned
}

// unpin is the end of a message whose start went on alone.
func (x *side) unpin() {
	x.set(flagHold)
	if x == &x.s.client {
		x.s.link.torn = false
	}
}

// dropTail forgets the start of a message that will never be whole, and returns its length.
func (x *side) dropTail() int {
	n := x.heldBack()
	if n > 0 {
		t := x.tail()
		t.buf = t.buf[:0]
		x.clear(flagPassing)
	}
	return n
}

// room is how many bytes may be read from x, of most.
func (x *side) room(most int) int {
	l := x.s.link
	if l == nil || l.fixed || l.move == nil || x != &x.s.client || x.mayPin() {
		return most
	}
	free := x.s.policy.Hold - x.heldBack()
	if l.move.parked && l.keep != nil {
		free -= len(l.keep.window)
	}
	return min(max(free, 0), most)
}

// heldUntil is when the tail of x goes on alone, 0 if not by itself.
func (x *side) heldUntil() time.Duration {
	if x.heldBack() == 0 || !x.mayPin() {
		return 0
	}
	return x.tail().since + holdTime
}
