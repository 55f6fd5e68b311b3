package proxy

import (
	"net/http"
	"strconv"
	"strings"
)

// serveProgrammed serves a request that came by a listener of the table: its host is found, and then the host's rules decide.
func (s *Server) serveProgrammed(x *exchange, upgrade bool) {
	f := x.findHost()
	switch {
	case f == nil:
		s.serveRule(x, upgrade)
	case upgrade || f.status == http.StatusMisdirectedRequest || x.listener == nil:
		s.reject(x, f)
	default:
		defer s.logHTTP(x)
		s.fail(x, f)
	}
}

// findHost sets what the request belongs to: the most specific host for its name, whose rules alone count (Gateway API,
// "listener isolation"). Over TLS that has to be the host whose certificate the client has seen, and whose demands on
// clients it has met (RFC 9110, section 7.4).
func (x *exchange) findHost() *failure {
	x.listener = x.conn.listener.dynamic.find(x.table).at
	if x.listener == nil { // it is being closed
		return notFound(x.target)
	}
	if !x.origin.trusted && strings.LastIndexByte(x.origin.host, ':') <= strings.LastIndexByte(x.origin.host, ']') {
		x.origin.port = strconv.Itoa(int(x.listener.Port)) // the client has named none
	}
	x.hostname = bareHost(x.request.Host)
	host := x.listener.Host(x.hostname)
	if host == nil {
		return notFound(x.target)
	}
	if a := x.conn.admission; a != nil && (x.listener.Host(a.serverName) != host || !a.holds(host)) {
		return misdirected(x.target)
	}
	x.host = host
	return nil
}

// bareHost is the name in a Host field or an authority: no port, no dot at the end, lower case. An IPv6 address keeps no brackets.
func bareHost(authority string) string {
	host := authority
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host[1:], "]")
	} else if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// misdirected has the client ask over another connection (RFC 9110, section 15.5.20).
func misdirected(target string) *failure {
	return &failure{
		status: http.StatusMisdirectedRequest, cause: "misdirected: the connection is not for that host", http: true,
		detail: "This connection is not for the host of " + target + ": ask over one of its own.",
	}
}
