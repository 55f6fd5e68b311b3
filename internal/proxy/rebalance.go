package proxy

import (
	"errors"
	"slices"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Why a session is not moved by an operator's word.
var (
	ErrNoSession = errors.New("there is no live session with this id")
	ErrStays     = errors.New("failover is off for this session")
	ErrNoOther   = errors.New("the service has no other instance that takes sessions")
)

// MoveSession has the session with that id move to another endpoint, without loss, when it stands between two messages. The errors
// are ErrNoSession, ErrStays and ErrNoOther.
func (s *Server) MoveSession(id string) error {
	ss := s.Sessions.find(id)
	switch {
	case ss == nil:
		return ErrNoSession
	case ss.policy.failover == route.FailoverOff:
		return ErrStays
	}
	e := ss.endpoint.Load()
	if _, err := e.Newest().Pick(upstream.Choice{}, e); err != nil {
		return ErrNoOther
	}
	ss.relay.Load().Detach(causeMove)
	return nil
}

const (
	rebalanceRate = 100             // planned moves in a second
	joinDelay     = 5 * time.Second // between an endpoint that joins and the rebalancing: others may join, too
)

// Rebalance moves sessions, without loss, from the endpoints of a service that have more than their share to those that have less. It
// does not wait, and returns how many sessions it is about to move.
func (s *Server) Rebalance(service *upstream.Service) int {
	return s.rebalance(service, func(p *sessionPolicy) bool { return true })
}

// EndpointJoined has sessions whose route says so move to an endpoint that has joined its service, or is well again.
func (s *Server) EndpointJoined(e *upstream.Endpoint) {
	if s.Sessions.Len() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.joined[e.Service()] || s.stopping.Load() {
		return
	}
	s.joined[e.Service()] = true
	s.working.Go(func() {
		select {
		case <-time.After(s.settling):
		case <-s.living.Done():
			return
		}
		s.mu.Lock()
		delete(s.joined, e.Service())
		s.mu.Unlock()
		s.rebalance(e.Newest(), func(p *sessionPolicy) bool { return p.moving.Rebalance == route.RebalanceAuto })
	})
}

// rebalance is Rebalance for the sessions that filter takes.
func (s *Server) rebalance(service *upstream.Service, filter func(*sessionPolicy) bool) int {
	list := s.aboveLevel(service, filter)
	if len(list) == 0 {
		return 0
	}
	s.Log.Info("sessions are rebalanced", "service", service.Name, "sessions", len(list))
	s.background(func() {
		window := time.Duration(len(list)) * time.Second / rebalanceRate
		pace(s.living, list, window, func(ss *Session, r *relay.Session) {
			if at := ss.endpoint.Load(); at.Sessions() > levelOf(at.Newest()).share(at) {
				r.Detach(causeRebalance)
			}
		})
	})
	return len(list)
}

// aboveLevel are the sessions that are to leave endpoints that have more than their share, the youngest of each: the oldest have
// most to lose.
func (s *Server) aboveLevel(service *upstream.Service, filter func(*sessionPolicy) bool) (list []*Session) {
	level := levelOf(service)
	byEndpoint := map[*upstream.Endpoint][]*Session{}
	for _, ss := range s.Sessions.snapshot(0) {
		e := ss.endpoint.Load()
		if e == nil || ss.relay.Load() == nil || !slices.Contains(service.Endpoints, e) || !e.Takes() {
			continue
		}
		if ss.policy.failover != route.FailoverOff && !ss.policy.keyed && filter(ss.policy) {
			byEndpoint[e] = append(byEndpoint[e], ss)
		}
	}
	for round := 0; ; round++ { // one of each in turn
		none := true
		for _, e := range service.Endpoints {
			of := byEndpoint[e]
			if excess := e.Sessions() - level.share(e); int64(round) < min(excess, int64(len(of))) {
				list, none = append(list, of[len(of)-1-round]), false
			}
		}
		if none {
			return list
		}
	}
}

// A level is what the endpoints of a service that take sessions have, and weigh, together.
type level struct{ sessions, endpoints, weight int64 }

func levelOf(service *upstream.Service) (l level) {
	for _, e := range service.Endpoints {
		if e.Takes() {
			l.sessions += e.Sessions()
			l.endpoints++
			l.weight += int64(e.Weight())
		}
	}
	return l
}

// share is how many of the sessions are e's by its weight, rounded up. Those that have no weight share alike where there are no others.
func (l level) share(e *upstream.Endpoint) int64 {
	part, whole := int64(e.Weight()), l.weight
	if whole == 0 {
		part, whole = 1, max(l.endpoints, 1)
	}
	return (l.sessions*part + whole - 1) / whole
}
