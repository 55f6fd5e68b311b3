package interop

import (
	"bytes"
	"crypto/tls"
	endian "encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A grpcService answers test.Echo/Say by sending the messages back, each behind its name, until the client has no more.
type grpcService struct {
	name string
	rule atomic.Value // string: field x-rule of the last call
	hits atomic.Int64
	sick atomic.Bool // what it says of its health
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
		reply := s.name + " " + message
		if r.URL.Path == "/grpc.health.v1.Health/Check" {
			reply = "\x08\x01" // HealthCheckResponse{status: SERVING}
			if s.sick.Load() {
				reply = "\x08\x02"
			}
		}
		_, _ = w.Write(grpcMessage(reply))
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
	for _, name := range []string{"one", "two", "mirror", "probed"} {
		s := &grpcService{name: name}
		services[name] = s
		m.service(name, "kubernetes.io/h2c", serveH2C(t, s))
	}
	conf := &tls.Config{Certificates: []tls.Certificate{m.ca.issue(t, "service.example").tls}}
	m.service("secure", "", serveHTTP(t, &grpcService{name: "secure"}, conf))
	m.object(m.ca.configMap("services"))
	m.object(m.ca.issue(t, "grpc.example").secret("site"))
	m.file("protocols.yaml")
	m.start("80", "443")
	c := m.newClient(priorKnowledge)
	origin := "http://grpc.example/"

	// call makes a call with one message and gives its answer and its status.
	call := func(t *testing.T, method string, fields ...string) (text, status string, resp *http.Response) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, origin+method, bytes.NewReader(grpcMessage("hello")))
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
			{"test.Secure/Say", "secure hello", "0", nil},
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
		got := services["one"].rule.Load()
		if got != "echo" || resp.Header.Get("X-Answer") != "echo" || resp.Trailer.Get("Grpc-Message") != "said" {
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
		call := converse(t, m, "http://grpc.example/test.Echo/Say")
		for _, text := range []string{"a", "b", "c"} {
			call.ask(text)
		}
		call.end()
	})
	t.Run("health", func(t *testing.T) {
		probed := services["probed"]
		for _, sick := range []bool{false, true, false} {
			probed.sick.Store(sick)
			want := map[bool]string{false: "0", true: "14"}[sick]
			waitFor(t, "status "+want, wait, nil, func() error {
				if _, status, _ := call(t, "test.Probed/Say"); status != want {
					return errTooFew(0)
				}
				return nil
			})
		}
	})
	t.Run("GRPCRouteNamedRouteRule", func(t *testing.T) {
		call(t, "test.Echo/Say")
		if got := m.logged(t, `"path":"/test.Echo/Say"`)["route"]; got != "GRPCRoute/default/grpc/echo" {
			t.Errorf("the access log names the route %v", got)
		}
	})
	t.Run("over TLS", func(t *testing.T) {
		c, origin = m.client, "https://grpc.example/"
		for _, method := range []string{"test.Echo/Say", "test.Secure/Say"} {
			if text, status, resp := call(t, method); status != "0" || !strings.HasSuffix(text, " hello") || resp.ProtoMajor != 2 {
				t.Errorf("%s: %q, status %s, over %s", method, text, status, resp.Proto)
			}
		}
	})
}

// serveH2C runs a handler of HTTP/2 without TLS.
func serveH2C(t *testing.T, h http.Handler) (address string) {
	t.Helper()
	return serveHTTP(t, h, nil)
}

// serveHTTP runs a handler of HTTP/2 alone. conf is its TLS; nil: none.
func serveHTTP(t *testing.T, h http.Handler, conf *tls.Config) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: silent, Protocols: new(http.Protocols), TLSConfig: conf}
	server.Protocols.SetUnencryptedHTTP2(conf == nil)
	server.Protocols.SetHTTP2(conf != nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conf != nil {
			_ = server.ServeTLS(ln, "", "") // until Close
		} else {
			_ = server.Serve(ln)
		}
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return ln.Addr().String()
}
