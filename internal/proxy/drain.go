package proxy

import (
	"context"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// paceStep is how often Each goes on.
const paceStep = 5 * time.Millisecond

// Each calls do for the open sessions that filter takes (nil: for all), in the order of their opening, evenly over a
// window of time (0: at once). What opens meanwhile is not among them, what ends meanwhile is passed over. It returns for
// how many do was called: with ctx it ends early.
func (l *Sessions) Each(ctx context.Context, filter func(*Session) bool, window time.Duration, do func(*relay.Session)) int {
	all := l.snapshot(0)
	began, called := time.Now(), 0
	tick := time.NewTicker(paceStep)
	defer tick.Stop()
	for i, ss := range all {
		for window > 0 && time.Since(began) < window*time.Duration(i)/time.Duration(len(all)) {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				return called
			}
		}
		if r := ss.relay.Load(); r != nil && (filter == nil || filter(ss)) {
			do(r)
			called++
		}
	}
	return called
}

// Detach ends the sessions of e, which is to go, within a window of time: each at the end of a message, with what Lost
// says. It returns how many it told so.
func (l *Sessions) Detach(ctx context.Context, e *upstream.Endpoint, window time.Duration) int {
	of := func(ss *Session) bool { return ss.endpoint == e }
	return l.Each(ctx, of, window, func(r *relay.Session) { r.Detach(causeDrain) })
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
