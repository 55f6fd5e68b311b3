package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

var tokenKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// tokensOf accepts the tokens that makeToken makes, from the places that are said.
func tokensOf(t *testing.T, from auth.TokenFrom) *auth.Tokens {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(tokenKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.JWTConfig{Issuers: []auth.IssuerConfig{{
		Issuer: "test", Keys: []string{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))}, TokenFrom: from, ClockSkew: -1,
		RequiredClaims: []auth.RequiredClaim{{Name: "kind", Values: []string{"chat"}}},
	}}}.Open(auth.NewKeyCache(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// makeToken makes a token for ada that is good for a while, with more claims.
func makeToken(t *testing.T, more map[string]any) string {
	t.Helper()
	now := time.Now()
	claims := map[string]any{"iss": "test", "sub": "ada", "kind": "chat", "iat": now.Unix() - 1, "exp": now.Add(time.Hour).Unix()}
	for name, value := range more {
		claims[name] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: tokenKey()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// telling is a service that tells in its 101 what it was asked, and stays.
func telling(t *testing.T, got chan<- string) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		got <- head
		if !strings.Contains(head, "Upgrade: websocket") {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		var agreed []string
		if v := field(head, "Sec-WebSocket-Protocol"); len(v) > 0 {
			first, _, _ := strings.Cut(v[0], ",")
			agreed = []string{"Sec-WebSocket-Protocol: " + first}
		}
		_, _ = io.WriteString(c, acceptSwitch(head, agreed...))
		_, _ = io.Copy(io.Discard, br)
	})
}

var everywhere = auth.TokenFrom{Cookie: "tok", Query: "tkt", Subprotocol: "bearer."}

// askingGateway starts a gateway whose one service asks for that.
func askingGateway(t *testing.T, ways route.Auth, passed bool, status route.ConnectFailure) (*gateway, chan string) {
	t.Helper()
	got := make(chan string, 8)
	g := startGateway(t, service{
		id: "svc", routes: map[string]string{"ws/v1": "/svc", "api/v1": "/svc"}, endpoints: []string{telling(t, got)},
		policy: func(p *route.Policy) { p.Auth, p.WebSocket.ConnectFailure = ways, status },
	})
	g.apply(t, Reloadable{
		Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Users: users(t, "user", "pass"), Tokens: tokensOf(t, everywhere), PassCredentials: passed,
	})
	return g, got
}

const basicAda = "Authorization: Basic dXNlcjpwYXNz"

// A token lets in from wherever it may be; the service sees nothing of it, nor does a log, and everything else is as it came.
func TestTokensLetIn(t *testing.T) {
	g, got := askingGateway(t, "basic, bearer", false, route.StatusOnFailure)
	token := makeToken(t, nil)
	packed := base64.RawURLEncoding.EncodeToString([]byte(token))
	for name, c := range map[string]struct {
		target  string
		fields  []string
		user    string
		line    string // of the request, as the service has it
		without []string
		has     []string // lines that the service has
		answer  string   // Sec-WebSocket-Protocol of the client's 101; "": none
	}{
		"header":       {target: "/svc/ws/v1/x?a=1", fields: []string{"Authorization: bearer " + token, "X-A: b"}, line: "/svc/x?a=1", has: []string{"X-A: b"}},
		"cookie":       {target: "/svc/ws/v1/x", fields: []string{"Cookie: a=1; tok=" + token + "; b=2"}, line: "/svc/x", has: []string{"Cookie: a=1; b=2"}},
		"cookie alone": {target: "/svc/ws/v1/x", fields: []string{"Cookie: tok=" + token}, line: "/svc/x", without: []string{"Cookie:"}},
		"query":        {target: "/svc/ws/v1/x?tkt=" + token, line: "/svc/x"},
		"query between": {
			target: "/svc/ws/v1/x?a=%2f&tk%74=" + token + "&b", line: "/svc/x?a=%2f&b", fields: []string{"Cookie: tok=stale"},
			without: []string{"stale"},
		},
		"subprotocol": {
			target: "/svc/ws/v1/x", fields: []string{"Sec-WebSocket-Protocol: bearer." + token + ", chat"}, line: "/svc/x",
			has: []string{"Sec-WebSocket-Protocol: chat"}, answer: "chat",
		},
		"subprotocol in base64": {
			target: "/svc/ws/v1/x", fields: []string{"Sec-WebSocket-Protocol: chat, bearer." + packed}, line: "/svc/x",
			has: []string{"Sec-WebSocket-Protocol: chat"}, answer: "chat",
		},
		"subprotocol alone": {
			target: "/svc/ws/v1/x", fields: []string{"Sec-WebSocket-Protocol: bearer." + token}, line: "/svc/x",
			without: []string{"Sec-WebSocket-Protocol"}, answer: "bearer." + token,
		},
		"basic": {target: "/svc/ws/v1/x", fields: []string{basicAda, "Cookie: tok=x"}, user: "user", line: "/svc/x", without: []string{"Cookie", "Authorization"}},
		"a Basic that is the service's goes with no token": {target: "/svc/ws/v1/x", fields: []string{basicAda}, user: "user", line: "/svc/x"},
	} {
		c0, _, head := talk(t, g, handshake(c.target, "gw", c.fields...))
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Errorf("%s: answer %q", name, head)
			continue
		}
		saw := <-got
		if !strings.HasPrefix(saw, "GET "+c.line+" HTTP/1.1\r\n") || strings.Contains(saw, token) || strings.Contains(saw, packed) || len(field(saw, "Authorization")) != 0 {
			t.Errorf("%s: the service sees %q", name, saw)
		}
		for _, line := range c.has {
			if !strings.Contains(saw, "\r\n"+line+"\r\n") {
				t.Errorf("%s: %q lacks %q", name, saw, line)
			}
		}
		for _, text := range c.without {
			if strings.Contains(saw, text) {
				t.Errorf("%s: %q has %q", name, saw, text)
			}
		}
		if v := strings.Join(field(head, "Sec-WebSocket-Protocol"), " "); v != c.answer {
			t.Errorf("%s: subprotocol %q, want %q", name, v, c.answer)
		}
		c0.Close()
		rec := g.log.next(t)
		line, err := json.Marshal(rec)
		if want := c.user + strings.Repeat("ada", 1-len(c.user)/4); err != nil || rec["user"] != want || strings.Contains(string(line), token[:20]) || strings.Contains(string(line), packed[:20]) {
			t.Errorf("%s: line %s", name, line)
		}
	}
}

// With auth.passCredentials the service sees what the client sent; the log still does not.
func TestCredentialsMayBePassed(t *testing.T) {
	g, got := askingGateway(t, route.AuthBearer, true, route.StatusOnFailure)
	token := makeToken(t, nil)
	for _, send := range []string{
		handshake("/svc/ws/v1/x", "gw", "Authorization: Bearer "+token), handshake("/svc/ws/v1/x", "gw", "Cookie: tok="+token),
		handshake("/svc/ws/v1/x?tkt="+token, "gw"), "GET /svc/api/v1/x?tkt=" + token + " HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n",
	} {
		c, _, head := talk(t, g, send)
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") && !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Fatalf("answer %q", head)
		}
		if saw := <-got; !strings.Contains(saw, token) {
			t.Errorf("the service sees %q", saw)
		}
		c.Close()
		if line, err := json.Marshal(g.log.next(t)); err != nil || strings.Contains(string(line), token[:20]) {
			t.Errorf("line %s, %v", line, err)
		}
	}
}

// What is refused is told as RFC 6750 says, and as connectFailure says to a handshake.
func TestTokensAreRefused(t *testing.T) {
	const ask, bad = `Bearer realm="Realm"`, `Bearer realm="Realm", error="invalid_token", error_description="The token is not valid"`
	g, _ := askingGateway(t, route.AuthBearer, false, route.StatusOnFailure)
	both, _ := askingGateway(t, "basic, bearer", false, route.CloseOnFailure)
	for name, c := range map[string]struct {
		fields            []string
		status, challenge string
		number, cause     string
	}{
		"nothing":   {nil, "401", ask, "ZWEAG105E", "refused: no token"},
		"basic":     {[]string{basicAda}, "401", ask, "ZWEAG105E", "refused: no token"},
		"nonsense":  {[]string{"Authorization: Bearer abc"}, "401", bad, "ZWEAG102E", "refused: token: it is no JWT"},
		"two":       {[]string{"Authorization: Bearer abc", "Authorization: Bearer abc"}, "401", bad, "ZWEAG102E", "refused: several Authorization headers"},
		"forged":    {[]string{"Cookie: tok=" + makeToken(t, nil)[:60] + "AAAA"}, "401", bad, "ZWEAG102E", "refused: token: it is no JWT"},
		"expired":   {[]string{"Authorization: Bearer " + makeToken(t, map[string]any{"exp": 1})}, "401", strings.Replace(bad, "is not valid", "has expired", 1), "ZWEAG103E", "refused: token expired"},
		"forbidden": {[]string{"Authorization: Bearer " + makeToken(t, map[string]any{"kind": "mail"})}, "403", `Bearer realm="Realm", error="insufficient_scope", error_description="The token lacks a required claim"`, "ZWEAT403E", "refused: token: it lacks the required claim kind"},
	} {
		for _, send := range []string{
			handshake("/svc/ws/v1/x", "gw", c.fields...),
			"GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n" + strings.Join(append(c.fields, ""), "\r\n") + "\r\n",
		} {
			_, br, head := talk(t, g, send)
			body, _ := io.ReadAll(br)
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status) || one(head, "WWW-Authenticate") != c.challenge || !strings.Contains(string(body), c.number) {
				t.Errorf("%s: %q %s", name, head, body)
			}
			if rec := g.log.next(t); rec["cause"] != c.cause || rec["user"] != nil {
				t.Errorf("%s: line %v", name, rec)
			}
		}
		if name == "basic" {
			continue
		}
		_, br, _ := talk(t, both, handshake("/svc/ws/v1/x", "gw", append(c.fields, "Sec-WebSocket-Protocol: bearer.abc")...))
		if code, reason := closing(t, br); code != 1003 || reason != "Invalid login credentials" {
			t.Errorf("%s: Close %d %q", name, code, reason)
		}
	}
	_, br, head := talk(t, both, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
	_, _ = io.Copy(io.Discard, br)
	if v := one(head, "WWW-Authenticate"); v != ask+`, Basic realm="Realm"` {
		t.Errorf("asks for %q", v)
	}
	_, _, head = talk(t, g, handshake("/svc/ws/v1/x?tkt=a&tkt=b", "gw"))
	if !strings.HasPrefix(head, "HTTP/1.1 401 ") {
		t.Errorf("two tokens in the query: %q", head)
	}
}

// Without issuers nobody comes in by a token, and who has a password still does.
func TestRouteAsksForTokensThatNobodyMakes(t *testing.T) {
	g, got := askingGateway(t, "basic, bearer", false, route.StatusOnFailure)
	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, Users: users(t, "user", "pass")})
	_, _, head := talk(t, g, handshake("/svc/ws/v1/x", "gw", "Authorization: Bearer "+makeToken(t, nil)))
	if !strings.HasPrefix(head, "HTTP/1.1 503 ") {
		t.Errorf("answer %q", head)
	}
	_, _, head = talk(t, g, handshake("/svc/ws/v1/x", "gw", basicAda))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || len(field(<-got, "Authorization")) != 0 {
		t.Errorf("answer %q", head)
	}
}
