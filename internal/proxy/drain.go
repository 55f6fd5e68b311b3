package proxy

import (
	"context"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// paceStep is how often pace goes on.
const paceStep = 5 * time.Millisecond

// pace calls do for each of all, evenly over a window of time (0: at once). With ctx it ends early.
func pace(ctx context.Context, all []*Session, window time.Duration, do func(*Session, *relay.Session)) {
	began := time.Now()
	tick := time.NewTicker(paceStep)
	defer tick.Stop()
	for i, ss := range all {
		for window > 0 && time.Since(began) < window*time.Duration(i)/time.Duration(len(all)) {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return
			}
		}
		if r := ss.relay.Load(); r != nil {
			do(ss, r)
		}
	}
}

// Each calls do for the open sessions that filter takes (nil: for all), in the order of their opening, evenly over a
// window of time (0: at once). What opens meanwhile is not among them, what ends meanwhile is passed over. It returns for
// how many do was called: with ctx it ends early.
func (l *Sessions) Each(ctx context.Context, filter func(*Session) bool, window time.Duration, do func(*relay.Session)) int {
	called := 0
	pace(ctx, l.snapshot(0), window, func(ss *Session, r *relay.Session) {
		if filter == nil || filter(ss) {
			do(r)
			called++
		}
	})
	return called
}

// on returns the open sessions that are at e now.
func (l *Sessions) on(e *upstream.Endpoint) []*Session {
	return l.at(func(at *upstream.Endpoint) bool { return at == e })
}

// EndpointLeft has the sessions of e, which is leaving, follow websocket.drain, unless e comes back meanwhile. It does not wait.
func (s *Server) EndpointLeft(e *upstream.Endpoint) {
	s.depart(e, causeDrain, e.Leaving, func(p *sessionPolicy) route.Wait { return p.moving.Drain })
}

// EndpointUnhealthy has the sessions of e, which probes have found dead, follow websocket.onUnhealthy, unless e recovers meanwhile.
// It does not wait.
func (s *Server) EndpointUnhealthy(e *upstream.Endpoint) {
	s.depart(e, causeUnhealthy, func() bool { return !e.Healthy() }, func(p *sessionPolicy) route.Wait { return p.moving.OnUnhealthy })
}

// DrainEndpoint has e leave by an operator's word: it takes nothing new until that word is taken back or e is listed anew. Its
// sessions follow websocket.drain, those that would wait are moved. It returns how many sessions are at e.
func (s *Server) DrainEndpoint(e *upstream.Endpoint) int {
	e.Drain(true)
	s.depart(e, causeDrain, e.Leaving, func(p *sessionPolicy) route.Wait { return p.drainOf(e) })
	return len(s.Sessions.on(e))
}

// drainOf is what the sessions of e do when that leaves.
func (p *sessionPolicy) drainOf(e *upstream.Endpoint) route.Wait {
	if e.Drained() && p.moving.Drain != route.CloseAll {
		return route.MoveAway
	}
	return p.moving.Drain
}

// heed has a session do as the others of its endpoint have been told, if that began to leave while this one was opened or moved.
func (ss *Session) heed(r *relay.Session) {
	if e := ss.endpoint.Load(); e.Leaving() && ss.policy.drainOf(e) != route.WaitForEnd {
		r.Detach(causeDrain)
	}
}

// depart has the sessions of e leave it for cause, each kind within its window, as long as still holds.
func (s *Server) depart(e *upstream.Endpoint, cause string, still func() bool, how func(*sessionPolicy) route.Wait) {
	if e.Sessions() == 0 {
		return
	}
	s.background(func() {
		byPolicy := map[*sessionPolicy][]*Session{}
		for _, ss := range s.Sessions.on(e) {
			if how(ss.policy) != route.WaitForEnd {
				byPolicy[ss.policy] = append(byPolicy[ss.policy], ss)
			}
		}
		for p, list := range byPolicy {
			s.Log.Info("sessions leave an endpoint", "cause", cause, "service", e.Service(), "instance", e.ID,
				"sessions", len(list), "how", string(how(p)), "window", p.moving.DrainWindow)
			s.background(func() {
				pace(s.living, list, p.moving.DrainWindow, func(ss *Session, r *relay.Session) {
					switch {
					case ss.endpoint.Load() != e || !still():
					case cause == causeUnhealthy:
						r.Lose(cause) // it is not waited for
					default:
						r.Detach(cause)
					}
				})
			})
		}
	})
}

// background runs f in a goroutine that Shutdown waits for; f ends with s.living. Not once that has begun.
func (s *Server) background(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping.Load() {
		s.working.Go(f)
	}
}

// endBackground ends what background has begun.
func (s *Server) endBackground() {
	s.endLiving()
	s.mu.Lock()   // who has looked at stopping before is counted by now
	s.mu.Unlock() //nolint:staticcheck // see above
	s.working.Wait()
}

// stopRate bounds how many sessions a stop ends in a second: their clients come back at once, to another gateway.
const stopRate = 2000

// closeSessions ends all sessions for a stop. It takes half the time there is at most.
func (s *Server) closeSessions(ctx context.Context) {
	window := time.Duration(s.Sessions.Len()) * time.Second / stopRate
	if until, ok := ctx.Deadline(); ok {
		window = min(window, time.Until(until)/2)
	}
	s.Sessions.Each(ctx, nil, window, func(r *relay.Session) {
		r.Close(websocket.GoingAway, shutdownReason, causeShutdown)
	})
}
