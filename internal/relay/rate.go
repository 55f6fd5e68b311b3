package relay

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Rate bounds how many messages a client may say. The zero Rate bounds nothing.
type Rate struct {
	Every time.Duration // between two messages at the rate
	Burst int           // so many may come at once, at least 1
}

// mostCredit bounds for how long a client that was not read may have saved what it had to say.
const mostCredit = time.Minute

// talks counts a message of the client that begins, and reports whether it is one too many. It is a leaky bucket that is kept as one
// time: when the next message would be due if all came at the rate (GCRA).
func (s *Session) talks() bool {
	r, c, now := &s.policy.Rate, s.need(), s.now()
	c.due = max(c.due, now-mostCredit) + r.Every
	return c.due-now > r.Every*time.Duration(max(r.Burst, 1))
}

// rested notes that there was nothing to read from the client until now. Only then what it did not say is lost to it: a client that the
// gateway does not read, because the upstream is slow or another is looked for, may say later what it could have said meanwhile.
func (s *Session) rested() {
	s.client.set(flagDue)
	c := s.need()
	c.due = max(c.due, s.now())
}

// forgiven reports whether the client may say a whole burst, so that due need not be kept.
func (s *Session) forgiven() bool {
	if s.client.has(flagDue) && !s.client.has(flagReadable|flagEarly) && s.cold.due <= s.now() {
		s.client.clear(flagDue)
	}
	return !s.client.has(flagDue)
}

// toldTooOften counts the data frame of x whose header has just been read, and ends the session if the rate says so.
func (s *Session) toldTooOften(x *side) bool {
	if s.policy.Rate.Every <= 0 || x != &s.client || x.cur.Opcode() == websocket.OpContinuation || !s.talks() {
		return false
	}
	s.shut(websocket.Policy, CauseRate, CauseRate, websocket.GoingAway)
	return true
}
