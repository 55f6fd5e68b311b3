package upstream

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Balance names a way to choose an endpoint.
type Balance string

const (
	// LeastSessions takes the endpoint with the fewest live sessions; ties take turns. Above 16
	// endpoints it takes the better of two random ones, which is as even and costs no scan.
	LeastSessions Balance = "least-sessions"

	// RoundRobin takes one endpoint after the other, whatever they carry.
	RoundRobin Balance = "round-robin"

	// Random takes any endpoint, all with the same chance.
	Random Balance = "random"

	// Hash takes the endpoint that a key of the request leads to; see Service.PickBy. Where there is no key it is as if nothing was said.
	Hash Balance = "hash"

	// Named takes the endpoint whose ID the request's X-InstanceId names, and no other. Without the field it is as if nothing was said.
	Named Balance = "instance"
)

// UnmarshalText accepts the names; anything else is an error that lists them.
func (b *Balance) UnmarshalText(text []byte) error {
	switch v := Balance(text); v {
	case LeastSessions, RoundRobin, Random, Hash, Named:
		*b = v
		return nil
	case "sticky":
		return fmt.Errorf("%q: not available in this version", text)
	default:
		return fmt.Errorf("%q: want %s, %s, %s, %s or %s", text, LeastSessions, RoundRobin, Random, Hash, Named)
	}
}

// ErrNoEndpoint says that no endpoint of a service may take a session: none is listed, all are
// leaving, or all that are left were excluded. It is not ErrNoHealthy.
var ErrNoEndpoint = errors.New("no endpoint available")

// ErrNoHealthy says that a service has endpoints, and all that may still be chosen are Unhealthy, or ejected. The error itself
// says how many.
var ErrNoHealthy = errors.New("no healthy endpoint")

// unhealthyError is ErrNoHealthy with the number of those that may not be chosen, and of those of them that are ejected.
type unhealthyError struct{ all, ejected int }

func (n unhealthyError) Error() string {
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

	state *state
}

// Take chooses an endpoint and counts a session on it in one step, so that handshakes that
// begin together spread instead of all seeing the same least loaded endpoint. Endpoint.Release
// gives the place back. The error is Pick's.
func (s *Service) Take(b Balance, exclude ...*Endpoint) (*Endpoint, error) {
	s.state.take.Lock()
	defer s.state.take.Unlock()
	e, err := s.Pick(b, exclude...)
	if err != nil {
		return nil, err
	}
	e.Acquire()
	return e, nil
}

// Pick chooses an endpoint that Takes, and is not in exclude, without counting anything;
// for a session use Take. If it has none and is not the newest of its name any more, because a table is being replaced, the newest is
// asked. An unknown or empty Balance is RoundRobin. The error is ErrNoEndpoint or ErrNoHealthy.
func (s *Service) Pick(b Balance, exclude ...*Endpoint) (*Endpoint, error) {
	var e *Endpoint
	switch {
	case len(s.Endpoints) == 0:
	case b == LeastSessions:
		e = s.leastSessions(exclude)
	case b == Random:
		e = s.random(exclude)
	default:
		e = s.roundRobin(exclude)
	}
	if e != nil {
		return e, nil
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.Pick(b, exclude...)
	}
	if e = s.desperate(b == LeastSessions, exclude); e != nil {
		return e, nil
	}
	return nil, s.none(exclude)
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

func (s *Service) leastSessions(exclude []*Endpoint) *Endpoint {
	if len(s.Endpoints) > twoChoices {
		a, b := s.random(exclude), s.random(exclude)
		if a != nil && b != nil && b.Sessions() < a.Sessions() {
			return b
		}
		return a
	}
	// The scan starts one further each time and keeps the first of equals: ties take turns.
	var best *Endpoint
	var least int64
	for e := range s.from(s.nextTurn(exclude)) {
		if !usable(e, exclude) {
			continue
		}
		if n := e.Sessions(); best == nil || n < least {
			best, least = e, n
		}
	}
	return best
}

func (s *Service) roundRobin(exclude []*Endpoint) *Endpoint {
	for e := range s.from(s.nextTurn(exclude)) {
		if usable(e, exclude) {
			return e
		}
	}
	return nil
}

func (s *Service) random(exclude []*Endpoint) *Endpoint {
	// Nearly always nothing is excluded, leaves or is unhealthy, and the first try is the answer.
	if e := s.Endpoints[rand.IntN(len(s.Endpoints))]; usable(e, exclude) {
		return e
	}
	left := 0
	for _, e := range s.Endpoints {
		if usable(e, exclude) {
			left++
		}
	}
	if left == 0 {
		return nil
	}
	k := rand.IntN(left)
	var last *Endpoint // stands in if one began to leave between the two passes
	for _, e := range s.Endpoints {
		if !usable(e, exclude) {
			continue
		}
		if last = e; k == 0 {
			break
		}
		k--
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
// all begin with the same failures would all begin at the same endpoint.
func (s *Service) nextTurn(exclude []*Endpoint) int {
	turn := s.state.turn.Load()
	if len(exclude) == 0 {
		turn = s.state.turn.Add(1) - 1
	}
	return int(turn % uint64(len(s.Endpoints)))
}

func usable(e *Endpoint, exclude []*Endpoint) bool {
	return e.Takes() && !slices.Contains(exclude, e)
}
