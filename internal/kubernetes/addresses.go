package kubernetes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// everyInterface is the address that the status of a Gateway shows if it is bound on every interface.
const everyInterface = "0.0.0.0"

// An address is one that a Gateway is to be bound to.
type address struct {
	ip      netip.Addr // not valid: every interface
	kind    gatewayv1.AddressType
	unknown bool     // there is no such address, so that nothing is tried
	refusal *refusal // why it is not bound; nil: it is
}

func (a *address) value() string {
	if !a.ip.IsValid() {
		return everyInterface
	}
	return a.ip.String()
}

// assignAddresses gives each Gateway its addresses: those that it asks for, or one of the pool, or every interface.
//
// Which one of the pool depends on the Gateway's name, and where that is taken, on which Gateways are older. So it stays the same from
// one translation to the next, in another process too, and a new Gateway never moves an older one; nothing has to be remembered.
func (t *translation) assignAddresses() {
	taken := make(map[netip.Addr]bool)
	for _, gw := range t.ordered {
		for i := range gw.Spec.Addresses {
			if ip, err := netip.ParseAddr(gw.Spec.Addresses[i].Value); err == nil {
				taken[ip] = true
			}
		}
	}
	for _, gw := range t.ordered {
		skipped := false
		for i := range gw.Spec.Addresses {
			if !t.asked(gw, i, taken) {
				skipped = true
			}
		}
		if len(gw.Spec.Addresses) == 0 || skipped && len(gw.addresses) == 0 {
			gw.addresses = append(gw.addresses, t.anyAddress(gw, taken))
		}
		if gw.refusal != nil {
			gw.addresses = nil
		}
	}
}

// asked takes up spec.addresses[i]. It returns false if that is skipped, since it speaks to another controller.
func (t *translation) asked(gw *gateway, i int, taken map[netip.Addr]bool) bool {
	want := &gw.Spec.Addresses[i]
	kind := orElse(want.Type, gatewayv1.IPAddressType)
	ip, err := netip.ParseAddr(want.Value)
	switch {
	case kind == gatewayv1.IPAddressType && want.Value == "":
		gw.addresses = append(gw.addresses, t.anyAddress(gw, taken))
	case (kind == gatewayv1.IPAddressType || kind == gatewayv1.HostnameAddressType) && err == nil:
		if !slices.ContainsFunc(gw.addresses, func(has *address) bool { return has.ip == ip }) {
			gw.addresses = append(gw.addresses, &address{ip: ip, kind: kind})
		}
	case kind == gatewayv1.IPAddressType:
		gw.addresses = append(gw.addresses, &address{kind: kind, unknown: true, refusal: refusef(gatewayv1.GatewayReasonAddressNotUsable,
			"spec.addresses[%d]: %q is no IP address", i, want.Value)})
	case gw.foreign && strings.Contains(string(kind), "/"):
		t.problem("Gateway", gw, fmt.Sprintf("spec.addresses[%d]: type %s is skipped: it speaks to another controller", i, kind))
		return false
	case gw.refusal == nil:
		hint := "write type IPAddress"
		if kind == gatewayv1.HostnameAddressType {
			hint = "write the address that it stands for, with type IPAddress"
		}
		gw.refusal = refusef(gatewayv1.GatewayReasonUnsupportedAddress,
			"spec.addresses[%d]: type %s with value %q is not supported: %s", i, kind, want.Value, hint)
	}
	return true
}

// anyAddress is an address for a Gateway that does not say which.
func (t *translation) anyAddress(gw *gateway, taken map[netip.Addr]bool) *address {
	a := &address{kind: gatewayv1.IPAddressType}
	if !t.Addresses.IsValid() {
		return a
	}
	ip, ok := fromPool(t.Addresses, nameOf(gw).String(), taken)
	if !ok {
		a.unknown = true
		a.refusal = refusef(gatewayv1.GatewayReasonAddressNotAssigned,
			"every address of %s is taken: remove a Gateway or make the pool larger", t.Addresses)
		return a
	}
	taken[ip] = true
	a.ip = ip
	return a
}

// maxPoolBits bounds how much of a pool is looked at: 2 to this power addresses.
const maxPoolBits = 16

// fromPool returns a free address of a pool, the same for the same name while the same are taken. The first and the last address of
// a pool of more than two are not given away: they name the network, and all of it.
func fromPool(pool netip.Prefix, name string, taken map[netip.Addr]bool) (netip.Addr, bool) {
	bits := min(pool.Addr().BitLen()-pool.Bits(), 32)
	size, first := uint64(1)<<bits, uint64(0)
	if size > 2 {
		size, first = size-2, 1
	}
	sum := fnv.New64a()
	sum.Write([]byte(name))
	start := sum.Sum64()
	base := pool.Masked().Addr()
	for i := range min(size, 1<<maxPoolBits) {
		ip := plus(base, first+(start+i)%size)
		if !taken[ip] {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// plus is the address n behind base, whose last bits are zero: as many as n has.
func plus(base netip.Addr, n uint64) netip.Addr {
	b := base.AsSlice()
	low := b[len(b)-4:]
	binary.BigEndian.PutUint32(low, binary.BigEndian.Uint32(low)|uint32(n)) //nolint:gosec // fromPool takes 32 bits at most
	ip, _ := netip.AddrFromSlice(b)
	return ip
}

// heldPorts says which addresses have a port of a network, and who has them.
type heldPorts struct {
	byAddress map[netip.Addr]string
	all       string // who is bound on every interface
	any       string // who took the port first on any address
}

// heldBy tells who keeps ip from being bound; not valid or unspecified: every interface.
func (h *heldPorts) heldBy(ip netip.Addr) string {
	if h.all != "" || !everywhere(ip) {
		return orText(h.all, h.byAddress[ip])
	}
	return h.any
}

func (h *heldPorts) hold(ip netip.Addr, who string) {
	h.any = orText(h.any, who)
	if everywhere(ip) {
		h.all = orText(h.all, who)
		return
	}
	if h.byAddress == nil {
		h.byAddress = make(map[netip.Addr]string)
	}
	h.byAddress[ip] = orText(h.byAddress[ip], who)
}

func everywhere(ip netip.Addr) bool { return !ip.IsValid() || ip.IsUnspecified() }

func orText(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// claimPorts gives each port of each address to the oldest Gateway with a listener for it, and refuses the listeners of others.
func (t *translation) claimPorts() {
	held := make(map[string]*heldPorts)
	at := func(network string, port uint16) *heldPorts {
		key := fmt.Sprint(network, port)
		if held[key] == nil {
			held[key] = new(heldPorts)
		}
		return held[key]
	}
	reserved := slices.SortedFunc(maps.Keys(t.Reserved), netip.AddrPort.Compare)
	for _, address := range reserved {
		at("tcp", address.Port()).hold(address.Addr(), t.Reserved[address])
	}
	for _, gw := range t.ordered {
		claimed := make(map[string]*refusal) // by socket: its listeners hold a port together
		for l := range gw.listeners() {
			if l.transport == "" || l.conflict != nil || l.unaccepted != nil || gw.refusal != nil {
				continue
			}
			why, known := claimed[l.socket()]
			if !known {
				why = gw.claim(l, at((&route.Listener{Transport: l.transport}).Network(), t.bound(l)))
				claimed[l.socket()] = why
			}
			l.unaccepted = why
		}
	}
}

// claim takes the port of l on every address of its Gateway, or on none.
func (gw *gateway) claim(l *listener, held *heldPorts) *refusal {
	for _, a := range gw.addresses {
		if who := held.heldBy(a.ip); who != "" && !a.unknown {
			return refusef(gatewayv1.ListenerReasonPortUnavailable,
				"port %d of %s is held by %s: choose another port or address", l.spec.Port, a.value(), who)
		}
	}
	for _, a := range gw.addresses {
		if !a.unknown {
			held.hold(a.ip, "Gateway "+nameOf(gw).String())
		}
	}
	return nil
}

// bound is the port where a listener is bound.
func (t *translation) bound(l *listener) uint16 { return uint16(int(l.spec.Port) + t.PortOffset) } //nolint:gosec // examine has checked it

// unbound takes up why a listener's address could not be bound.
func (gw *gateway) unbound(a *address, port []*listener, err error) {
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		err = errno // without the address, which the messages name
	}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		a.refusal = refusef(gatewayv1.GatewayReasonAddressNotUsable,
			"address %s: %v: it has to be an address of this machine", a.value(), err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
		a.refusal = refusef(gatewayv1.GatewayReasonNoResources, "address %s: %v", a.value(), err)
	default:
		hint := ""
		if errors.Is(err, syscall.EACCES) {
			hint = ": binding it needs a right that this process does not have; a port offset does without"
		}
		for _, l := range port {
			l.unaccepted = refusef(gatewayv1.ListenerReasonPortUnavailable,
				"port %d of %s: %v%s", l.spec.Port, a.value(), err, hint)
		}
		return
	}
	for _, l := range port {
		l.down = a.refusal
	}
}
