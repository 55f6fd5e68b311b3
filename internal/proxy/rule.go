package proxy

import (
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// serveRule serves a request that came to a Gateway's listener, for x.host: by the rule of an HTTPRoute or GRPCRoute.
// upgrade: it is a WebSocket handshake.
func (s *Server) serveRule(x *exchange, upgrade bool) {
	if upgrade {
		s.serveRuleSession(x)
		return
	}
	defer s.logHTTP(x)
	if err := s.enterRule(x); err != nil {
		s.fail(x, failed(err, x.target, x.to.name))
		return
	}
	s.request(x)
}

func (s *Server) serveRuleSession(x *exchange) {
	if err := x.openHandshake(); err != nil {
		s.refuse(x, failed(err, x.target, ""), nil)
		return
	}
	if err := s.enterRule(x); err != nil {
		s.refuse(x, failed(err, x.target, x.to.name), x.to.policy)
		return
	}
	s.openSession(x)
}

// enterRule finds the rule for a request and one of its backends, and does what has to be done before anything is sent
// there. The error may be a *failure that is an
// answer: a redirect, or that to a preflight.
func (s *Server) enterRule(x *exchange) (err error) {
	if !x.findRule() {
		return notFound(x.target)
	}
	if f := x.pathRefused(); f != nil {
		return f
	}
	if err := x.filter(x.to.Filters); err != nil {
		return err
	}
	if x.offer != nil {
		err = s.admitSession(x, x.to.policy)
	} else {
		err = s.authenticate(x, x.to.policy)
	}
	if err != nil {
		return err
	}
	if err := s.authorize(x, x.to.Filters); err != nil {
		return err
	}
	b, ep := x.resume()
	if b == nil {
		b = x.choose()
	}
	if b == nil {
		return noBackend("the rule has no backend")
	}
	x.to.backend, x.to.name, x.record.Service = b, b.Name, b.Name
	if b.Invalid != "" {
		return noBackend(b.Invalid)
	}
	x.to.service, x.to.policy = b.Service, x.to.PolicyFor(b)
	x.settle(ep)
	if err := x.filter(b.Filters); err != nil {
		return err
	}
	return s.authorize(x, b.Filters)
}

// ofGateway tells whether the request came to a Gateway's listener.
func (x *exchange) ofGateway() bool { return x.conn.listener.dynamic != nil }

// findRule finds the rule with the highest precedence.
func (x *exchange) findRule() bool {
	x.asked = route.Request{Host: x.hostname, Path: x.path, Method: x.request.Method, Header: x.field}
	if x.query != "" {
		x.asked.Query = x.query[1:]
	}
	m, ok := x.host.Match(&x.asked)
	if !ok {
		return false
	}
	x.route(&m)
	if other, reads := route.OtherReading(x.path); reads {
		asked := x.asked
		asked.Path = other
		n, also := x.host.Match(&asked)
		x.ambiguous = also && n.Route != m.Route && n.Guarded()
	}
	return true
}

// fieldValue returns a field of the request as one list.
func (x *exchange) fieldValue(name string) (value string, ok bool) {
	if !x.request.Fields.Has(name) {
		return "", false
	}
	return joined(x.request.Fields, name), true
}

// filter does what the filters of a rule, or of a backend, say that is not done on the way. f may be nil.
func (x *exchange) filter(f *route.Filters) error {
	if f == nil {
		return nil
	}
	if f.Unsupported != "" {
		return noBackend(f.Unsupported)
	}
	if f.CORS != nil && x.offer == nil {
		if err := x.shareByRule(f.CORS); err != nil {
			return err
		}
	}
	if !f.RequestHeaders.Empty() {
		x.to.edits = append(x.to.edits, &f.RequestHeaders)
	}
	if !f.ResponseHeaders.Empty() {
		x.to.answers = append(x.to.answers, &f.ResponseHeaders)
	}
	if f.Redirect != nil && f.ExternalAuth == nil { // else it comes behind that: authorize
		return x.redirection(f.Redirect)
	}
	return nil
}
