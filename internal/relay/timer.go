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
	if s.link != nil {
		if s.link.watch(now); s.phase != open {
			return
		}
	}
	switch {
	case p.MaxAge > 0 && s.age(now) >= s.maxAge():
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
	case now >= s.nextPing:
		s.nextPing = now + p.Ping
		s.client.wantPing()
		s.up.wantPing()
	}
}

// maxAge is MaxAge less up to a tenth of it, by when the session began: those that came in one wave do not go in one. age may
// be begunUnit too much, which is part of that tenth.
func (s *Session) maxAge() time.Duration {
	const golden = 2654435769 // 2^32 by the golden ratio: neighbours are far apart
	early := uint64(s.begun*golden) >> 16
	return s.policy.MaxAge - max(s.policy.MaxAge/10-begunUnit, 0)>>16*time.Duration(early)
}

// stuck reports whether x has taken nothing for too long.
func (x *side) stuck(now time.Duration) bool {
	x.flush() // the system reports room late; a write finds it at once
	if !x.full() || x.s.policy.stall() == 0 {
		return false
	}
	c := x.cold()
	if p := x.progress(c); p != c.moved {
		c.stalled, c.moved = now, p
	}
	return now-c.stalled >= x.s.policy.stall()
}

// silent reports whether x owes a Pong and has sent nothing at all for too long. While x is not read, because its peer
// takes nothing or as much waits for another upstream as may, it cannot be judged.
func (x *side) silent(now time.Duration) bool {
	if !x.has(flagPinging | flagOwing) {
		return false
	}
	if x.peer().full() || x.room(1) == 0 {
		x.cold().pingAt = now
		return false
	}
	return now >= x.pongDue()
}

func (x *side) pongDue() time.Duration {
	return max(x.cold().pingAt, time.Duration(x.lastRead.Load())) + x.s.policy.pong()
}

// wantPing has x pinged, unless it takes nothing anyway.
func (x *side) wantPing() {
	if l := x.s.link; l != nil && x == &x.s.up && l.parked() {
		return // it is being left
	}
	if !x.full() {
		x.set(flagWantPing)
	}
}

// until is the deadline of the end as it stands now.
func (s *Session) until() time.Duration {
	deadline := s.need().deadline
	if s.hard || s.phase != closing {
		return deadline
	}
	// One side has sent its Close. The other may first send what it has; each byte gives it time.
	owing := &s.client
	if s.client.has(flagCloseIn) {
		owing = &s.up
	}
	return max(deadline, time.Duration(owing.lastRead.Load())+s.policy.closeTimeout())
}

// arm sets the timer for the nearest deadline, if it is not set for one as near.
func (s *Session) arm() {
	s.stale = false
	next := s.nearest()
	if due := s.timer.Due(); next == 0 || due != 0 && next >= due {
		return
	}
	s.timer.Reset(max(next-s.now(), 0))
}

// nearest is the nearest deadline, 0 if there is none.
func (s *Session) nearest() time.Duration {
	var next time.Duration
	sooner := func(t time.Duration) {
		if next == 0 || t < next {
			next = t
		}
	}
	if s.phase != open {
		sooner(s.until())
		for _, x := range [...]*side{&s.client, &s.up} {
			if x.has(flagCut) && !x.has(flagGone) {
				sooner(s.now() + cutPoll)
			}
		}
		return next
	}
	p := s.policy
	if s.link != nil {
		s.link.nearest(sooner)
	}
	if p.MaxAge > 0 {
		now := s.now()
		sooner(now - s.age(now) + s.maxAge())
	}
	if p.Idle > 0 {
		sooner(s.life + p.Idle)
	}
	if p.Ping > 0 {
		sooner(s.nextPing)
	}
	for _, x := range [...]*side{&s.client, &s.up} {
		if x.has(flagStalled) && p.stall() > 0 {
			sooner(x.cold().stalled + p.stall())
		}
		if p.Ping > 0 && x.has(flagPinging|flagOwing) {
			sooner(x.pongDue())
		}
	}
	return next
}
