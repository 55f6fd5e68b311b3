package main

import "github.com/fairlead-gateway/fairlead/internal/upstream"

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
