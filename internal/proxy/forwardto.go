package proxy

import (
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// forwardTo is the field by which clients of several gateways name the service: "apiml2/sample" (zowe.md, section 1.2).
const forwardTo = "X-Forward-To"

// match finds the route of a request. Where X-Forward-To names a service, the path is looked for below that service, then as it
// is, and leads to no other one; the service gets the field without its first step. Only what is registered as a route is
// reached so.
func (s *Server) match(x *exchange) (m route.Match, ok bool) {
	fields := x.request.Fields
	if !s.EurekaOn || !fields.Has(forwardTo) {
		return x.find(x.path)
	}
	id, more, _ := strings.Cut(strings.Trim(fields.Get(forwardTo), "/ \t"), "/")
	id = strings.ToLower(id)
	if id == "" || fields.Count(forwardTo) > 1 || route.CheckPath("/"+id) != nil {
		return m, false
	}
	m, ok = x.find("/" + id + x.path)
	if !ok || m.ServiceID != id {
		m, ok = x.find(x.path)
	}
	if !ok || m.ServiceID != id {
		return route.Match{}, false
	}
	edit := &route.HeaderEdit{Remove: []string{forwardTo}}
	if more != "" {
		edit = &route.HeaderEdit{Set: []route.HeaderValue{{Name: forwardTo, Value: more}}}
	}
	x.to.edits = append(x.to.edits, edit)
	return m, true
}

// find finds the route of a path.
func (x *exchange) find(path string) (route.Match, bool) {
	m, ok := x.table.Match(path)
	if other, reads := route.OtherReading(path); ok && reads {
		n, also := x.table.Match(other)
		x.ambiguous = also && n.Route != m.Route && n.Guarded()
	}
	return m, ok
}
