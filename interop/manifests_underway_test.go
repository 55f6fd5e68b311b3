package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is under way when its listener goes: a connection that is carried, one whose TLS ends here, one that is passed through, a call
// that goes on both ways, an answer that comes in pieces, and requests that wait for theirs. All of it goes on to its end.
func TestGatewayUnderWay(t *testing.T) {
	m := newManifests(t)
	m.service("lines", "", lines(t, "first"))
	m.service("grpc", "kubernetes.io/h2c", serveH2C(t, &grpcService{name: "grpc"}))
	more := make(chan string)
	m.service("pieces", "", serveAny(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case text, ok := <-more:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, text+"\n")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})))
	m.echo("one")
	m.service("tls", "", startEcho(t, "tls", &tls.Config{Certificates: []tls.Certificate{m.ca.issue(t, "pass.example").tls}}).address)
	m.object(m.ca.issue(t, "end.example").secret("end"))
	const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: any
  addresses: [{value: "${ADDRESS}"}]
  listeners:
  - {name: web, port: 80, protocol: HTTP}
  - {name: pass, port: 443, protocol: TLS, hostname: pass.example, tls: {mode: Passthrough}}
  - {name: end, port: 443, protocol: TLS, hostname: end.example, tls: {certificateRefs: [{name: end}]}}
  - {name: tcp, port: 9000, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: gw, sectionName: web}]
  hostnames: [any.example]
  rules:
  - backendRefs: [{name: one, port: 8080}]
  - matches: [{path: {value: /pieces}}]
    backendRefs: [{name: pieces, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: grpc}
spec:
  parentRefs: [{name: gw, sectionName: web}]
  hostnames: [grpc.example]
  rules: [{backendRefs: [{name: grpc, port: 8080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: pass}
spec:
  parentRefs: [{name: gw, sectionName: pass}]
  hostnames: [pass.example]
  rules: [{backendRefs: [{name: tls, port: 8080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: end}
spec:
  parentRefs: [{name: gw, sectionName: end}]
  hostnames: [end.example]
  rules: [{backendRefs: [{name: lines, port: 8080}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp}
spec:
  parentRefs: [{name: gw, sectionName: tcp}]
  rules: [{backendRefs: [{name: lines, port: 8080}]}]
`
	m.write("gateway.yaml", gateway)
	m.start("80", "443", "9000")

	tcp, err := net.Dial("tcp", m.at("9000"))
	if err != nil {
		t.Fatal(err)
	}
	ended, err := m.tlsDial("443", "end.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	defer ended.Close()
	passed := m.open(t, "wss://pass.example/")
	call := converse(t, m, "http://grpc.example/any.Service/Any")
	go func() { more <- "first" }()
	pieces, err := m.client.Get("http://any.example/pieces")
	if err != nil {
		t.Fatal(err)
	}
	defer pieces.Body.Close()
	read := bufio.NewReader(pieces.Body)
	waiting := make(chan error, 1)
	go func() {
		a, err := tryAsk(t.Context(), m.client, http.MethodGet, "http://any.example/?delay=2s", "")
		if err == nil && a.saw.Service != "one" {
			err = fmt.Errorf("status %d: %s", a.StatusCode, a.body)
		}
		waiting <- err
	}()
	goesOn := func(what string) {
		t.Helper()
		for name, conn := range map[string]net.Conn{"TCP": tcp, "TLS": ended} {
			if got, err := line(conn, what+"\n"); got != "first "+what+"\n" {
				t.Errorf("%s, %s: %q, %v", what, name, got, err)
			}
		}
		passed.ask(what, what)
		call.ask(what)
		if got, err := read.ReadString('\n'); got != what+"\n" {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	goesOn("first")
	m.echoes["one"].wait(t, "/?delay", 1)
	if err := os.Remove(filepath.Join(m.dir, "gateway.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"80", "443", "9000"} {
		waitFor(t, "the end of the listener on "+port, wait, []*process{m.process}, func() error {
			conn, err := net.Dial("tcp", m.at(port))
			if err == nil {
				conn.Close()
				return errTooFew(0)
			}
			return nil
		})
	}
	go func() { more <- "second" }()
	goesOn("second")
	if err := <-waiting; err != nil {
		t.Errorf("a request that waited for its answer: %v", err)
	}
	close(more)
	if rest, err := io.ReadAll(read); len(rest) > 0 || err != nil {
		t.Errorf("the answer in pieces ends with %q, %v", rest, err)
	}
	call.end()
}

// line says a line and reads one.
func line(conn net.Conn, text string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	b := make([]byte, len("first ")+len(text))
	_, err := io.ReadFull(conn, b)
	return string(b), err
}

// A conversation is a call of gRPC under way.
type conversation struct {
	t    *testing.T
	say  *io.PipeWriter
	resp *http.Response
}

func converse(t *testing.T, m *manifests, url string) *conversation {
	t.Helper()
	body, say := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	c := m.newClient(priorKnowledge)
	c.Timeout = 0
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &conversation{t, say, resp}
}

func (c *conversation) ask(text string) {
	c.t.Helper()
	if _, err := c.say.Write(grpcMessage(text)); err != nil {
		c.t.Fatal(err)
	}
	if got, err := readGRPC(c.resp.Body); err != nil || !strings.HasSuffix(got, " "+text) {
		c.t.Fatalf("said %q, got %q, %v", text, got, err)
	}
}

// end ends the call, which must be without a fault.
func (c *conversation) end() {
	c.t.Helper()
	c.say.Close()
	if _, err := io.Copy(io.Discard, c.resp.Body); err != nil || c.resp.Trailer.Get("Grpc-Status") != "0" {
		c.t.Errorf("the end of the call: %v, trailers %v", err, c.resp.Trailer)
	}
}
