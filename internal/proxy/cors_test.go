package proxy

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// Where a service has left CORS to the gateway, a preflight is answered here, a page that may not is refused here, and the
// service sees neither; what it says itself about CORS does not reach the page. Where it has not, pages of other origins are
// refused. Where the route knows nothing of CORS all of it passes.
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
		service{id: "same", routes: restRoutes, endpoints: []string{addr}, same: true, policy: func(p *route.Policy) {
			p.WebSocket.AllowedOrigins = []string{"https://app.test"} // of sessions alone
		}},
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
		{"GET", "same", "https://any.test", false, 403, "", "", false, false},
		{"POST", "same", "https://app.test", false, 403, "", "", false, false},
		{"GET", "same", "null", false, 403, "", "", false, false},
		{"GET", "same", "https://" + g.http, false, 403, "", "", false, false},
		{"OPTIONS", "same", "https://any.test", true, 403, "", "", false, false},
		{"GET", "same", "http://" + g.http, false, 200, "https://of.the.service", "", true, true},
		{"GET", "same", "", false, 200, "https://of.the.service", "", true, false},
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
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		h := resp.Header
		if err != nil || c.status == 403 && (string(body) != "Invalid CORS request" || h.Get("Content-Type") != "text/plain") {
			t.Errorf("%+v: body %q of %s, %v", c, body, h.Get("Content-Type"), err)
		}
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

// What no http.Client sends, and the gateway's own paths.
func TestForeignOrigins(t *testing.T) {
	addr := httpService(t, echoHandler)
	g := startGateway(t,
		service{id: "same", routes: map[string]string{"api/v1": "/api", "ui/v1": "/ui"}, endpoints: []string{addr}, same: true},
		service{id: "open", routes: restRoutes, endpoints: []string{addr}, cors: true},
	)
	for _, c := range []struct{ target, origins, status string }{
		{"/same/api/v1/x", "Origin: http://gw\r\n", "200"},
		{"/same/api/v1/x", "Origin: http://gw\r\nOrigin: http://gw\r\n", "403"},
		{"/same/api/v1/x", "Origin:\r\n", "403"},
		{"/same/api/v1/x", "origin: http://gw:81\r\n", "403"},
		{"/same/ui/v1", "", "302"},
		{"/same/ui/v1", "Origin: http://evil.test\r\n", "403"},
		{"/open/api/v1/x", "Origin:\r\n", "403"},
		{"/open/api/v1/x", "Origin:\r\nOrigin: https://any.test\r\n", "403"},
		{"/application/x", "", "404"},
		{"/application/x", "Origin: http://gw\r\n", "404"},
		{"/application/x", "Origin: http://evil.test\r\n", "403"},
		{"/gateway/version", "Origin: http://evil.test\r\n", "403"},
	} {
		_, br, head := talk(t, g, "GET "+c.target+" HTTP/1.1\r\nHost: gw\r\n"+c.origins+"\r\n")
		body := readBody(t, br, head)
		if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") || (body == "Invalid CORS request") != (c.status == "403") {
			t.Errorf("%s with %q: %q %q", c.target, c.origins, head, body)
		}
	}
}
