package proxy

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// TestNothingIsServedBehindARefusedHandshake pipelines a request behind each refusal
// (RFC 9931): it must never reach a service, and the connection must end.
func TestNothingIsServedBehindARefusedHandshake(t *testing.T) {
	reached := make(chan string, 100)
	addr := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "internal") {
			reached <- r.URL.Path
		}
		w.WriteHeader(http.StatusForbidden)
	})
	g := startGateway(t, service{id: "svc", routes: map[string]string{"ws/v1": "/ws", "api/v1": "/api"}, endpoints: []string{addr}, policy: func(p *route.Policy) {
		p.WebSocket.ConnectFailure = route.StatusOnFailure
	}})
	good := handshake("/svc/ws/v1/x", "gw")
	for name, send := range map[string]string{
		"426":          strings.Replace(good, "Version: 13", "Version: 777", 1),
		"400":          strings.Replace(good, clientKey, "short", 1),
		"403":          good,
		"404":          handshake("/nowhere", "gw"),
		"admin":        handshake("/application/websockets", "gw"),
		"connect":      "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"bad path":     "GET /svc/api/v1/%2e%2e/x HTTP/1.1\r\nHost: gw\r\n\r\n",
		"two origins":  strings.Replace(good, "\r\n\r\n", "\r\nOrigin: http://gw\r\nOrigin: http://evil\r\n\r\n", 1),
		"empty origin": strings.Replace(good, "\r\n\r\n", "\r\nOrigin:\r\n\r\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			_, br, head := talk(t, g, send+"GET /svc/api/v1/internal HTTP/1.1\r\nHost: gw\r\n\r\n")
			rest, err := io.ReadAll(br)
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection does not end: %v", err)
			}
			if strings.Contains(head, " 101 ") || strings.Contains(string(rest), "HTTP/1.1 ") {
				t.Errorf("%q %q: a second answer", head, rest)
			}
		})
	}
	select {
	case path := <-reached:
		t.Errorf("the service was asked for %s", path)
	default:
	}
}

// TestUnreadBodyIsBounded has clients that announce a body and never send it.
func TestUnreadBodyIsBounded(t *testing.T) {
	gone := closedPort(t)
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{gone}})
	for target, status := range map[string]string{
		"GET /application/health": "404", "POST /nowhere": "404", "GET /svc/ui/v1": "302", "POST /svc/api/v1/x": "502", "POST /svc/api/v1/%00": "400",
	} {
		for _, framing := range []string{"Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"} {
			_, br, head := talk(t, g, target+" HTTP/1.1\r\nHost: gw\r\n"+framing)
			if !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
				t.Errorf("%s: %q, want %s", target, head, status)
			}
			if _, err := io.Copy(io.Discard, br); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("%s: the connection is still held: %v", target, err)
			}
		}
	}
}

func TestBrokenBodyIsTheClientsFault(t *testing.T) {
	addr := httpService(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	_, _, head := talk(t, g, "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 400 ") {
		t.Errorf("%q, want 400", head)
	}
}

// TestLoop registers the gateway's own address as a service.
func TestLoop(t *testing.T) {
	g := startGateway(t)
	table := buildTable([]service{{
		id: "loop", routes: map[string]string{"ws/v1": "/loop/ws/v1", "api/v1": "/loop/api/v1", "app/v1": "/application"}, endpoints: []string{g.http},
	}})
	g.table(table)
	for _, send := range []string{
		"GET /loop/api/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n",
		"GET /loop/app/v1/websockets HTTP/1.1\r\nHost: gw\r\n\r\n",
	} {
		if _, _, head := talk(t, g, send); !strings.HasPrefix(head, "HTTP/1.1 508 ") {
			t.Errorf("%q: %q, want 508", send, head)
		}
	}
	_, br, _ := talk(t, g, handshake("/loop/ws/v1/x", "gw"))
	if code, reason := closing(t, br); code != 1011 || !strings.Contains(reason, "508") {
		t.Errorf("Close %d %q", code, reason)
	}
}

func TestHopsOfOthersAreKept(t *testing.T) {
	addr := httpService(t, echoHandler)
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	for sent, kept := range map[string]bool{"0123456789abcdef": true, "evil": false, strings.Repeat("0123456789abcdef,", 300) + "x": false} {
		_, br, _ := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nFairlead-Hop: "+sent+"\r\n\r\n")
		body, _ := io.ReadAll(br)
		want := "Fairlead-Hop: " + g.hopID + "\r\n"
		if kept {
			want = "Fairlead-Hop: " + sent + ", " + g.hopID + "\r\n"
		}
		if !strings.Contains(string(body), want) {
			t.Errorf("sent %.40q: %s", sent, body)
		}
	}
	_, _, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nFairlead-Hop: "+strings.Repeat("0123456789abcdef,", 7)+"0123456789abcdef\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 508 ") {
		t.Errorf("%q, want 508", head)
	}
}

func TestAbsoluteFormWithUser(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	for target, status := range map[string]string{"http://gw/svc/api/v1/x": "200", "http://u:p@gw/svc/api/v1/x": "400", "http:///svc/api/v1/x": "400"} {
		_, _, head := talk(t, g, "GET "+target+" HTTP/1.1\r\nHost: gw\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
			t.Errorf("%s: %q, want %s", target, head, status)
		}
	}
}

// TestRapidReset takes requests back as fast as it sends them.
func TestRapidReset(t *testing.T) {
	addr := httpService(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}})
	c, err := tls.Dial("tcp", g.https, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // what is sent counts
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	w := bufio.NewWriter(c)
	_, _ = w.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(w, nil)
	_ = fr.WriteSettings()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "gw"}, {":path", "/svc/api/v1/hang"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	sent := 0
	for id := uint32(1); sent < 20_000; id += 2 {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true})
		_ = fr.WriteRSTStream(id, http2.ErrCodeCancel)
		if w.Flush() != nil {
			break
		}
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "gw"}, {":path", "/svc/api/v1/hang"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		sent++
	}
	// The connection was ended: reading it comes to an end without the deadline.
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("after %d requests that were taken back the connection is still served", sent)
	}
}

// TestMalformedStreams sends requests of HTTP/2 that no request of HTTP/1.1 can be made of, or more than one, and what only
// HTTP/1.1 knows (RFC 9113, section 8.2.2): no service is asked.
func TestMalformedStreams(t *testing.T) {
	addr := httpService(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/svc/api/v1/good" {
			t.Errorf("the service was asked for %s", r.RequestURI)
		}
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	for name, c := range map[string]struct {
		method, authority, path string
		more                    [2]string
		status                  string
	}{
		"good":              {path: "/svc/api/v1/good", status: "200"},
		"the same Host":     {path: "/svc/api/v1/good", more: [2]string{"host", "gw"}, status: "200"},
		"connection":        {more: [2]string{"connection", "x-a"}},
		"transfer-encoding": {more: [2]string{"transfer-encoding", "chunked"}},
		"upgrade":           {more: [2]string{"upgrade", "websocket"}},
		"keep-alive":        {more: [2]string{"keep-alive", "1"}},
		"te":                {more: [2]string{"te", "gzip"}},
		"another Host":      {more: [2]string{"host", "evil"}},
		"user":              {authority: "u@gw"},
		"path in authority": {authority: "gw/x"},
		"method":            {method: "GET / HTTP/1.1 X:"},
		"absolute":          {path: "http://gw/svc/api/v1/x"},
		"no slash":          {path: "svc/api/v1/x"},
		"a list of lengths": {method: "POST", more: [2]string{"content-length", "5, 5"}},
		"a signed length":   {method: "POST", more: [2]string{"content-length", "+5"}},
		"a long length":     {method: "POST", more: [2]string{"content-length", "18446744073709551621"}},
		"dots":              {path: "/svc/api/v1/%2e%2e/x"},
	} {
		status := streamStatus(t, g, cmp.Or(c.method, "GET"), cmp.Or(c.authority, "gw"), cmp.Or(c.path, "/svc/api/v1/x"), c.more)
		if want := cmp.Or(c.status, "400"); status != want && (status != "reset" || want == "200") {
			t.Errorf("%s: %s, want %s", name, status, want)
		}
	}
}

// streamStatus asks over HTTP/2, and returns the status of the answer, or reset.
func streamStatus(t *testing.T, g *gateway, method, authority, path string, more [2]string) string {
	t.Helper()
	c, err := net.Dial("tcp", g.http)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	_, _ = io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = fr.WriteSettings()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", authority}, {":path", path}, more} {
		if f[0] != "" {
			_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
	}
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndStream: true, EndHeaders: true})
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		}
	}
}
