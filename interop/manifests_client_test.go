package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// newClient makes a client of HTTP/1.1 for which every name leads to the gateway. It trusts the test's authority.
func (m *manifests) newClient(change ...func(*http.Transport)) *http.Client {
	tr := &http.Transport{
		DialContext: m.dialer, TLSClientConfig: &tls.Config{RootCAs: m.ca.pool}, DisableCompression: true, ResponseHeaderTimeout: 2 * wait,
	}
	for _, f := range change {
		f(tr)
	}
	m.t.Cleanup(tr.CloseIdleConnections)
	asIs := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: tr, Timeout: 2 * wait, CheckRedirect: asIs}
}

// priorKnowledge has a client speak HTTP/2 in clear text.
func priorKnowledge(tr *http.Transport) {
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetUnencryptedHTTP2(true)
}

// certified has a client show a certificate.
func certified(pair *issued) func(*http.Transport) {
	return func(tr *http.Transport) { tr.TLSClientConfig.Certificates = []tls.Certificate{pair.tls} }
}

// An answer is a response with its body.
type answerOf struct {
	*http.Response
	body string
	saw  seen // what the service saw, if an echo answered
}

// ask sends a request. fields are names and values.
func (m *manifests) ask(t *testing.T, method, url string, fields ...string) *answerOf {
	t.Helper()
	return askWith(t, m.client, method, url, "", fields...)
}

func askWith(t *testing.T, c *http.Client, method, url, body string, fields ...string) *answerOf {
	t.Helper()
	a, err := tryAsk(t.Context(), c, method, url, body, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryAsk(ctx context.Context, c *http.Client, method, url, body string, fields ...string) (*answerOf, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		} else {
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answerOf{Response: resp, body: string(read)}
	if strings.HasPrefix(a.body, "{") {
		_ = json.Unmarshal(read, &a.saw) // of another document nothing fits
	}
	return a, nil
}

// get asks and wants a status.
func (m *manifests) get(t *testing.T, url string, status int, fields ...string) *answerOf {
	t.Helper()
	a := m.ask(t, http.MethodGet, url, fields...)
	a.want(t, status)
	return a
}

func (a *answerOf) want(t *testing.T, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL, a.StatusCode, status, a.body)
	}
}

// wantProblem wants the document of a failure.
func (a *answerOf) wantProblem(t *testing.T, status int) {
	t.Helper()
	a.want(t, status)
	var doc struct{ Status int }
	kind := a.Header.Get("Content-Type")
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Status != status || kind != "application/problem+json" {
		t.Errorf("%s: not a problem document of %d: %s %s", a.Request.URL, status, kind, a.body)
	}
}

// serves wants service to answer url, both to a request and to a WebSocket handshake.
func (m *manifests) serves(t *testing.T, url, service string, fields ...string) {
	t.Helper()
	if got := m.get(t, url, http.StatusOK, fields...).saw.Service; got != service {
		t.Errorf("%s: %q answers, want %q", url, got, service)
	}
	s := m.open(t, url, fields...)
	if s.saw.Service != service {
		t.Errorf("%s: %q has the session, want %q", url, s.saw.Service, service)
	}
	s.leave()
}

// refuses wants a status for url, both for a request and for a WebSocket handshake.
func (m *manifests) refuses(t *testing.T, url string, status int, fields ...string) {
	t.Helper()
	m.ask(t, http.MethodGet, url, fields...).wantProblem(t, status)
	m.refusesSession(t, url, status, fields...)
}

func (m *manifests) refusesSession(t *testing.T, url string, status int, fields ...string) *http.Response {
	t.Helper()
	conn, resp, err := m.handshake(t, url, fields...)
	if err == nil {
		_ = conn.CloseNow()
		t.Fatalf("%s: a session is opened, want %d", url, status)
	}
	if resp == nil || resp.StatusCode != status {
		t.Fatalf("%s, as a handshake: %v, %v; want status %d", url, err, resp, status)
	}
	return resp
}

// An echoSession is a session with an echo service.
type echoSession struct {
	*session
	saw      seen // of the handshake
	response *http.Response
}

// open opens a WebSocket to an echo service.
func (m *manifests) open(t *testing.T, url string, fields ...string) *echoSession {
	t.Helper()
	conn, resp, err := m.handshake(t, url, fields...)
	if err != nil {
		t.Fatalf("%s: %v (%v)", url, err, resp)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	s := &echoSession{session: &session{t, conn}, response: resp}
	if err := json.Unmarshal([]byte(s.receive()), &s.saw); err != nil {
		t.Fatal(err)
	}
	s.ask("hello", "hello")
	return s
}

// leave ends the session as a client does.
func (s *echoSession) leave() { _ = s.conn.Close(websocket.StatusNormalClosure, "") }

func (m *manifests) handshake(t *testing.T, url string, fields ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	options := &websocket.DialOptions{HTTPClient: m.newClient(), HTTPHeader: http.Header{}}
	for i := 0; i < len(fields); i += 2 {
		switch fields[i] {
		case "Host":
			options.Host = fields[i+1]
		case "Sec-WebSocket-Protocol":
			options.Subprotocols = append(options.Subprotocols, fields[i+1])
		default:
			options.HTTPHeader.Add(fields[i], fields[i+1])
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*wait)
	defer cancel()
	if rest, ok := strings.CutPrefix(url, "http"); ok {
		url = "ws" + rest
	}
	return websocket.Dial(ctx, url, options)
}

// eventually asks until the answer is good.
func (m *manifests) eventually(t *testing.T, url, what string, good func(*answerOf) bool, fields ...string) {
	t.Helper()
	waitFor(t, what, wait, []*process{m.process}, func() error {
		a, err := tryAsk(t.Context(), m.client, http.MethodGet, url, "", fields...)
		if err == nil && !good(a) {
			err = fmt.Errorf("status %d of %q: %.200s", a.StatusCode, a.saw.Service, a.body)
		}
		return err
	})
}

// tlsDial connects to a port of a manifest and shakes hands for name. nextProtos may be none.
func (m *manifests) tlsDial(port, name string, change func(*tls.Config)) (*tls.Conn, error) {
	conf := &tls.Config{RootCAs: m.ca.pool, ServerName: name}
	if change != nil {
		change(conf)
	}
	return tls.DialWithDialer(&net.Dialer{Timeout: wait}, "tcp", m.at(port), conf)
}

// raw sends text on a connection and reads the response to it, as HTTP/1.1 has it.
func raw(t *testing.T, conn net.Conn, text string) *answerOf {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Request = &http.Request{Method: "raw"}
	a := &answerOf{Response: resp, body: string(body)}
	_ = json.Unmarshal(body, &a.saw)
	return a
}

// handshakeText is a WebSocket handshake.
func handshakeText(host string) string {
	return "GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// statusOf reads the head of a response.
func statusOf(t *testing.T, conn net.Conn) int {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(wait))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// dialTo connects to address, whatever is asked for.
func dialTo(address string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}
