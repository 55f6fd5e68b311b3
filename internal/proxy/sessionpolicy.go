package proxy

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A sessionPolicy is what a route's policy, as it was when the session opened, means to an open session. Sessions share it.
type sessionPolicy struct {
	relay        relay.Policy
	moving       route.Moving
	failover     route.Failover // of this session: reconnect, replay or off
	auto         bool           // and that because the route says auto
	returns      bool           // the route has failover: where this session cannot move, its client is to come again
	choice       upstream.Choice
	onAuthExpiry route.AuthExpiry
	connect      time.Duration // timeouts.connect
	attempt      time.Duration // timeouts.handshake
}

// maxPolicies bounds those that are remembered so that sessions share them: services may register any number, one after the other.
const maxPolicies = 4096

// sharedPolicy is what sessionPolicyOf has returned last.
type sharedPolicy struct {
	of       *route.Policy
	failover route.Failover
	made     *sessionPolicy
}

// sessionPolicyOf returns the one sessionPolicy with p's values.
func (s *Server) sessionPolicyOf(p *route.Policy, failover route.Failover) *sessionPolicy {
	last := s.lastPolicy.Load()
	if last == nil || last.of != p || last.failover != failover {
		last = &sharedPolicy{p, failover, s.findPolicy(p, failover)}
		s.lastPolicy.Store(last)
	}
	return last.made
}

func (s *Server) findPolicy(p *route.Policy, failover route.Failover) *sessionPolicy {
	l, t := p.Limits(), p.Timeouts.Effective()
	v := sessionPolicy{
		relay: relay.Policy{
			MaxMessage: l.MaxMessage, MaxFrame: l.MaxFrame, Idle: l.Idle, IdleMessages: l.IdleMessages, MaxAge: l.MaxAge,
			Ping: l.Ping, Pong: l.Pong, Stall: s.stall, CloseTimeout: l.CloseTimeout, Rate: relay.Rate{Every: l.MessageEvery, Burst: l.MessageBurst},
		},
		moving: p.Moving(), failover: failover, returns: p.WebSocket.Failover.On(), choice: p.Choice(true), onAuthExpiry: p.WebSocket.OnAuthExpiry,
		connect: t.Connect, attempt: t.Handshake,
	}
	if failover != route.FailoverOff {
		v.auto = p.WebSocket.Failover == route.FailoverAuto
		v.relay.Hold, v.relay.Replay = int(v.moving.FailoverBuffer), failover == route.FailoverReplay
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levels = s.levels || v.moving.Rebalance == route.RebalanceAuto
	shared := s.policies[v]
	if shared == nil {
		if len(s.policies) == maxPolicies {
			clear(s.policies) // sessions that are open keep theirs
		}
		shared = &v
		s.policies[v] = shared
	}
	return shared
}
