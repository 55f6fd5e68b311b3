package main

import (
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// healthChanged tells the operator, once, that an endpoint has turned healthy or unhealthy. The sessions of an unhealthy one follow
// websocket.onUnhealthy.
func (g *gateway) healthChanged(e *upstream.Endpoint) {
	h := e.Health()
	switch {
	case h.State == upstream.Unhealthy:
		g.log.Warn("endpoint unhealthy", "service", e.Service(), "instance", e.ID, "address", e.Address(), "err", h.Err, "sessions", e.Sessions())
		g.server.EndpointUnhealthy(e)
	case h.Failed > 0:
		g.server.EndpointJoined(e)
		g.log.Info("endpoint healthy", "service", e.Service(), "instance", e.ID, "address", e.Address())
	default: // nobody doubted it
		g.log.Debug("endpoint healthy", "service", e.Service(), "instance", e.ID, "address", e.Address())
	}
}

// endpointEjected tells the operator that an endpoint takes nothing new for a while. Its sessions stay.
func (g *gateway) endpointEjected(e *upstream.Endpoint) {
	j := e.Ejection()
	g.log.Warn("endpoint ejected", "service", e.Service(), "instance", e.ID, "address", e.Address(), "reason", j.Why,
		"until", j.Until.UTC().Format(time.RFC3339), "for", j.Until.Sub(j.Since), "ejections", j.Times, "sessions", e.Sessions())
}

// endpointReturned tells that it takes sessions and requests again.
func (g *gateway) endpointReturned(e *upstream.Endpoint) {
	g.server.EndpointJoined(e)
	g.log.Info("endpoint no longer ejected", "service", e.Service(), "instance", e.ID, "address", e.Address())
}
