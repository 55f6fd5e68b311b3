package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// maxGrace is how long a side may take for its last words after the deadline of the end.
const maxGrace = 250 * time.Millisecond

// cutPoll is how often the kernel is asked whether a side that is to be reset has received everything.
const cutPoll = 5 * time.Millisecond

// tick is the session's one timer. Activity does not set it anew: it comes, looks, and sets itself for what is left.
func (s *Session) tick() {
	s.armed = 0
	if s.phase == ended {
		return
	}
	now := s.now()
	switch {
	case s.phase == open:
		s.watch(now)
	case now >= s.until():
		s.expire()
	}
	s.stale = true
	s.turn()
}

// watch looks at everything that may end an open session.
func (s *Session) watch(now time.Duration) {
	p := s.policy
	switch {
	case p.MaxAge > 0 && now >= p.MaxAge:
		s.shut(websocket.GoingAway, CauseMaxAge, CauseMaxAge, websocket.GoingAway)
	case p.Idle > 0 && now-s.life >= p.Idle:
		s.shut(websocket.GoingAway, CauseIdle, CauseIdle, websocket.GoingAway)
	case s.client.stuck(now):
		s.shut(websocket.Policy, CauseSlow, CauseSlow, websocket.GoingAway)
	case s.up.stuck(now):
		s.ended(&s.up, true, CauseSlow)
	case p.Ping <= 0:
	case s.client.silent(now):
		s.ended(&s.client, true, CausePong)
	case s.up.silent(now):
		s.ended(&s.up, true, CausePong)
	default:
		s.client.schedulePing(now)
		s.up.schedulePing(now)
	}
}

// stuck reports whether x has taken nothing for too long.
func (x *side) stuck(now time.Duration) bool {
	x.flush() // the system reports room late; a write finds it at once
	if !x.full() || x.s.policy.stall() == 0 {
		return false
	}
	if p := x.progress(); p != x.moved {
		x.stalled, x.moved = now, p
	}
	return now-x.stalled >= x.s.policy.stall()
}

// silent reports whether x owes a Pong and has sent nothing at all for too long. While x is not read, because its peer
// takes nothing, it cannot be judged.
func (x *side) silent(now time.Duration) bool {
	if !x.pinging && !x.owing {
		return false
	}
	if x.peer.full() {
		x.pingAt = now
		return false
	}
	return now >= x.pongDue()
}

func (x *side) pongDue() time.Duration {
	return max(x.pingAt, x.lastRead) + x.s.policy.pong()
}

// schedulePing has x pinged if it is time.
func (x *side) schedulePing(now time.Duration) {
	if now < x.nextPing {
		return
	}
	x.nextPing = now + x.s.policy.Ping
	x.wantPing = !x.full()
}

// until is the deadline of the end as it stands now.
func (s *Session) until() time.Duration {
	if s.hard || s.phase != closing {
		return s.deadline
	}
	// One side has sent its Close. The other may first send what it has; each byte gives it time.
	owing := &s.client
	if s.client.closeIn {
		owing = &s.up
	}
	return max(s.deadline, owing.lastRead+s.policy.closeTimeout())
}

// arm sets the timer for the nearest deadline, if it is not set for one as near.
func (s *Session) arm() {
	s.stale = false
	var next time.Duration
	sooner := func(t time.Duration) {
		if next == 0 || t < next {
			next = t
		}
	}
	if s.phase != open {
		sooner(s.until())
		if s.client.cut && !s.client.gone || s.up.cut && !s.up.gone {
			sooner(s.now() + cutPoll)
		}
	} else {
		p := s.policy
		if p.MaxAge > 0 {
			sooner(p.MaxAge)
		}
		if p.Idle > 0 {
			sooner(s.life + p.Idle)
		}
		for _, x := range [...]*side{&s.client, &s.up} {
			if x.stalled != 0 && p.stall() > 0 {
				sooner(x.stalled + p.stall())
			}
			if p.Ping > 0 {
				sooner(x.nextPing)
				if x.pinging || x.owing {
					sooner(x.pongDue())
				}
			}
		}
	}
	if next == 0 || s.armed != 0 && next >= s.armed {
		return
	}
	s.armed = next
	s.timer.Reset(max(next-s.now(), 0))
}
