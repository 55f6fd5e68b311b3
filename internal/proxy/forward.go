package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
)

// hopByHop are the headers that concern one connection (RFC 9110, section 7.6.1), and those
// that old peers treat so. They are never passed on.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authorization", "Http2-Settings",
}

// endToEnd are headers that a Connection header may not name: a client could otherwise
// make the gateway drop what the service relies on (CVE-2024-45410 and its kin).
var endToEnd = map[string]bool{
	"Authorization": true, "Cookie": true, "Host": true, "Origin": true, "Content-Length": true, "Content-Type": true,
	"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Port": true,
	"X-Forwarded-Proto": true, "X-Forwarded-Prefix": true, "X-Request-Id": true, "Set-Cookie": true,
}

// gatewaySet are the headers that the gateway writes itself; what a client sends under
// these names, or under a spelling that some servers take for them, does not pass.
var gatewaySet = map[string]bool{
	"X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Port": true, "X-Forwarded-Proto": true,
	"X-Forwarded-Prefix": true, "Forwarded": true, "X-Request-Id": true,
}

// assertedByGateway are headers by which services of this family learn of a client
// certificate that the gateway has verified (zowe.md, section 5.5): no client may send them.
var assertedByGateway = []string{"X-Certificate-Public", "X-Certificate-Distinguishedname", "X-Certificate-Commonname"}

// removeHopByHop deletes from h what concerns one connection only, including what its
// Connection header names, save the end-to-end headers.
func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			name := http.CanonicalHeaderKey(textproto.TrimString(token))
			if !endToEnd[name] {
				delete(h, name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// keepEndToEnd removes from the Connection header the names that it may not carry.
func keepEndToEnd(h http.Header) {
	lines := h["Connection"]
	if len(lines) == 0 {
		return
	}
	var kept []string
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			token = textproto.TrimString(token)
			if token != "" && !endToEnd[http.CanonicalHeaderKey(token)] {
				kept = append(kept, token)
			}
		}
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// removeReserved deletes what only the gateway may say: Fairlead-* headers and aliases
// (X_Forwarded_For, X.Forwarded.For) of the headers that it sets.
func removeReserved(h http.Header) {
	for _, name := range assertedByGateway {
		delete(h, name)
	}
	for name := range h {
		if strings.HasPrefix(name, "Fairlead-") {
			delete(h, name)
			continue
		}
		if strings.ContainsAny(name, "_.") {
			plain := http.CanonicalHeaderKey(strings.NewReplacer("_", "-", ".", "-").Replace(name))
			if gatewaySet[plain] || strings.HasPrefix(plain, "Fairlead-") {
				delete(h, name)
			}
		}
	}
}

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

// originOf reads the origin of r. Forward headers are believed from trusted peers alone.
func originOf(r *http.Request, trusted []netip.Prefix) origin {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	o := origin{peer: peer, addr: peer.Addr(), proto: "http", host: r.Host}
	if r.TLS != nil {
		o.proto = "https"
	}
	if isTrusted(peer.Addr(), trusted) {
		o.trusted = true
		o.chain = strings.Join(r.Header["X-Forwarded-For"], ", ")
		o.elems = strings.Join(r.Header["Forwarded"], ", ")
		if p := r.Header.Get("X-Forwarded-Proto"); p == "http" || p == "https" {
			o.proto = p
		}
		if h := r.Header.Get("X-Forwarded-Host"); h != "" && !strings.ContainsAny(h, ", /\\@\"") {
			o.host = h
		}
		o.addr = lastUntrusted(o.chain, peer.Addr(), trusted)
	}
	o.port = portOf(o.host, o.proto)
	if o.trusted {
		if p := r.Header.Get("X-Forwarded-Port"); p != "" && strings.Trim(p, "0123456789") == "" && len(p) <= 5 {
			o.port = p
		}
	}
	return o
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
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		return port
	}
	if proto == "https" {
		return "443"
	}
	return "80"
}

// setForward writes the forward headers into h, each exactly once (RFC 7239 for Forwarded).
// prefix is the part of the path that the route replaced.
func (o *origin) setForward(h http.Header, prefix string) {
	for name := range gatewaySet {
		if name != "X-Request-Id" {
			delete(h, name)
		}
	}
	peer := o.peer.Addr().String()
	chain := peer
	if o.chain != "" {
		chain = o.chain + ", " + peer
	}
	h["X-Forwarded-For"] = []string{chain}
	h["X-Forwarded-Host"] = []string{o.host}
	h["X-Forwarded-Port"] = []string{o.port}
	h["X-Forwarded-Proto"] = []string{o.proto}
	h["X-Forwarded-Prefix"] = []string{prefix}
	if o.peer.Addr().Is6() {
		peer = `"[` + peer + `]"`
	}
	elem := "for=" + peer + ";host=" + quoted(o.host) + ";proto=" + o.proto
	if o.elems != "" {
		elem = o.elems + ", " + elem
	}
	h["Forwarded"] = []string{elem}
}

// quoted gives a value of a Forwarded parameter: a token as it is, anything else as a
// quoted string (RFC 7239, section 4).
func quoted(s string) string {
	if s != "" && strings.Trim(s, harmless+"!#$%&'*+^`|~") == "" {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
