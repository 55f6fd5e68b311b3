package main

import (
	"net/http"

	"github.com/fairlead-gateway/fairlead/internal/metrics"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// metrics is the handler of /application/metrics.
func (g *gateway) metrics(pool *upstream.Pool) http.Handler {
	v := buildVersion()
	from := metrics.Sources{
		Counts: g.server.Counts, Table: g.manager.Table, Pool: pool, LinesLost: g.accessLog.Dropped, Cluster: g.clusterStatus(),
		Version: v.Version, Commit: v.Commit,
	}
	if g.registry != nil {
		from.Registry, from.Peers = g.registry.Stats, g.registry.Peers
	}
	return metrics.Handler(from)
}
