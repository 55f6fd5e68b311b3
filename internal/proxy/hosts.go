package proxy

import (
	"net/http"
	"strconv"
	"strings"
)

// serveProgrammed serves a request that came by a listener of the table: its host is found, and then the host's rules decide.
func (s *Server) serveProgrammed(x *exchange, upgrade bool) {
	if f := x.findHost(); f != nil {
		s.reject(x, f)
		return
	}
	s.serveRule(x, upgrade)
}

// findHost sets what the request belongs to: the most specific host for its name, whose rules alone count (Gateway API,
// "listener isolation").
func (x *exchange) findHost() *failure {
	x.listener = x.conn.listener.dynamic.in(x.table)
	if x.listener == nil { // it is being closed
		return notFound(x.target)
	}
	if !x.origin.trusted && strings.LastIndexByte(x.origin.host, ':') <= strings.LastIndexByte(x.origin.host, ']') {
		x.origin.port = strconv.Itoa(int(x.listener.Port)) // the client has named none
	}
	x.hostname = bareHost(x.request.Host)
	if x.host = x.listener.Host(x.hostname); x.host == nil {
		return notFound(x.target)
	}
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

func misdirected(target string) *failure {
	return &failure{
		status: http.StatusMisdirectedRequest, cause: "misdirected: the connection is not for that host", http: true,
		message: ErrorMessage("ZWEAM104E", "org.zowe.apiml.common.endPointNotFound", "The endpoint you are looking for '%s' could not be located over this connection", target),
	}
}
