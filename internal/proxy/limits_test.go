package proxy

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/http1"
)

func TestRequestBodyLimit(t *testing.T) {
	addr := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil {
			fmt.Fprint(w, n)
		}
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	g.settings(t, func(r *Reloadable) { r.Limits.RequestBody = 10 })
	const start = "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
	for name, c := range map[string]struct{ send, status string }{
		"announced":                {start + "Content-Length: 11\r\n\r\n", "413"},
		"announced, Expect":        {start + "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n", "413"},
		"chunked":                  {start + "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n", "413"},
		"announced, at the limit":  {start + "Content-Length: 10\r\n\r\n0123456789", "200"},
		"chunked, at the limit":    {start + "Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n4\r\nabcd\r\n0\r\n\r\n", "200"},
		"admin's are bounded, too": {strings.Replace(start, "/svc/api/v1/x", "/application/health", 1) + "Content-Length: 11\r\n\r\n", "413"},
	} {
		if _, _, head := talk(t, g, c.send); !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%s: %q, want %s", name, head, c.status)
		}
		if rec := g.log.next(t); c.status == "413" && rec["cause"] != "limit reached: requestBody" {
			t.Errorf("%s: line %v", name, rec)
		}
	}
	for name, body := range map[string]io.Reader{"announced": bytes.NewReader(make([]byte, 11)), "unknown": io.MultiReader(bytes.NewReader(make([]byte, 11)))} {
		req, err := http.NewRequest(http.MethodPost, "https://"+g.https+"/svc/api/v1/x", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := g.client(t, true).Do(req)
		if err != nil {
			t.Fatalf("HTTP/2, %s: %v", name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge || resp.ProtoMajor != 2 {
			t.Errorf("HTTP/2, %s: %s %d, want 413", name, resp.Proto, resp.StatusCode)
		}
	}
}

func TestRequestRate(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: map[string]string{"api/v1": "/api", "ws/v1": "/ws"}, endpoints: []string{httpService(t, echoHandler)}})
	g.settings(t, func(r *Reloadable) {
		r.Limits.RequestRate, r.Limits.RequestBurst = 1.0/3600, 2
		r.TrustedProxies = []string{"127.0.0.1"}
	})
	ask := func(client string) string {
		_, _, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: "+client+"\r\n\r\n")
		return head
	}
	for range 2 {
		if head := ask("192.0.2.1"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("within the burst: %q", head)
		}
		g.log.next(t)
	}
	head := ask("192.0.2.1")
	var seconds int
	if _, err := fmt.Sscan(one(head, "Retry-After"), &seconds); !strings.HasPrefix(head, "HTTP/1.1 429 ") || err != nil || seconds < 1 || seconds > 3600 {
		t.Errorf("above the rate: %q %v", head, err)
	}
	if rec := g.log.next(t); rec["status"] != 429.0 || rec["client"] != "192.0.2.1" {
		t.Errorf("line %v", rec)
	}
	if head := ask("192.0.2.2"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("another client: %q", head)
	}
	// A reload that changes something else gives nobody a new burst, and handshakes count too.
	g.settings(t, func(r *Reloadable) {
		r.Limits.RequestRate, r.Limits.RequestBurst, r.Limits.Sessions = 1.0/3600, 2, 100
		r.TrustedProxies = []string{"127.0.0.1"}
	})
	_, _, head = talk(t, g, handshake("/svc/ws/v1/x", "gw", "X-Forwarded-For: 192.0.2.1"))
	if !strings.HasPrefix(head, "HTTP/1.1 429 ") {
		t.Errorf("a handshake above the rate: %q", head)
	}
}

func TestRedirectToHTTPS(t *testing.T) {
	g := startGatewayOn(t, []ListenerConfig{
		{Name: "http", Address: "127.0.0.1:0", RedirectToHTTPS: true},
		{Name: "https", Address: "127.0.0.1:0", TLS: &TLSConfig{}},
	}, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	_, port, _ := net.SplitHostPort(g.https)
	for host, want := range map[string]string{"gw.example:10080": "gw.example", "gw.example": "gw.example", "[::1]:80": "[::1]"} {
		_, _, head := talk(t, g, "POST /svc/api/v1/a%2Fb?x=%20&token=t HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\n\r\n")
		if to := "https://" + want + ":" + port + "/svc/api/v1/a%2Fb?x=%20&token=t"; !strings.HasPrefix(head, "HTTP/1.1 308 ") || one(head, "Location") != to {
			t.Errorf("%s: %q, want %s", host, head, to)
		}
		if rec := g.log.next(t); rec["status"] != 308.0 {
			t.Errorf("line %v", rec)
		}
	}
	if _, _, head := talk(t, g, "GET /svc/api/v1/a HTTP/1.0\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 400 ") {
		t.Errorf("without a Host: %q", head)
	}
	g.log.next(t)
	_, br, head := talk(t, g, handshake("/svc/ws/v1/x", "gw.example"))
	if body := readBody(t, br, head); !strings.HasPrefix(head, "HTTP/1.1 403 ") || !strings.Contains(body, "wss://gw.example:"+port+"/svc/ws/v1/x") {
		t.Errorf("a handshake: %q %q", head, body)
	}
	resp, err := g.client(t, false).Get("https://" + g.https + "/svc/api/v1/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("over https: %d", resp.StatusCode)
	}
	g.settings(t, func(r *Reloadable) { r.TrustedProxies = []string{"127.0.0.1"} })
	if _, _, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-Forwarded-Proto: https\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("from a trusted proxy that was asked over https: %q", head)
	}
}

func TestProxyProtocol(t *testing.T) {
	g := startGatewayOn(t, []ListenerConfig{
		{Name: "http", Address: "127.0.0.1:0", ProxyProtocol: true},
		{Name: "https", Address: "127.0.0.1:0", ProxyProtocol: true, TLS: &TLSConfig{}},
	}, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	const get = "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n"
	refused := func(send string) {
		t.Helper()
		c, err := net.Dial("tcp", g.http)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, send)
		if answer, _ := io.ReadAll(c); len(answer) > 0 {
			t.Errorf("%q: %q, want none", send, answer)
		}
	}
	refused("PROXY TCP4 192.0.2.1 198.51.100.7 1234 443\r\n" + get) // nobody is trusted
	g.settings(t, func(r *Reloadable) { r.TrustedProxies = []string{"127.0.0.1"} })
	refused(get)
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.1 198.51.100.7 1234 443\r\n": "192.0.2.1", proxyV2(0x21, 0x21, v6Pair): "2001:db8::1", proxyV2(0x20, 0, ""): "6.6.6.6, 127.0.0.1",
	} {
		_, br, head := talk(t, g, header+get)
		if body := readBody(t, br, head); !strings.Contains(body, "X-Forwarded-For: "+want+"\r\n") {
			t.Errorf("%q: %q %q, want %s", header, head, body, want)
		}
		if rec := g.log.next(t); !strings.HasPrefix(strings.TrimPrefix(rec["client"].(string), "["), strings.Split(want, ",")[0]) {
			t.Errorf("line %v, want %s", rec, want)
		}
	}
	c, err := net.Dial("tcp", g.https)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, proxyV2(0x21, 0x11, v4Pair))
	tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // what is sent counts
	_, _ = io.WriteString(tc, get)
	if answer, err := io.ReadAll(tc); err != nil || !strings.Contains(string(answer), "X-Forwarded-For: 192.0.2.1\r\n") || !strings.Contains(string(answer), "X-Forwarded-Proto: https\r\n") {
		t.Errorf("behind a header, TLS: %q %v", answer, err)
	}
	for address, scheme := range map[string]string{g.http: "http", g.https: "https"} { // HTTP/2 behind a header
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, proxyV2(0x21, 0x11, v4Pair))
		if scheme == "https" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // what is sent counts
		}
		conn, err := new(http2.Transport).NewClientConn(c) //nolint:staticcheck // a connection of our own
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequest(http.MethodGet, scheme+"://gw/svc/api/v1/x", nil)
		resp, err := conn.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !strings.Contains(string(body), "X-Forwarded-For: 192.0.2.1\r\n") {
			t.Errorf("behind a header, HTTP/2 over %s: %q", scheme, body)
		}
	}
}

// TestPriorKnowledge speaks HTTP/2 on the plain listener, as gRPC clients do; Upgrade: h2c is never taken up.
func TestPriorKnowledge(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	c, err := net.Dial("tcp", g.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := new(http2.Transport).NewClientConn(c) //nolint:staticcheck // a connection of our own
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		req, _ := http.NewRequest(http.MethodGet, "http://gw/svc/api/v1/x", nil)
		resp, err := conn.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "GET /svc/api/v1/x\n") {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		if rec := g.log.next(t); rec["protocol"] != "HTTP/2.0" {
			t.Errorf("line %v", rec)
		}
	}
	_, _, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("Upgrade: h2c: %q", head)
	}
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]fieldKind{
		"Connection": fieldConnection, "KEEP-alive": fieldHop, "x-forwarded-FOR": fieldForwardedFor, "X_Forwarded_For": fieldReserved, "X.Request.Id": fieldReserved,
		"Fairlead-Anything-However-Long-It-May-Be": fieldReserved, "fairlead_x": fieldReserved, "Fairlead-Hop": fieldHopChain, "Fairlead.Hop": fieldReserved,
		"x-certificate-DistinguishedName": fieldReserved, "content_length": fieldOther, "Content_Type": fieldOther, "X-Other": fieldOther, "": fieldOther,
		"X-Certificate-DistinguishedNames": fieldOther, "Fairlead-": fieldOther,
	} {
		if kind := kindOf(name); kind != want {
			t.Errorf("%s: %d, want %d", name, kind, want)
		}
	}
	fields := http1.Fields{{Name: "Host", Value: "gw"}, {Name: "User-Agent", Value: "x"}, {Name: "Connection", Value: "keep-alive, Upgrade"}, {Name: "X-Some-Very-Long-Name-Indeed-Beyond-All", Value: "y"}}
	kinds := make([]fieldKind, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		kinds = kindsOf(fields, kinds)
		if namesFields(fields, kinds) {
			t.Error("keep-alive and Upgrade name no other field")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a head", n)
	}
}
