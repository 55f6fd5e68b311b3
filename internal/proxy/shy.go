package proxy

import (
	"errors"
	"net"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// An endpoint that hangs still takes connections, and has the fewest sessions once its own have left it: every move would begin there. So
// a mover passes it over while there are others.

const (
	shareOfMoves = movesInFlight / 2 // of the attempts under way, one endpoint has so many at most while there are others
	slowAnswer   = time.Second       // one that has left attempts unanswered for so long is passed over ...
	shyTime      = 5 * time.Second   // ... as is one for so long after it was seen to hang
)

// A canvass is what a mover knows of an endpoint.
type canvass struct {
	attempts int       // under way
	last     time.Time // when one of them ended, or the first began
	hung     time.Time // when it was last seen to hang
}

// hangs notes that a session of e has missed its Pongs.
func (m *mover) hangs(e *upstream.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.asked[e]
	a.hung = time.Now()
	m.note(e, a)
}

// asks is the beginning of an attempt at e, heard its end.
func (m *mover) asks(e *upstream.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.asked[e]
	if a.attempts++; a.attempts == 1 {
		a.last = time.Now()
	}
	m.note(e, a)
}

func (m *mover) heard(e *upstream.Endpoint, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.asked[e]
	a.attempts--
	var late net.Error
	switch {
	case err == nil:
		a.last, a.hung = time.Now(), time.Time{}
	case errors.As(err, &late) && late.Timeout():
		a.hung = time.Now()
	default:
		a.last = time.Now()
	}
	m.note(e, a)
}

// note is called with the lock held.
func (m *mover) note(e *upstream.Endpoint, a canvass) {
	if a.attempts == 0 && time.Since(a.hung) > shyTime {
		delete(m.asked, e)
		return
	}
	if m.asked == nil {
		m.asked = map[*upstream.Endpoint]canvass{}
	}
	m.asked[e] = a
}

// shy are the endpoints that are not asked while there are others.
func (m *mover) shy() (all []*upstream.Endpoint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for e, a := range m.asked {
		switch {
		case now.Sub(a.hung) < shyTime, a.attempts >= shareOfMoves, a.attempts > 0 && now.Sub(a.last) > slowAnswer:
			all = append(all, e)
		case a.attempts == 0:
			delete(m.asked, e)
		}
	}
	return all
}
