package proxy

import (
	"net"
	"net/netip"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// An origin is what the gateway knows of the client behind a request: its own
// observation, or what a trusted proxy says.
type origin struct {
	peer    netip.AddrPort // of the connection
	addr    netip.Addr     // of the client
	proto   string         // http or https, as the client speaks
	host    string         // the Host the client asked for
	port    string         // the port that goes with it
	chain   string         // X-Forwarded-For received from a trusted proxy, "" otherwise
	elems   string         // Forwarded received from a trusted proxy, "" otherwise
	trusted bool
}

// originOf reads the origin of a request. Forward headers are believed from trusted peers alone.
func originOf(c *clientConn, r *http1.Request, trusted []netip.Prefix) origin {
	o := origin{peer: c.peer, addr: c.peer.Addr(), proto: "http", host: r.Host}
	if c.secure {
		o.proto = "https"
	}
	if isTrusted(o.addr, trusted) {
		o.trusted = true
		o.chain = joined(r.Fields, "X-Forwarded-For")
		o.elems = joined(r.Fields, "Forwarded")
		if p := r.Fields.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
			o.proto = p
		}
		if h := r.Fields.Get("X-Forwarded-Host"); http1.ValidHost(h) {
			o.host = h
		}
		o.addr = lastUntrusted(o.chain, o.addr, trusted)
	}
	o.port = portOf(o.host, o.proto)
	if o.trusted {
		if p := r.Fields.Get("X-Forwarded-Port"); p != "" && len(p) <= 5 && strings.Trim(p, "0123456789") == "" {
			o.port = p
		}
	}
	return o
}

// joined is the one list that all values of name make.
func joined(fields http1.Fields, name string) string {
	if fields.Count(name) == 1 {
		return fields.Get(name)
	}
	return strings.Join(fields.Values(name), ", ")
}

func isTrusted(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// lastUntrusted walks X-Forwarded-For from its end: every trusted proxy vouches for the
// address before its own, the first that is not trusted is the client.
func lastUntrusted(chain string, peer netip.Addr, trusted []netip.Prefix) netip.Addr {
	client := peer
	hops := strings.Split(chain, ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return client
		}
		client = a.Unmap()
		if !isTrusted(client, trusted) {
			return client
		}
	}
	return client
}

func portOf(host, proto string) string {
	if strings.IndexByte(host, ':') >= 0 {
		if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
			return port
		}
	}
	if proto == "https" {
		return "443"
	}
	return "80"
}

// forwards are how a request's fields go on to a service.
type forwards struct {
	prefix    string // the part of the path that the route replaced
	sessionID string // of a handshake; "" for a plain request
	trailers  bool   // the body that goes to the service can have trailers
	edits     edits  // of the rule and its backend

	stay *route.Persistence // under whose name the client shows what is no service's business; nil: nothing
}

// appendFields appends the client's end-to-end fields as they came, in their order and spelling,
// and behind them what the gateway says: each forward header exactly once, its hop, the ids.
func (x *exchange) appendFields(b []byte, to *forwards) []byte {
	fields := x.request.Fields
	for i := range fields {
		if !x.passes(i, to) || to.edits.replace(fields[i].Name) {
			continue
		}
		value, ok := x.withheld.of(fields[i], x.kinds[i])
		if ok && to.stay != nil {
			value, ok = hidden(&http1.Field{Name: fields[i].Name, Value: value}, to.stay)
		}
		if ok {
			b = http1.AppendField(b, fields[i].Name, value)
		}
	}
	if x.trailers && to.sessionID == "" {
		b = append(b, "TE: trailers\r\nConnection: TE\r\n"...) // RFC 9110, section 10.1.4
	}
	if len(to.edits) > 0 {
		b = x.appendForwardEdited(b, to)
	} else {
		b = x.appendForward(b, to.prefix)
	}
	b = append(b, hopHeader+": "...)
	if x.hops != "" {
		b = append(append(b, x.hops...), ", "...)
	}
	b = append(append(b, x.hopID...), "\r\n"...)
	b = http1.AppendField(b, "X-Request-Id", x.record.RequestID)
	if to.sessionID != "" {
		b = http1.AppendField(b, "Fairlead-Session-Id", to.sessionID)
	}
	return to.edits.append(b)
}

// passes tells whether field i of the client's goes on to the service as it is.
func (x *exchange) passes(i int, to *forwards) bool {
	kind, handshake := x.kinds[i], to.sessionID != ""
	switch kind {
	case fieldOther, fieldEndToEnd, fieldUserAgent, fieldReferer, fieldLocation, fieldAuthorization:
	case fieldTrailer:
		return to.trailers
	case fieldExpect:
		return x.request.Expect
	case fieldHandshake:
		if handshake {
			return false
		}
	default:
		return false
	}
	return !x.named || !named(x.request.Fields, x.request.Fields[i].Name, kind)
}

// appendForward appends the forward headers (RFC 7239 for Forwarded).
func (x *exchange) appendForward(b []byte, prefix string) []byte {
	o := &x.origin
	b = append(b, "X-Forwarded-For: "...)
	if o.chain != "" {
		b = append(append(b, o.chain...), ", "...)
	}
	b = append(o.peer.Addr().AppendTo(b), "\r\n"...)
	b = http1.AppendField(b, "X-Forwarded-Host", o.host)
	b = http1.AppendField(b, "X-Forwarded-Port", o.port)
	b = http1.AppendField(b, "X-Forwarded-Proto", o.proto)
	if prefix != "" || !x.ofGateway() {
		b = http1.AppendField(b, "X-Forwarded-Prefix", prefix)
	}
	b = append(b, "Forwarded: "...)
	if o.elems != "" {
		b = append(append(b, o.elems...), ", "...)
	}
	b = append(b, "for="...)
	if o.peer.Addr().Is6() {
		b = append(o.peer.Addr().AppendTo(append(b, `"[`...)), `]"`...)
	} else {
		b = o.peer.Addr().AppendTo(b)
	}
	b = appendQuoted(append(b, ";host="...), o.host)
	b = append(append(b, ";proto="...), o.proto...)
	return append(b, "\r\n"...)
}

// appendQuoted appends a value of a Forwarded parameter: what is certainly a token as it is, anything else as a
// quoted string (RFC 7239, section 4).
func appendQuoted(b []byte, s string) []byte {
	if isHarmless(s) {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '\\' || s[i] == '"' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// answerFields takes from a service's answer, in place, what concerns its connection only or what
// the gateway says itself, and adds the request id. The rest keeps its order and spelling.
func (x *exchange) answerFields(fields http1.Fields) http1.Fields {
	x.answerKinds = kindsOf(fields, x.answerKinds)
	kept, names := fields[:0], namesFields(fields, x.answerKinds)
	if names {
		fields = fields.Clone() // the Connection field is read while the array is written
	}
	for i, kind := range x.answerKinds {
		switch kind {
		case fieldConnection, fieldHop, fieldUpgrade, fieldTE, fieldTransferEncoding, fieldRequestID:
			continue
		}
		if names && named(fields, fields[i].Name, kind) {
			continue
		}
		kept = append(kept, fields[i])
	}
	kept.Add("X-Request-Id", x.record.RequestID)
	return kept
}
