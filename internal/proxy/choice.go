package proxy

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// instanceField is the field by which a client asks for an instance (zowe.md, section 5.2).
const instanceField = "X-Instanceid"

// tokenCookie is Zowe's cookie with a JWT.
const tokenCookie = "apimlAuthenticationToken"

// aim reads what the policy chooses an endpoint by. Who the client is has been found by then.
func (x *exchange) aim() {
	p := x.to.policy
	if keep := x.to.Persistence; keep != nil && x.to.backend == nil {
		x.to.stay = stay{rule: keep, passes: x.shownPasses(keep)}
		x.to.stay.endpoint = x.stays(keep)
	}
	if x.to.stay.rule == nil {
		if key := x.hashKey(p); key != "" {
			x.to.key = upstream.KeyOf(key)
		}
	}
	if p.LoadBalancing == upstream.Named {
		x.to.instance = x.request.Fields.Get(instanceField)
	}
}

// hashKey is what the request is balanced by under a policy; "": by nothing of its own.
func (x *exchange) hashKey(p *route.Policy) string {
	if p == nil || p.LoadBalancing != upstream.Hash {
		return ""
	}
	switch h := &p.Hash; {
	case h.Header != "":
		return x.firstShown(h.Header, true)
	case h.Cookie != "":
		return x.firstShown(h.Cookie, false)
	case h.User:
		return x.user()
	}
	return x.origin.addr.String()
}

func (x *exchange) firstShown(name string, header bool) string {
	for value := range x.shown(&route.Persistence{Name: name, Header: header}) {
		return value
	}
	return ""
}

// user is who the client is, or says that it is: good enough to balance by.
func (x *exchange) user() string {
	if x.record.User != "" {
		return x.record.User
	}
	if s := subject(x.firstShown(tokenCookie, false)); s != "" {
		return s
	}
	scheme, token, _ := strings.Cut(x.request.Fields.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return subject(strings.TrimSpace(token))
}

// maxClaims bounds what is read of a JWT, in bytes of its text.
const maxClaims = 16 << 10

// subject is the claim "sub" of a JWT, which is not verified; "": none.
func subject(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	claims, _, ok := strings.Cut(rest, ".")
	if !ok || len(claims) > maxClaims {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(claims, "="))
	if err != nil {
		return ""
	}
	var c struct {
		Subject string `json:"sub"`
	}
	if json.Unmarshal(text, &c) != nil {
		return ""
	}
	return c.Subject
}

// pick chooses an endpoint for a request that has not been tried, as aim has found.
func (t *target) pick(tried ...*upstream.Endpoint) (*upstream.Endpoint, error) {
	switch {
	case t.instance != "":
		return t.service.PickNamed(t.instance, tried...)
	case t.key != 0:
		return t.service.PickBy(t.key, tried...)
	}
	return t.service.Pick(t.policy.Choice(false), tried...)
}

// take counts a session on an endpoint that has not been tried: that where the client is kept, or one that is chosen.
func (t *target) take(tried []*upstream.Endpoint) (ep *upstream.Endpoint, err error) {
	switch {
	case t.stay.endpoint != nil && len(tried) == 0:
		ep = t.stay.endpoint
	case t.instance != "" || t.key != 0:
		if ep, err = t.pick(tried...); err != nil {
			return nil, err
		}
	default:
		return t.service.Take(t.policy.Choice(true), tried...)
	}
	ep.Acquire()
	return ep, nil
}
