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
	ErrNotThere  = errors.New("the service has no such other instance that takes sessions")
)

// MoveSession has the session with that id move to another endpoint, without loss, when it stands between two messages: that whose ID is
// instance, if that is not "", and else none. The errors are ErrNoSession, ErrStays, ErrNoOther and ErrNotThere.
func (s *Server) MoveSession(id, instance string) error {
	ss := s.Sessions.find(id)
	switch {
	case ss == nil:
		return ErrNoSession
	case ss.policy.failover == route.FailoverOff:
		return ErrStays
	}
	e := ss.endpoint.Load()
	if instance != "" {
		if _, err := e.Newest().PickNamed(instance, e); err != nil {
			return ErrNotThere
		}
	} else if _, err := e.Newest().Pick(upstream.Choice{}, e); err != nil {
		return ErrNoOther
	}
	r := ss.relay.Load()
	r.Loop().Post(func() {
		if ss.moving == nil {
			ss.moving = new(moving)
		}
		ss.moving.wanted = instance
	})
	r.Detach(causeMove)
	return nil
}

const (
	rebalanceRate = 100             // planned moves in a second
	joinDelay     = 5 * time.Second // between an endpoint that joins and the rebalancing: others may join, too
	maxSettling   = 2               // so many slow starts are waited for at most: an endpoint may begin again and again
)

// Rebalance moves sessions, without loss, from the endpoints of a service that have more than their share to those that have less, and
// those that a key led elsewhere to where it leads now. It does not wait, and returns how many sessions it is about to move.
func (s *Server) Rebalance(service *upstream.Service) int {
	return s.rebalance(service, func(p *sessionPolicy) bool { return true })
}

// EndpointJoined has sessions that wait for an endpoint look at one that has joined its service, or is well again, and has those whose
// route says so move to it.
func (s *Server) EndpointJoined(e *upstream.Endpoint) {
	if s.Sessions.Len() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return
	}
	if m := s.movers[e.Service()]; m != nil {
		s.searching.Go(m.wakeAll) // its lock comes before the server's
	}
	if !s.levels || s.joined[e.Service()] {
		return
	}
	s.joined[e.Service()] = true
	s.working.Go(func() {
		began := time.Now()
		for wait := s.settling; wait > 0; wait = s.untilSettled(e.Newest(), time.Since(began)) {
			select {
			case <-time.After(wait):
			case <-s.living.Done():
				return
			}
		}
		s.mu.Lock()
		delete(s.joined, e.Service())
		s.mu.Unlock()
		s.rebalance(e.Newest(), func(p *sessionPolicy) bool { return p.moving.Rebalance == route.RebalanceAuto })
	})
}

// untilSettled is how long the newest endpoint of a service is still left alone, after they were for some time: where a route that
// rebalances has it start slowly, until that is over.
func (s *Server) untilSettled(service *upstream.Service, left time.Duration) time.Duration {
	if levelOf(service).sessions == 0 {
		return 0
	}
	var longest time.Duration
	for _, ss := range s.Sessions.at(func(e *upstream.Endpoint) bool { return e.Service() == service.Name }) {
		if ss.policy.moving.Rebalance == route.RebalanceAuto {
			longest = max(longest, ss.policy.choice.SlowStart.Window)
		}
	}
	return min(longest-service.Settled(), maxSettling*longest-left)
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
			at := ss.endpoint.Load()
			if ss.key != 0 && ss.astray(at.Newest(), at) || ss.key == 0 && at.Sessions() > levelOf(at.Newest()).share(at) {
				r.Detach(causeRebalance)
			}
		})
	})
	return len(list)
}

// astray tells whether the session's key leads elsewhere than to e.
func (ss *Session) astray(service *upstream.Service, e *upstream.Endpoint) bool {
	leads, err := service.PickBy(ss.key)
	return err == nil && leads != e
}

// aboveLevel are the sessions that are to leave their endpoints: those whose key leads elsewhere, and of each endpoint that has more than
// its share the youngest, because the oldest have most to lose.
func (s *Server) aboveLevel(service *upstream.Service, filter func(*sessionPolicy) bool) (list []*Session) {
	level := levelOf(service)
	if level.sessions == 0 {
		return nil
	}
	byEndpoint := map[*upstream.Endpoint][]*Session{}
	for _, ss := range s.Sessions.at(func(e *upstream.Endpoint) bool { return e.Service() == service.Name && e.Takes() }) {
		e := ss.endpoint.Load()
		switch {
		case !e.Takes() || !slices.Contains(service.Endpoints, e):
		case ss.policy.failover == route.FailoverOff || ss.bound || !filter(ss.policy):
		case ss.key == 0:
			byEndpoint[e] = append(byEndpoint[e], ss)
		case ss.astray(service, e):
			list = append(list, ss)
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
