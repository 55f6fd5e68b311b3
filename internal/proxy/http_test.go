package proxy

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

var restRoutes = map[string]string{"api/v1": "/svc/api/v1", "ui/v1": "/svc", "api": "/other"}

// client trusts the gateway's generated certificate and follows no redirects.
func (g *gateway) client(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(g.dir, GeneratedCertFile))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}
	if h2 {
		tr.ForceAttemptHTTP2 = true
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: wait, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// echoed is what the service saw of a request.
func echoHandler(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s\n", r.Method, r.RequestURI)
	fmt.Fprintf(w, "Host: %s\n", r.Host)
	_ = r.Header.Write(w)
}

func TestTargetsAreKeptByteForByte(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	for target, want := range map[string]string{
		"/svc/api/v1/a%2Fb%20c;x=1?q=a%2Fb&&x;y": "/svc/api/v1/a%2Fb%20c;x=1?q=a%2Fb&&x;y",
		"/api/v1/svc/a//b/":                      "/svc/api/v1/a//b/",
		"/svc/api/v1":                            "/svc/api/v1",
		"/svc/api/v1/?":                          "/svc/api/v1/?",
		"/svc/api/v2/x":                          "/other/v2/x",
		"/svc/ui/v1/":                            "/svc/",
		"/s%76c/api/v1/%41":                      "/svc/api/v1/%41",
		"/svc/api/v1/x|y\"{z}<>^`":               "/svc/api/v1/x|y\"{z}<>^`",
		"/svc/api//x":                            "/other//x",
		"/svc/api/v1/\xc3\xa9":                   "/svc/api/v1/\xc3\xa9",
	} {
		_, br, head := talk(t, g, "GET "+target+" HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
		body, _ := io.ReadAll(br)
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !bytes.Contains(body, []byte("GET "+want+"\n")) {
			t.Errorf("%s: %q\n%s\nwant %s", target, head, body, want)
		}
	}
}

func TestPathsThatAreRefused(t *testing.T) {
	var served atomic.Int64
	addr := httpService(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	for target, status := range map[string]string{
		"/svc/api/v1/../x": "400", "/svc/api/v1/%2e%2E/x": "400", "/svc/api/v1/..;a=b/x": "400", "/svc/api/v1/.": "400",
		"/svc/api/v1/%2e": "400", "/../svc/api/v1/x": "400", `/svc/api/v1/a\b`: "400", "/svc/api/v1/a%5cb": "400",
		"/svc/api/v1/a%00b": "400", "/svc/api/v1/a#b": "400", "/svc/api/v1/a?b#c": "400", "/svc/api/v1/a\x01b": "400", "/svc/api/v1/a%zz": "400",
		"/svc%2Fapi/v1/x": "404", "/svc/api%2Fv1/x": "404", "/unknown/api/v1/x": "404", "/svc": "404", "/": "404",
	} {
		_, _, head := talk(t, g, "GET "+target+" HTTP/1.1\r\nHost: gw\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
			t.Errorf("%q: %q, want %s", target, head, status)
		}
	}
	if n := served.Load(); n != 1 { // /svc/api%2Fv1/x is a rest of no route; nothing else reaches the service
		if n != 0 {
			t.Errorf("the service saw %d of them", n)
		}
	}
}

func TestForwardHeaders(t *testing.T) {
	addr := httpService(t, echoHandler)
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	send := "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw:10080\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\n" +
		"X-Forwarded-Prefix: //evil\r\nConnection: close, X-Gone, Authorization, X-Forwarded-For\r\nX-Gone: 1\r\nAuthorization: Bearer t\r\n" +
		"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nTE: gzip\r\nX.Forwarded.For: 6.6.6.6\r\nProxy-Authorization: x\r\n\r\n"
	_, br, _ := talk(t, g, send)
	body, _ := io.ReadAll(br)
	saw := strings.ReplaceAll(string(body), "\n", "\r\n")
	saw = strings.ReplaceAll(saw, "\r\r\n", "\r\n")
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "gw:10080", "X-Forwarded-Port": "10080",
		"X-Forwarded-Prefix": "/svc/api/v1", "Forwarded": `for=127.0.0.1;host="gw:10080";proto=http`, "Authorization": "Bearer t", "Host": addr,
	} {
		if v := one(saw, name); v != want {
			t.Errorf("%s: %s, want %s", name, v, want)
		}
	}
	for _, name := range []string{"X-Gone", "Upgrade", "HTTP2-Settings", "TE", "Proxy-Authorization", "X.Forwarded.For", "Connection"} {
		if v := field(saw, name); len(v) != 0 {
			t.Errorf("%s reached the service: %q", name, v)
		}
	}

	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}, TrustedProxies: []string{"127.0.0.0/8"}})
	_, br, _ = talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n")
	body, _ = io.ReadAll(br)
	if !bytes.Contains(body, []byte("X-Forwarded-For: 6.6.6.6, 9.9.9.9, 127.0.0.1")) || !bytes.Contains(body, []byte("X-Forwarded-Proto: https")) {
		t.Errorf("from a trusted proxy:\n%s", body)
	}
	g.log.next(t)
	if rec := g.log.next(t); rec["client"] != "9.9.9.9" {
		t.Errorf("client %v, want the last address that no trusted proxy has", rec["client"])
	}
}

func TestOneRequestID(t *testing.T) {
	addr := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "the service's own")
		fmt.Fprint(w, r.Header.Get("X-Request-Id"))
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	for sent, taken := range map[string]bool{"abc.DEF_1-2": true, "": false, "no spaces": false, strings.Repeat("x", 65): false} {
		_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nX-Request-Id: "+sent+"\r\n\r\n")
		body, _ := io.ReadAll(br)
		id := one(head, "X-Request-Id")
		if (id == sent) != taken || !bytes.Contains(body, []byte(id)) {
			t.Errorf("sent %q: client got %q, service %q", sent, id, body)
		}
		if rec := g.log.next(t); rec["request_id"] != id {
			t.Errorf("access log %v, want %q", rec["request_id"], id)
		}
	}
}

func TestRequestIDAfterInterimAnswer(t *testing.T) {
	addr := httpService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusOK)
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 103 ") {
		t.Fatalf("answer %q, want 103", head)
	}
	if head, _ = readHead(br); !strings.HasPrefix(head, "HTTP/1.1 200 ") || len(field(head, "X-Request-Id")) != 1 {
		t.Errorf("answer %q, want one X-Request-Id", head)
	}
}

func TestErrorsAreZoweDocuments(t *testing.T) {
	gone := closedPort(t)
	plain := httpService(t, echoHandler)
	hangup := rawService(t, func(net.Conn, *bufio.Reader, string) {})
	silent := rawService(t, func(c net.Conn, br *bufio.Reader, _ string) { _, _ = io.Copy(io.Discard, br) })
	tests := []struct {
		name, path, endpoint string
		status               int
		number               string
		patience             time.Duration // of the gateway with the service; 0: the default's
	}{
		{"no route", "/nowhere<i>?token=<b>", "", 404, "ZWEAM104E", 0},
		{"no instance", "/svc/api/v1/x", "", 503, "ZWEAG710E", 0},
		{"refused", "/svc/api/v1/x", gone, 502, "ZWEAG708E", 0},
		{"no TLS there", "/svc/api/v1/x", "https://" + plain, 502, "ZWEAM511E", 0},
		{"hang up", "/svc/api/v1/x", hangup, 502, "ZWEAM701E", 0},
		{"silence", "/svc/api/v1/x", silent, 504, "ZWEAM700E", 100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var endpoints []string
			if tt.endpoint != "" {
				endpoints = []string{tt.endpoint}
			}
			g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: endpoints, policy: func(p *route.Policy) { p.Timeouts.Response = tt.patience }})
			resp, err := g.client(t, false).Do(&http.Request{Method: "GET", Host: "gw", URL: &url.URL{Scheme: "http", Host: g.http, Opaque: tt.path}})
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || !bytes.Contains(body, []byte(`"messageNumber":"`+tt.number+`"`)) || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
			if bytes.Contains(body, []byte("<i>")) || bytes.Contains(body, []byte("b&gt;")) {
				t.Errorf("a secret or markup of the client's stands in the answer: %s", body)
			}
			if rec := g.log.next(t); rec["status"] != float64(tt.status) || rec["cause"] == nil {
				t.Errorf("line %v", rec)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	var location atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location.Load().(string))
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	addr := s.Listener.Addr().String()
	g := startGateway(t,
		service{id: "svc", routes: restRoutes, endpoints: []string{addr}},
		service{id: "two", routes: map[string]string{"ui/v1": "/two"}, endpoints: []string{"10.1.2.3:443"}})
	for from, want := range map[string]string{
		"http://" + addr + "/svc/api/v1/new?x=%2F": "/api/v1/svc/new?x=%2F",
		"http://" + addr + "/other/new#top":        "/svc/api/new#top",
		"https://10.1.2.3/two/login":               "/two/ui/v1/login",
		"http://" + addr + "/elsewhere":            "http://" + addr + "/elsewhere",
		"https://example.com/svc/api/v1/new":       "https://example.com/svc/api/v1/new",
		"/svc/api/v1/relative":                     "/svc/api/v1/relative",
	} {
		location.Store(from)
		resp, err := g.client(t, false).Get("http://" + g.http + "/api/v1/svc/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := resp.Header.Get("Location"); got != want {
			t.Errorf("%s became %s, want %s", from, got, want)
		}
	}
	resp, err := g.client(t, false).Get("http://" + g.http + "/svc/ui/v1?a=b")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusFound || resp.Header.Get("Location") != "/svc/ui/v1/?a=b" {
		t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

func TestStreamsBothWays(t *testing.T) {
	addr := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Sum")
		_ = rc.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintln(w, strings.ToUpper(lines.Text()))
			_ = rc.Flush()
		}
		w.Header().Set("X-Sum", r.Trailer.Get("X-In"))
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	pr, pw := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, "https://"+g.https+"/svc/api/v1/echo", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-In": {"42"}}
	resp, err := g.client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("protocol %s, want HTTP/2", resp.Proto)
	}
	br := bufio.NewReader(resp.Body)
	for _, word := range []string{"one", "two"} { // each answer comes before the next line is sent
		if _, err := io.WriteString(pw, word+"\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := br.ReadString('\n'); err != nil || line != strings.ToUpper(word)+"\n" {
			t.Fatalf("%q %v", line, err)
		}
	}
	pw.Close()
	if _, err := io.Copy(io.Discard, br); err != nil {
		t.Fatal(err)
	}
	if sum := resp.Trailer.Get("X-Sum"); sum != "42" {
		t.Errorf("trailer X-Sum %q, want the request's 42", sum)
	}
}

func TestExpectContinue(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		if one(head, "Expect") != "100-continue" {
			t.Errorf("the service sees Expect: %s", one(head, "Expect"))
		}
		if strings.Contains(head, "/refuse") {
			_, _ = io.WriteString(c, "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		body := make([]byte, 5)
		_, _ = io.ReadFull(br, body)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n%s", body)
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	c, br, head := talk(t, g, "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("answer %q, want 100", head)
	}
	_, _ = io.WriteString(c, "hello")
	if head, _ = readHead(br); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("answer %q, want 200", head)
	}
	if _, _, head = talk(t, g, "POST /svc/api/v1/refuse HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 417 ") {
		t.Errorf("answer %q, want the service's 417 before any body", head)
	}
}

// TestExpectOwesBody refuses a body before it was sent. The service may still wait for it: the connection carries no
// other client's request, which it would take for that body (RFC 9110, section 10.1.1).
func TestExpectOwesBody(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		for owed, err := false, error(nil); err == nil; head, err = readHead(br) {
			if owed {
				t.Errorf("behind the head of a request whose body was not sent: %q", head)
			}
			owed = strings.Contains(head, "Expect")
			_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
		}
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	const start = "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\n"
	for range 8 { // more than there are loops: each keeps its own idle connections
		for _, request := range []string{start + "Content-Length: 5\r\n\r\n", "GET /svc/api/v1/y HTTP/1.1\r\nHost: gw\r\n\r\n", start + "Transfer-Encoding: chunked\r\n\r\n"} {
			if _, _, head := talk(t, g, request); !strings.HasPrefix(head, "HTTP/1.1 403 ") {
				t.Fatalf("answer %q, want the service's 403", head)
			}
		}
	}
}

func TestKeepsUpstreamConnections(t *testing.T) {
	var dialled atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(echoHandler))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			dialled.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{s.Listener.Addr().String()}})
	client := g.client(t, false) // one connection: each loop of the engine keeps its own
	for range 5 {
		resp, err := client.Get("http://" + g.http + "/svc/api/v1/x")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d connections for five requests in turn", n)
	}
}

func TestService101WithoutAsking(t *testing.T) {
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET /internal HTTP/1.1\r\n\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	_, _, head := talk(t, g, "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("answer %q, want 502", head)
	}
}

func TestConnectIsRefused(t *testing.T) {
	g := startGateway(t)
	_, _, head := talk(t, g, "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 405 ") || one(head, "Connection") != "close" {
		t.Errorf("answer %q", head)
	}
}

func TestGeneratedCertificateIsKept(t *testing.T) {
	dir := t.TempDir()
	a, err := GeneratedKeypair(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := GeneratedKeypair(dir)
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := a.Get(nil)
	cb, _ := b.Get(nil)
	if !ca.Leaf.Equal(cb.Leaf) {
		t.Error("the second start made another certificate")
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := ca.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, GeneratedKeyFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file %v %v", st, err)
	}
	if err := os.WriteFile(filepath.Join(dir, GeneratedCertFile), []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := GeneratedKeypair(dir); err == nil {
		t.Error("a certificate that cannot be read was overwritten")
	}
}

func TestListenErrorNamesTheListener(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	g := startGateway(t)
	s := New(g.Options)
	if err := s.Apply(Reloadable{Dialer: &upstream.Dialer{}}); err != nil {
		t.Fatal(err)
	}
	err = s.Listen([]ListenerConfig{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}, nil)
	var e *ListenError
	if !errors.As(err, &e) || e.Index != 1 || e.Key != "address" {
		t.Errorf("error %v", err)
	}
}
