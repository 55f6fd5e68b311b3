package proxy

import (
	"net/http"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// serveRule serves a request whose host is known.
func (s *Server) serveRule(x *exchange, upgrade bool) {
	if upgrade {
		s.startSession(x)
		return
	}
	s.serveHTTP(x)
}

// match finds the route of the request: the rule of its host, with the backend that is chosen for it, or that of its path alone.
func (x *exchange) match() (m route.Match, f *failure) {
	if x.host == nil {
		m, ok := x.table.Match(x.path)
		if !ok {
			f = notFound(x.target)
		}
		return m, f
	}
	m, ok := x.host.Match(&route.Request{
		Host: x.hostname, Path: x.path, Query: strings.TrimPrefix(x.query, "?"), Method: x.request.Method,
		Header: func(name string) (string, bool) { return joined(x.request.Fields, name), x.request.Fields.Has(name) },
	})
	if !ok {
		return m, notFound(x.target)
	}
	to := m.Choose()
	if to == nil || to.Invalid != "" {
		return m, &failure{
			status: http.StatusInternalServerError, cause: "no backend that is valid", http: true,
			message: ErrorMessage("ZWEAO500E", "org.zowe.apiml.common.internalServerError", "The route of '%s' has no valid backend", x.target),
		}
	}
	chosen := *m.Route
	chosen.Service = to.Service
	m.Route = &chosen
	return m, nil
}
