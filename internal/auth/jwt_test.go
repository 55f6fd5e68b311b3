package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Keys that all tests share: they take a while to make.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	weakRSA  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, 32)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type object = map[string]any

// sign makes a token with any header.
func sign(t testing.TB, alg string, key any, header, claims object) string {
	t.Helper()
	all := object{"alg": alg}
	for k, v := range header {
		all[k] = v
	}
	text := func(o object) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(o))) }
	body := text(all) + "." + text(claims)
	options := (&jose.SignerOptions{}).WithHeader("typ", "JWT")
	for k, v := range all {
		if k != "alg" {
			options = options.WithHeader(jose.HeaderKey(k), v)
		}
	}
	if alg == "none" {
		return body + ".AA"
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// claimsFor are those of a good token.
func claimsFor(issuer string, more object) object {
	all := object{
		"iss": issuer, "sub": "ada", "aud": []string{"other", "chat"}, "jti": "t1", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
	}
	for k, v := range more {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	return all
}

func publicPEM(t testing.TB, key crypto.PublicKey) string {
	t.Helper()
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))}))
}

func keySetText(t testing.TB, keys ...jose.JSONWebKey) string {
	t.Helper()
	return string(must(json.Marshal(jose.JSONWebKeySet{Keys: keys})))
}

func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func openTokens(t testing.TB, issuers ...IssuerConfig) *Tokens {
	t.Helper()
	tokens, err := JWTConfig{Issuers: issuers}.Open(NewKeyCache(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

var inHeader = Place{InHeader, "Authorization"}

func now(check func()) { check() }

func TestTokens(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	jwks := file(t, keySetText(t,
		jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "r1", Algorithm: "RS256", Use: "sig"},
		jose.JSONWebKey{Key: otherRSA().Public(), KeyID: "enc", Use: "enc"},
		jose.JSONWebKey{Key: ecKey().Public(), KeyID: "e1"},
		jose.JSONWebKey{Key: edKey().Public(), KeyID: "d1"},
	))
	tokens := openTokens(t,
		IssuerConfig{
			Issuer: "https://id", JWKSFile: jwks, Audiences: []string{"chat"}, UsernameClaim: "", RequiredClaims: nil,
			TokenFrom: TokenFrom{Cookie: "tok", Query: "access_token"},
		},
		IssuerConfig{Issuer: "scoped", Keys: []string{publicPEM(t, rsaKey().Public())}, UsernameClaim: "email", RequiredClaims: []RequiredClaim{
			{Name: "scope", Values: []string{"chat", "talk"}}, {Name: "realm_access.roles", Values: []string{"user"}}, {Name: "https://x.example/y"},
		}},
		IssuerConfig{Issuer: "shared", Secret: secret, TokenFrom: TokenFrom{Header: "x-token"}},
		IssuerConfig{Issuer: "strict", Keys: []string{publicPEM(t, rsaKey().Public())}, Algorithms: []string{"PS256"}, ClockSkew: -1},
	)
	kid := func(id string) object { return object{"kid": id} }
	good := func(more object) object { return claimsFor("https://id", more) }
	scoped := func(more object) object {
		all := claimsFor("scoped", object{"email": "a@x", "scope": "a talk", "realm_access": object{"roles": []string{"user"}}, "https://x.example/y": 1})
		for k, v := range more {
			if all[k] = v; v == nil {
				delete(all, k)
			}
		}
		return all
	}
	header := Place{InHeader, "X-Token"}
	at := time.Now()
	for _, c := range []struct {
		name, token string
		from        Place
		want        string // the reason; "": let in
	}{
		{"RS256", sign(t, "RS256", rsaKey(), kid("r1"), good(nil)), inHeader, ""},
		{"ES256, in a cookie", sign(t, "ES256", ecKey(), kid("e1"), good(nil)), Place{InCookie, "tok"}, ""},
		{"EdDSA, in the query", sign(t, "EdDSA", edKey(), kid("d1"), good(nil)), Place{InQuery, "access_token"}, ""},
		{"without a kid", sign(t, "ES256", ecKey(), nil, good(nil)), inHeader, ""},
		{"aud as a text", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"aud": "chat"})), inHeader, ""},
		{"expired within the skew", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"exp": at.Add(-5 * time.Second).Unix()})), inHeader, ""},
		{"nbf within the skew", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"nbf": at.Add(5 * time.Second).Unix()})), inHeader, ""},
		{"scoped", sign(t, "RS256", rsaKey(), kid("any"), scoped(nil)), inHeader, ""},
		{"shared secret", sign(t, "HS256", []byte(secret), nil, claimsFor("shared", nil)), header, ""},
		{"PS256", sign(t, "PS256", rsaKey(), nil, claimsFor("strict", nil)), inHeader, ""},

		{"none", "", inHeader, NoToken},
		{"no JWT", "abc", inHeader, "token: it is no JWT"},
		{"alg none", sign(t, "none", nil, kid("r1"), good(nil)), inHeader, "token: its alg is not accepted"},
		{"alg none, no signature", strings.TrimSuffix(sign(t, "none", nil, nil, good(nil)), "AA"), inHeader, "token: it is no JWT"},
		{"HMAC by the public key", sign(t, "HS256", []byte(publicPEM(t, rsaKey().Public())), kid("r1"), good(nil)), inHeader, "token: its alg is not accepted"},
		{"RSA for a secret", sign(t, "RS256", rsaKey(), nil, claimsFor("shared", nil)), header, "token: its alg is not accepted"},
		{"alg of another key", sign(t, "PS256", rsaKey(), kid("r1"), good(nil)), inHeader, "token: no key for its kid and alg"},
		{"alg that is not listed", sign(t, "RS256", rsaKey(), nil, claimsFor("strict", nil)), inHeader, "token: its alg is not accepted"},
		{"the wrong key", sign(t, "RS256", otherRSA(), kid("r1"), good(nil)), inHeader, "token: wrong signature"},
		{"a key that is for encryption", sign(t, "RS256", otherRSA(), kid("enc"), good(nil)), inHeader, "token: no key for its kid and alg"},
		{"an unknown kid", sign(t, "RS256", rsaKey(), kid("r2"), good(nil)), inHeader, "token: no key for its kid and alg"},
		{"another issuer", sign(t, "RS256", rsaKey(), nil, claimsFor("https://evil", nil)), inHeader, "token: its issuer is not configured"},
		{"no issuer", sign(t, "RS256", rsaKey(), nil, good(object{"iss": nil})), inHeader, "token: its issuer is not configured"},
		{"another audience", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"aud": "chats"})), inHeader, "token: it is for another audience"},
		{"no audience", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"aud": nil})), inHeader, "token: it is for another audience"},
		{"expired", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"exp": at.Add(-time.Minute).Unix()})), inHeader, TokenExpired},
		{"without exp", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"exp": nil})), inHeader, "token: it has no exp"},
		{"exp as a text", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"exp": "99999999999"})), inHeader, "token: it has no exp"},
		{"exp beyond all time", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"exp": 1e300})), inHeader, "token: it has no exp"},
		{"not yet", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"nbf": at.Add(time.Minute).Unix()})), inHeader, "token: it is not valid yet"},
		{"nbf that is none", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"nbf": "now"})), inHeader, "token: it is not valid yet"},
		{"nobody", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"sub": nil})), inHeader, "token: its claim sub names no user"},
		{"a user with a line break", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"sub": "a\nb"})), inHeader, "token: its claim sub names no user"},
		{"a jti too long", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"jti": strings.Repeat("x", 300)})), inHeader, "token: its jti is no short text"},
		{"huge", sign(t, "RS256", rsaKey(), kid("r1"), good(object{"pad": strings.Repeat("x", 16<<10)})), inHeader, "token: it is too long"},
		{"an extension", sign(t, "RS256", rsaKey(), object{"kid": "r1", "crit": []string{"x"}, "x": 1}, good(nil)), inHeader, "token: its header has an extension"},
		{"in another place", sign(t, "RS256", rsaKey(), kid("r1"), good(nil)), header, "token: its issuer's tokens are taken from elsewhere"},
		{"of the issuer that has another place", sign(t, "HS256", []byte(secret), nil, claimsFor("shared", nil)), inHeader, "token: its issuer's tokens are taken from elsewhere"},
		{"no scope", sign(t, "RS256", rsaKey(), nil, scoped(object{"scope": "chatter"})), inHeader, "token: it lacks the required claim scope"},
		{"no role", sign(t, "RS256", rsaKey(), nil, scoped(object{"realm_access": object{"roles": []string{}}})), inHeader, "token: it lacks the required claim realm_access.roles"},
		{"no claim at all", sign(t, "RS256", rsaKey(), nil, scoped(object{"https://x.example/y": nil})), inHeader, "token: it lacks the required claim https://x.example/y"},
	} {
		for range 2 { // what is remembered must not change the answer
			id, err := tokens.Identify(t.Context(), c.token, c.from, now)
			if c.want == "" {
				if err != nil || id == nil || id.User != "ada" && id.User != "a@x" || id.TokenID != "t1" || id.Method != "bearer" || !tokens.Accepts(id) {
					t.Errorf("%s: %+v, %v", c.name, id, err)
				}
				continue
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Reason != c.want || id != nil || !strings.HasPrefix(e.Challenge, BearerChallenge) || strings.Contains(e.Reason+e.Challenge, "evil") {
				t.Errorf("%s: %+v, %v, want %q", c.name, id, err, c.want)
			}
		}
	}
}

// What was remembered is forgotten with the token's time, and when it comes from elsewhere.
func TestRememberedTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := openTokens(t, IssuerConfig{Issuer: "i", Keys: []string{publicPEM(t, ecKey().Public())}, ClockSkew: 10 * time.Second})
		text := sign(t, "ES256", ecKey(), nil, claimsFor("i", object{"aud": nil, "exp": time.Now().Add(20 * time.Second).Unix()}))
		for range 2 {
			id, err := tokens.Identify(t.Context(), text, inHeader, now)
			if err != nil || !id.Expires.Equal(time.Now().Add(30*time.Second)) {
				t.Fatal(id, err)
			}
		}
		if _, err := tokens.Identify(t.Context(), text, Place{InCookie, "x"}, now); err == nil {
			t.Error("taken from a place that is not named")
		}
		time.Sleep(30*time.Second - time.Nanosecond)
		if _, err := tokens.Identify(t.Context(), text, inHeader, now); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := tokens.Identify(t.Context(), text, inHeader, now); err == nil || err.Error() != TokenExpired {
			t.Error(err)
		}
	})
}

func TestRememberedTokensAreBounded(t *testing.T) {
	tokens := openTokens(t, IssuerConfig{Issuer: "i", Keys: []string{publicPEM(t, ecKey().Public())}})
	for i := range 3 * maxRemembered {
		tokens.remember([32]byte{byte(i), byte(i >> 8)}, verified{}, time.Now())
		if len(tokens.known) > maxRemembered {
			t.Fatalf("%d remembered", len(tokens.known))
		}
	}
}

func TestNobodysTokens(t *testing.T) {
	tokens, err := JWTConfig{}.Open(nil)
	if tokens != nil || err != nil {
		t.Fatal(tokens, err)
	}
	if _, err := tokens.Identify(t.Context(), "x", inHeader, now); err.(*Error).Status != 503 || len(tokens.Places()) != 0 { //nolint:errorlint // it is one
		t.Error(err)
	}
}

func TestIssuersAreChecked(t *testing.T) {
	ca := file(t, "no certificate")
	key := publicPEM(t, ecKey().Public())
	for want, c := range map[string]IssuerConfig{
		"issuers[0].issuer: is required":                                        {Keys: []string{key}},
		"issuers[0]: has no keys":                                               {Issuer: "a"},
		"issuers[0].keys: jwksUri is there":                                     {Issuer: "a", JWKSURI: "https://a", Keys: []string{key}},
		"issuers[0].jwksUri: \"ftp://a\"":                                       {Issuer: "a", JWKSURI: "ftp://a"},
		"issuers[0].jwksUri: \"http://a/\": keys are not taken over plain http": {Issuer: "a", JWKSURI: "http://a/"},
		"issuers[0].jwksUri: a user in it":                                      {Issuer: "a", JWKSURI: "https://me:secret@a/"},
		"issuers[0].jwksCAFile: " + ca + ": no certificate in it":               {Issuer: "a", JWKSURI: "https://a/", JWKSCAFile: ca},
		"issuers[0].jwksCAFile: there is no jwksUri":                            {Issuer: "a", Keys: []string{key}, JWKSCAFile: ca},
		"issuers[0].jwksRefresh: 1s: want 10s or more":                          {Issuer: "a", JWKSURI: "https://a/", JWKSRefresh: time.Second},
		"issuers[0].jwksFile: open /nowhere":                                    {Issuer: "a", JWKSFile: "/nowhere"},
		"issuers[0].keys[0]: neither a JWK set nor a public key":                {Issuer: "a", Keys: []string{"x"}},
		"issuers[0].keys[0]: PEM block \"PRIVATE KEY\"": {Issuer: "a", Keys: []string{
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(ecKey()))})),
		}},
		"issuers[0].keys[0]: RSA key of 1024 bits":                      {Issuer: "a", Keys: []string{publicPEM(t, weakRSA().Public())}},
		"issuers[0].keys: no key in it is for RS256":                    {Issuer: "a", Keys: []string{key}, Algorithms: []string{"RS256"}},
		"issuers[0].secret: 5 bytes: want 32 or more":                   {Issuer: "a", Secret: "short"},
		"issuers[0].secretFile: 14 bytes: want 32":                      {Issuer: "a", SecretFile: ca},
		"issuers[0].algorithms[0]: \"none\": want one":                  {Issuer: "a", Keys: []string{key}, Algorithms: []string{"none"}},
		"issuers[0].algorithms[0]: \"HS256\": it needs a secret":        {Issuer: "a", Keys: []string{key}, Algorithms: []string{"HS256", "ES256"}},
		"issuers[0].algorithms[0]: \"ES256\": it does not go with a se": {Issuer: "a", Secret: strings.Repeat("x", 32), Algorithms: []string{"ES256"}},
		"issuers[0].clockSkew: 11m0s: want 10m0s at most":               {Issuer: "a", Keys: []string{key}, ClockSkew: 11 * time.Minute},
		"issuers[0].requiredClaims[0].name: is required":                {Issuer: "a", Keys: []string{key}, RequiredClaims: []RequiredClaim{{}}},
		"issuers[0].tokenFrom.cookie: \"a b\": want letters":            {Issuer: "a", Keys: []string{key}, TokenFrom: TokenFrom{Cookie: "a b"}},
		"issuers[0].tokenFrom.header: none, and no other place":         {Issuer: "a", Keys: []string{key}, TokenFrom: TokenFrom{Header: "none"}},
	} {
		wrong := JWTConfig{Issuers: []IssuerConfig{c}}.Check()
		if len(wrong) != 1 || !strings.HasPrefix(wrong[0].Error(), want) || strings.Contains(wrong[0].Error(), "secret@") {
			t.Errorf("%+v: %v, want %s", c, wrong, want)
		}
		if _, err := (JWTConfig{Issuers: []IssuerConfig{c}}).Open(nil); err == nil {
			t.Errorf("%+v: opened", c)
		}
	}
	both := IssuerConfig{Issuer: "a", Keys: []string{key}}
	if wrong := (JWTConfig{Issuers: []IssuerConfig{both, both}}).Check(); len(wrong) != 1 || wrong[0].Key != "issuers[1].issuer" {
		t.Error(wrong)
	}
}

func TestKeySets(t *testing.T) {
	private := string(must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ecKey()}}})))
	for text, want := range map[string]string{
		`{"keys": [`:                  "unexpected end of JSON input",
		`{"keys": []}`:                "no key in it",
		`[]`:                          "neither a JWK set",
		`{"keys": [{"kty": "oct"}]}`:  "keys[0]: kty oct",
		`{"keys": [{"use": "enc"}]}`:  `keys[0]: use "enc"`,
		`{"keys": [{"kty": "EC"}, 1]`: "unexpected end",
		`{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}`: "keys[0]: RSA key of 17 bits",
		`{"keys": [{"key_ops": ["sign"]}]}`:                    "keys[0]: key_ops",
		private:                                                "keys[0]: it is a private key",
		`{"keys": [` + strings.Repeat(`{"use":"enc"},`, 128) + `{"use": "enc"}]}`: "129 keys, at most 128",
	} {
		if set, err := parseKeys([]byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60s: %v, %v, want %s", text, set, err, want)
		}
	}
	c := IssuerConfig{Issuer: "a", JWKSFile: file(t, "{\n  \"keys\": [,]\n}")}
	if wrong := (JWTConfig{Issuers: []IssuerConfig{c}}).Check(); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), c.JWKSFile+":2:12: ") {
		t.Error(wrong)
	}
	if set, err := parseKeys([]byte(publicPEM(t, rsaKey().Public()) + publicPEM(t, ecKey().Public()))); err != nil || len(set.keys) != 2 {
		t.Error(set, err)
	}
}

// FuzzToken holds: what our reader takes is what the library verifies, letter by letter, and no other spelling of the same token is
// taken: the header and the claims that were judged are those that were signed.
func FuzzToken(f *testing.F) {
	f.Add(sign(f, "ES256", ecKey(), object{"kid": "a"}, claimsFor("i", nil)))
	f.Add(sign(f, "none", nil, nil, claimsFor("i", nil)))
	f.Add("e30.e30.AA")
	f.Add("eyJhbGciOiJFUzI1NiIsImFsZyI6Im5vbmUifQ.e30.AA")
	all := []jose.SignatureAlgorithm{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := readToken(text)
		if err != nil {
			return
		}
		parts := strings.Split(text, ".")
		for _, part := range parts {
			raw, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != part {
				t.Fatalf("%q is another spelling", part)
			}
		}
		signed, err := jose.ParseSignedCompact(text, all)
		if err != nil {
			return // the library is as strict as it likes
		}
		if h := signed.Signatures[0].Header; h.Algorithm != tok.alg || h.KeyID != tok.kid {
			t.Errorf("%q: alg %q kid %q, the library has %q %q", text, tok.alg, tok.kid, h.Algorithm, h.KeyID)
		}
		payload := must(base64.RawURLEncoding.DecodeString(parts[1]))
		if !bytes.Equal(payload, signed.UnsafePayloadWithoutVerification()) {
			t.Errorf("%q: another payload", text)
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(payload, &plain); err != nil || len(plain) != len(tok.claims) {
			t.Fatalf("%q: %v, %d claims of %d", payload, err, len(tok.claims), len(plain))
		}
		for name, raw := range plain {
			if !bytes.Equal(bytes.TrimSpace(tok.claims[name]), bytes.TrimSpace(raw)) {
				t.Errorf("%q: claim %q is %q", payload, name, tok.claims[name])
			}
		}
	})
}

func TestRevocations(t *testing.T) {
	var r Revocations
	at := time.Now()
	id := &Identity{User: "ada", Method: "bearer", Issuer: "i", TokenID: "t", Issued: at.Add(-time.Minute), Expires: at.Add(time.Hour)}
	if r.Has(id) {
		t.Error("revoked by nobody")
	}
	if err := r.RevokeToken("other", "t", time.Time{}); err != nil || r.Has(id) {
		t.Error("the token of another issuer", err)
	}
	if err := r.RevokeToken("", "t", time.Time{}); err != nil || !r.Has(id) {
		t.Error(err)
	}
	if until := r.tokens[tokenName{"", "t"}]; !until.Equal(id.Expires) {
		t.Errorf("kept until %v", until)
	}
	bob := &Identity{User: "bob", Method: "bearer", Issued: at.Add(-time.Second)}
	if err := r.RevokeUser("bob", at); err != nil || !r.Has(bob) {
		t.Error(err)
	}
	for _, again := range []*Identity{{User: "bob", Method: "bearer", Issued: at.Add(time.Second)}, {User: "bob", Method: "basic"}} {
		if r.Has(again) {
			t.Errorf("%+v", again)
		}
	}
	if r.RevokeToken("", "", at) == nil || r.RevokeUser("", at) == nil || r.RevokeUser(strings.Repeat("x", 300), at) == nil {
		t.Error("a name that is none")
	}
}

// What is full says so, and forgets nothing but what has expired.
func TestRevocationsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Revocations
		for i := range maxRevocations {
			until := time.Now().Add(time.Hour)
			if i == 7 {
				until = time.Now().Add(time.Minute)
			}
			if err := r.RevokeToken("", "t"+string(rune(i+1)), until); err != nil {
				t.Fatal(i, err)
			}
		}
		room := maxRevocations - r.Len() // some runes are one
		for i := range room {
			if err := r.RevokeUser("u"+string(rune('a'+i%26))+strings.Repeat("x", i/26%250)+strings.Repeat("y", i/6500), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.RevokeToken("", "more", time.Time{}); !errors.Is(err, ErrFull) || r.Len() != maxRevocations {
			t.Fatal(err, r.Len())
		}
		time.Sleep(time.Minute)
		if err := r.RevokeToken("", "more", time.Time{}); err != nil {
			t.Error(err)
		}
		if err := r.RevokeToken("", "still more", time.Time{}); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
	})
}
