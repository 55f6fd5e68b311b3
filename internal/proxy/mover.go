package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// What bounds the moves of one service, so that those of its endpoints that live are not overrun by the sessions of one that died.
const (
	movesInFlight = 64  // handshakes at the same time
	moveRate      = 500 // handshakes in a second
	moveInterval  = time.Second / moveRate

	badEnds   = 5                // so many sessions in a row whose next endpoint sends them away ...
	brakeTime = 10 * time.Minute // ... have failover "auto" off for so long
	remember  = 64               // moves of which that is known
)

// A mover gives the searches of one service their turns.
type mover struct {
	s       *Server
	service string

	mu       sync.Mutex // guards the following
	hurried  []*search  // first, those whose clients wait
	waiting  []*search
	turns    int       // that are being taken
	searches int       // whose sessions have not been told how they ended
	due      time.Time // when the next turn is, by the rate
	timer    *time.Timer
	paused   map[*search]*time.Timer
	asked    map[*upstream.Endpoint]canvass

	// Since it had nothing to do.
	since       time.Time
	moved, lost int

	bad   int // sessions in a row that were sent away
	fresh []freshMove
	until time.Time // of the brake
}

// A freshMove is a session that has moved not long ago, and how many messages its client had been sent by then.
type freshMove struct {
	relay    *relay.Session
	messages int64
}

// moverOf returns the service's mover, by its name in the pool.
func (s *Server) moverOf(service string) *mover {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.movers[service]
	if m == nil {
		m = &mover{s: s, service: service}
		s.movers[service] = m
	}
	return m
}

// sweepMovers forgets those who have nothing to do and nothing to remember.
func (s *Server) sweepMovers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, m := range s.movers {
		if !m.mu.TryLock() { // it has something to do; and it may be waiting for the server's lock, see launch
			continue
		}
		if m.searches+m.turns == 0 && m.bad == 0 && time.Now().After(m.until) && time.Since(m.since) > max(goodAfter, shyTime) {
			delete(s.movers, name)
		}
		m.mu.Unlock()
	}
}

// add begins a search.
func (m *mover) add(q *search) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.finished {
		return
	}
	if m.searches == 0 {
		m.since, m.moved, m.lost = time.Now(), 0, 0
	}
	q.added = true
	m.searches++
	m.queue(q)
	m.pump()
}

// finish is the end of a search, once its session knows. ok: it has moved.
func (m *mover) finish(q *search, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q.finished = true
	switch {
	case ok:
		m.moved++
	case q.ends.Load():
		m.lost++
	}
	if !q.added {
		return
	}
	if m.searches--; m.searches == 0 && m.moved+m.lost > 0 {
		took := time.Since(m.since).Round(time.Millisecond)
		m.s.Log.Info("sessions moved", "service", m.service, "moved", m.moved, "lost", m.lost, "took", took)
	}
}

// queue is called with the lock held, like pump.
func (m *mover) queue(q *search) {
	if q.hurried {
		m.hurried = append(m.hurried, q)
	} else {
		m.waiting = append(m.waiting, q)
	}
}

// next takes the next search from the queue; nil: there is none.
func (m *mover) next() (q *search) {
	for _, list := range [...]*[]*search{&m.hurried, &m.waiting} {
		for len(*list) > 0 {
			q, (*list)[0] = (*list)[0], nil
			if *list = (*list)[1:]; len(*list) == 0 {
				*list = nil
			}
			if !q.over() {
				return q
			}
		}
	}
	return nil
}

// pump begins the turns that are due.
func (m *mover) pump() {
	for m.turns < movesInFlight && len(m.hurried)+len(m.waiting) > 0 {
		now := time.Now()
		if wait := m.due.Sub(now); wait > 0 {
			if m.timer == nil {
				m.timer = time.AfterFunc(wait, m.tick)
			}
			return
		}
		q := m.next()
		if q == nil {
			return
		}
		// What was not used of the rate while there was little to do can be used now, but no more than is in flight at once.
		if early := now.Add(-movesInFlight / 2 * moveInterval); m.due.Before(early) {
			m.due = early
		}
		m.due = m.due.Add(moveInterval)
		m.turns++
		m.s.launch(q)
	}
}

func (m *mover) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer = nil
	m.pump()
}

// launch runs a turn of q where its session lives.
func (s *Server) launch(q *search) {
	l := q.relay.Loop()
	if l.Polled() {
		l.Post(func() { l.Go(q.run) })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.searching.Go(func() { q.run(loop.Goroutines) })
}

// run is a turn.
func (q *search) run(r loop.Runner) {
	pause, again, dialled := q.turn(r)
	m := q.mover
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns--
	if !dialled {
		m.due = m.due.Add(-moveInterval)
	}
	switch {
	case !again:
	case pause > 0:
		if m.paused == nil {
			m.paused = map[*search]*time.Timer{}
		}
		m.paused[q] = time.AfterFunc(pause, func() { m.wake(q) })
	default:
		m.queue(q)
	}
	m.pump()
}

// wake ends the pause of q.
func (m *mover) wake(q *search) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, paused := m.paused[q]; paused {
		delete(m.paused, q)
		m.queue(q)
		m.pump()
	}
}

// wakeAll ends the pauses of all searches: an endpoint has come that they can have.
func (m *mover) wakeAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for q, timer := range m.paused {
		timer.Stop()
		m.queue(q)
	}
	clear(m.paused)
	m.pump()
}

// fare remembers a session that has moved.
func (m *mover) fare(r *relay.Session, messages int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fresh) == remember {
		m.fresh = m.fresh[:copy(m.fresh, m.fresh[1:])]
	}
	m.fresh = append(m.fresh, freshMove{r, messages})
}

// sentAway notes a session whose next endpoint closed it before it said anything. If that goes on, the service does not take sessions
// over, and clients fare better when they are told to come again.
func (m *mover) sentAway() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bad++; m.bad < badEnds {
		return
	}
	m.bad = 0
	var st relay.Stats
	for _, f := range m.fresh {
		if f.relay.Stats(&st); st.MessagesOut > f.messages {
			m.fresh = nil
			return // others fare well
		}
	}
	m.fresh = nil
	m.until = time.Now().Add(brakeTime)
	m.s.Log.Warn("failover auto is off for a while: instances send the sessions away that they are to take over", "service", m.service,
		"sessions", badEnds, "until", m.until.UTC().Format(time.RFC3339))
}

// braked tells whether "auto" is off.
func (m *mover) braked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Before(m.until)
}

// FailoverOffUntil is until when failover "auto" is off for the service of that name in the pool, because its endpoints do not
// take sessions over; zero: it is not.
func (s *Server) FailoverOffUntil(service string) time.Time {
	s.mu.Lock()
	m := s.movers[service]
	s.mu.Unlock()
	if m == nil || !m.braked() {
		return time.Time{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.until
}

// backoff is the pause before the n-th time that it is looked whether there is an endpoint.
func backoff(n int) time.Duration {
	d := min(50*time.Millisecond<<min(n, 5), time.Second)
	return d/2 + rand.N(d)
}

// suspectTime is how long after its Close 1001 an endpoint may show that it goes: services send 1001 to idle clients, too.
const suspectTime = 2 * time.Second

// suspectStep is how often it is looked at meanwhile.
const suspectStep = 100 * time.Millisecond

// suspect begins q if its endpoint, which has sent a Close 1001, is seen to go: it is leaving, unhealthy or refuses connections.
func (s *Server) suspect(q *search) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, known := s.suspects[q.lost]
	s.suspects[q.lost] = append(list, q)
	if !known {
		s.searching.Go(func() { s.watchSuspect(q.lost) })
	}
}

// watchSuspect decides all searches that wait for word of e, and ends when there is none.
func (s *Server) watchSuspect(e *upstream.Endpoint) {
	for {
		goes := e.Leaving() || !e.Healthy() || refuses(s.living, e)
		s.mu.Lock()
		all, left := s.suspects[e], []*search(nil)
		var begin, end []*search
		for _, q := range all {
			switch {
			case q.over():
			case goes:
				begin = append(begin, q)
			case time.Since(q.began) >= suspectTime || s.stopping.Load():
				end = append(end, q)
			default:
				left = append(left, q)
			}
		}
		if s.suspects[e] = left; len(left) == 0 {
			delete(s.suspects, e)
		}
		s.mu.Unlock()
		for _, q := range begin {
			q.mover.add(q)
		}
		for _, q := range end {
			q.relay.GiveUp(q.epoch, q.verdict) // the client is told the 1001
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(suspectStep)
	}
}

// refuses tells whether nobody listens at e.
func refuses(ctx context.Context, e *upstream.Endpoint) bool {
	d := net.Dialer{Timeout: suspectTime / 4}
	c, err := d.DialContext(ctx, "tcp", e.Address())
	if err == nil {
		_ = c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
