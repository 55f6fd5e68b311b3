package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// authenticate checks what the route asks for, and notes who the client is. What it has checked is not the service's business from
// then on. The error is an *auth.Error.
func (s *Server) authenticate(x *exchange, p *route.Policy) error {
	if !p.Auth.On() {
		return nil
	}
	id, err := s.identify(x, p.Auth)
	if err != nil {
		return err
	}
	x.identity, x.record.User = id, id.User
	if !x.settings.passCredentials {
		x.withhold(p.Auth)
	}
	return nil
}

// identify goes by the first credential that is there: what Authorization says, then where tokens are, then the certificate of the
// connection.
func (s *Server) identify(x *exchange, ways route.Auth) (*auth.Identity, error) {
	authorization := x.request.Fields.Values("Authorization")
	var text string
	var from auth.Place
	if ways.Has(route.AuthBearer) {
		x.disarm() // before anything is refused: a token is not echoed
	}
	if ways.Has(route.AuthBasic) && hasScheme(authorization, "Basic") {
		return x.byPassword(authorization, ways)
	}
	if ways.Has(route.AuthBearer) {
		var err error
		if text, from, err = x.shownToken(authorization); err != nil {
			return nil, challenged(err, ways)
		}
	}
	switch {
	case text == "" && ways.Has(route.AuthCertificate) && x.conn.verified != nil:
		return auth.ByCertificate(x.conn.verified, x.record.Time)
	case ways.Has(route.AuthBearer):
		return s.byToken(x, text, from, ways)
	case ways.Has(route.AuthBasic):
		return x.byPassword(authorization, ways)
	}
	return nil, &auth.Error{Status: http.StatusForbidden, Reason: auth.NoCertificate}
}

func (x *exchange) byPassword(authorization []string, ways route.Auth) (*auth.Identity, error) {
	if x.settings.users == nil {
		return nil, &auth.Error{Status: http.StatusServiceUnavailable, Reason: "the route asks for basic credentials, but auth.basic has no users"}
	}
	id, err := x.settings.users.Identify(context.Background(), authorization, x.run.Offload)
	return id, challenged(err, ways)
}

func (s *Server) byToken(x *exchange, text string, from auth.Place, ways route.Auth) (*auth.Identity, error) {
	if x.settings.tokens == nil {
		return nil, &auth.Error{Status: http.StatusServiceUnavailable, Reason: "the route asks for a token, but auth.jwt has no issuers"}
	}
	id, err := x.settings.tokens.Identify(context.Background(), text, from, x.run.Offload)
	if err == nil && s.revoked.Has(id) {
		return nil, challenged(auth.RefusedToken("token revoked"), ways)
	}
	return id, challenged(err, ways)
}

// challenged adds the ways of the route that err does not ask for (RFC 9110, section 11.6.1).
func challenged(err error, ways route.Auth) error {
	e, ok := errors.AsType[*auth.Error](err)
	if !ok || e.Status != http.StatusUnauthorized || !ways.Has(route.AuthBasic) || !ways.Has(route.AuthBearer) {
		return err
	}
	more := *e
	if strings.HasPrefix(e.Challenge, "Bearer") {
		more.Challenge += ", " + auth.BasicChallenge
	} else {
		more.Challenge += ", " + auth.BearerChallenge
	}
	return &more
}

// hasScheme tells whether the one value of Authorization is of that scheme.
func hasScheme(authorization []string, scheme string) bool {
	return len(authorization) > 0 && len(authorization[0]) > len(scheme) && authorization[0][len(scheme)] == ' ' &&
		strings.EqualFold(authorization[0][:len(scheme)], scheme)
}

// shownToken finds the token by which the client is judged; "" is none. The error is an *auth.Error.
func (x *exchange) shownToken(authorization []string) (text string, from auth.Place, err error) {
	for _, p := range x.settings.tokens.Places() {
		switch p.Kind {
		case auth.InHeader:
			text, err = x.tokenInField(p.Name, authorization)
		case auth.InQuery:
			text, err = tokenInQuery(x.query, p.Name)
		case auth.InSubprotocol:
			text = x.armed[p.Name]
		case auth.InCookie:
			text = x.firstShown(p.Name, false)
		}
		if err != nil || text != "" {
			return text, p, err
		}
	}
	return "", auth.Place{}, nil
}

func (x *exchange) tokenInField(name string, authorization []string) (string, error) {
	values := authorization
	if name != "Authorization" {
		values = x.request.Fields.Values(name)
	}
	bearer := hasScheme(values, "Bearer")
	switch {
	case len(values) > 1:
		return "", auth.RefusedToken("several " + name + " headers")
	case len(values) == 0 || name == "Authorization" && !bearer:
		return "", nil
	case bearer:
		return strings.TrimSpace(values[0][len("Bearer "):]), nil
	}
	return strings.TrimSpace(values[0]), nil
}

// tokenInQuery is the value of the one parameter of that name.
func tokenInQuery(query, name string) (text string, err error) {
	for part := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if !isParameter(part, name) {
			continue
		}
		if text != "" {
			return "", auth.RefusedToken("several parameters " + name)
		}
		_, value, _ := strings.Cut(part, "=")
		if text, err = url.QueryUnescape(value); err != nil {
			return "", auth.RefusedToken("token: it cannot be read")
		}
	}
	return text, nil
}

// isParameter tells whether a part of a query is the parameter of that name, however it is spelt.
func isParameter(part, name string) bool {
	n, _, _ := strings.Cut(part, "=")
	if n == name {
		return true
	}
	plain, err := url.QueryUnescape(n)
	return err == nil && plain == name
}

// disarm takes tokens out of the subprotocols that the client offers, and keeps them in armed. Services and logs do not see them.
func (x *exchange) disarm() {
	if x.offer == nil || x.settings.tokens == nil {
		return
	}
	for _, p := range x.settings.tokens.Places() {
		if p.Kind != auth.InSubprotocol {
			continue
		}
		var kept []string
		for _, protocol := range x.offer.Protocols {
			text, ok := strings.CutPrefix(protocol, p.Name)
			if !ok {
				kept = append(kept, protocol)
				continue
			}
			if x.armed == nil {
				x.armed, x.armedAs = map[string]string{}, protocol
			}
			x.armed[p.Name] = disarmed(text)
		}
		x.offer.Protocols = kept
	}
}

// disarmed is the token in the rest of a subprotocol: as it is, or in base64url.
func disarmed(text string) string {
	if strings.Contains(text, ".") {
		return text
	}
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil || !strings.Contains(string(plain), ".") {
		return text
	}
	return string(plain)
}

// protocolFor is what the client is told of a subprotocol that was agreed, or not: a browser that offers nothing but its token fails a
// 101 without any (RFC 6455, section 4.1).
func (x *exchange) protocolFor(agreed string) string {
	if agreed == "" && len(x.offer.Protocols) == 0 {
		return x.armedAs
	}
	return agreed
}

// A withheld is what services do not see of a request.
type withheld struct {
	authorization bool
	fields        []string // in lower case
	cookies       []string
}

// withhold keeps from services what the gateway has checked, and what else stands where tokens are taken from.
func (x *exchange) withhold(ways route.Auth) {
	authorization := x.request.Fields.Values("Authorization")
	x.withheld.authorization = ways.Has(route.AuthBasic) && (ways == route.AuthBasic || hasScheme(authorization, "Basic"))
	if !ways.Has(route.AuthBearer) {
		return
	}
	for _, p := range x.settings.tokens.Places() {
		switch p.Kind {
		case auth.InHeader:
			if p.Name == "Authorization" {
				x.withheld.authorization = x.withheld.authorization || hasScheme(authorization, "Bearer")
			} else {
				x.withheld.fields = append(x.withheld.fields, strings.ToLower(p.Name))
			}
		case auth.InQuery:
			x.query = withoutParameter(x.query, p.Name)
		case auth.InCookie:
			x.withheld.cookies = append(x.withheld.cookies, p.Name)
		}
	}
}

// withoutParameter is a query, with its "?", without the parameters of that name; all else stays byte for byte.
func withoutParameter(query, name string) string {
	if len(query) < 2 {
		return query
	}
	var kept []string
	parts := strings.Split(query[1:], "&")
	for _, part := range parts {
		if !isParameter(part, name) {
			kept = append(kept, part)
		}
	}
	switch {
	case len(kept) == len(parts):
		return query
	case len(kept) == 0:
		return ""
	}
	return "?" + strings.Join(kept, "&")
}

// of is a field of the client's as services see it; ok is false where they do not.
func (w *withheld) of(f http1.Field, kind fieldKind) (value string, ok bool) {
	switch {
	case kind == fieldAuthorization:
		return f.Value, !w.authorization
	case len(w.cookies) > 0 && foldEqual(f.Name, "cookie"):
		value = withoutCookies(f.Value, w.cookies)
		return value, value != "" || f.Value == ""
	case len(w.fields) > 0:
		return f.Value, !slices.ContainsFunc(w.fields, func(name string) bool { return foldEqual(f.Name, name) })
	}
	return f.Value, true
}

func withoutCookies(cookies string, names []string) string {
	var kept []string
	all := strings.Split(cookies, ";")
	for _, pair := range all {
		if name, _, _ := strings.Cut(strings.TrimSpace(pair), "="); !slices.Contains(names, name) {
			kept = append(kept, strings.TrimSpace(pair))
		}
	}
	if len(kept) == len(all) {
		return cookies
	}
	return strings.Join(kept, "; ")
}
