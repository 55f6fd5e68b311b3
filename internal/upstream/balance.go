package upstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Balance names a way to choose an endpoint.
type Balance string

const (
	// LeastSessions takes the endpoint with the fewest live sessions for its weight; ties take turns. Above 16
	// endpoints it takes the better of two random ones, which is as even and costs no scan.
	LeastSessions Balance = "least-sessions"

	// RoundRobin takes one endpoint after the other, whatever they carry; one of weight 3 three times as often as one of weight 1.
	RoundRobin Balance = "round-robin"

	// Random takes any endpoint, each with the chance that its weight gives it.
	Random Balance = "random"

	// LoadAware is RoundRobin where endpoints that report their load weigh what Reports make of it, and others as much as their mean. As
	// long as none does, they weigh what they do otherwise.
	LoadAware Balance = "load-aware"

	// Hash takes the endpoint that a key of the request leads to; see Service.PickBy. Where there is no key it is as if nothing was said.
	Hash Balance = "hash"

	// Sticky takes the endpoint at which a cookie of the gateway's has kept the client; where there is none it is as if nothing was said.
	Sticky Balance = "sticky"

	// Named takes the endpoint whose ID the request's X-InstanceId names, and no other. Without the field it is as if nothing was said.
	Named Balance = "instance"
)

// UnmarshalText accepts the names; anything else is an error that lists them.
func (b *Balance) UnmarshalText(text []byte) error {
	switch v := Balance(text); v {
	case LeastSessions, RoundRobin, Random, LoadAware, Hash, Sticky, Named:
		*b = v
		return nil
	default:
		return fmt.Errorf("%q: want %s, %s, %s, %s, %s, %s or %s", text, LeastSessions, RoundRobin, Random, LoadAware, Hash, Sticky, Named)
	}
}

// ErrNoEndpoint says that no endpoint of a service may take a session: none is listed, all are
// leaving, or all that are left were excluded. It is not ErrNoHealthy.
var ErrNoEndpoint = errors.New("no endpoint available")

// ErrNoHealthy says that a service has endpoints, and all that may still be chosen are Unhealthy, or ejected. The error itself
// says how many.
var ErrNoHealthy = errors.New("no healthy endpoint")

// unhealthyError is ErrNoHealthy with the number of those that may not be chosen, and of those of them that are ejected.
type unhealthyError struct {
	all, ejected int
	named        bool // it is about the one that was asked for by its ID
}

func (n unhealthyError) Error() string {
	if n.named {
		return "the endpoint that was asked for is unhealthy"
	}
	how := "unhealthy"
	switch {
	case n.ejected == n.all:
		how = "ejected"
	case n.ejected > 0:
		how = "unhealthy or ejected"
	}
	if n.all == 1 {
		return "the only endpoint is " + how
	}
	return fmt.Sprintf("all %d endpoints are %s", n.all, how)
}

// Is is errors.Is's.
func (unhealthyError) Is(target error) bool { return target == ErrNoHealthy }

// twoChoices is the number of endpoints above which LeastSessions looks at two of them only.
const twoChoices = 16

// Service is a list of endpoints that may take new sessions. It is immutable; a Pool makes it.
type Service struct {
	// Name is the service's name within its pool.
	Name string

	// Endpoints may take new sessions, in the order of the source. The slice belongs to the
	// Service: read it only.
	Endpoints []*Endpoint

	Options // as the source gave them

	state    *state
	heaviest float64 // of the weights of Endpoints
	uneven   bool    // not all of Endpoints weigh the same
}

// A Choice says how an endpoint is chosen. The zero value is RoundRobin.
type Choice struct {
	Balance   Balance   // unknown, or empty: RoundRobin
	SlowStart SlowStart // it does not touch what a key or a name leads to
	Reports   Reports   // of LoadAware
}

// Take chooses an endpoint and counts a session on it in one step, so that handshakes that
// begin together spread instead of all seeing the same least loaded endpoint. Endpoint.Release
// gives the place back. The error is Pick's.
func (s *Service) Take(c Choice, exclude ...*Endpoint) (*Endpoint, error) {
	s.state.take.Lock()
	defer s.state.take.Unlock()
	e, err := s.Pick(c, exclude...)
	if err != nil {
		return nil, err
	}
	e.Acquire()
	return e, nil
}

// Pick chooses an endpoint that Takes, and is not in exclude, without counting anything; one of weight 0 only if there is no
// other. For a session use Take. If it has none and is not the newest of its name any more, because a table is being
// replaced, the newest is asked. The error is ErrNoEndpoint or ErrNoHealthy.
func (s *Service) Pick(c Choice, exclude ...*Endpoint) (*Endpoint, error) {
	l := look{exclude: exclude}
	if w := c.SlowStart.Window; w > 0 {
		if now := s.state.pool.clock(); s.state.starting(now, w) {
			l.slow, l.now = c.SlowStart, now
		}
	}
	if c.Balance == LoadAware {
		l.now = s.state.pool.clock()
		l.by, l.mean = &c.Reports, s.meanReported(l.now, &c.Reports)
	}
	if e := s.either(&l, func() *Endpoint { return s.choose(c.Balance, &l) }); e != nil {
		return e, nil
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.Pick(c, exclude...)
	}
	if s.panics() {
		l.panics, l.spares = true, false
		if e := s.either(&l, func() *Endpoint { return s.choose(c.Balance, &l) }); e != nil {
			return e, nil
		}
	}
	return nil, s.none(exclude)
}

// either chooses among the endpoints that have a weight, or else among those that have none.
func (s *Service) either(l *look, choose func() *Endpoint) *Endpoint {
	if len(s.Endpoints) == 0 {
		return nil
	}
	e := choose()
	if e == nil {
		l.spares = true
		e = choose()
	}
	return e
}

func (s *Service) choose(b Balance, l *look) *Endpoint {
	switch b {
	case LeastSessions:
		return s.leastSessions(l)
	case Random:
		return s.random(l)
	}
	if s.uneven || l.slow.Window > 0 || l.mean > 0 {
		return s.weightedTurn(l)
	}
	return s.roundRobin(l)
}

// none is why nothing could be chosen.
func (s *Service) none(exclude []*Endpoint) error {
	var none unhealthyError
	for _, e := range s.Endpoints {
		if e.Leaving() || e.Takes() || slices.Contains(exclude, e) {
			continue
		}
		if none.all++; e.Healthy() {
			none.ejected++
		}
	}
	if none.all == 0 {
		return ErrNoEndpoint
	}
	return none
}

func (s *Service) leastSessions(l *look) *Endpoint {
	if len(s.Endpoints) > twoChoices {
		a, b := s.random(l), s.random(l)
		if a != nil && b != nil && l.load(b) < l.load(a) {
			return b
		}
		return a
	}
	// The scan starts one further each time and keeps the first of equals: ties take turns.
	var best *Endpoint
	var least float64
	for e := range s.from(s.nextTurn(l)) {
		if l.share(e) == 0 {
			continue
		}
		if n := l.load(e); best == nil || n < least {
			best, least = e, n
		}
	}
	return best
}

func (s *Service) roundRobin(l *look) *Endpoint {
	for e := range s.from(s.nextTurn(l)) {
		if l.share(e) > 0 {
			return e
		}
	}
	return nil
}

// weightedTurn is roundRobin where shares differ: at each turn an endpoint earns its share, and the one that has most is taken and pays
// what all have earned. So none is taken in bursts.
func (s *Service) weightedTurn(l *look) *Endpoint {
	s.state.turns.Lock()
	defer s.state.turns.Unlock()
	var best *Endpoint
	var most, total float64
	for _, e := range s.Endpoints {
		w := l.share(e)
		if w == 0 {
			continue
		}
		total += w
		credit := e.credit + w
		if len(l.exclude) == 0 {
			e.credit = credit
		}
		if best == nil || credit > most {
			best, most = e, credit
		}
	}
	if best != nil && len(l.exclude) == 0 {
		best.credit -= total
	}
	return best
}

// random draws endpoints until one has its share; nearly always the first does.
func (s *Service) random(l *look) *Endpoint {
	for range 4 {
		e := s.Endpoints[rand.IntN(len(s.Endpoints))]
		if w := l.share(e); w > 0 && (w >= s.heaviest || rand.Float64()*s.heaviest < w) {
			return e
		}
	}
	return s.at(l, rand.Float64())
}

// at is the endpoint at a place, 0 to 1, on the line that the shares of all make one behind the other; nil: no share.
func (s *Service) at(l *look, place float64) *Endpoint {
	total := 0.0
	for _, e := range s.Endpoints {
		total += l.share(e)
	}
	place *= total
	var last *Endpoint // stands in if a share has shrunk between the two passes, or was rounded
	for _, e := range s.Endpoints {
		w := l.share(e)
		if w == 0 {
			continue
		}
		if last = e; place < w {
			break
		}
		place -= w
	}
	return last
}

// from yields every endpoint once, beginning with the one at index start.
func (s *Service) from(start int) func(yield func(*Endpoint) bool) {
	return func(yield func(*Endpoint) bool) {
		for i := range s.Endpoints {
			if !yield(s.Endpoints[(start+i)%len(s.Endpoints)]) {
				return
			}
		}
	}
}

// nextTurn is the index at which the next scan begins. A choice after others have failed takes no turn: else requests that
// all begin with the same failures would all begin at the same endpoint. Nor does a second look of one choice.
func (s *Service) nextTurn(l *look) int {
	turn := s.state.turn.Load()
	if len(l.exclude) == 0 && !l.spares && !l.panics {
		turn = s.state.turn.Add(1) - 1
	}
	return int(turn % uint64(len(s.Endpoints)))
}

// A look is one look at the endpoints of a service.
type look struct {
	exclude []*Endpoint
	panics  bool      // endpoints that are not well count
	spares  bool      // endpoints of weight 0 count, as if it were 1
	slow    SlowStart // Window 0: nothing begins slowly
	mean    float64   // of what endpoints report; 0: nothing that counts
	by      *Reports  // if anything does
	now     time.Time // if anything begins slowly, or reports count
}

// share is e's part of what is to be given out, relative to those of the others; 0: it gets nothing.
func (l *look) share(e *Endpoint) float64 {
	if slices.Contains(l.exclude, e) || !e.Takes() && !(l.panics && !e.Leaving()) {
		return 0
	}
	w := float64(e.weight.Load())
	if l.spares {
		w = max(w, 1)
	}
	if l.mean > 0 && w > 0 {
		w = 1
		if r := e.report.Load(); r.holds(l.now, l.by) {
			w = r.weight / l.mean
		}
	}
	if l.slow.Window > 0 {
		w *= l.slow.part(l.now.Sub(time.Unix(0, e.begun.Load())))
	}
	return w
}

// load is what e would carry for its share with one session more.
func (l *look) load(e *Endpoint) float64 {
	return float64(e.Sessions()+1) / max(l.share(e), 1e-9) // it may have begun to leave since it was found
}
