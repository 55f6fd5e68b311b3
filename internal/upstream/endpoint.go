package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
)

// Spec says where one endpoint of a service is. Two equal Specs of one service are one endpoint.
type Spec struct {
	// ID is the name by which the source knows the endpoint: the Eureka instanceId, or the address.
	ID string

	// Scheme is http or https; a WebSocket uses the same connection rules (ws or wss).
	Scheme string

	// Host is a name, resolved at each dial, or an IP address without brackets.
	Host string

	// Port is the TCP port, 1 to 65535.
	Port int
}

// Address is host:port as the dialer wants it, with brackets around an IPv6 address.
func (s Spec) Address() string {
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// Secure tells whether the endpoint is dialled with TLS.
func (s Spec) Secure() bool { return s.Scheme == "https" }

// Endpoint is one place where a service runs. A Pool makes and owns it; it stays the same
// value across route tables, so whoever holds it for a session may ask it anything, any time.
type Endpoint struct {
	Spec                   // constant
	service string         // constant; the service's name
	address string         // constant
	id      uint64         // constant; see Identity
	literal netip.AddrPort // constant; not valid if Host is a name
	state   *state         // constant; of the service

	sessions atomic.Int64
	total    atomic.Uint64
	leaving  atomic.Bool              // written by the pool, under its lock
	drained  atomic.Bool              // an operator has said that it leaves
	security atomic.Pointer[security] // likewise; nil: the dialer's own
	target   *target                  // owned by the pool, under its lock; nil: not probed

	weight atomic.Int32 // written by the pool, under its lock; see Weight
	begun  atomic.Int64 // when it joined, or was well again: nanoseconds since the epoch by the pool's clock

	report atomic.Pointer[reported] // nil: there was none

	credit float64 // towards the next turn, where weights differ; guarded by the state's turns

	health  health
	outlier outlier
}

func newEndpoint(service string, spec Spec, secret []byte) *Endpoint {
	e := &Endpoint{Spec: spec, service: service, address: spec.Address(), id: identity(service, spec, secret)}
	if ip, err := netip.ParseAddr(spec.Host); err == nil && spec.Port > 0 && spec.Port < 1<<16 {
		e.literal = netip.AddrPortFrom(ip.Unmap(), uint16(spec.Port))
	}
	return e
}

// Literal is where the endpoint is, if its Host is an IP address: nothing is to be resolved. A name gives false.
func (e *Endpoint) Literal() (netip.AddrPort, bool) { return e.literal, e.literal.IsValid() }

// Service is the name of the service that the endpoint belongs to.
func (e *Endpoint) Service() string { return e.service }

// Address is host:port, as Spec's, without building it again.
func (e *Endpoint) Address() string { return e.address }

// Identity is a number by which the endpoint is known to clients: the same for an equal Spec of a service of that name in every
// process with that Secret, and another for any other, as far as 64 bits can tell.
func (e *Endpoint) Identity() uint64 { return e.id }

func identity(service string, spec Spec, secret []byte) uint64 {
	h := sha256.New()
	if secret != nil {
		h = hmac.New(sha256.New, secret)
	}
	for _, part := range [...]string{service, spec.ID, spec.Scheme, spec.Host, strconv.Itoa(spec.Port)} {
		_, _ = io.WriteString(h, strconv.Itoa(len(part))+":"+part) // a hash takes all
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Sessions is the number of acquisitions not yet released.
func (e *Endpoint) Sessions() int64 { return e.sessions.Load() }

// Total is the number of acquisitions since the endpoint became known.
func (e *Endpoint) Total() uint64 { return e.total.Load() }

// Leaving tells that the service's newest list does not hold the endpoint (it was
// deregistered, expired, or is registered but not UP), or that an operator drains it. It takes no new session. A session that
// loses a leaving endpoint ends in 1012 (try again, elsewhere), any other in 1011.
func (e *Endpoint) Leaving() bool { return e.leaving.Load() || e.drained.Load() }

// Drain makes the endpoint leave by an operator's word, or takes that word back. It holds until the endpoint is listed anew.
func (e *Endpoint) Drain(on bool) {
	if e.drained.Swap(on) && !on {
		e.begin()
	}
	e.state.keepHalf()
}

// Drained tells that the endpoint is leaving by an operator's word.
func (e *Endpoint) Drained() bool { return e.drained.Load() }

// Newest is the newest list of the endpoint's service.
func (e *Endpoint) Newest() *Service { return e.state.newest.Load() }

// TLS is the newest of the service's TLSSettings, nil if it has none. It is the same value for as long as they are equal:
// connections to the endpoint under another one were verified by other rules.
func (e *Endpoint) TLS() *TLSSettings {
	if s := e.security.Load(); s != nil {
		return s.TLSSettings
	}
	return nil
}

// Acquire counts a session on the endpoint until Release, which its owner calls once. Any goroutine.
func (e *Endpoint) Acquire() {
	e.sessions.Add(1)
	e.total.Add(1)
}

// Release gives the place of one Acquire, or of one Service.Take, back. Any goroutine.
func (e *Endpoint) Release() { e.sessions.Add(-1) }
