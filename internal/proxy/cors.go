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
// of another origin is refused, a preflight answered, and the service sees neither. Where the registration does not say so a
// page of another origin is refused. It tells whether the request has been answered.
func (s *Server) checkCORS(x *exchange, m *route.Match) bool {
	if !m.CORS && !m.SameOrigin {
		return false
	}
	fields := x.request.Fields
	if !m.CORS {
		return s.refuseForeign(x)
	}
	count := fields.Count("Origin")
	if count == 0 {
		return false
	}
	origin := fields.Get("Origin")
	allowed, anyone := m.AllowsCORS(origin, x.origin.proto, x.origin.host)
	if !allowed || origin == "" || count > 1 {
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

// refuseForeign refuses a request of a page that is not the gateway's own, and tells whether it did.
func (s *Server) refuseForeign(x *exchange) bool {
	fields := x.request.Fields
	count := fields.Count("Origin")
	if count == 0 || count == 1 && route.OwnOrigin(fields.Get("Origin"), x.origin.proto, x.origin.host) {
		return false
	}
	s.fail(x, originRefused())
	return true
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
	if x.ruled {
		fields.Keep(func(f http1.Field) bool { return !hasPrefixFold(f.Name, "Access-Control-") })
		return append(fields, x.sharing...)
	}
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
