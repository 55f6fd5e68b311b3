package auth

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// keyServer answers with what say returns, and counts.
type keyServer struct {
	*httptest.Server
	asked atomic.Int64
	say   atomic.Pointer[func(w http.ResponseWriter, r *http.Request)]
}

func startKeyServer(t *testing.T, keys ...jose.JSONWebKey) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.answer(keySetText(t, keys...))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		(*s.say.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) answer(text string) {
	say := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
	s.say.Store(&say)
}

// remote opens tokens whose keys are fetched; every fetch is allowed at once.
func remote(t *testing.T, s *keyServer) (*KeyCache, *Tokens) {
	t.Helper()
	c := NewKeyCache(slog.New(slog.DiscardHandler))
	c.interval = 0
	tokens, err := JWTConfig{Issuers: []IssuerConfig{{Issuer: "i", JWKSURI: s.URL}}}.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Keep(tokens)
	t.Cleanup(func() { c.Keep(nil) })
	return c, tokens
}

func key(id string) jose.JSONWebKey { return jose.JSONWebKey{Key: ecKey().Public(), KeyID: id} }

func signed(t *testing.T, kid string) string {
	return sign(t, "ES256", ecKey(), object{"kid": kid}, claimsFor("i", nil))
}

// The first token waits for the keys; one with a kid that nobody knows has them fetched again, and others are not fetched for.
func TestKeysAreFetched(t *testing.T) {
	s := startKeyServer(t, key("a"))
	_, tokens := remote(t, s)
	if _, err := tokens.Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil || s.asked.Load() != 1 {
		t.Fatal(err, s.asked.Load())
	}
	for _, bad := range []string{
		sign(t, "ES256", ecKey(), object{"kid": "b"}, claimsFor("i", object{"exp": 1})), sign(t, "none", nil, object{"kid": "b"}, claimsFor("i", nil)),
		sign(t, "ES256", ecKey(), object{"kid": "b"}, claimsFor("j", nil)), signed(t, "a") + "A",
	} {
		if _, err := tokens.Identify(t.Context(), bad, inHeader, now); err == nil || s.asked.Load() != 1 {
			t.Error(err, s.asked.Load())
		}
	}
	s.answer(keySetText(t, key("b")))
	if _, err := tokens.Identify(t.Context(), signed(t, "b"), inHeader, now); err != nil || s.asked.Load() != 2 {
		t.Fatal(err, s.asked.Load())
	}
	// The key is gone, and with it what was remembered.
	if _, err := tokens.Identify(t.Context(), signed(t, "a"), inHeader, now); err == nil {
		t.Error("a key that its issuer has taken back")
	}
}

// A flood of kids has the keys fetched once, whatever comes of it.
func TestKidFlood(t *testing.T) {
	s := startKeyServer(t, key("a"))
	c, tokens := remote(t, s)
	c.interval = time.Hour
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := tokens.Identify(t.Context(), signed(t, fmt.Sprint(i)), inHeader, now); err == nil {
				t.Error("let in")
			}
		})
	}
	wg.Wait()
	if _, err := tokens.Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil {
		t.Error(err)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// A source that is away, answers nonsense, too much, elsewhere or too late leaves the keys that are there; without any the answer is 503.
func TestAKeySourceThatFails(t *testing.T) {
	s := startKeyServer(t)
	c, tokens := remote(t, s)
	first, other := startKeyServer(t, key("a")), signed(t, "b")
	servedBy, served := remote(t, first)
	if _, err := served.Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil {
		t.Fatal(err)
	}
	for name, say := range map[string]func(w http.ResponseWriter, r *http.Request){
		"error":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"huge": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[],"pad":"` + strings.Repeat("x", maxKeySet) + `"}`))
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"slow":     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		s.say.Store(&say)
		first.say.Store(&say)
		if name == "slow" {
			c.patience, servedBy.patience = 20*time.Millisecond, 20*time.Millisecond
		}
		_, err := tokens.Identify(t.Context(), other, inHeader, now)
		if e, ok := err.(*Error); !ok || e.Status != http.StatusServiceUnavailable { //nolint:errorlint // it is one
			t.Errorf("%s: %v", name, err)
		}
		_, err = served.Identify(t.Context(), other, inHeader, now)
		if e, ok := err.(*Error); !ok || e.Status != http.StatusUnauthorized { //nolint:errorlint // it is one
			t.Errorf("%s: %v", name, err)
		}
		if _, err := served.Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The server's certificate is verified; a source that a reload names again keeps its keys; Run fetches without being asked.
func TestKeysOverTLSAcrossReloads(t *testing.T) {
	s, came := &keyServer{}, make(chan struct{}, 16)
	s.answer(keySetText(t, key("a")))
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		came <- struct{}{}
		(*s.say.Load())(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	defer s.Close()
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	c := NewKeyCache(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	defer func() { cancel(); running.Wait(); c.Keep(nil) }()
	open := func(caFile string) *Tokens {
		tokens, err := JWTConfig{Issuers: []IssuerConfig{{Issuer: "i", JWKSURI: s.URL, JWKSCAFile: caFile}, {Issuer: "j", JWKSURI: s.URL, JWKSCAFile: caFile}}}.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Keep(tokens)
		return tokens
	}
	if _, err := open("").Identify(t.Context(), signed(t, "a"), inHeader, now); err == nil || s.asked.Load() != 0 {
		t.Fatalf("%v, asked %d times: an unknown authority", err, s.asked.Load())
	}
	tokens := open(ca)
	select {
	case <-came:
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not fetch the keys")
	}
	if _, err := tokens.Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil || tokens.issuers["i"].source != tokens.issuers["j"].source {
		t.Fatal(err)
	}
	s.Close()
	if _, err := open(ca).Identify(t.Context(), signed(t, "a"), inHeader, now); err != nil {
		t.Errorf("after a reload, while the source is away: %v", err)
	}
}
