package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A link is what makes a session one that can move: what is known of the messages that went to its upstream, and how far a
// move is. See docs/decisions/0007-moving-a-session.md.
type link struct {
	// Constant.
	s *Session

	// Read by any goroutine.
	moves     atomic.Int32
	uncertain atomic.Int32
	overflows atomic.Int32

	// Owned by the loop. Of the session:
	epoch uint32 // of the last Loss
	keep  *keep  // nil while nothing is held or kept
	move  *move  // nil while no move is under way
	fixed bool   // it cannot move any more
	deaf  bool   // fixed while client messages waited: what still comes has nowhere to go

	// Of the upstream:
	torn    bool  // the start of the current client message was not kept
	judged  bool  // exact is known
	exact   bool  // the stream tells what was acknowledged
	spoke   bool  // a message has come from it
	pings   uint8 // its Pings that the client has not answered
	swallow uint8 // Pongs of the client that belong to an upstream before it
	ear     *ear
	ping    *[pingMax]byte // length and payload of the client's last Ping, unanswered; nil: none
	pending int32          // client messages that were begun to be sent to it and are not answered
	recent  int32          // those since its last message
	skip    int32          // of pending, with Replay: those whose bytes are not kept
	medium  bool           // what came last from the client would fit a mediumBuffer, and not much less
}

const pingMax = 1 + websocket.MaxControl

var pingBuffers = sync.Pool{New: func() any { return new([pingMax]byte) }}

// newLink makes s one that can move.
func newLink(s *Session) *link {
	l := &link{s: s, ear: new(ear)}
	l.ear.l = l
	s.client.set(flagHold)
	s.up.set(flagHold)
	return l
}

// judge notes what the stream of the upstream can tell. Before the first message goes to it nobody asks: many sessions end without.
func (l *link) judge() {
	stream, ok := l.s.up.stream.(interface{ LimitUnsent(n int) bool })
	l.judged, l.exact = true, ok && stream.LimitUnsent(unsentMost)
}

// An ear hears of the events of one upstream.
type ear struct {
	l    *link
	off  *leaver // who hears of them since it was left
	prev *leaver // of the upstream before; nil: gone
}

// Ready is where the loop calls.
func (e *ear) Ready(lp *loop.Loop, ev loop.Events) {
	if e.off != nil {
		e.off.Ready(lp, ev)
		return
	}
	e.l.s.up.Ready(lp, ev)
}

// A keep is what a session that can move holds now and then: the start of a message, and messages that may have to be sent
// again.
type keep struct {
	tails [2]tail // of the client, of the upstream

	// What went to the upstream or is to go there: whole frames, from the start of a message on. Control frames among them
	// are not sent again.
	window []byte
	own    *[mediumBuffer]byte // which the window is in; nil: it has memory of its own
	lent   bool                // the window is in reading, and will be in own
	marks  []mark
	base   int64 // bytes that have left the window at its front
	given  int64 // bytes that went to the upstream while there was this keep

	reading *[mediumBuffer]byte // into which the client is read just now; see pullOwn

	flushed time.Duration // when the upstream last took what it had not taken at once
	look    time.Duration // when it is next looked at what of it can go
}

// A tail is the start of a message that is not whole yet.
type tail struct {
	buf   []byte
	since time.Duration
}

// A mark is the end of a message in the window.
type mark struct {
	at   int64         // end in the window, counted as base is
	sent int64         // end in what was given to the upstream, counted as given is
	when time.Duration // it was given
}

const (
	markSize = 24
	// holdTime is how long the start of a message waits for the rest.
	holdTime = 50 * time.Millisecond
	// lookTime is how often a keep is looked at, and lookStep to what that is rounded up: a loop with a timer for each of its sessions
	// would never wait long, and each short wait has the machine's own timer set.
	lookTime = time.Second
	lookStep = 250 * time.Millisecond
	// ackTime is how long an acknowledgement may be late: what is older and has none did not arrive.
	ackTime = time.Second
	// unsentMost is how many bytes an upstream's kernel takes beyond what it can send.
	unsentMost = 16 << 10
)

var keeps = sync.Pool{New: func() any { return new(keep) }}

func (l *link) need() *keep {
	if l.keep == nil {
		l.keep = keeps.Get().(*keep)
		l.keep.look = nextLook(l.s.now())
		l.s.stale = true
	}
	return l.keep
}

func nextLook(now time.Duration) time.Duration { return (now+lookTime)/lookStep*lookStep + lookStep }

// free gives the keep back.
func (l *link) free() {
	k := l.keep
	if k == nil {
		return
	}
	l.keep = nil
	n := keep{window: k.emptied()}
	if cap(k.marks) <= smallKeep/markSize {
		n.marks = k.marks[:0]
	}
	for i := range k.tails {
		n.tails[i].buf = stay(k.tails[i].buf)
	}
	*k = n
	keeps.Put(k)
}

// size is what the keep holds, in bytes.
func (k *keep) size() int {
	return len(k.window) + markSize*len(k.marks) + len(k.tails[0].buf) + len(k.tails[1].buf)
}

// held is what the loop is to know of.
func (l *link) held() int {
	if l.keep == nil {
		return 0
	}
	if n := l.keep.size(); n > smallKeep {
		return n
	}
	return 0
}

// parked reports whether client messages wait for another upstream.
func (l *link) parked() bool { return l.move != nil && l.move.parked }

// keeping reports whether messages are kept in the window.
func (l *link) keeping() bool { return l.exact || l.s.policy.Replay || l.parked() }

// begin counts a client message that goes to the upstream.
func (l *link) begin() {
	if l.parked() {
		return
	}
	if !l.judged {
		l.judge()
	}
	l.pending++
	l.recent++
}

// message notes the end of a client message that lies n bytes into what is forwarded next. pinned: its start has gone before.
func (l *link) message(n int, pinned bool) {
	if !pinned {
		l.begin()
	}
	if l.torn || !l.keeping() {
		return
	}
	k := l.need()
	if pinned && l.s.policy.Replay && int(l.pending-l.skip) <= len(k.marks) {
		return // it was answered before it ended
	}
	n += len(k.tails[0].buf)
	k.marks = append(k.marks, mark{at: k.base + int64(len(k.window)+n), sent: k.given + int64(n), when: l.s.now()})
}

// answered counts n messages of the upstream: each answers one of the client's, if there is any.
func (l *link) answered(n int32) {
	l.spoke = true
	l.recent = 0
	n = min(n, l.pending)
	if l.pending -= n; n == 0 {
		return
	}
	skipped := min(n, l.skip)
	l.skip -= skipped
	switch {
	case l.keep == nil:
		return
	case l.s.policy.Replay:
		l.forget(min(int(n-skipped), l.unparked()))
	case l.pending == 0:
		l.forget(l.unparked())
	}
	l.rest()
}

// rest gives an empty keep back: sessions that ask and are answered keep nothing in between, and thousands of them share a few.
func (l *link) rest() {
	if l.keep != nil && l.idle() {
		l.free()
	}
}

// idle reports whether nothing is in the keep.
func (l *link) idle() bool {
	k := l.keep
	return len(k.marks) == 0 && len(k.tails[0].buf)+len(k.tails[1].buf) == 0 && l.move == nil && l.s.client.has(flagHold)
}

// unparked is how many marks are of messages that went to this upstream.
func (l *link) unparked() int {
	if !l.parked() {
		return len(l.keep.marks)
	}
	return l.before(l.move.parkedAt)
}

// take has the window keep p, which goes to the upstream. It reports whether it is not to go there now. own: it is a frame of
// the gateway.
func (l *link) take(p []byte, own bool) bool {
	if l.fixed {
		if l.deaf {
			l.s.discard(len(p))
		}
		return l.deaf
	}
	parked := l.parked()
	if l.keep != nil {
		l.record(p, own, parked)
	}
	return parked
}

func (l *link) record(p []byte, own, parked bool) {
	k := l.keep
	k.given += int64(len(p))
	pinned := !own && !l.s.client.has(flagHold)
	l.medium = false
	if l.torn || !l.keeping() || len(k.window) == 0 && len(k.marks) == 0 && !pinned {
		return
	}
	much := len(k.window)+len(p)+markSize*len(k.marks) > l.s.policy.Hold
	if !parked && (len(k.window) > 0 || pinned) && much && !l.makeRoom(len(p), pinned) {
		return
	}
	k.add(p)
	const most = mediumBuffer - readAt
	l.medium = !pinned && len(p) > smallKeep && len(p) <= most && l.s.client.plain()
}

// makeRoom sees to it that the window has room for n bytes more, whose marks it has already. It reports whether they are to be
// kept at all.
func (l *link) makeRoom(n int, pinned bool) bool {
	k, hold := l.keep, l.s.policy.Hold
	if l.s.policy.Replay {
		l.overflows.Add(1)
		l.skip = l.pending
		l.tear(pinned)
		return false
	}
	taken := k.given - int64(n) - int64(l.s.up.waiting())
	if unacked := l.s.up.stream.Unacked(); unacked >= 0 {
		l.forget(l.before(taken - int64(unacked)))
	}
	for len(k.window)+n+markSize*len(k.marks) > hold && l.before(taken) > 0 {
		l.forget(1)
	}
	if pinned && len(k.window)+n > hold { // that message does not fit
		l.tear(true)
		return false
	}
	return true
}

// tear empties the window. pinned: the current message is not kept.
func (l *link) tear(pinned bool) {
	k := l.keep
	k.base += int64(len(k.window))
	k.marks, k.window = k.marks[:0], k.window[:0]
	l.torn = pinned
}

// before is how many marks are of messages that end in the first n bytes given.
func (l *link) before(n int64) int {
	for i, m := range l.keep.marks {
		if m.sent > n {
			return i
		}
	}
	return len(l.keep.marks)
}

// forget drops the first n messages from the window.
func (l *link) forget(n int) {
	k := l.keep
	if n == 0 {
		return
	}
	at := k.marks[n-1].at
	k.marks = append(k.marks[:0], k.marks[n:]...)
	if len(k.marks) == 0 && l.s.client.has(flagHold) {
		at = k.base + int64(len(k.window)) // the rest is control frames
	}
	k.window = append(k.window[:0], k.window[at-k.base:]...)
	k.base = at
}

// notePing keeps the payload of a Ping of the client, which the gateway answers if the upstream does not.
func (l *link) notePing(payload []byte) {
	if l.ping == nil {
		l.ping = pingBuffers.Get().(*[pingMax]byte)
	}
	l.ping[0] = byte(copy(l.ping[1:], payload))
}

// pinged is the payload of the client's Ping that is unanswered.
func (l *link) pinged() []byte { return l.ping[1 : 1+l.ping[0]] }

func (l *link) forgetPing() {
	if l.ping != nil {
		pingBuffers.Put(l.ping)
		l.ping = nil
	}
}

// control follows a Ping or Pong of x. It reports whether the peer is not to get it.
func (l *link) control(x *side, op websocket.Opcode, payload []byte) bool {
	client := x == &l.s.client
	switch {
	case l.fixed:
		return false
	case op == websocket.OpPing && client:
		l.notePing(payload)
		if l.parked() {
			x.set(flagWantPong)
		}
		return l.parked()
	case op == websocket.OpPing:
		l.swallow = 0
		l.pings += 1 - l.pings/255
	case !client:
		if l.ping != nil && string(l.pinged()) == string(payload) && !l.s.client.has(flagWantPong) {
			l.forgetPing()
		}
	default:
		swallow := l.swallow > 0
		switch {
		case swallow:
			l.swallow--
		case l.pings > 0:
			l.pings--
		}
		return swallow || l.parked()
	}
	return false
}
