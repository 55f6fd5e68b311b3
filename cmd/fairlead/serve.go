package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"

	"github.com/fairlead-gateway/fairlead/internal/config"
	"github.com/fairlead-gateway/fairlead/internal/kubernetes"
	"github.com/fairlead-gateway/fairlead/internal/proxy"
)

// whatToServe are the flags that say where the configuration and the routes come from.
type whatToServe struct {
	Config     string   `placeholder:"FILE" help:"Configuration (fairlead.yaml). Without one the defaults hold." type:"path"`
	Manifests  []string `placeholder:"DIR" help:"File or directory of Gateway API YAML; may be given several times. Added to those of the configuration." type:"path" sep:"none"`
	PortOffset *int     `placeholder:"N" help:"Added to the port of every Gateway's listener: 8000 makes 80 to 8080."`
	To         []string `placeholder:"[PATH=]URL" help:"Send everything, or what is below PATH, to ws://host:port (or wss, http, https); no file is needed. May be given several times." sep:"none"`
	Listen     string   `default:":8080" placeholder:"ADDRESS" help:"Where --to listens (default :8080)."`
}

// load reads the configuration, and puts the flags over it.
func (w *whatToServe) load() (*config.Config, error) {
	c, err := config.Load(w.Config)
	if err != nil {
		return nil, err
	}
	c.Manifests = append(c.Manifests, w.Manifests...)
	if w.PortOffset != nil {
		c.Kubernetes.PortOffset = *w.PortOffset
	}
	if len(w.To) > 0 && w.Config == "" { // no registry, and nothing for strangers but what was asked for
		off := false
		c.Registry.Enabled = &off
		c.Gateway.Listeners = []proxy.ListenerConfig{{Name: "admin", Address: "127.0.0.1:10080"}}
	}
	return c, nil
}

// objects is where Gateway API objects come from; nil: nowhere. log gets notices of what is skipped; nil: nobody does.
func (w *whatToServe) objects(c *config.Config, log *slog.Logger) (kubernetes.Source, error) {
	switch {
	case c.Kubernetes.Enabled && len(w.To)+len(c.Manifests) > 0:
		return nil, errors.New("objects come from one place: kubernetes.enabled goes without manifests and without --to")
	case c.Kubernetes.Enabled:
		cluster, err := kubernetes.NewCluster(c.Kubernetes, log)
		if err != nil {
			return nil, c.ErrorAt("kubernetes.kubeconfig", err, "")
		}
		return cluster, nil
	case len(w.To) > 0 && len(c.Manifests) > 0:
		return nil, errors.New("--to goes without manifests: add an HTTPRoute to them instead")
	case len(w.To) > 0:
		return kubernetes.To(w.Listen, w.To)
	case len(c.Manifests) > 0:
		return &kubernetes.Files{Paths: c.Manifests, Log: log}, nil
	}
	return nil, nil
}

// translationOf is how objects are translated under a configuration, but for what only a running gateway knows.
func translationOf(c *config.Config) kubernetes.Options {
	o := kubernetes.Options{
		AnyClass: !c.Kubernetes.Enabled, PortOffset: c.Kubernetes.PortOffset, ProbeFromPods: c.Kubernetes.ProbeFromPods, Defaults: c.Defaults,
	}
	o.Addresses, _ = netip.ParsePrefix(c.Kubernetes.AddressPool) // the configuration has been checked
	return o
}

// reserved are the addresses that the configuration itself names, and where.
func reserved(c *config.Config) map[netip.AddrPort]string {
	taken := map[netip.AddrPort]string{}
	take := func(address, name string) {
		host, port, err := net.SplitHostPort(address)
		n, bad := strconv.ParseUint(port, 10, 16)
		if err != nil || bad != nil || n == 0 {
			return
		}
		at, _ := netip.ParseAddr(host) // a name is no address that a Gateway could ask for
		if at.IsUnspecified() {
			at = netip.Addr{}
		}
		taken[netip.AddrPortFrom(at, uint16(n))] = name
	}
	for i, l := range c.Gateway.ListenersOrDefault() {
		take(l.Address, fmt.Sprintf("gateway.listeners[%d] (%s)", i, l.Name))
	}
	if c.Registry.On() {
		take(c.Registry.ListenAddress(), "registry.address")
	}
	return taken
}
