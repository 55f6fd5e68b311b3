package interop

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// AGC's policies on routes and services; its HealthCheckPolicy and those of TLS have tests of their own.
func TestGatewayAGCPolicies(t *testing.T) {
	m := newManifests(t)
	a, b := startEcho(t, "a", nil), startEcho(t, "b", nil)
	for _, name := range []string{"pair", "turns", "least"} {
		m.service(name, "", a.address, b.address)
	}
	m.file("agc.yaml")
	m.start("80")

	t.Run("alb RoutePolicy", func(t *testing.T) {
		for range 4 {
			first := m.get(t, "http://managed.example/", http.StatusOK)
			cookie := cookieOf(t, first.Header, "AGCAffinity")
			if cookie.MaxAge != 86400 || !cookie.HttpOnly {
				t.Errorf("the cookie says %v, want Max-Age 86400 and HttpOnly", cookie)
			}
			for range 3 {
				m.serves(t, "http://managed.example/", first.saw.Service, "Cookie", "AGCAffinity="+cookie.Value)
			}
		}
		// The application sets its cookie itself; the gateway keeps who has it where it was set.
		for i := range 4 {
			value := "user" + string(rune('0'+i))
			first := m.get(t, "http://application.example/", http.StatusOK, "Cookie", "JSESSIONID="+value)
			for range 3 {
				m.serves(t, "http://application.example/", first.saw.Service, "Cookie", "JSESSIONID="+value)
			}
		}
		m.ask(t, http.MethodGet, "http://application.example/?delay=1m").wantProblem(t, http.StatusGatewayTimeout)
	})
	t.Run("alb BackendLoadBalancingPolicy", func(t *testing.T) {
		last := m.get(t, "http://strategies.example/turns", http.StatusOK).saw.Service
		for range 6 {
			next := m.get(t, "http://strategies.example/turns", http.StatusOK).saw.Service
			if next == last {
				t.Errorf("%s answers twice in a row", next)
			}
			last = next
		}
		// Whoever has a session open is asked after the other.
		s := m.open(t, "ws://strategies.example/least")
		for range 4 {
			if got := m.get(t, "http://strategies.example/least", http.StatusOK).saw.Service; got == s.saw.Service {
				t.Errorf("%s is asked, which has more to do", got)
			}
		}
	})
}

// What fairlead.dev adds.
func TestGatewayOwnKinds(t *testing.T) {
	m := newManifests(t)
	m.registry = true
	m.echo("chat")
	m.echo("own-host")
	a, b := startEcho(t, "a", nil), startEcho(t, "b", nil)
	m.values["A"], m.values["B"], m.values["A_PORT"] = a.address, b.address, portOf(a.address)
	m.file("own.yaml")
	m.start("80")

	t.Run("RoutePolicy", func(t *testing.T) {
		message := strings.Repeat("x", 1500)
		s := m.open(t, "ws://chat.example/small")
		s.send(message)
		s.wantClose(1009)
		m.open(t, "ws://chat.example/big").ask(message, message)

		m.open(t, "ws://chat.example/small", "Origin", "https://page.example")
		m.refusesSession(t, "ws://chat.example/big", http.StatusForbidden, "Origin", "https://stranger.example")

		few := m.open(t, "ws://chat.example/few")
		m.refusesSession(t, "ws://chat.example/few", http.StatusServiceUnavailable)
		few.leave()
		waitFor(t, "the place of the session that has ended", wait, nil, func() error {
			conn, _, err := m.handshake(t, "ws://chat.example/few")
			if err == nil {
				_ = conn.CloseNow()
			}
			return err
		})

		conn, resp, err := m.handshake(t, "ws://chat.example/told")
		if err != nil {
			t.Fatalf("%v (%v)", err, resp)
		}
		defer conn.CloseNow()
		(&session{t, conn}).wantClose(1012)

		m.ask(t, http.MethodGet, "http://chat.example/locked").want(t, http.StatusUnauthorized)
		m.refusesSession(t, "http://chat.example/locked", http.StatusUnauthorized)
		m.refusesSession(t, "http://chat.example/locked", http.StatusUnauthorized, "Authorization", basic("ada", "guess").Get("Authorization"))
		credentials := []string{"Authorization", basic("ada", adminPassword).Get("Authorization")}
		s = m.open(t, "ws://chat.example/locked", credentials...)
		for _, saw := range []seen{m.get(t, "http://chat.example/locked", http.StatusOK, credentials...).saw, s.saw} {
			if saw.Header.Get("Authorization") != "" {
				t.Error("what the gateway itself has checked reaches the service")
			}
		}

		if saw := m.get(t, "http://chat.example/own-host", http.StatusOK).saw; !strings.HasPrefix(saw.Host, "127.0.0.1:") {
			t.Errorf("the service is asked for %s", saw.Host)
		}
		m.ask(t, http.MethodGet, "http://chat.example/own-host?delay=1m").wantProblem(t, http.StatusGatewayTimeout)
	})
	t.Run("RoutePolicy loadBalancing", func(t *testing.T) {
		for range 4 {
			first := m.get(t, "http://stay.example/page", http.StatusOK)
			cookie := cookieOf(t, first.Header, "seat")
			if cookie.MaxAge != 3600 || cookie.Path != "/" || !cookie.HttpOnly {
				t.Errorf("the cookie says %v", cookie)
			}
			for _, path := range []string{"/page", "/api"} { // the rules share it
				a := m.get(t, "http://stay.example"+path, http.StatusOK, "Cookie", "other=1; seat="+cookie.Value)
				if a.saw.Service != first.saw.Service || a.Header.Get("Set-Cookie") != "" || a.saw.Header.Get("Cookie") != "other=1" {
					t.Errorf("%s: %s, then %s, which saw %v; %v", path, first.saw.Service, a.saw.Service, a.saw.Header, a.Header)
				}
				m.serves(t, "http://stay.example"+path, first.saw.Service, "Cookie", "seat="+cookie.Value)
			}
		}
		for i := range 4 {
			tenant := string(rune('p' + i))
			first := m.get(t, "http://stay.example/hashed", http.StatusOK, "X-Tenant", tenant)
			if first.Header.Get("Set-Cookie") != "" || first.saw.Header.Get("X-Tenant") != tenant {
				t.Errorf("%v, and the service saw %v", first.Header, first.saw.Header)
			}
			m.serves(t, "http://stay.example/hashed", first.saw.Service, "X-Tenant", tenant)
		}
	})
	t.Run("Backend", func(t *testing.T) {
		had := map[string]bool{}
		for range 6 {
			had[m.get(t, "http://elsewhere.example/backend", http.StatusOK).saw.Service] = true
			had[m.open(t, "ws://elsewhere.example/backend").saw.Service] = true
		}
		if len(had) != 2 || !had["a"] || !had["b"] {
			t.Errorf("%v answer", had)
		}
		if saw := m.get(t, "http://elsewhere.example/h2c", http.StatusOK).saw; saw.Proto != "HTTP/2.0" || saw.Service != "a" {
			t.Errorf("%s answers over %s", saw.Service, saw.Proto)
		}
	})
	t.Run("EurekaService", func(t *testing.T) {
		m.refuses(t, "http://elsewhere.example/registry", http.StatusServiceUnavailable) // as long as nobody has registered
		registry := m.registrar(t)
		registry.register(t, "billing-v2", a.address, nil)
		registry.register(t, "accounts", b.address, nil)
		for path, service := range map[string]string{"/registry": "a", "/by-id": "b"} {
			m.eventually(t, "http://elsewhere.example"+path, path+" served by an instance of the registry", func(a *answerOf) bool {
				return a.saw.Service == service
			})
			m.serves(t, "http://elsewhere.example"+path, service)
		}
		s := m.open(t, "ws://elsewhere.example/registry")
		instance := "https://" + registry.registry + "/eureka/apps/billing-v2/127.0.0.1:billing-v2:" + portOf(a.address)
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodDelete, instance, http.NoBody)
		resp, err := registry.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		m.eventually(t, "http://elsewhere.example/registry", "503 after the only instance went", func(a *answerOf) bool {
			return a.StatusCode == http.StatusServiceUnavailable
		})
		m.refusesSession(t, "http://elsewhere.example/registry", http.StatusServiceUnavailable)
		s.ask("still here", "still here")
	})
}

// registrar is the gateway with a client that trusts its registry.
func (m *manifests) registrar(t *testing.T) *gateway {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.base, "data", "certificate.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own := newAuthority(t)
	if !own.pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate: %s", text)
	}
	g := *m.gateway
	g.registry = "localhost:10011"
	g.client = (&manifests{t: t, ca: own, address: m.address}).newClient()
	g.client.Transport.(*http.Transport).DialContext = dialTo(m.address + ":10011")
	return &g
}
