package relay

import (
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Session relays between one client and one upstream until both connections are gone.
type Session struct {
	loop    *loop.Loop
	policy  *Policy
	owner   Owner
	started time.Time

	// Owned by the loop. Times are those of now.
	client, up side
	phase      phase
	more       bool          // a turn is posted: the last one stopped at its budget
	hard       bool          // deadline is final; else it moves on while the peer that owes a Close still sends
	deadline   time.Duration // of the end, in phase closing
	life       time.Duration // what Idle counts from
	timer      *loop.Timer
	armed      time.Duration // when timer comes; zero: not armed
	stale      bool          // a deadline nearer than armed may have come up
	result     Result
	again      loop.Task // s.turn, bound once

	// Written by the loop, read by any goroutine.
	lastActivity atomic.Int64 // unix nanoseconds
	held         atomic.Int64
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
	s := &Session{loop: l, policy: p, owner: o, started: time.Now()}
	s.client.init(s, Client, client)
	s.up.init(s, Upstream, upstream)
	s.client.peer, s.up.peer = &s.up, &s.client
	s.lastActivity.Store(s.started.UnixNano())
	s.again = s.turn
	l.Post(s.begin)
	return s
}

// Close ends the session from the gateway's side: the client is sent code and reason, the upstream 1001 and reason, each
// between two frames, and what they answer is awaited for CloseTimeout. cause is what the Result will say. A code that
// may not stand on the wire becomes 1001. If the end has begun already, Close only shortens it. Any goroutine.
func (s *Session) Close(code websocket.Code, reason, cause string) {
	if !code.Valid() {
		code = websocket.GoingAway
	}
	s.loop.Post(func() {
		if s.phase == ended {
			return
		}
		s.shut(code, reason, cause, websocket.GoingAway)
		s.turn()
	})
}

// Cut ends the session now, without another word to either side: both connections are reset. cause is what the Result
// will say if nothing has been said before. It is for a process that has to stop. Any goroutine.
func (s *Session) Cut(cause string) {
	s.loop.Post(func() {
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
		FramesIn:     s.client.frames.Load(),
		FramesOut:    s.up.frames.Load(),
		MessagesIn:   s.client.messages.Load(),
		MessagesOut:  s.up.messages.Load(),
		LastActivity: time.Unix(0, s.lastActivity.Load()),
		Held:         s.held.Load(),
	}
}

func (s *Session) begin() {
	s.timer = s.loop.NewTimer(s.tick)
	s.stale = true
	if every := s.policy.Ping; every > 0 {
		s.client.nextPing = every
		s.up.nextPing = s.client.nextPing
	}
	s.client.stream.Handle(&s.client)
	s.up.stream.Handle(&s.up)
	s.turn()
}

// now is how long the session has lived: never 0, which stands for "not" in the fields that hold such times.
func (s *Session) now() time.Duration { return max(s.loop.Now().Sub(s.started), 1) }

// Ready is where the loop calls.
func (x *side) Ready(_ *loop.Loop, ev loop.Events) {
	s := x.s
	if x.gone || s.phase == ended {
		return
	}
	if ev&loop.Readable != 0 {
		x.readable = true
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
	s.more = false
	if s.phase == ended {
		return
	}
	for n := 0; ; n++ {
		moved := s.client.pull()
		if !s.up.pull() && !moved {
			break
		}
		if n == readsPerTurn {
			s.more = true
			break
		}
	}
	s.settle()
	if s.phase == ended {
		return
	}
	s.held.Store(int64(s.client.queued() + s.up.queued()))
	if s.more {
		s.loop.Post(s.again)
	}
	if s.stale {
		s.arm()
	}
}
