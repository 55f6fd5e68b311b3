package main

import (
	"cmp"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/fairlead-gateway/fairlead/internal/admin"
	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/eureka"
	"github.com/fairlead-gateway/fairlead/internal/provider"
)

// openCluster makes the reader of the Eureka cluster that c names.
func openCluster(c *config.Config, log *slog.Logger) (*eureka.Cluster, error) {
	options, err := c.Eureka.Options(c.Upstream.TLS, log)
	if err != nil {
		return nil, c.ErrorAt("eureka", err, "")
	}
	cluster, err := eureka.NewCluster(c.Eureka, options, log)
	if err != nil {
		return nil, c.ErrorAt("eureka", err, "")
	}
	return cluster, nil
}

// openPeers names the registry's peers to it.
func (g *gateway) openPeers(c *config.Config) error {
	if len(c.Registry.Peers) == 0 {
		return nil
	}
	options, err := c.Registry.PeerClient.Options(c.Upstream.TLS, g.log)
	if err != nil {
		return c.ErrorAt("registry.peerClient", err, "")
	}
	if err := g.registry.ReplicateWith(c.Registry.Peers, options); err != nil {
		return c.ErrorAt("registry.peers", err, "")
	}
	return nil
}

// announce has the cluster know this gateway: at its first listener with TLS, else at its first one.
func (g *gateway) announce() {
	c := g.started
	if !c.Eureka.Registers() {
		return
	}
	at, secure := "", false
	for i, l := range c.Gateway.ListenersOrDefault() {
		if i == 0 || l.TLS != nil && !secure {
			at, secure = l.Name, l.TLS != nil
		}
	}
	for _, b := range g.server.Bound() {
		if b.Name != at {
			continue
		}
		if host, text, err := net.SplitHostPort(b.Address); err == nil {
			port, _ := strconv.Atoi(text) // it was listened on
			if ip, err := netip.ParseAddr(host); err != nil || ip.IsUnspecified() {
				host = ""
			}
			g.cluster.Announce(eureka.GatewayInstance(cmp.Or(c.Eureka.HostName, host), port, secure, buildVersion().Version, c.Eureka.ServiceURLs[0]))
			return
		}
	}
}

// instances reads all registries; nil: there is none.
func (g *gateway) instances() func() []*eureka.Instance {
	if g.source == nil {
		return nil
	}
	return g.source.Instances
}

// kubernetesState reads how the Kubernetes cluster fares; nil: there is none.
func (g *gateway) kubernetesState() func() admin.KubernetesState {
	if g.kubernetes == nil {
		return nil
	}
	return func() admin.KubernetesState {
		s := g.kubernetes.State()
		programmed := slices.ContainsFunc(g.manager.Status(), func(p provider.Status) bool { return p.Name == g.objects.Name() && p.Sets > 0 })
		return admin.KubernetesState{Ready: s.Ready && programmed, Age: s.Age, Writes: s.Writes, Unread: len(s.Unread)}
	}
}

// clusterStatus reads how the cluster fares; nil: there is none.
func (g *gateway) clusterStatus() func() eureka.ClusterStatus {
	if g.cluster == nil {
		return nil
	}
	return g.cluster.Status
}
