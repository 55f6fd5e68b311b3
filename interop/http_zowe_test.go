package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A zoweAnswer is what a test looks at of an answer.
type zoweAnswer struct {
	status int
	header http.Header
	body   string
}

// fetch makes a request of the TLS listener. Headers are "Name: value".
func (g *gateway) fetch(t *testing.T, method, target string, header ...string) zoweAnswer {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+g.https+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return zoweAnswer{resp.StatusCode, resp.Header, string(body)}
}

// lastHeard is the last request whose head has text.
func (r *recorder) lastHeard(t *testing.T, text string) heard {
	t.Helper()
	list, broken := r.requests(text)
	if len(broken) > 0 || len(list) == 0 {
		t.Fatalf("the service got %v of %s; %q", list, text, broken)
	}
	return list[len(list)-1]
}

// TestHTTPZoweRouting: both orders of a path, what becomes of it, redirects, and the headers that tell the service who
// asked (Zowe's API Mediation Layer 2.x).
func TestHTTPZoweRouting(t *testing.T) {
	var service *recorder
	a := newAttacker(t, func(h heard) string {
		if _, to, found := strings.Cut(h.target, "/to/"); found {
			return "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + strings.ReplaceAll(to, "SELF", service.address) + "\r\n\r\n"
		}
		return ""
	})
	service = a.service
	for _, tc := range []struct{ path, target string }{
		{"/raw/api/v1/a/b", "/api/a/b"},
		{"/api/v1/raw/a/b", "/api/a/b"},
		{"/raw/ui/v1/x.css", "/ui/x.css"},
		{"/ui/v1/raw/x.css", "/ui/x.css"},
		{"/raw/ws/v1/plain", "/ws/plain"}, // a ws route serves plain requests, too
		{"/raw/api/v1", "/api"},
		{"/raw/api/v1/", "/api/"},
		{"/raw/api/v1/a%2Fb%20c;x=1", "/api/a%2Fb%20c;x=1"},
		{"/raw/api/v1/q?a=%2f&b=c+d&c=%C3%A4&a=2", "/api/q?a=%2f&b=c+d&c=%C3%A4&a=2"},
		{"/raw/api/v1/q?", "/api/q?"},
	} {
		if got := a.fetch(t, "GET", tc.path); got.status != 200 || got.body != "GET "+tc.target {
			t.Errorf("%s: %d %.200s, want %s at the service", tc.path, got.status, got.body, tc.target)
		}
	}
	if got := a.fetch(t, "GET", "/raw/ui/v1"); got.status != 302 || got.header.Get("Location") != "/raw/ui/v1/" {
		t.Errorf("a UI without its slash: %d to %q", got.status, got.header.Get("Location"))
	}
	for to, want := range map[string]string{
		"http://SELF/api/elsewhere?x=1": "/raw/api/v1/elsewhere?x=1",
		"http://SELF/ui/page":           "/raw/ui/v1/page",
		"http://SELF/other":             "http://SELF/other",
		"https://example.com/api/x":     "https://example.com/api/x",
		"relative/path":                 "relative/path",
	} {
		got := a.fetch(t, "GET", "/raw/api/v1/to/"+to).header.Get("Location")
		if full := strings.TrimPrefix(got, "https://"+a.https); full != strings.ReplaceAll(want, "SELF", service.address) {
			t.Errorf("Location %s: the client gets %s, want %s", to, got, want)
		}
	}
	a.fetch(t, "GET", "/raw/api/v1/forwarded", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil", "X-Forwarded-Prefix: /evil", "X_Forwarded_For: 6.6.6.6")
	h := a.service.lastHeard(t, "/api/forwarded")
	for name, want := range map[string]string{
		"x-forwarded-for": `127\.0\.0\.1|::1`, "x-forwarded-host": regexp.QuoteMeta(a.https), "x-forwarded-port": portOf(a.https), "x-forwarded-proto": "https",
		"x-forwarded-prefix": "/raw/api/v1",
	} {
		if got := h.fields[name]; len(got) != 1 || !regexp.MustCompile("^("+want+")$").MatchString(got[0]) {
			t.Errorf("the service sees %s: %q, want %s once", name, got, want)
		}
	}
	if got := h.fields["x_forwarded_for"]; got != nil {
		t.Errorf("the service sees X_Forwarded_For: %q", got)
	}
}

// TestHTTPZoweErrors: the gateway's own answers are error documents with the numbers of 2.x.
func TestHTTPZoweErrors(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	a := newAttacker(t, nil)
	a.register(t, "gone", gone.Addr().String(), nil)
	a.register(t, "brief", a.service.address, map[string]string{"fairlead.timeouts.response": "1m"})
	over := make(chan struct{})
	silent := recordingService(t, func(heard) string { <-over; return closes })
	t.Cleanup(func() { close(over) })
	a.register(t, "silent", silent.address, map[string]string{"fairlead.timeouts.response": "100ms"})
	broken := recordingService(t, func(heard) string { return "HTTP/1.1 nonsense\r\n\r\n" + closes })
	a.register(t, "broken", broken.address, nil)
	for _, tc := range []struct {
		path   string
		status int
		number string
	}{
		{"/no/such/route", 404, "ZWEAM104E"},
		{"/gone/api/v1/x", 502, "ZWEAG708E"},
		{"/silent/api/v1/x", 504, "ZWEAM700E"},
		{"/broken/api/v1/x", 502, "ZWEAM701E"},
		{"/raw/api/v1/a%5cb", 400, "ZWEAO400E"},
		{"/application/routes", 401, "ZWEAO402E"},
	} {
		got := a.fetch(t, "GET", tc.path)
		var document struct {
			Messages []struct{ MessageType, MessageNumber, MessageContent, MessageKey string }
		}
		err := json.Unmarshal([]byte(got.body), &document)
		if err != nil || got.status != tc.status || len(document.Messages) != 1 || document.Messages[0].MessageNumber != tc.number ||
			document.Messages[0].MessageType != "ERROR" || document.Messages[0].MessageContent == "" || document.Messages[0].MessageKey == "" ||
			!strings.HasPrefix(got.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %s (%v), want %d %s", tc.path, got.status, got.body, err, tc.status, tc.number)
		}
	}
	if got := a.fetch(t, "GET", "/application/routes").header.Get("WWW-Authenticate"); got != `Basic realm="Realm"` {
		t.Errorf("WWW-Authenticate: %q", got)
	}
	for _, open := range []string{"/application/health", "/application/info", "/application/version", "/gateway/version", "/gateway/api/v1/version"} {
		if got := a.fetch(t, "GET", open); got.status != 200 {
			t.Errorf("%s: %d", open, got.status)
		}
	}
	if got := a.fetch(t, "GET", "/brief/api/v1/x"); got.status != 200 {
		t.Errorf("a service within its own timeout: %d", got.status)
	}
}

// TestHTTPZoweInstances: a request whose instance refuses the connection goes to another one.
func TestHTTPZoweInstances(t *testing.T) {
	a := newAttacker(t, nil)
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		a.register(t, "raw", ln.Addr().String(), nil)
	}
	var statuses []int
	for n := range 12 {
		method := []string{"GET", "POST", "DELETE"}[n%3]
		statuses = append(statuses, a.fetch(t, method, fmt.Sprintf("/raw/api/v1/try%d", n)).status)
	}
	if slices.ContainsFunc(statuses, func(s int) bool { return s != 200 }) {
		t.Errorf("one of four instances is there, and clients get %v", statuses)
	}
}

// TestHTTPZoweCORS: pages of other origins are refused unless their service has left CORS to the gateway, which then does it.
func TestHTTPZoweCORS(t *testing.T) {
	a := newAttacker(t, func(heard) string {
		return "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://of.the.service\r\nContent-Length: 0\r\n\r\n"
	})
	a.register(t, "shared", a.service.address, map[string]string{"apiml.corsEnabled": "true", "apiml.corsAllowedOrigins": "https://app.test"})
	a.register(t, "listed", a.service.address, map[string]string{"apiml.corsAllowedOrigins": "https://app.test"})
	const origin, asks, fields = "Origin: https://app.test", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: origin, x-requested-with"
	for n, tc := range []struct {
		method, service string
		header          []string
		status          int
		allow           string // Access-Control-Allow-Origin
		forwarded       int
	}{
		{"GET", "raw", []string{origin}, 403, "", 0},
		{"OPTIONS", "raw", []string{origin, asks}, 403, "", 0},
		{"POST", "raw", []string{"Origin: null"}, 403, "", 0},
		{"GET", "raw", []string{"Origin: http://" + a.https}, 403, "", 0}, // of another scheme
		{"GET", "raw", []string{"Origin: https://" + a.https}, 200, "https://of.the.service", 1},
		{"GET", "raw", nil, 200, "https://of.the.service", 1},
		{"GET", "listed", []string{origin}, 403, "", 0},
		{"OPTIONS", "shared", []string{origin, asks, fields}, 200, "https://app.test", 0},
		{"GET", "shared", []string{origin}, 200, "https://app.test", 1},
		{"GET", "shared", []string{"Origin: https://evil.test"}, 403, "", 0},
		{"OPTIONS", "shared", []string{"Origin: https://evil.test", asks}, 403, "", 0},
	} {
		mark := fmt.Sprintf("/cors%dx", n)
		got := a.fetch(t, tc.method, "/"+tc.service+"/api/v1"+mark, tc.header...)
		list, broken := a.service.requests(mark)
		if got.status != tc.status || got.header.Get("Access-Control-Allow-Origin") != tc.allow || len(list) != tc.forwarded || len(broken) > 0 ||
			(got.body == "Invalid CORS request") != (tc.status == 403) {
			t.Errorf("%+v: %d %v %q; the service got %v, %q", tc, got.status, got.header, got.body, list, broken)
		}
		if tc.forwarded == 1 && tc.service == "shared" && (list[0].fields["origin"] != nil || got.header.Get("Access-Control-Allow-Credentials") != "true") {
			t.Errorf("%+v: the service got %v, the client %v", tc, list, got.header)
		}
		if tc.method == "OPTIONS" && tc.status == 200 && (got.header.Get("Access-Control-Allow-Headers") != "origin, x-requested-with" ||
			!strings.HasPrefix(got.header.Get("Access-Control-Allow-Methods"), "GET,HEAD,POST,DELETE,PUT")) {
			t.Errorf("%+v: %v", tc, got.header)
		}
	}
	if got := a.fetch(t, "GET", "/application/version", "Origin: https://evil.test"); got.status != 403 {
		t.Errorf("the gateway's own page for a foreign one: %d", got.status)
	}
}

// TestHTTPZoweMetadata: what a service registers about its paths and times holds for itself alone.
func TestHTTPZoweMetadata(t *testing.T) {
	over := make(chan struct{})
	silent := recordingService(t, func(heard) string { <-over; return closes })
	a := newAttacker(t, nil)
	a.register(t, "strict", a.service.address, map[string]string{"apiml.enableUrlEncodedCharacters": "false"})
	a.register(t, "hasty", silent.address, map[string]string{"apiml.readTimeout": "100"})
	t.Cleanup(func() { close(over) })
	for path, status := range map[string]int{
		"/raw/api/v1/a%2Fb;c%20": 200, "/strict/api/v1/ab?q=%2F": 200, "/strict/api/v1/a%2Fb": 400, "/strict/api/v1/a%20b": 400, "/strict/api/v1/a;b": 400,
		"/hasty/api/v1/x": 504, "/sse/v1": 400, "/bad/sse/v1/x": 404,
	} {
		if got := a.fetch(t, "GET", path); got.status != status || status == 400 && !strings.Contains(got.body, "ZWEAG7") {
			t.Errorf("%s: %d %s, want %d", path, got.status, got.body, status)
		}
	}
	a.register(t, "edited", a.service.address, map[string]string{
		"apiml.response.headers": "X-Frame-Options:DENY, Content-Type : text/x-edited", "apiml.headersToIgnore": "x-secret,Cookie",
	})
	got := a.fetch(t, "GET", "/edited/api/v1/headers", "X-Secret: 1", "Cookie: a=b", "X-Kept: 1")
	if got.status != 200 || got.header.Get("X-Frame-Options") != "DENY" || !slices.Equal(got.header.Values("Content-Type"), []string{"text/x-edited"}) {
		t.Errorf("headers of an answer: %d %v", got.status, got.header)
	}
	h := a.service.lastHeard(t, "/api/headers")
	if h.fields["x-secret"] != nil || h.fields["cookie"] != nil || h.fields["x-kept"] == nil {
		t.Errorf("headers of a request: %v", h.fields)
	}
}
