package kubernetes

import (
	"fmt"
	"net/netip"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// openListeners makes what the data plane opens: one route.Listener for each port of each address of a Gateway, on which all
// its listeners and those of its ListenerSets are Hosts. What could not be bound stays in it, to be tried again.
func (t *translation) openListeners() {
	for _, gw := range t.ordered {
		bySocket := make(map[string][]*listener)
		var order []string
		for l := range gw.listeners() {
			if !l.valid() {
				continue
			}
			l.host = &route.Host{Name: l.name(), Hostname: l.hostname, TLS: l.tls, Raw: !l.takesHTTP()}
			key := l.socket()
			if bySocket[key] == nil {
				order = append(order, key)
			}
			bySocket[key] = append(bySocket[key], l)
		}
		for _, key := range order {
			t.openPort(gw, bySocket[key])
		}
	}
}

// openPort opens one port of a Gateway, which at least one listener has.
func (t *translation) openPort(gw *gateway, port []*listener) {
	hosts := make([]*route.Host, len(port))
	for i, l := range port {
		hosts[i] = l.host
	}
	binds := gw.binds()
	for _, l := range port {
		if len(binds) == 0 && len(gw.addresses) > 0 {
			l.down = gw.addresses[0].refusal
		}
	}
	for _, a := range binds {
		rl := &route.Listener{
			Name:      fmt.Sprintf("%s:%d", nameOf(gw), port[0].spec.Port),
			Address:   netip.AddrPortFrom(a.ip, t.bound(port[0])),
			Transport: port[0].transport,
			Port:      uint16(port[0].spec.Port), //nolint:gosec // examine has checked it
			Hosts:     hosts,
		}
		t.result.Set.Listeners = append(t.result.Set.Listeners, rl)
		if err := t.Unbound[rl.Key()]; err != nil {
			gw.unbound(a, port, err)
		}
	}
}

// binds are the addresses that have to be bound: every interface covers all others.
func (gw *gateway) binds() []*address {
	var list []*address
	for _, a := range gw.addresses {
		if a.unknown {
			continue
		}
		if everywhere(a.ip) {
			return []*address{a}
		}
		list = append(list, a)
	}
	return list
}
