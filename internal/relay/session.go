package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Session relays between one client and one upstream until both connections are gone. Its times are those of the
// loop's Clock. What a message touches comes first.
type Session struct {
	// Owned by the loop.
	policy *Policy
	cold   *cold         // nil while it is not needed
	life   time.Duration // what Idle counts from
	begun  uint32        // Clock at the start, in units of begunUnit
	phase  phase
	more   bool // a turn is posted: the last one stopped at its budget
	stale  bool // a deadline nearer than the timer's may have come up
	hard   bool // the deadline of the end is final; else it moves on while the peer that owes a Close still sends

	client, up side

	link *link // constant; nil: it cannot move

	owner    Owner
	timer    loop.Timer
	nextPing time.Duration // of both sides
}

// begunUnit is what begun counts: it is enough for two years.
const begunUnit = 1 << 24 * time.Nanosecond

// age is how long the session has existed, or up to begunUnit more.
func (s *Session) age(now time.Duration) time.Duration {
	return now%begunUnit + time.Duration(uint32(now/begunUnit)-s.begun)*begunUnit
}

type phase uint8

const (
	open    phase = iota
	closing       // the end has begun: deadline is set
	grace         // deadline has passed: what can be said has been said, the rest goes with the next one
	ended
)

// Start relays between client and upstream until both are gone, then calls o.Done. Both handshakes are over; the streams
// belong to l and, from now on, to the session.
func Start(l *loop.Loop, client, upstream Side, p *Policy, o Owner) *Session {
	s := &Session{policy: p, owner: o}
	s.timer.Init(l, &s.client)
	s.client.init(s, Client, client)
	s.up.init(s, Upstream, upstream)
	if p.Hold > 0 {
		s.link = newLink(s)
	}
	l.Post(s.begin)
	return s
}

// Loop is where the session lives.
func (s *Session) Loop() *loop.Loop { return s.timer.Loop() }

func (s *Session) loop() *loop.Loop { return s.timer.Loop() }

func (s *Session) now() time.Duration { return s.timer.Loop().Clock() }

// Close ends the session from the gateway's side: the client is sent code and reason, the upstream 1001 and reason, each
// between two frames, and what they answer is awaited for CloseTimeout. cause is what the Result will say. A code that
// may not stand on the wire becomes 1001. If the end has begun already, Close only shortens it. Any goroutine.
func (s *Session) Close(code websocket.Code, reason, cause string) {
	if !code.Valid() {
		code = websocket.GoingAway
	}
	s.loop().Post(func() {
		if s.phase == ended {
			return
		}
		s.shut(code, reason, cause, websocket.GoingAway)
		s.turn()
	})
}

// Detach has the session leave its upstream. The owner is asked through Lost once the client is between two messages, or after
// CloseTimeout. If it finds another upstream, that takes over without a message being lost or repeated: what the client
// says waits until the old one has answered what it was sent (for at most a second), was told 1001, and has said the rest (for
// at most CloseTimeout). Else the session ends, unless it is to Stay: each way at the end of a message, or within CloseTimeout
// at the end of a frame, the upstream is told 1001, the client what the owner says. cause is what the owner will be told, and
// what the Result says then. If a move is under way or the end has begun, nothing happens. Any goroutine.
func (s *Session) Detach(cause string) {
	s.loop().Post(func() {
		if s.phase == open {
			s.leave(cause)
			s.turn()
		}
	})
}

// Lose takes the upstream for lost, now: its connection is reset, and the owner is asked as after any loss. cause is what it will
// be told and the Result will say. If the end has begun already, nothing happens. Any goroutine.
func (s *Session) Lose(cause string) {
	s.loop().Post(func() {
		if s.phase == open {
			s.ended(&s.up, true, cause)
			s.turn()
		}
	})
}

// Cut ends the session now, without another word to either side: both connections are reset. cause is what the Result
// will say if nothing has been said before. It is for a process that has to stop. Any goroutine.
func (s *Session) Cut(cause string) {
	s.loop().Post(func() {
		if s.phase == ended {
			return
		}
		s.blame(Gateway, cause)
		s.client.abort()
		s.up.abort()
		s.finish()
	})
}

// Stats copies the counters. Any goroutine; the session is not stopped for it, so the numbers are those of its last turn.
func (s *Session) Stats(into *Stats) {
	*into = Stats{
		BytesIn:      s.client.bytes.Load(),
		BytesOut:     s.up.bytes.Load(),
		MessagesIn:   s.client.messages.Load(),
		MessagesOut:  s.up.messages.Load(),
		LastActivity: s.loop().Date(time.Duration(max(s.client.lastRead.Load(), s.up.lastRead.Load()))),
		Held:         s.held(),
	}
	if l := s.link; l != nil {
		into.Moves, into.Uncertain, into.Overflows = int(l.moves.Load()), int(l.uncertain.Load()), int(l.overflows.Load())
	}
	into.FramesIn = into.MessagesIn + s.client.parts.Load()
	into.FramesOut = into.MessagesOut + s.up.parts.Load()
}

func (s *Session) begin() {
	now := s.now()
	s.begun, s.life, s.stale = uint32(now/begunUnit), now, true
	if s.policy.Rate.Every > 0 {
		s.rested()
	}
	s.client.lastRead.Store(int64(now))
	s.up.lastRead.Store(int64(now))
	if every := s.policy.Ping; every > 0 {
		s.nextPing = now + every
	}
	s.client.stream.Handle(&s.client)
	if s.link != nil {
		s.up.stream.Handle(s.link.ear)
	} else {
		s.up.stream.Handle(&s.up)
	}
	s.turn()
}

// Ready is where the loop calls.
func (x *side) Ready(_ *loop.Loop, ev loop.Events) {
	s := x.s
	if s.phase == ended {
		return
	}
	switch {
	case ev == 0: // see Again
		s.more = false
	case ev&loop.Timeout != 0:
		s.tick()
		return
	case ev&loop.Excess != 0:
		s.evict()
	case x.has(flagGone):
		return
	}
	if ev&loop.Readable != 0 {
		if s.policy.Rate.Every > 0 && x == &s.client && !x.has(flagReadable) {
			s.rested()
		}
		x.set(flagReadable)
	}
	if ev&loop.Writable != 0 {
		x.flush()
	}
	s.turn()
}

// readsPerTurn bounds how long a session that floods keeps its loop.
const readsPerTurn = 8

// turn moves what can be moved, then sees whether anything has come to its end.
func (s *Session) turn() {
	if s.phase == ended {
		return
	}
	for n := 0; s.any(flagReadable | flagEarly); n++ {
		moved := s.client.pull()
		if !s.up.pull() && !moved {
			break
		}
		if n == readsPerTurn {
			s.again()
			break
		}
	}
	if s.link != nil {
		s.advance()
	}
	if s.phase != open || s.any(flagWantClose|flagWantPing|flagWantPong) {
		if s.settle(); s.phase == ended {
			return
		}
	}
	s.count()
	if s.stale {
		s.arm()
	}
	if s.cold != nil {
		s.cool()
	}
}

// again has the session take another turn.
func (s *Session) again() {
	if !s.more {
		s.more = true
		s.loop().Again(&s.client)
	}
}

// count notes how many bytes wait.
func (s *Session) count() {
	var client, up int32
	if s.phase != ended {
		client, up = int32(s.client.queued()), int32(s.up.queued())
		if s.link != nil {
			up += int32(s.link.held())
		}
	}
	if client != s.client.held.Load() || up != s.up.held.Load() {
		s.owe(client, up)
	}
}

func (s *Session) owe(client, up int32) {
	s.client.held.Store(client)
	s.up.held.Store(up)
	s.loop().Owe(&s.need().debt, &s.client, int64(client)+int64(up))
}

// held is what count noted last.
func (s *Session) held() int64 { return int64(s.client.held.Load()) + int64(s.up.held.Load()) }

// evict ends the session because the loop holds too much for it.
func (s *Session) evict() {
	if s.held() == 0 {
		return // meanwhile all was taken
	}
	if l := s.link; l != nil {
		if l.shed() {
			return
		}
		if l.move != nil && l.move.step == stepGone {
			s.blame(Gateway, CauseHeld)
			s.fail(l.move.verdict)
			return
		}
		s.fix()
	}
	x := &s.client
	if s.up.queued() > x.queued() {
		x = &s.up
	}
	s.blame(Gateway, CauseHeld)
	if x.has(flagEOF) {
		x.abort()
		s.bound(true)
		return
	}
	s.ended(x, true, CauseHeld)
}
