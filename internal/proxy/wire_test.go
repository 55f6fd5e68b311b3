package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// lineNames are the names in a raw head, in order, as they are spelled.
func lineNames(head string) []string {
	var names []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, _, ok := strings.Cut(line, ":"); ok {
			names = append(names, name)
		}
	}
	return names
}

// settings are a Reloadable that differs from the default by what change does.
func (g *gateway) settings(t *testing.T, change func(*Reloadable)) {
	t.Helper()
	r := Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}}
	change(&r)
	g.apply(t, r)
}

func TestOrderAndSpellingOfFieldsAreKept(t *testing.T) {
	got := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, head string) {
		got <- head
		if strings.Contains(head, "/ws/") {
			_, _ = io.WriteString(c, acceptSwitch(head, "x-lower: 1", "X-UPPER: 2", "Set-Cookie: a", "set-cookie: b"))
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 Sure thing\r\nx-lower: 1\r\nX-UPPER: 2\r\nx-lower:3\r\ncontent-length: 2\r\ndate: then\r\nX-Last: \r\n\r\nok")
	})
	g := startGateway(t, service{id: "svc", routes: map[string]string{"api/v1": "/api", "ws/v1": "/ws"}, endpoints: []string{addr}})
	sent := "x-b: 1\r\nX-A: 2\r\naccept: */*\r\nX-b: 3\r\ncOOkie: c\r\nCONTENT-TYPE: text/plain\r\n"
	order := []string{"x-b", "X-A", "accept", "X-b", "cOOkie", "CONTENT-TYPE"}
	for target, send := range map[string]string{
		"/svc/api/v1/x": "GET /svc/api/v1/x HTTP/1.1\r\n" + sent[:6] + "\r\nhost: gw\r\nKeep-Alive: 5\r\n" + sent[8:] + "Connection: close\r\n\r\n",
		"/svc/ws/v1/x":  handshake("/svc/ws/v1/x", "gw", strings.Split(strings.TrimSuffix(sent, "\r\n"), "\r\n")...),
	} {
		_, _, head := talk(t, g, send)
		saw := lineNames(<-got)
		kept := slices.DeleteFunc(slices.Clone(saw), func(name string) bool { return !slices.Contains(order, name) })
		if !slices.Equal(kept, order) {
			t.Errorf("%s: the service saw %q, want %q in order", target, saw, order)
		}
		if i := slices.Index(saw, "X-Forwarded-For"); i < slices.Index(saw, "CONTENT-TYPE") {
			t.Errorf("%s: what the gateway adds stands before what the client sent: %q", target, saw)
		}
		want := []string{"x-lower", "X-UPPER", "x-lower", "date", "X-Last", "X-Request-Id"}
		if strings.Contains(target, "/ws/") {
			want = []string{"x-lower", "X-UPPER", "Set-Cookie", "set-cookie", "X-Request-Id"}
		} else if !strings.HasPrefix(head, "HTTP/1.1 200 Sure thing\r\n") {
			t.Errorf("%q", head)
		}
		names := slices.DeleteFunc(lineNames(head), func(name string) bool { return !slices.Contains(want, name) })
		if !slices.Equal(names, want) {
			t.Errorf("%s: the client saw %q, want %q in order", target, lineNames(head), want)
		}
	}
}

// TestMalformedHeads has heads that two readers could take for different things. None may reach a service, each
// has its access-log line and Zowe's document, and its connection ends.
func TestMalformedHeads(t *testing.T) {
	var served atomic.Int64
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		served.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	const line, host = "POST /svc/api/v1/x HTTP/1.1\r\n", "Host: gw\r\n"
	for name, c := range map[string]struct {
		send   string
		status int
	}{
		"length and chunked":       {line + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":              {line + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
		"length with sign":         {line + host + "Content-Length: +5\r\n\r\nhello", 400},
		"unknown coding":           {line + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
		"chunked not last":         {line + host + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400},
		"chunked in HTTP/1.0":      {"POST /svc/api/v1/x HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"bare LF":                  {line + "Host: gw\nX: y\r\n\r\n", 400},
		"obs-fold":                 {line + host + "X: a\r\n b\r\n\r\n", 400},
		"space before the colon":   {line + host + "Content-Length : 5\r\n\r\nhello", 400},
		"empty name":               {line + host + ": x\r\n\r\n", 400},
		"NUL in a value":           {line + host + "X: a\x00b\r\n\r\n", 400},
		"no Host":                  {line + "X: y\r\n\r\n", 400},
		"two Hosts":                {line + host + "Host: other\r\n\r\n", 400},
		"Host with user":           {line + "Host: u@gw\r\n\r\n", 400},
		"absolute-form, no Host's": {"GET http://other/svc/api/v1/x HTTP/1.1\r\n" + host + "\r\n", 400},
		"HTTP/3.1":                 {"GET /svc/api/v1/x HTTP/3.1\r\n" + host + "\r\n", 505},
		"no HTTP":                  {"hello\r\n\r\n", 400},
		"large":                    {line + host + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", 431},
	} {
		c0, err := net.Dial("tcp", g.http)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c0, c.send+"GET /svc/api/v1/second HTTP/1.1\r\nHost: gw\r\n\r\n")
		answer, err := io.ReadAll(c0)
		c0.Close()
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasPrefix(string(answer), fmt.Sprintf("HTTP/1.1 %d ", c.status)) || strings.Count(string(answer), "X-Request-Id: ") != 1 ||
			!strings.Contains(string(answer), `"messageNumber":"ZWEA`) || !strings.Contains(string(answer), "Connection: close\r\n") {
			t.Errorf("%s: %q, want one answer of status %d", name, answer, c.status)
		}
		if rec := g.log.next(t); rec["status"] != float64(c.status) || rec["cause"] == nil {
			t.Errorf("%s: line %v", name, rec)
		}
	}
	if n := served.Load(); n != 0 {
		t.Errorf("the service saw %d requests", n)
	}
}

func TestPipelining(t *testing.T) {
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{httpService(t, echoHandler)}})
	var send strings.Builder
	for i := range 5 {
		fmt.Fprintf(&send, "POST /svc/api/v1/%d HTTP/1.1\r\nHost: gw\r\nContent-Length: 5\r\n\r\nhello", i)
	}
	send.WriteString("GET /svc/api/v1/last HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
	_, br, head := talk(t, g, send.String())
	for i := range 5 {
		body := readBody(t, br, head)
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.HasPrefix(body, fmt.Sprintf("POST /svc/api/v1/%d\n", i)) {
			t.Fatalf("answer %d: %q %q", i, head, body)
		}
		var err error
		if head, err = readHead(br); err != nil {
			t.Fatal(err)
		}
	}
	if body := readBody(t, br, head); !strings.HasPrefix(body, "GET /svc/api/v1/last\n") {
		t.Errorf("last answer: %q", body)
	}
	if _, err := br.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}

// readBody reads a body of a known length.
func readBody(t *testing.T, br *bufio.Reader, head string) string {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(one(head, "Content-Length"), &n); err != nil {
		t.Fatalf("%q: %v", head, err)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(br, body); err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestTrailersBothWays(t *testing.T) {
	got := make(chan string, 1)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		var rest strings.Builder
		for !strings.HasSuffix(rest.String(), "0\r\nx-sum: 1\r\n\r\n") {
			b, err := br.ReadByte()
			if err != nil {
				break
			}
			rest.WriteByte(b)
		}
		got <- head + rest.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Out\r\n\r\n2;a=b\r\nhi\r\n0\r\nX-Out: 7\r\nContent-Length: 9\r\n\r\n")
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	_, br, head := talk(t, g, "POST /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nTE: trailers\r\n\r\n"+
		"5\r\nhello\r\n0\r\nx-sum: 1\r\nAuthorization: evil\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
	sent := <-got
	for _, want := range []string{"\r\nTransfer-Encoding: chunked\r\n", "\r\nTrailer: x-sum\r\n", "\r\nTE: trailers\r\n", "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"} {
		if !strings.Contains(sent, want) {
			t.Errorf("the service saw %q, want %q in it", sent, want)
		}
	}
	if strings.Contains(sent, "evil") || strings.Contains(sent, "6.6.6.6") {
		t.Errorf("a trailer that no trailer may be reached the service: %q", sent)
	}
	const want = "2\r\nhi\r\n0\r\nX-Out: 7\r\n\r\n"
	rest := make([]byte, len(want))
	if _, err := io.ReadFull(br, rest); err != nil || string(rest) != want || one(head, "Trailer") != "X-Out" {
		t.Errorf("%q %q %v", head, rest, err)
	}
}

// TestDeadPooledConnectionIsReplaced has a service that ends each connection after one answer, without saying so.
func TestDeadPooledConnectionIsReplaced(t *testing.T) {
	var asked atomic.Int64
	cut := make(chan struct{}, 10)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, _ string) {
		asked.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		if head, err := readHead(br); err == nil { // a second request: it is read and not answered
			asked.Add(1)
			cut <- struct{}{}
			_ = head
		}
	})
	for method, status := range map[string]string{"GET": "200", "PUT": "200", "DELETE": "200", "POST": "502", "PATCH": "502"} {
		g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
		asked.Store(0)
		send := method + " /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nab"
		c, br, head := talk(t, g, send)
		readBody(t, br, head)
		_, _ = io.WriteString(c, send)
		head, err := readHead(br)
		if err != nil || !strings.HasPrefix(head, "HTTP/1.1 "+status+" ") {
			t.Errorf("%s: %q %v, want %s", method, head, err, status)
		}
		<-cut
		if n := asked.Load(); (n == 3) != (status == "200") {
			t.Errorf("%s: the service was asked %d times", method, n)
		}
	}
}

func TestAnswersAreNotBuffered(t *testing.T) {
	next := make(chan string)
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
		for event := range next {
			_, _ = io.WriteString(c, event)
		}
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
	_, br, head := talk(t, g, "GET /svc/api/v1/events HTTP/1.1\r\nHost: gw\r\n\r\n") // the head comes before any event
	if one(head, "Transfer-Encoding") != "chunked" {
		t.Errorf("%q: a body without a length is not chunked", head)
	}
	for _, event := range []string{"data: a\n\n", "data: bc\n\n"} {
		next <- event
		want := fmt.Sprintf("%x\r\n%s\r\n", len(event), event)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(br, got); err != nil || string(got) != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	}
	close(next)
	if end, err := br.ReadString('\n'); err != nil || end != "0\r\n" {
		t.Errorf("%q %v", end, err)
	}
}

func TestBrokenAnswerIsNotEnded(t *testing.T) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		addr := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) { _, _ = io.WriteString(c, answer) })
		g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}})
		_, br, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n")
		rest, _ := io.ReadAll(br)
		if !strings.HasPrefix(head, "HTTP/1.1 200 ") || strings.HasSuffix(string(rest), "0\r\n\r\n") {
			t.Errorf("%s: %q %q", name, head, rest)
		}
		if rec := g.log.next(t); rec["status"] != 200.0 || rec["cause"] == nil {
			t.Errorf("%s: line %v", name, rec)
		}
	}
}

// TestSlowAnswerHeadIsCut has a service that sends its head a byte at a time, for ever.
func TestSlowAnswerHeadIsCut(t *testing.T) {
	addr := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		for tick := time.NewTicker(time.Millisecond); err == nil; <-tick.C {
			_, err = io.WriteString(c, "x")
		}
	})
	g := startGateway(t, service{id: "svc", routes: restRoutes, endpoints: []string{addr}, policy: func(p *route.Policy) { p.Timeouts.Response = 100 * time.Millisecond }})
	if _, _, head := talk(t, g, "GET /svc/api/v1/x HTTP/1.1\r\nHost: gw\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 504 ") {
		t.Errorf("%q, want 504", head)
	}
}

// TestRefusedHeadLingers sends on behind a head that is refused. The gateway reads it for a while: a reset for bytes that
// nobody took could overtake the answer (RFC 9112, section 9.6).
func TestRefusedHeadLingers(t *testing.T) {
	g := startLingering(t, wait, []ListenerConfig{{Name: "http", Address: "127.0.0.1:0"}})
	for name, fields := range map[string]string{"malformed": "Bad Name: x\r\n", "expectation": "Expect: x\r\n", "too large": "X: " + strings.Repeat("x", 70<<10) + "\r\n"} {
		c, br, _ := talk(t, g, "POST / HTTP/1.1\r\nHost: gw\r\n"+fields+"Content-Length: 1000000\r\n\r\n")
		if _, err := io.Copy(io.Discard, br); err != nil {
			t.Errorf("%s: behind the answer: %v", name, err)
		}
		for range 16 {
			if _, err := c.Write(make([]byte, 4<<10)); err != nil {
				t.Errorf("%s: a body is not taken: %v", name, err)
				break
			}
		}
	}
}

// Who speaks HTTP where TLS is due is told so.
func TestPlainHTTPWhereTLSIsDue(t *testing.T) {
	g := startGateway(t)
	c, err := net.Dial("tcp", g.https)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(wait))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(answer), "Client sent an HTTP request to an HTTPS server.\n") {
		t.Errorf("%q, %v", answer, err)
	}
}

// A panic where an answer is made beside the loop costs its connection, and no other.
func TestPanicBesideTheLoop(t *testing.T) {
	g := startGateway(t)
	g.Admin = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") })
	g.settings(t, func(*Reloadable) {}) // so that the loops see it
	for range 2 {
		c, err := net.Dial("tcp", g.http)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(wait))
		_, _ = io.WriteString(c, "GET /application/health HTTP/1.1\r\nHost: a\r\n\r\n")
		if answer, _ := io.ReadAll(c); len(answer) > 0 {
			t.Errorf("%q", answer)
		}
		c.Close()
	}
}

// What an exchange held when a panic ended it is given back, and a handshake has its line.
func TestWreck(t *testing.T) {
	g := startGateway(t)
	ours, theirs := net.Pipe()
	ep := new(upstream.Endpoint)
	ep.Acquire()
	ss := &Session{id: uuid.New()}
	g.Sessions.add(ss, new(routeTally), "r", netip.Addr{}, 0, new(route.WebSocket))
	g.wreck(&exchange{service: ours, slot: ep, session: ss})
	_ = theirs.SetDeadline(time.Now().Add(wait))
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection to the service: %v", err)
	}
	if ep.Sessions() != 0 || g.Sessions.Len() != 0 {
		t.Errorf("%d places taken, %d sessions", ep.Sessions(), g.Sessions.Len())
	}
}
