package proxy

import (
	"net/url"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// unrouted says what is wrong with a handshake that no route takes. While an Eureka source
// is on, paths that look like Zowe's get its texts; all others are 404.
func (s *Server) unrouted(x *exchange) *failure {
	f := notFound(x.target)
	if reason := zoweReason(x.table, x.path); s.EurekaOn && reason != "" {
		f.http, f.code, f.reason, f.cause = false, websocket.Unsupported, reason, reason
	}
	return f
}

// zoweReason splits a path as Zowe v1.25 does (zowe.md, sections 1.2 and 2) and tells what
// it finds wrong: "/ws/{version}/{serviceId}/rest" or "/{serviceId}/{any}/{version}/rest".
// It is empty unless the first or the second segment is "ws".
func zoweReason(t *route.Table, path string) string {
	parts := strings.SplitN(path, "/", 5)
	if len(parts) < 2 || parts[1] != "ws" && (len(parts) < 3 || parts[2] != "ws") {
		return ""
	}
	if len(parts) != 5 {
		return "Invalid URL format"
	}
	service, version := parts[1], parts[3]
	if parts[1] == "ws" {
		service, version = parts[3], parts[2]
	}
	if decoded, err := url.PathUnescape(service); err == nil {
		service = decoded
	}
	if !t.KnownService(service) {
		return "Requested service " + service + " is not known by the gateway"
	}
	return "Requested ws/" + version + " url is not known by the gateway"
}
