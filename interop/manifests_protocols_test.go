package interop

import (
	"bytes"
	endian "encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
)

// What services speak: WebSocket with a word and without, HTTP/2 in clear text.
func TestGatewayProtocols(t *testing.T) {
	m := newManifests(t)
	for name, protocol := range map[string]string{"h2c": "kubernetes.io/h2c", "ws": "kubernetes.io/ws", "unsaid": ""} {
		m.service(name, protocol, startEcho(t, name, nil).address)
	}
	m.file("protocols.yaml")
	m.start("80")

	t.Run("HTTPRouteBackendProtocolH2C", func(t *testing.T) {
		h2 := m.newClient(priorKnowledge)
		for _, c := range []*http.Client{m.client, h2} {
			a := askWith(t, c, http.MethodPost, "http://any.example/h2c", "a body", "X-Any", "1")
			if a.StatusCode != 200 || a.saw.Proto != "HTTP/2.0" || a.saw.Body != "a body" || a.saw.Header.Get("X-Any") != "1" || a.saw.Host != "any.example" {
				t.Errorf("over %s: %d %+v", a.Proto, a.StatusCode, a.saw)
			}
		}
		if a := askWith(t, h2, http.MethodGet, "http://any.example/unsaid", ""); a.ProtoMajor != 2 || a.saw.Proto != "HTTP/1.1" {
			t.Errorf("a service without appProtocol: %s in, %s out", a.Proto, a.saw.Proto)
		}
	})
	t.Run("HTTPRouteBackendProtocolWebSocket", func(t *testing.T) {
		for _, service := range []string{"ws", "unsaid"} {
			s := m.open(t, "ws://any.example/"+service+"?x", "Origin", "http://any.example", "Sec-WebSocket-Protocol", "chat.v1")
			if s.saw.Service != service || s.saw.URI != "/"+service+"?x" || s.saw.Host != "any.example" || s.conn.Subprotocol() != "chat.v1" {
				t.Errorf("%+v, subprotocol %q", s.saw, s.conn.Subprotocol())
			}
			big := strings.Repeat("0123456789abcdef", 1<<12)
			s.ask(big, big)
			if err := s.conn.Write(t.Context(), websocket.MessageBinary, []byte{0, 1, 2, 255}); err != nil {
				t.Fatal(err)
			}
			if got := s.receive(); got != "\x00\x01\x02\xff" {
				t.Errorf("%q comes back", got)
			}
			if err := s.conn.Ping(s.conn.CloseRead(t.Context())); err != nil {
				t.Errorf("ping: %v", err)
			}
			_ = s.conn.Close(4001, "the end")
			m.logged(t, `"service":"default/`+service+`:8080"`, `"status":101`, `"close_code":4001`)
		}
	})
}

// A grpcService answers test.Echo/Say by sending the messages back, each behind its name, until the client has no more.
type grpcService struct {
	name string
	rule atomic.Value // string: field x-rule of the last call
	hits atomic.Int64
}

// ServeHTTP implements http.Handler.
func (s *grpcService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.rule.Store(r.Header.Get("X-Rule"))
	s.hits.Add(1)
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		message, err := readGRPC(r.Body)
		if err != nil {
			break
		}
		_, _ = w.Write(grpcMessage(s.name + " " + message))
		_ = http.NewResponseController(w).Flush()
	}
	w.Header().Set("Grpc-Status", "0")
	w.Header().Set("Grpc-Message", "said")
}

// grpcMessage is a message of gRPC as it stands in a body: its length before it, and no compression.
func grpcMessage(text string) []byte {
	return append(endian.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

func readGRPC(r io.Reader) (string, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	text := make([]byte, endian.BigEndian.Uint32(head[1:]))
	_, err := io.ReadFull(r, text)
	return string(text), err
}

// GRPCRoutes: messages both ways while the call goes on, trailers, matching, and failures as gRPC says them.
func TestGatewayGRPC(t *testing.T) {
	m := newManifests(t)
	services := map[string]*grpcService{}
	for _, name := range []string{"one", "two", "mirror"} {
		s := &grpcService{name: name}
		services[name] = s
		m.service(name, "kubernetes.io/h2c", serveH2C(t, s))
	}
	m.file("protocols.yaml")
	m.start("80")
	c := m.newClient(priorKnowledge)

	// call makes a call with one message and gives its answer and its status.
	call := func(t *testing.T, method string, fields ...string) (text, status string, resp *http.Response) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://grpc.example/"+method, bytes.NewReader(grpcMessage("hello")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		for i := 0; i < len(fields); i += 2 {
			req.Header.Set(fields[i], fields[i+1])
		}
		if resp, err = c.Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ = readGRPC(resp.Body)
		_, _ = io.Copy(io.Discard, resp.Body)
		if status = resp.Trailer.Get("Grpc-Status"); status == "" {
			status = resp.Header.Get("Grpc-Status") // of an answer without a body
		}
		return text, status, resp
	}
	t.Run("GRPCRoute", func(t *testing.T) {
		for _, row := range []struct {
			method, text, status string
			fields               []string
		}{
			{"test.Echo/Say", "one hello", "0", nil},
			{"test.Echo/Other", "one hello", "0", []string{"version", "one"}},
			{"test.Other/Sing", "two hello", "0", nil},
			{"test.Echo/Other", "", "12", nil},
			{"test.Lost/Say", "", "14", nil},
			{"test.Empty/Say", "", "14", nil},
		} {
			text, status, resp := call(t, row.method, row.fields...)
			if resp.StatusCode != 200 || text != row.text || status != row.status {
				t.Errorf("%s: %d, %q, status %s; want %q, status %s", row.method, resp.StatusCode, text, status, row.text, row.status)
			}
		}
	})
	t.Run("filters", func(t *testing.T) {
		before := services["mirror"].hits.Load()
		_, _, resp := call(t, "test.Echo/Say", "X-Rule", "client")
		if got := services["one"].rule.Load(); got != "echo" || resp.Header.Get("X-Answer") != "echo" || resp.Trailer.Get("Grpc-Message") != "said" {
			t.Errorf("the service saw x-rule %v; the client saw %v and trailers %v", got, resp.Header, resp.Trailer)
		}
		waitFor(t, "the mirrored call", wait, nil, func() error {
			if services["mirror"].hits.Load() == before {
				return io.ErrNoProgress
			}
			return nil
		})
	})
	t.Run("a conversation", func(t *testing.T) {
		body, say := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://grpc.example/test.Echo/Say", body)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, text := range []string{"a", "b", "c"} {
			if _, err := say.Write(grpcMessage(text)); err != nil {
				t.Fatal(err)
			}
			if got, err := readGRPC(resp.Body); err != nil || got != "one "+text {
				t.Fatalf("said %q, got %q, %v", text, got, err)
			}
		}
		say.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("at its end: %v, trailers %v", err, resp.Trailer)
		}
	})
	t.Run("GRPCRouteNamedRouteRule", func(t *testing.T) {
		call(t, "test.Echo/Say")
		if got := m.logged(t, `"path":"/test.Echo/Say"`)["route"]; got != "GRPCRoute/default/grpc/echo" {
			t.Errorf("the access log names the route %v", got)
		}
	})
}

// serveH2C runs a handler of HTTP/2 without TLS.
func serveH2C(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: silent, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // until Close
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return ln.Addr().String()
}
