package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Reasons of clients whose token was not taken; each has its words for the client.
const (
	NoToken      = "no token"
	TokenExpired = "token expired"
)

// BearerChallenge asks for a token (RFC 6750, section 3).
const BearerChallenge = `Bearer realm="Realm"`

// A Place says where in a request a token was found, by the name that TokenFrom has for it.
type Place struct {
	Kind PlaceKind
	Name string // of the field, in canonical spelling; of the cookie or parameter; the start of the subprotocol
}

// A PlaceKind is a kind of place, in the order in which they decide.
type PlaceKind uint8

// The kinds of places.
const (
	InHeader PlaceKind = iota
	InQuery
	InSubprotocol
	InCookie
)

// places are those of one issuer.
func (f *TokenFrom) places() (all []Place) {
	switch f.Header {
	case noHeader:
	case "":
		all = append(all, Place{InHeader, bearerHeader})
	default:
		all = append(all, Place{InHeader, http.CanonicalHeaderKey(f.Header)})
	}
	for _, p := range []Place{{InQuery, f.Query}, {InSubprotocol, f.Subprotocol}, {InCookie, f.Cookie}} {
		if p.Name != "" {
			all = append(all, p)
		}
	}
	return all
}

// An issuer is one whose tokens are accepted.
type issuer struct {
	IssuerConfig
	allowed    []string // algorithms
	signatures []jose.SignatureAlgorithm
	places     []Place
	fixed      *keySet    // nil: they are fetched
	source     *keySource // nil: they are fixed
}

// keys are those of now; nil: none have come yet.
func (is *issuer) keys() *keySet {
	if is.source == nil {
		return is.fixed
	}
	return is.source.keys.Load()
}

// Tokens say whose bearer tokens are good. They are immutable once open, but for what is remembered, because clients poll.
type Tokens struct {
	issuers map[string]*issuer
	places  []Place // of all, in the order in which they decide

	mu    sync.Mutex // guards the following
	known map[[32]byte]verified
}

// A verified token is not verified again, as long as its keys are those of now and rememberFor lasts.
type verified struct {
	id    *Identity
	by    *issuer
	keys  *keySet
	until time.Time
}

// Open makes what the configuration says; nil without an error where it names nobody. Keys that have to be fetched are those of cache,
// once Keep is called.
func (c JWTConfig) Open(cache *KeyCache) (*Tokens, error) {
	if len(c.Issuers) == 0 {
		return nil, nil //nolint:nilnil // nobody configured is no error
	}
	if wrong := c.Check(); len(wrong) > 0 {
		return nil, wrong[0]
	}
	t := &Tokens{issuers: make(map[string]*issuer, len(c.Issuers)), known: map[[32]byte]verified{}}
	made := map[sourceID]*keySource{}
	for i := range c.Issuers {
		is := &issuer{IssuerConfig: c.Issuers[i], allowed: c.Issuers[i].algorithms(), places: c.Issuers[i].TokenFrom.places()}
		for _, name := range is.allowed {
			is.signatures = append(is.signatures, jose.SignatureAlgorithm(name))
		}
		var err error
		if is.JWKSURI != "" {
			is.source, err = cache.use(&is.IssuerConfig, made)
		} else {
			is.fixed, err = is.fixedKeys()
		}
		if err != nil {
			return nil, &ConfigError{Key: fmt.Sprintf("issuers[%d]", i), Err: err}
		}
		t.issuers[is.Issuer] = is
		for _, p := range is.places {
			if !slices.Contains(t.places, p) {
				t.places = append(t.places, p)
			}
		}
	}
	slices.SortStableFunc(t.places, func(a, b Place) int { return int(a.Kind) - int(b.Kind) })
	return t, nil
}

// Keep makes the sources of t, which may be nil, those that the cache refreshes.
func (c *KeyCache) Keep(t *Tokens) {
	var all []*keySource
	if t != nil {
		for _, is := range t.issuers {
			if is.source != nil {
				all = append(all, is.source)
			}
		}
	}
	c.keep(all)
}

// Places are where tokens may be, in the order in which they decide. A nil t has none.
func (t *Tokens) Places() []Place {
	if t == nil {
		return nil
	}
	return t.places
}

// Accepts tells whether who was let in by a token would find its issuer still there.
func (t *Tokens) Accepts(id *Identity) bool { return t != nil && t.issuers[id.Issuer] != nil }

// RefusedToken is a client whose token is not taken.
func RefusedToken(why string) *Error {
	text := "The token is not valid"
	if why == TokenExpired {
		text = "The token has expired"
	}
	return &Error{
		Status: http.StatusUnauthorized, Reason: why,
		Challenge: BearerChallenge + `, error="invalid_token", error_description="` + text + `"`,
	}
}

// OfToken tells whether what was refused is a token.
func (e *Error) OfToken() bool {
	return strings.HasPrefix(e.Challenge, BearerChallenge+", error=")
}

func noToken() *Error {
	return &Error{Status: http.StatusUnauthorized, Challenge: BearerChallenge, Reason: NoToken}
}

// Identify checks a token that was found at a place; "" is none. What may have to wait for keys to be fetched is a function that slow
// has to run before it returns. The error is an *Error.
func (t *Tokens) Identify(ctx context.Context, text string, from Place, slow func(check func())) (*Identity, error) {
	if t == nil {
		return nil, &Error{Status: http.StatusServiceUnavailable, Reason: "no issuers of tokens are configured"}
	}
	if text == "" {
		return nil, noToken()
	}
	now, sum := time.Now(), sha256.Sum256([]byte(text))
	if v, ok := t.remembered(sum, now); ok {
		if err := v.by.takes(v.id, from, now); err != nil {
			return nil, err
		}
		return v.id, nil
	}
	tok, err := readToken(text)
	if err != nil {
		return nil, RefusedToken("token: " + err.Error())
	}
	name, _ := tok.claims.text("iss")
	is := t.issuers[name]
	if is == nil {
		return nil, RefusedToken("token: its issuer is not configured")
	}
	if !slices.Contains(is.allowed, tok.alg) {
		return nil, RefusedToken("token: its alg is not accepted")
	}
	id, err := is.judge(tok, now) // before anything is fetched for it: what is wrong anyway is refused at once
	if err != nil {
		return nil, err
	}
	if err := is.takes(id, from, now); err != nil {
		return nil, err
	}
	keys, err := is.verify(ctx, tok, slow)
	if err != nil {
		return nil, err
	}
	if err := is.authorize(tok); err != nil {
		return nil, err
	}
	t.remember(sum, verified{id, is, keys, now.Add(rememberFor)}, now)
	return id, nil
}

// verify checks the signature, and returns the keys among which that of the token is. The error is an *Error.
func (is *issuer) verify(ctx context.Context, tok *token, slow func(check func())) (keys *keySet, err error) {
	keys = is.keys()
	var found []*verifyKey
	if keys != nil {
		found = keys.find(tok.kid, tok.alg)
	}
	if len(found) == 0 && is.source != nil {
		slow(func() {
			ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
			defer cancel()
			keys, err = is.source.fresher(ctx, keys)
		})
		if err != nil {
			return nil, &Error{Status: http.StatusServiceUnavailable, Reason: "token: " + err.Error()}
		}
		found = keys.find(tok.kid, tok.alg)
	}
	if len(found) == 0 {
		return nil, RefusedToken("token: no key for its kid and alg")
	}
	signed, err := jose.ParseSignedCompact(tok.text, is.signatures)
	if err != nil {
		return nil, RefusedToken("token: it cannot be read")
	}
	for _, k := range found {
		if _, err := signed.Verify(k.key); err == nil {
			return keys, nil
		}
	}
	return nil, RefusedToken("token: wrong signature")
}

// judge reads the registered claims (RFC 7519, section 4.1). The error is an *Error.
func (is *issuer) judge(tok *token, now time.Time) (*Identity, error) {
	c, skew := tok.claims, is.skew()
	exp, ok := c.date("exp")
	if !ok {
		return nil, RefusedToken("token: it has no exp")
	}
	if nbf, ok := c.date("nbf"); c["nbf"] != nil && (!ok || now.Add(skew).Before(nbf)) {
		return nil, RefusedToken("token: it is not valid yet")
	}
	if len(is.Audiences) > 0 && !slices.ContainsFunc(c.list("aud"), func(a string) bool { return slices.Contains(is.Audiences, a) }) {
		return nil, RefusedToken("token: it is for another audience")
	}
	user, ok := c.text(is.usernameClaim())
	if !ok {
		return nil, RefusedToken("token: its claim " + is.usernameClaim() + " names no user")
	}
	id := &Identity{User: user, Method: "bearer", Issuer: is.Issuer, Expires: exp.Add(skew)}
	if c["jti"] != nil {
		if id.TokenID, ok = c.text("jti"); !ok {
			return nil, RefusedToken("token: its jti is no short text")
		}
	}
	if id.Issued, ok = c.date("iat"); c["iat"] != nil && !ok {
		return nil, RefusedToken("token: its iat is no date")
	}
	return id, nil
}

// takes tells whether the token is good now, and where it was found. The error is an *Error.
func (is *issuer) takes(id *Identity, from Place, now time.Time) error {
	switch {
	case !now.Before(id.Expires):
		return RefusedToken(TokenExpired)
	case !slices.Contains(is.places, from):
		return RefusedToken("token: its issuer's tokens are taken from elsewhere")
	}
	return nil
}

// authorize judges the claims that are required. The error is an *Error.
func (is *issuer) authorize(tok *token) error {
	for i := range is.RequiredClaims {
		if want := &is.RequiredClaims[i]; !tok.claims.holds(want) {
			return &Error{
				Status: http.StatusForbidden, Reason: "token: it lacks the required claim " + want.Name,
				Challenge: BearerChallenge + `, error="insufficient_scope", error_description="The token lacks a required claim"`,
			}
		}
	}
	return nil
}

// remembered returns what was verified by the keys of now.
func (t *Tokens) remembered(sum [32]byte, now time.Time) (verified, bool) {
	t.mu.Lock()
	v, ok := t.known[sum]
	t.mu.Unlock()
	return v, ok && now.Before(v.until) && v.by.keys() == v.keys
}

func (t *Tokens) remember(sum [32]byte, v verified, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxRemembered {
		clear(t.known) // rare, and only costs a signature each
	}
	t.known[sum] = v
}
