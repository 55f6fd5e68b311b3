package interop

import (
	"net/http"
	"strings"
	"testing"
)

// Every filter of an HTTPRoute, with a request and with a WebSocket handshake: it acts on the handshake both ways and never on
// what the session carries.
func TestGatewayFilters(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	m.echo("two")
	mirrors := []*echo{m.echo("mirror"), m.echo("mirror-two")}
	m.service("refused", "", refusing(t))
	tickets, guard := m.echo("authority"), &grpcAuthority{}
	m.service("grpc-authority", "kubernetes.io/h2c", serveH2C(t, guard))
	m.file("filters.yaml")
	m.start("80", "8080")

	t.Run("ExternalAuth", func(t *testing.T) { authorizes(t, m, tickets) })
	t.Run("ExternalAuth GRPC", func(t *testing.T) { authorizesByGRPC(t, m, guard) })
	t.Run("HTTPRouteRequestHeaderModification", func(t *testing.T) {
		fields := []string{"X-Set", "client", "X-Add", "client", "X-Gone", "1", "X-Kept", "1"}
		check := func(how string, saw seen) {
			h := saw.Header
			added := strings.Join(h.Values("X-Add"), ",")
			if h.Get("X-Set") != "rule" || added != "client,rule" || h.Get("X-Gone") != "" || h.Get("X-Kept") != "1" {
				t.Errorf("%s: the service saw %v", how, h)
			}
		}
		check("request", m.get(t, "http://headers.example/request", http.StatusOK, fields...).saw)
		s := m.open(t, "ws://headers.example/request", fields...)
		check("handshake", s.saw)
		s.ask("X-Set: client", "X-Set: client")
	})
	t.Run("HTTPRouteResponseHeaderModification", func(t *testing.T) {
		const url = "http://headers.example/response?set=X-Set:service&set=X-Add:service&set=X-Gone:1&set=X-Kept:1"
		check := func(how string, h http.Header) {
			added := strings.Join(h.Values("X-Add"), ",")
			if h.Get("X-Set") != "rule" || added != "service,rule" || h.Get("X-Gone") != "" || h.Get("X-Kept") != "1" {
				t.Errorf("%s: the client saw %v", how, h)
			}
		}
		check("response", m.get(t, url, http.StatusOK).Header)
		s := m.open(t, url)
		check("handshake", s.response.Header)
		s.ask("X-Set: service", "X-Set: service")
	})
	t.Run("HTTPRouteBackendRequestHeaderModification", func(t *testing.T) {
		had := map[string]bool{}
		for range 8 {
			saw := m.get(t, "http://headers.example/backend", http.StatusOK, "X-Gone", "1").saw
			s := m.open(t, "ws://headers.example/backend", "X-Gone", "1")
			for _, saw := range []seen{saw, s.saw} {
				had[saw.Service] = true
				if saw.Header.Get("X-Set") != saw.Service || saw.Header.Get("X-Gone") != "" {
					t.Errorf("%s saw %v", saw.Service, saw.Header)
				}
			}
		}
		if len(had) != 2 {
			t.Errorf("asked of the two backends: %v", had)
		}
	})
	rewritten := func(t *testing.T, url, uri, host string) {
		t.Helper()
		s := m.open(t, url)
		for _, saw := range []seen{m.get(t, url, http.StatusOK).saw, s.saw} {
			if saw.URI != uri || saw.Host != host {
				t.Errorf("%s: the service saw %s of %s, want %s of %s", url, saw.URI, saw.Host, uri, host)
			}
		}
		s.ask(url, url)
	}
	t.Run("HTTPRoutePathRewrite", func(t *testing.T) {
		rewritten(t, "http://rewrite.example/prefix", "/new", "rewrite.example")
		rewritten(t, "http://rewrite.example/prefix/a%2Fb/?c=d", "/new/a%2Fb/?c=d", "rewrite.example")
		rewritten(t, "http://rewrite.example/full/a?c=d", "/all?c=d", "rewrite.example")
	})
	t.Run("HTTPRouteHostRewrite", func(t *testing.T) {
		rewritten(t, "http://rewrite.example/host/a", "/host/a", "inside.example")
		if got := m.get(t, "http://rewrite.example/host", http.StatusOK).saw.Header.Get("X-Forwarded-Host"); got != "rewrite.example" {
			t.Errorf("X-Forwarded-Host %q", got)
		}
	})
	// A redirect that names no port is shifted as the listeners are, so that it leads somewhere.
	redirected := func(t *testing.T, url string, status int, location string) {
		t.Helper()
		a := m.get(t, url, status)
		resp := m.refusesSession(t, url, status)
		for _, got := range []string{a.Header.Get("Location"), resp.Header.Get("Location")} {
			if got != location {
				t.Errorf("%s: Location %q, want %q", url, got, location)
			}
		}
	}
	t.Run("HTTPRoutePathRedirect", func(t *testing.T) {
		redirected(t, "http://redirect.example/path/a?b=c", 302, "http://redirect.example:20080/there/a?b=c")
		redirected(t, "http://redirect.example/full/a", 302, "http://other.example:20080/there")
		redirected(t, "http://redirect.example:8080/path", 302, "http://redirect.example:28080/there")
	})
	t.Run("HTTPRoutePortRedirect", func(t *testing.T) {
		redirected(t, "http://redirect.example/port", 301, "http://redirect.example:8083/port")
		redirected(t, "http://redirect.example/both", 302, "https://redirect.example:8443/both")
	})
	t.Run("HTTPRouteSchemeRedirect", func(t *testing.T) {
		redirected(t, "http://redirect.example/scheme", 301, "https://redirect.example:20443/scheme")
		redirected(t, "http://redirect.example:8080/scheme", 301, "https://redirect.example:20443/scheme")
	})
	t.Run("HTTPRoute303RedirectStatusCode", func(t *testing.T) {
		redirected(t, "http://redirect.example/303", 303, "http://see.example:20080/303")
	})
	t.Run("HTTPRoute307RedirectStatusCode", func(t *testing.T) {
		redirected(t, "http://redirect.example/307", 307, "http://see.example:20080/307")
	})
	t.Run("HTTPRoute308RedirectStatusCode", func(t *testing.T) {
		redirected(t, "http://redirect.example/308", 308, "http://see.example:20080/308")
	})
	t.Run("HTTPRouteRequestMirror", func(t *testing.T) {
		a := askWith(t, m.client, http.MethodPost, "http://mirror.example/one/x?y", "a body")
		if a.saw.Service != "one" || a.saw.Body != "a body" {
			t.Errorf("%q answers: %s", a.saw.Service, a.body)
		}
		copied := mirrors[0].wait(t, "/one/x", 1)[0]
		if copied.Method != http.MethodPost || copied.URI != "/one/x?y" || copied.Body != "a body" {
			t.Errorf("the mirror saw %+v", copied)
		}
		m.serves(t, "http://mirror.example/dead", "one")
		// A session is not copied: neither its handshake nor what it carries.
		s := m.open(t, "ws://mirror.example/one/session")
		s.ask("more", "more")
		askWith(t, m.client, http.MethodGet, "http://mirror.example/one/after", "")
		mirrors[0].wait(t, "/one/after", 1)
		if copies := mirrors[0].requests("/one/session"); len(copies) > 0 {
			t.Errorf("the mirror saw the handshake %+v", copies)
		}
	})
	t.Run("HTTPRouteRequestMultipleMirrors", func(t *testing.T) {
		m.serves(t, "http://mirror.example/two/x", "one")
		for _, mirror := range mirrors {
			mirror.wait(t, "/two/x", 1)
		}
	})
	t.Run("HTTPRouteRequestPercentageMirror", func(t *testing.T) {
		const n = 400
		for range n {
			m.get(t, "http://mirror.example/half", http.StatusOK)
		}
		// Five standard deviations are 12.5 and 10.8 percent of them.
		mirrors[0].wait(t, "/half", n/2-n/8)
		mirrors[1].wait(t, "/half", n/4-n/9)
		if got := []int{len(mirrors[0].requests("/half")), len(mirrors[1].requests("/half"))}; got[0] > n/2+n/8 || got[1] > n/4+n/9 {
			t.Errorf("%v of %d requests are mirrored, want half of them and a quarter", got, n)
		}
	})
	t.Run("HTTPRouteCORS", func(t *testing.T) {
		a := m.ask(t, http.MethodOptions, "http://cors.example/x", "Origin", "https://page.example", "Access-Control-Request-Method", "PUT",
			"Access-Control-Request-Headers", "x-one, x-two")
		if a.StatusCode/100 != 2 {
			t.Errorf("preflight: status %d", a.StatusCode)
		}
		wantField(t, a.Header, "Access-Control-Allow-Origin", "https://page.example")
		wantField(t, a.Header, "Access-Control-Allow-Methods", "GET, PUT")
		wantField(t, a.Header, "Access-Control-Allow-Headers", "X-One, X-Two")
		wantField(t, a.Header, "Access-Control-Allow-Credentials", "true")
		wantField(t, a.Header, "Access-Control-Max-Age", "60")
		a = m.get(t, "http://cors.example/x", http.StatusOK, "Origin", "https://a.pages.example")
		wantField(t, a.Header, "Access-Control-Allow-Origin", "https://a.pages.example")
		wantField(t, a.Header, "Access-Control-Expose-Headers", "X-Shown")
		a = m.get(t, "http://cors.example/x", http.StatusOK, "Origin", "https://stranger.example")
		wantField(t, a.Header, "Access-Control-Allow-Origin", "")
		a = m.ask(t, http.MethodOptions, "http://cors.example/x", "Origin", "https://stranger.example", "Access-Control-Request-Method", "PUT")
		wantField(t, a.Header, "Access-Control-Allow-Origin", "")
		// A browser does not ask before it opens a WebSocket, and reads none of these fields.
		s := m.open(t, "ws://cors.example/x", "Origin", "https://page.example")
		wantField(t, s.response.Header, "Access-Control-Allow-Origin", "")
		s.ask("more", "more")
	})
}

func wantField(t *testing.T, h http.Header, name, want string) {
	t.Helper()
	if got := h.Get(name); !strings.EqualFold(got, want) {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}
