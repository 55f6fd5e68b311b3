package kubernetes

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// portClaim is what the listeners of one Gateway and its ListenerSets have taken of one port.
type portClaim struct {
	transport route.Transport
	contested bool                 // the Gateway's own listeners want it for different transports: nobody has it
	names     map[string]*listener // by hostname; TCP and UDP have ""
	first     *listener            // that took it, for messages
}

// socket is what two listeners of one Gateway cannot share unless they speak the same.
func (l *listener) socket() string {
	network := "tcp"
	if l.transport == route.TransportUDP {
		network = "udp"
	}
	return fmt.Sprint(network, l.spec.Port)
}

// resolveConflicts finds the listeners that are not distinct. Among those of one object nobody wins; those of the Gateway win
// over those of ListenerSets, and of those the earlier ones (GatewaySpec.listeners, ListenerSetSpec.listeners).
func (gw *gateway) resolveConflicts() {
	gw.settle(gw.own, true)
	for _, s := range gw.sets {
		gw.settle(s.listeners, false)
	}
	gw.findOverlaps()
}

// settle takes up the listeners of one object. Those of the Gateway itself keep others from what they name even if they conflict
// with each other; those of a ListenerSet do not.
func (gw *gateway) settle(listeners []*listener, own bool) {
	bySocket := make(map[string][]*listener)
	var order []string
	for _, l := range listeners {
		if l.transport == "" {
			continue
		}
		key := l.socket()
		if l.conflict = gw.loses(l, gw.claimed[key]); l.conflict != nil {
			continue
		}
		if bySocket[key] == nil {
			order = append(order, key)
		}
		bySocket[key] = append(bySocket[key], l)
	}
	for _, key := range order {
		among := bySocket[key]
		claim := gw.claimed[key]
		if claim == nil {
			claim = &portClaim{transport: among[0].transport, names: make(map[string]*listener), first: among[0]}
			gw.claimed[key] = claim
		}
		claim.settle(among)
		if own {
			continue
		}
		for _, l := range among {
			if l.conflict != nil && claim.names[l.hostname] == l {
				delete(claim.names, l.hostname)
			}
		}
		if len(claim.names) == 0 {
			delete(gw.claimed, key)
		}
	}
}

// settle finds conflicts among the listeners of one object on one port, and has the claim hold their hostnames.
func (claim *portClaim) settle(among []*listener) {
	for _, l := range among {
		if l.transport == claim.transport {
			continue
		}
		claim.contested = true
		for _, each := range among {
			other := l
			if each.transport == l.transport {
				other = among[0]
			}
			each.conflict = protocolConflict(each, other)
		}
		return
	}
	first := make(map[string]*listener, len(among))
	for _, l := range among {
		has := first[l.hostname]
		if has == nil {
			first[l.hostname], claim.names[l.hostname] = l, l
			continue
		}
		has.conflict, l.conflict = sameName(has, l), sameName(l, has)
	}
}

// loses says which earlier listener keeps l from its port; nil: none.
func (gw *gateway) loses(l *listener, claim *portClaim) *refusal {
	switch {
	case claim == nil:
		return nil
	case claim.contested:
		return refusef(gatewayv1.ListenerReasonProtocolConflict,
			"port %d: listeners before it disagree on its protocol", l.spec.Port)
	case claim.transport != l.transport:
		return protocolConflict(l, claim.first)
	}
	if has := claim.names[l.hostname]; has != nil {
		return sameName(l, has)
	}
	return nil
}

func protocolConflict(l, with *listener) *refusal {
	return refusef(gatewayv1.ListenerReasonProtocolConflict,
		"port %d: %s does not go with the %s of listener %s", l.spec.Port, l.spec.Protocol, with.spec.Protocol, with.spec.Name)
}

// sameName is the conflict of two listeners with one port and one hostname; TCP and UDP have no hostname to tell them apart by.
func sameName(l, with *listener) *refusal {
	if l.transport == route.TransportTCP || l.transport == route.TransportUDP {
		return refusef(gatewayv1.ListenerReasonProtocolConflict,
			"port %d: %s lets one listener have it, and listener %s names it too", l.spec.Port, l.spec.Protocol, with.spec.Name)
	}
	hostname := "every hostname"
	if l.hostname != "" {
		hostname = "hostname " + l.hostname
	}
	return refusef(gatewayv1.ListenerReasonHostnameConflict,
		"port %d: listener %s has %s too", l.spec.Port, with.spec.Name, hostname)
}

// findOverlaps marks listeners of one port under whose TLS a name could be meant for another one (ListenerConditionOverlappingTLSConfig).
func (gw *gateway) findOverlaps() {
	ports := make(map[string][]*listener)
	for l := range gw.listeners() {
		if l.transport == route.TransportTLS && l.conflict == nil {
			ports[l.socket()] = append(ports[l.socket()], l)
		}
	}
	for _, all := range ports {
		var before, after nameSet
		for i := range all {
			markOverlap(&before, all[i])
			markOverlap(&after, all[len(all)-1-i])
		}
	}
}

func markOverlap(seen *nameSet, l *listener) {
	if who, found := seen.overlap(l.hostname); found && l.overlaps == "" {
		l.overlaps = who
	}
	seen.add(l.hostname, string(l.spec.Name))
}
