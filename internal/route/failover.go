package route

import (
	"strings"
	"time"
)

// Moving is what a Policy means to the moves of a session. FailoverBuffer and FailoverTimeout are always set; a DrainWindow of 0 is
// none: at once.
type Moving struct {
	FailoverBuffer  int64 // bytes
	FailoverTimeout time.Duration
	Drain           Wait
	DrainWindow     time.Duration
	OnUnhealthy     Wait
	Rebalance       Rebalance
}

// Moving returns the effective values.
func (p *Policy) Moving() Moving {
	ws := &p.WebSocket
	m := Moving{
		FailoverBuffer: int64(ws.FailoverBuffer), FailoverTimeout: positive(ws.FailoverTimeout, defaultFailoverTimeout),
		Drain: ws.Drain, DrainWindow: max(ws.DrainWindow, 0), OnUnhealthy: ws.OnUnhealthy, Rebalance: ws.Rebalance,
	}
	if m.FailoverBuffer <= 0 {
		m.FailoverBuffer = defaultFailoverBuffer
	}
	if ws.DrainWindow == 0 {
		m.DrainWindow = defaultDrainWindow
	}
	if m.Drain == "" {
		m.Drain = WaitForEnd
	}
	if m.OnUnhealthy == "" {
		m.OnUnhealthy = WaitForEnd
	}
	return m
}

// On tells that sessions are to outlive their endpoint, if they can.
func (f Failover) On() bool { return f != "" && f != FailoverOff }

// FailoverOf is what Failover comes to for a session with that raw query, with or without its "?", and that agreed subprotocol:
// FailoverReconnect, FailoverReplay or FailoverOff. A service that agreed on a subprotocol, and Engine.IO's transports (their query
// has EIO, or sid), keep state for a session that another endpoint would not know.
func (w *WebSocket) FailoverOf(query, subprotocol string) Failover {
	switch w.Failover {
	case FailoverReconnect, FailoverReplay:
		return w.Failover
	case FailoverAuto:
		if subprotocol == "" && !hasParameter(query, "EIO") && !hasParameter(query, "sid") {
			return FailoverReconnect
		}
	}
	return FailoverOff
}

// hasParameter tells whether a raw query has a parameter of that name.
func hasParameter(query, name string) bool {
	for p := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if key, _, _ := strings.Cut(p, "="); key == name {
			return true
		}
	}
	return false
}
