package proxy

import (
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A target is where an exchange goes: the route, and of a rule's backends the one that has been chosen.
type target struct {
	route.Match
	service  *upstream.Service // of the route, or of the backend
	name     string            // of the service, for logs and texts
	backend  *route.Backend    // nil: of no rule, or none has been chosen
	policy   *route.Policy     // the backend's, else the route's; nil: no route
	stay     stay              // where the client is kept
	key      upstream.Key      // by which the policy chooses an endpoint; 0: by none
	instance string            // that the client asks for by its id; "": none
	edits    edits             // of the request
	answers  edits             // of the answer
}

// rewrite is the rewrite that says something of the path: the backend's, else the rule's; nil: none.
func (t *target) rewrite() *route.PathRewrite {
	if t.Host == nil {
		return nil
	}
	for _, f := range t.filters() {
		if f != nil && f.Rewrite != nil && f.Rewrite.Path != nil {
			return f.Rewrite.Path
		}
	}
	return nil
}

// filters are the backend's, then the rule's; each may be nil.
func (t *target) filters() [2]*route.Filters {
	if t.backend == nil {
		return [2]*route.Filters{nil, t.Filters}
	}
	return [2]*route.Filters{t.backend.Filters, t.Filters}
}

// path is the path to send, in two parts, without query.
func (t *target) path() (first, rest string) {
	if t.backend == nil {
		return t.UpstreamParts()
	}
	if p := t.rewrite(); p != nil {
		return t.Rewritten(p), ""
	}
	return t.Prefix, t.Rest
}

// prefix is the part of the path that something else stands for on the way to the service; "": none.
func (t *target) prefix() string {
	if t.backend == nil {
		return t.Prefix
	}
	if p := t.rewrite(); p != nil && !p.Full {
		return t.Prefix
	}
	return ""
}

// hostFor is the Host that ep is sent.
func (x *exchange) hostFor(ep *upstream.Endpoint) string {
	if host := x.hostName(x.to.policy); host != "" {
		return host
	}
	return ep.Address()
}

// hostName is the Host under a policy; "": that of the endpoint.
func (x *exchange) hostName(p *route.Policy) string {
	if x.to.backend != nil {
		for _, f := range x.to.filters() {
			if f != nil && f.Rewrite != nil && f.Rewrite.Hostname != "" {
				return f.Rewrite.Hostname
			}
		}
	}
	if p.HostHeader == route.HostOfClient {
		return x.origin.host
	}
	return ""
}
