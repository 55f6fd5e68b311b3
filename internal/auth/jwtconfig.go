package auth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// JWTConfig says whose bearer tokens are accepted by routes whose policy says `auth: bearer`.
type JWTConfig struct {
	// Issuers are those whose tokens are accepted, each once. Default none.
	Issuers []IssuerConfig `yaml:"issuers"`
}

// IssuerConfig says what a token of one issuer has to be like (JWT, RFC 7519, signed as RFC 7515 says).
type IssuerConfig struct {
	// Issuer is the claim `iss` of its tokens, letter by letter. Required.
	Issuer string `yaml:"issuer"`

	// Audiences are values of which the claim `aud` has to have one. Default none: `aud` is not looked at. Danger: then a token that the
	// issuer made for another application is good here.
	Audiences []string `yaml:"audiences"`

	// JWKSURI is where the issuer's keys are: https, or http on loopback. They are fetched at start, again every JWKSRefresh, and for a
	// token with an unknown `kid`, but not more often than every 10s; at most 1MiB within 5s, without following redirects. A source that
	// does not answer leaves the keys as they were, and the log says so. One of jwksUri, jwksFile, keys and secret has to be there.
	JWKSURI string `yaml:"jwksUri"`

	// JWKSCAFile is a PEM file of the authorities that vouch for jwksUri's certificate, in place of the system's. Default none.
	JWKSCAFile string `yaml:"jwksCAFile"`

	// JWKSRefresh is the time from one fetch of jwksUri to the next. At least 10s. Default 10m.
	JWKSRefresh time.Duration `yaml:"jwksRefresh"`

	// JWKSFile is a file of keys: a JWK set, or public keys in PEM. It is read at start and reload. Default none.
	JWKSFile string `yaml:"jwksFile"`

	// Keys are public keys in PEM, each with its BEGIN and END lines. Default none.
	Keys []string `yaml:"keys"`

	// Secret is the key of HMAC signatures, which the issuer and this gateway share: 32 bytes or more. Default none. Danger: who has it
	// makes tokens.
	Secret string `yaml:"secret"`

	// SecretFile is a file with the secret, without the line break at its end. Default none.
	SecretFile string `yaml:"secretFile"`

	// Algorithms are those of signatures that are accepted: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA; with
	// secret HS256, HS384, HS512 and no others. Never none. Default: all that go with the keys.
	Algorithms []string `yaml:"algorithms"`

	// ClockSkew is by how much the issuer's clock may be wrong. At most 10m. Default 30s; negative: it is right.
	ClockSkew time.Duration `yaml:"clockSkew"`

	// RequiredClaims have to be in a token; one that lacks them is answered 403. Default none.
	RequiredClaims []RequiredClaim `yaml:"requiredClaims"`

	// UsernameClaim is the claim that names the user, for logs and balancing. Default sub.
	UsernameClaim string `yaml:"usernameClaim"`

	// TokenFrom is where in a request this issuer's tokens are.
	TokenFrom TokenFrom `yaml:"tokenFrom"`
}

// RequiredClaim is a claim that has to be there.
type RequiredClaim struct {
	// Name is that of the claim; a dot leads into an object: realm_access.roles. Required.
	Name string `yaml:"name"`

	// Values are those of which the claim has to be, or as a list to hold, one; scope and scp may also be a text with spaces between.
	// Default none: any value will do.
	Values []string `yaml:"values"`
}

// TokenFrom is where tokens are. Of several places in one request the first decides, in the order header, query, subprotocol, cookie.
type TokenFrom struct {
	// Header is a field of the request. Authorization has the token behind `Bearer`, any other has it alone; none: no field. Default
	// Authorization.
	Header string `yaml:"header"`

	// Cookie is the name of a cookie. Default none. Danger: a browser sends it wherever a request comes from; allowedOrigins guards
	// WebSockets against other pages, for requests the service itself has to.
	Cookie string `yaml:"cookie"`

	// Query is the name of a query parameter. Its value is replaced in logs and lists. Default none. Danger: other programs on the way
	// may log it, and browsers keep it.
	Query string `yaml:"query"`

	// Subprotocol is the start of a WebSocket subprotocol whose rest is the token, as it is or in base64url, as
	// "base64url.bearer.authorization.k8s.io.". It is for browsers, which can set no field: new WebSocket(url, ["chat", prefix+token]).
	// Services do not see it. Default none.
	Subprotocol string `yaml:"subprotocol"`
}

// Defaults and bounds of a section.
const (
	defaultRefresh = 10 * time.Minute
	defaultSkew    = 30 * time.Second
	maxSkew        = 10 * time.Minute
	minSecret      = 32 // bytes: RFC 7518, section 3.2, for HS256
	bearerHeader   = "Authorization"
	noHeader       = "none"
)

// A ConfigError is what is wrong with one key of a section.
type ConfigError struct {
	Key  string // below the section, as "issuers[0].jwksUri"
	Err  error
	Hint string
}

func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }

func (e *ConfigError) Unwrap() error { return e.Err }

// Check returns all that is wrong with the section, the files that it names included. Nothing is fetched.
func (c JWTConfig) Check() (all []*ConfigError) {
	seen := map[string]int{}
	for i := range c.Issuers {
		key := fmt.Sprintf("issuers[%d]", i)
		add := func(name string, err error, hint string) {
			at := key
			if name != "" {
				at += "." + name
			}
			all = append(all, &ConfigError{at, err, hint})
		}
		is := &c.Issuers[i]
		if first, twice := seen[is.Issuer]; twice && is.Issuer != "" {
			add("issuer", fmt.Errorf("%q is issuers[%d] already", is.Issuer, first), "name each issuer once")
		}
		seen[is.Issuer] = i
		is.check(add)
	}
	return all
}

func (c *IssuerConfig) check(add func(name string, err error, hint string)) {
	if c.Issuer == "" {
		add("issuer", errors.New("is required"), "write the claim iss as tokens have it")
	}
	c.checkSource(add)
	for i, name := range c.Algorithms {
		if why := c.refusesAlgorithm(name); why != "" {
			add(fmt.Sprintf("algorithms[%d]", i), fmt.Errorf("%q: %s", name, why), "")
		}
	}
	if c.ClockSkew > maxSkew {
		add("clockSkew", fmt.Errorf("%s: want %s at most", c.ClockSkew, maxSkew), "")
	}
	for i, r := range c.RequiredClaims {
		if r.Name == "" {
			add(fmt.Sprintf("requiredClaims[%d].name", i), errors.New("is required"), "")
		}
	}
	for _, f := range []struct{ name, value string }{
		{"header", c.TokenFrom.Header}, {"cookie", c.TokenFrom.Cookie}, {"query", c.TokenFrom.Query}, {"subprotocol", c.TokenFrom.Subprotocol},
	} {
		if f.value != "" && !isToken(f.value) {
			add("tokenFrom."+f.name, fmt.Errorf("%q: want letters, digits and any of !#$%%&'*+-.^_`|~", f.value), "")
		}
	}
	if f := c.TokenFrom; f.Header == noHeader && f.Cookie == "" && f.Query == "" && f.Subprotocol == "" {
		add("tokenFrom.header", errors.New("none, and no other place is named"), "name a cookie, a query parameter or a subprotocol")
	}
}

// checkSource judges where the keys come from: one source, and what is in it.
func (c *IssuerConfig) checkSource(add func(name string, err error, hint string)) {
	var said []string
	for _, f := range []struct {
		name string
		is   bool
	}{{"jwksUri", c.JWKSURI != ""}, {"jwksFile", c.JWKSFile != ""}, {"keys", len(c.Keys) > 0}, {"secret", c.Secret != ""}, {"secretFile", c.SecretFile != ""}} {
		if f.is {
			said = append(said, f.name)
		}
	}
	switch {
	case len(said) == 0:
		add("", errors.New("has no keys"), "set one of jwksUri, jwksFile, keys, secret and secretFile")
		return
	case len(said) > 1:
		add(said[1], fmt.Errorf("%s is there already", said[0]), "set one of jwksUri, jwksFile, keys, secret and secretFile")
		return
	case said[0] != "jwksUri" && c.JWKSCAFile != "":
		add("jwksCAFile", errors.New("there is no jwksUri"), "remove it")
	case said[0] != "jwksUri" && c.JWKSRefresh != 0:
		add("jwksRefresh", errors.New("there is no jwksUri"), "remove it")
	case c.JWKSRefresh != 0 && c.JWKSRefresh < minFetchInterval:
		add("jwksRefresh", fmt.Errorf("%s: want %s or more", c.JWKSRefresh, minFetchInterval), "")
	}
	for i, text := range c.Keys {
		if _, err := parsePEM([]byte(text)); err != nil {
			add(fmt.Sprintf("keys[%d]", i), err, "write a PEM block of a public key, with its BEGIN and END lines, behind a |")
			return
		}
	}
	if said[0] == "jwksUri" {
		if err := checkURI(c.JWKSURI); err != nil {
			add("jwksUri", err, `write it as "https://issuer.example/jwks.json"`)
		}
		if _, err := c.roots(); err != nil {
			add("jwksCAFile", err, "name a PEM file of certificates that this user may read")
		}
		return
	}
	keys, err := c.fixedKeys()
	if err == nil {
		err = keys.suits(c.algorithms())
	}
	if err != nil {
		add(said[0], err, "")
	}
}

// checkURI takes https, and http where nobody is between.
func checkURI(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("is no URL")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q: want https://host/path", text)
	case u.User != nil:
		return errors.New("a user in it is not sent")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return fmt.Errorf("%q: keys are not taken over plain http, but from loopback", text)
	}
	return nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

var (
	asymmetric = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	symmetric  = []string{"HS256", "HS384", "HS512"}
)

func (c *IssuerConfig) shares() bool { return c.Secret != "" || c.SecretFile != "" }

// algorithms are those that are accepted. They go with the kind of key, so that a public key is never the secret of an HMAC.
func (c *IssuerConfig) algorithms() []string {
	switch {
	case len(c.Algorithms) > 0:
		return slices.DeleteFunc(slices.Clone(c.Algorithms), func(a string) bool { return c.refusesAlgorithm(a) != "" })
	case c.shares():
		return symmetric
	}
	return asymmetric
}

func (c *IssuerConfig) refusesAlgorithm(name string) string {
	switch of, other := slices.Contains(asymmetric, name), slices.Contains(symmetric, name); {
	case of && c.shares():
		return "it does not go with a secret"
	case other && !c.shares():
		return "it needs a secret, and there is none"
	case !of && !other:
		return "want one of " + strings.Join(append(slices.Clone(asymmetric), symmetric...), ", ")
	}
	return ""
}

func (c *IssuerConfig) skew() time.Duration {
	if c.ClockSkew == 0 {
		return defaultSkew
	}
	return max(c.ClockSkew, 0)
}

func (c *IssuerConfig) usernameClaim() string {
	if c.UsernameClaim == "" {
		return "sub"
	}
	return c.UsernameClaim
}

// isToken tells whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// dialer is how sources of keys are reached.
func dialer() *net.Dialer { return &net.Dialer{Timeout: fetchTimeout} }
