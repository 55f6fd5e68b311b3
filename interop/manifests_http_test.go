package interop

import (
	"net/http"
	"testing"
)

// What an HTTPRoute says of which requests go where, and what is answered where they can go nowhere. Sub-tests are named for
// the features of the Gateway API that they show; see TestGatewayFeatures.
func TestGatewayHTTPRoute(t *testing.T) {
	m := newManifests(t)
	one := m.echo("one")
	for _, name := range []string{"two", "three", "other/far", "other/secret"} {
		m.echo(name)
	}
	m.service("refused", "", refusing(t))
	m.values["ONE_PORT"] = portOf(one.address)
	m.file("http.yaml")
	m.start("80", "8080")

	t.Run("Gateway", func(t *testing.T) {
		a := m.get(t, "http://match.example/exact", http.StatusOK)
		if a.saw.Host != "match.example" || a.saw.URI != "/exact" || a.saw.Header.Get("X-Forwarded-For") != "127.0.0.1" {
			t.Errorf("the service saw %+v", a.saw)
		}
		m.refuses(t, "http://stranger.example/exact", http.StatusNotFound)
	})
	t.Run("HTTPRoute", func(t *testing.T) {
		for _, c := range []struct {
			url, service string
			fields       []string
		}{
			{"http://match.example/exact", "one", nil},
			{"http://match.example/v2", "two", nil},
			{"http://match.example/v2/x?y", "two", nil},
			{"http://match.example/v2/deeper/x", "three", nil},
			{"http://match.example/else", "two", []string{"version", "two"}},
			{"http://match.example/r/42", "three", nil},
			{"http://match.example/else", "three", []string{"Kind", "three"}},
		} {
			m.serves(t, c.url, c.service, c.fields...)
		}
		for url, service := range map[string]string{
			"http://b.names.example/": "one", "http://x.a.names.example/": "one", "http://a.names.example/a": "two", "http://A.Names.EXAMPLE/a": "two",
			"http://a.names.example/": "one",
		} {
			m.serves(t, url, service)
		}
		m.refuses(t, "http://names.example/", http.StatusNotFound)
		for _, path := range []string{"/exact/x", "/v22", "/r/x", "/r/1/2", "/"} {
			m.refuses(t, "http://match.example"+path, http.StatusNotFound)
		}
		m.refuses(t, "http://nowhere.example/missing", http.StatusInternalServerError)
		m.refuses(t, "http://nowhere.example/port", http.StatusInternalServerError)
		m.refuses(t, "http://nowhere.example/kind", http.StatusInternalServerError)
		m.refuses(t, "http://nowhere.example/none", http.StatusInternalServerError)
		m.refuses(t, "http://nowhere.example/empty", http.StatusServiceUnavailable)
		m.refuses(t, "http://nowhere.example/refused", http.StatusBadGateway)
	})
	t.Run("weights", func(t *testing.T) {
		count := map[string]int{}
		for range 100 {
			count[m.get(t, "http://weights.example/", http.StatusOK).saw.Service]++
		}
		if count["one"] < 60 || count["one"] > 80 || count["one"]+count["two"] != 100 {
			t.Errorf("shares of 100 requests: %v, want about 70 and 30", count)
		}
		sessions := map[string]int{}
		for range 10 {
			s := m.open(t, "ws://weights.example/")
			sessions[s.saw.Service]++
			s.leave()
		}
		if sessions["one"] == 0 || sessions["two"] == 0 || sessions["three"] != 0 {
			t.Errorf("shares of 10 sessions: %v", sessions)
		}
	})
	t.Run("HTTPRouteMethodMatching", func(t *testing.T) {
		if got := m.ask(t, http.MethodPost, "http://methods.example/x").saw.Service; got != "one" {
			t.Errorf("POST: %q", got)
		}
		m.serves(t, "http://methods.example/x", "two")
		m.ask(t, http.MethodDelete, "http://methods.example/x").wantProblem(t, http.StatusNotFound)
	})
	t.Run("HTTPRouteQueryParamMatching", func(t *testing.T) {
		m.serves(t, "http://query.example/?animal=whale", "one")
		m.serves(t, "http://query.example/?colour=grey&animal=whale", "two")
		m.serves(t, "http://query.example/?colour=green&animal=whale", "one")
		m.refuses(t, "http://query.example/?animal=dolphin", http.StatusNotFound)
	})
	t.Run("HTTPRouteParentRefPort", func(t *testing.T) {
		m.serves(t, "http://port.example/", "one")
		m.serves(t, "http://port.example:8080/", "two")
	})
	t.Run("HTTPRouteDestinationPortMatching", func(t *testing.T) {
		m.refuses(t, "http://lost.example/", http.StatusNotFound)
		m.refuses(t, "http://lost.example:8080/", http.StatusNotFound)
		if err := m.condition("HTTPRoute", "default/no-such-port", "Accepted", "False", "NoMatchingParent"); err != nil {
			t.Error(err)
		}
	})
	t.Run("GatewayPort8080", func(t *testing.T) {
		m.serves(t, "http://port.example:8080/", "two")
		m.refuses(t, "http://match.example:8080/exact", http.StatusNotFound)
	})
	t.Run("HTTPRouteNamedRouteRule", func(t *testing.T) {
		m.serves(t, "http://named.example/named/x", "one")
		m.serves(t, "http://named.example/x", "two")
		if got := m.logged(t, `"path":"/named/x"`, `"status":200`)["route"]; got != "HTTPRoute/default/named/first" {
			t.Errorf("the access log names the route %v", got)
		}
	})
	t.Run("ReferenceGrant", func(t *testing.T) {
		m.serves(t, "http://granted.example/granted", "far")
		m.refuses(t, "http://granted.example/denied", http.StatusInternalServerError)
	})
	t.Run("ExternalName", func(t *testing.T) {
		m.serves(t, "http://external.example/", "one")
	})
}
