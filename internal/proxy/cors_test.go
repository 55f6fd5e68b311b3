package proxy

import (
	"net/http"
	"slices"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// Where a service has left CORS to the gateway, a preflight is answered here, a page that may not is refused here, and the
// service sees neither; what it says itself about CORS does not reach the page. Elsewhere all of it passes.
func TestCORS(t *testing.T) {
	var seen []http.Header
	addr := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Clone())
		w.Header().Set("Access-Control-Allow-Origin", "https://of.the.service")
	})
	g := startGateway(t,
		service{id: "listed", routes: restRoutes, endpoints: []string{addr}, cors: true, policy: func(p *route.Policy) {
			p.WebSocket.AllowedOrigins = []string{"https://app.test"}
		}},
		service{id: "open", routes: restRoutes, endpoints: []string{addr}, cors: true},
		service{id: "own", routes: restRoutes, endpoints: []string{addr}},
	)
	for _, c := range []struct {
		method, id, origin string
		preflight          bool
		status             int
		allow, credentials string
		forwarded, asked   bool // the request has reached the service, Origin with it
	}{
		{"OPTIONS", "listed", "https://app.test", true, 200, "https://app.test", "true", false, false},
		{"OPTIONS", "listed", "https://evil.test", true, 403, "", "", false, false},
		{"OPTIONS", "listed", "https://app.test", false, 200, "https://app.test", "true", true, false},
		{"GET", "listed", "https://app.test", false, 200, "https://app.test", "true", true, false},
		{"GET", "listed", "https://evil.test", false, 403, "", "", false, false},
		{"GET", "listed", "http://" + g.http, false, 200, "http://" + g.http, "true", true, false},
		{"GET", "listed", "", false, 200, "https://of.the.service", "", true, false},
		{"GET", "open", "https://any.test", false, 200, "*", "", true, false},
		{"GET", "own", "https://any.test", false, 200, "https://of.the.service", "", true, true},
		{"OPTIONS", "own", "https://any.test", true, 200, "https://of.the.service", "", true, true},
	} {
		seen = nil
		r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+g.http+"/"+c.id+"/api/v1/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.preflight {
			r.Header.Set("Access-Control-Request-Method", "PUT")
			r.Header.Set("Access-Control-Request-Headers", "x-a, x-b")
		}
		resp, err := g.client(t, false).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != c.status || h.Get("Access-Control-Allow-Origin") != c.allow || h.Get("Access-Control-Allow-Credentials") != c.credentials ||
			len(h.Values("Access-Control-Allow-Origin")) > 1 {
			t.Errorf("%+v: %d, %v", c, resp.StatusCode, h)
		}
		if c.preflight && c.id == "listed" && c.status == 200 && (h.Get("Access-Control-Allow-Headers") != "x-a, x-b" || h.Get("Access-Control-Allow-Methods") != corsMethods) {
			t.Errorf("%+v: %v", c, h)
		}
		if (len(seen) == 1) != c.forwarded {
			t.Errorf("%+v: the service was asked %d times", c, len(seen))
		}
		if slices.ContainsFunc(seen, func(h http.Header) bool { return (h.Get("Origin") != "") != c.asked }) {
			t.Errorf("%+v: the service got %v", c, seen)
		}
	}
}
