package proxy

import (
	"net/http"
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
	service, version, form := zoweParts(path, "ws")
	switch {
	case form == otherPath:
		return ""
	case form == badPath:
		return "Invalid URL format"
	case !t.KnownService(service):
		return "Requested service " + service + " is not known by the gateway"
	}
	return "Requested ws/" + version + " url is not known by the gateway"
}

// unroutedHTTP says what is wrong with a plain request that no route takes. While an Eureka source is on, paths of Zowe's
// server-sent events get its lines of text (zowe.md, section 5.1).
func (s *Server) unroutedHTTP(x *exchange) *failure {
	f := notFound(x.target)
	if !s.EurekaOn {
		return f
	}
	service, version, form := zoweParts(x.path, "sse")
	switch {
	case form == otherPath:
	case form == badPath:
		f.status, f.cause = http.StatusBadRequest, "bad request: no path of server-sent events"
		f.text = "ZWEAG712E The URI '" + x.path + "' is an invalid format"
	case !x.table.KnownService(service):
		f.text = "ZWEAG700E No instance of the service '" + service + "' found. Routing will not be available."
	default:
		f.text = "ZWEAM104E The endpoint you are looking for 'sse/" + version + "' could not be located"
	}
	return f
}

// What zoweParts finds in a path.
const (
	otherPath = iota // no path of that kind
	badPath          // one that lacks parts
	wholePath
)

// zoweParts splits "/{word}/{version}/{serviceId}/rest" or "/{serviceId}/{word}/{version}/rest".
func zoweParts(path, word string) (service, version string, form int) {
	parts := strings.SplitN(path, "/", 5)
	if len(parts) < 2 || parts[1] != word && (len(parts) < 3 || parts[2] != word) {
		return "", "", otherPath
	}
	if len(parts) != 5 {
		return "", "", badPath
	}
	service, version = parts[1], parts[3]
	if parts[1] == word {
		service, version = parts[3], parts[2]
	}
	if decoded, err := url.PathUnescape(service); err == nil {
		service = decoded
	}
	return service, version, wholePath
}
