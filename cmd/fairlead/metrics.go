package main

import (
	"net/http"
	"time"

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
	if g.kubernetes != nil {
		from.Kubernetes = func() (time.Duration, bool) {
			s := g.kubernetes.State()
			return s.Age, s.Writes
		}
	}
	if g.registry != nil {
		from.Registry, from.Peers = g.registry.Stats, g.registry.Peers
	}
	return metrics.Handler(from)
}
