package proxy

import (
	"net/http"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// corsMethods are those that a preflight is told of (zowe.md, section 5.4).
const corsMethods = "GET,HEAD,POST,DELETE,PUT,PATCH,OPTIONS"

// checkCORS does for the service what CORS asks of a server (Fetch standard, section 3.2), where its registration says so: a page
// of another origin is refused, a preflight answered, and the service sees neither. It tells whether the request has been
// answered.
func (s *Server) checkCORS(x *exchange, m *route.Match) bool {
	if !m.CORS {
		return false
	}
	fields := x.request.Fields
	origin := fields.Get("Origin")
	if origin == "" {
		return false
	}
	allowed, anyone := m.AllowsCORS(origin, x.origin.proto, x.origin.host)
	if !allowed || fields.Count("Origin") > 1 {
		s.fail(x, originRefused())
		return true
	}
	x.allowOrigin = origin
	if anyone {
		x.allowOrigin = "*"
	}
	if x.request.Method == http.MethodOptions && fields.Has("Access-Control-Request-Method") {
		s.preflight(x)
		return true
	}
	for i := range fields { // the service is not asked again
		if name := fields[i].Name; strings.EqualFold(name, "Origin") || hasPrefixFold(name, "Access-Control-Request-") {
			x.kinds[i] = fieldHop
		}
	}
	return false
}

func (s *Server) preflight(x *exchange) {
	x.record.Status = http.StatusOK
	fields := x.corsFields(http1.Fields{{Name: "X-Request-Id", Value: x.record.RequestID}})
	fields.Add("Access-Control-Allow-Methods", corsMethods)
	if asked := x.request.Fields.Get("Access-Control-Request-Headers"); asked != "" {
		fields.Add("Access-Control-Allow-Headers", asked)
	}
	_ = x.Reply(&http1.Answer{Status: http.StatusOK, Fields: fields}, nil) // the client is gone if this fails
}

// corsFields adds what lets the page read the answer. What the service itself says about it goes.
func (x *exchange) corsFields(fields http1.Fields) http1.Fields {
	if x.allowOrigin == "" {
		return fields
	}
	fields.Keep(func(f http1.Field) bool { return !hasPrefixFold(f.Name, "Access-Control-Allow-") })
	fields.Add("Access-Control-Allow-Origin", x.allowOrigin)
	if x.allowOrigin != "*" {
		fields.Add("Access-Control-Allow-Credentials", "true")
		fields.Add("Vary", "Origin")
	}
	return fields
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
