package route

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Set is what a source publishes: whole, at once. Inside a Table it is immutable.
type Set struct {
	// Routes are found by path alone, on gateway.listeners: those of Eureka.
	Routes []Route

	// Listeners are opened for the source, and carry its own routes alone: those of Gateways.
	Listeners []*Listener
}

// Transport is what an address speaks before anything is known of who asks.
type Transport string

const (
	TransportHTTP Transport = "http" // plain HTTP/1.1, and HTTP/2 by prior knowledge
	TransportTLS  Transport = "tls"  // TLS: HTTPS, and connections passed through or terminated, told apart by server name
	TransportTCP  Transport = "tcp"  // bytes
	TransportUDP  Transport = "udp"  // datagrams
)

// Listener is one address and port that a source wants open, with all that is served on it. Two of one
// Table never have one address, port and network.
type Listener struct {
	// Name stands in logs: "default/gateway:80".
	Name string

	// Address is where to bind. An address that is not valid but for its port (AddrPort with the zero Addr)
	// is every interface.
	Address netip.AddrPort

	Transport Transport

	// Port is the port as the source wrote it, which differs from Address's under a port offset: it is what
	// matches mean.
	Port uint16

	// Hosts are what is served, in order of precedence for equal hostnames. At least one. Listeners of one set may share them.
	Hosts []*Host

	hosts   hostIndex[*Host] // of Hosts
	indexed bool             // hosts, and the indexes of Hosts, are made
}

// Network is "tcp" or "udp".
func (l *Listener) Network() string {
	if l.Transport == TransportUDP {
		return "udp"
	}
	return "tcp"
}

// Key is network and address, "tcp/127.0.0.1:80", or "udp/:53" for every interface: no two Listeners of a Table have one.
func (l *Listener) Key() string { return l.Network() + "/" + l.BindAddress() }

// BindAddress is Address as net.Listen wants it.
func (l *Listener) BindAddress() string {
	if !l.Address.Addr().IsValid() {
		return ":" + strconv.Itoa(int(l.Address.Port()))
	}
	return l.Address.String()
}

// Host is what a listener serves for the names that one hostname covers: a listener of the Gateway API.
type Host struct {
	// Name stands in logs and lists: "default/gateway/https".
	Name string

	// Hostname is "" (any), "a.example" or "*.example" (one label or more before ".example"), in lower case.
	Hostname string

	// TLS is set where TLS ends here; nil on plain transports and where TLS is passed through.
	TLS *HostTLS

	// Raw says that no HTTP is spoken here even while there are no Streams: what TLS decrypts waits for a TLSRoute.
	Raw bool

	// Rules are those of HTTP, in order of precedence where Match finds no other difference.
	Rules []Rule

	// Streams are those of TLS, TCP and UDP routes.
	Streams []Stream

	rules   hostIndex[*pathIndex] // of Rules
	streams hostIndex[*Stream]    // of Streams
	indexed bool                  // rules and streams are made
}

// HostTLS is how TLS ends at a Host.
type HostTLS struct {
	// Certificates are offered by what the client can verify: ECDSA beside RSA. At least one.
	Certificates []*tls.Certificate

	// ClientCAs is who may have signed a client's certificate; nil: none is asked for.
	ClientCAs *x509.CertPool

	// AllowInsecure lets clients in whose certificate is missing or not good (GEP-91: AllowInsecureFallback).
	AllowInsecure bool

	// ClientNames, if any, are the subject alternative names of which a client's certificate needs one.
	ClientNames []string

	// MinVersion and CipherSuites are as in tls.Config; zero: the gateway's own.
	MinVersion   uint16
	CipherSuites []uint16
}

// Rule is one rule of an HTTPRoute or GRPCRoute as it is attached to one Host.
type Rule struct {
	*Route

	// Hostnames are those for which the rule holds: the intersection of its route's with the host's. None: all of the host's.
	Hostnames []string

	// Matches are alternatives; none: everything.
	Matches []RuleMatch
}

// RuleMatch is a conjunction of conditions on a request (Gateway API, HTTPRouteMatch).
type RuleMatch struct {
	Path    PathMatch
	Method  string       // "": any
	Headers []ValueMatch // all of them; names compare without case
	Query   []ValueMatch // all of them; of repeated parameters the first counts
}

// String is the condition as a person reads it: "PathPrefix /a, GET, header X-A=1".
func (m RuleMatch) String() string {
	parts := []string{m.Path.String()}
	if m.Method != "" {
		parts = append(parts, m.Method)
	}
	for _, v := range m.Headers {
		parts = append(parts, "header "+v.String())
	}
	for _, v := range m.Query {
		parts = append(parts, "query "+v.String())
	}
	return strings.Join(parts, ", ")
}

// String is "PathPrefix /a", "Exact /a" or "RegularExpression /a.*".
func (m PathMatch) String() string {
	kind := "PathPrefix"
	switch m.Kind {
	case PathExact:
		kind = "Exact"
	case PathRegexp:
		kind = "RegularExpression"
	}
	if m.Value == "" {
		return kind + " /"
	}
	return kind + " " + m.Value
}

// String is "name=value", or "name~pattern".
func (m ValueMatch) String() string {
	if m.Regexp {
		return m.Name + "~" + m.Value
	}
	return m.Name + "=" + m.Value
}

// PathKind is how a path is compared.
type PathKind uint8

const (
	PathPrefix PathKind = iota // whole segments: "/a" covers "/a" and "/a/b", not "/ab"
	PathExact
	PathRegexp // RE2 over the whole path, anchored at both ends
)

// PathMatch is a condition on the raw path, compared segment by segment in canonical spelling (see Table.Match).
type PathMatch struct {
	Kind  PathKind
	Value string // begins with "/"; a regular expression for PathRegexp
}

// ValueMatch is a condition on one header field or query parameter.
type ValueMatch struct {
	Name   string
	Value  string // a regular expression (RE2, over the whole value) if Regexp
	Regexp bool
}

// Stream is a rule of a TLSRoute, TCPRoute or UDPRoute at one Host: connections are carried to a backend as they are.
type Stream struct {
	*Route

	// Hostnames are those of TLS whose server name it takes. None: all of the host's.
	Hostnames []string
}

// Backend is one target of a rule.
type Backend struct {
	// Name stands in logs and lists: "default/echo:8080".
	Name string

	// Weight is its share among the rule's backends. Zero: none.
	Weight int

	// Service holds its endpoints. Nil only if Invalid.
	Service *upstream.Service

	// Invalid says why the reference cannot be followed: its share is answered 500. "": it can.
	Invalid string

	// Filters are applied for this backend alone, behind the rule's. May be nil.
	Filters *Filters

	// Policy holds once the backend is chosen, where a RoutePolicy of its Service says more than the rule's; see PolicyFor. It is
	// complete. Nil: the rule's. What is asked before, authentication and limits, is the tighter of all in the rule's.
	Policy *Policy

	// Persistence keeps a client at its endpoint where the rule has no Persistence: the Service's own (GEP-1619). Nil: none.
	Persistence *Persistence

	// Budget bounds the retries to the Service, from all its routes together (GEP-3388). Nil: no bound.
	Budget *RetryBudget
}

// PolicyFor is what holds for a request or session that goes to b, one of the route's Backends.
func (r *Route) PolicyFor(b *Backend) *Policy {
	if b != nil && b.Policy != nil {
		return b.Policy
	}
	return r.Policy
}

// PersistenceFor is how a client is kept at an endpoint of b, one of the route's Backends; nil: it is not.
func (r *Route) PersistenceFor(b *Backend) *Persistence {
	if r.Persistence == nil && b != nil {
		return b.Persistence
	}
	return r.Persistence
}
