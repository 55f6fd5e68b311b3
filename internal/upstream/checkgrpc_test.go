package upstream

import (
	"encoding/binary"
	"io"
	"net/http"
	"testing"
	"time"
)

// frame puts the head of a gRPC message before its bytes.
func frame(message ...byte) []byte {
	b := append(make([]byte, 1, 5+len(message)), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[1:], uint32(len(message)))
	return append(b, message...)
}

// healthServer answers Check by service: what a gRPC server sends, byte for byte.
func healthServer(t *testing.T) http.HandlerFunc {
	answers := map[string][]byte{
		"":       frame(0x08, 1),
		"sick":   frame(0x08, 2),
		"shy":    frame(), // UNKNOWN: a field of value 0 is not sent
		"new":    frame(0x12, 2, 'h', 'i', 0x08, 1, 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8),
		"future": frame(0x08, 77),
		"broken": frame(0x0a, 99),
		"zipped": {1, 0, 0, 0, 2, 0x08, 1},
		"late":   nil,
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.ProtoMajor != 2 || r.Method != http.MethodPost || r.URL.Path != healthMethod || r.Header.Get("Te") != "trailers" ||
			r.Header.Get("Content-Type") != "application/grpc" || r.UserAgent() != probeAgent || len(body) < 5 ||
			r.Header.Get("Grpc-Timeout") == "" {
			t.Errorf("%s %s over %s, fields %v, body %q", r.Method, r.URL, r.Proto, r.Header, body)
		}
		service := ""
		if len(body) > 7 {
			service = string(body[7:])
			if body[5] != 0x0a || int(body[6]) != len(service) {
				t.Errorf("message %q", body[5:])
			}
		}
		h := w.Header()
		h.Set("Content-Type", "application/grpc+proto")
		answer, known := answers[service]
		switch {
		case service == "page":
			h.Set("Content-Type", "text/html")
		case service == "proxy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case service == "late":
			<-r.Context().Done()
		case service == "cut":
			_, _ = w.Write(frame(0x08, 1)) // and no trailers
		case !known: // trailers only
			h.Set("Grpc-Status", "5")
			h.Set("Grpc-Message", "unknown service "+r.Host)
		default:
			h.Set("Trailer", "Grpc-Status, Grpc-Message")
			_, _ = w.Write(answer)
			h.Set("Grpc-Status", "0")
		}
	}
}

func TestGRPCProbe(t *testing.T) {
	port := serveHTTP(t, healthServer(t), nil, "h2c")
	for _, tt := range []struct {
		probe Probe
		want  string
	}{
		{Probe{}, ""},
		{Probe{Service: "new"}, ""},
		{Probe{Service: "sick"}, "NOT_SERVING"},
		{Probe{Service: "shy"}, "UNKNOWN"},
		{Probe{Service: "future"}, "serving status 77"},
		{Probe{Service: "broken"}, "no HealthCheckResponse"},
		{Probe{Service: "zipped"}, "no HealthCheckResponse"},
		{Probe{Service: "absent", Host: "a.test"}, `gRPC status 5 NOT_FOUND: "unknown service a.test"`},
		{Probe{Service: "absent"}, `"unknown service 127.0.0.1:`},
		{Probe{Service: "cut"}, "gRPC status missing"},
		{Probe{Service: "page"}, `content-type "text/html"`},
		{Probe{Service: "proxy"}, "status 503"},
		{Probe{Service: "late", Timeout: 50 * time.Millisecond}, "no answer within 50ms"},
	} {
		t.Run(tt.probe.Service, func(t *testing.T) {
			tt.probe.Kind = GRPCProbe
			wantError(t, ask(t, endpoint("http", "127.0.0.1", port), asking{probe: tt.probe}), tt.want)
		})
	}
	old := serveHTTP(t, func(http.ResponseWriter, *http.Request) {}, nil, "http/1.1")
	if err := ask(t, endpoint("http", "127.0.0.1", old), asking{probe: Probe{Kind: GRPCProbe}}); err == nil {
		t.Error("a server of HTTP/1.1 alone is well")
	}
	unimplemented := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "12")
		w.Header().Set("Grpc-Message", "unknown%20service")
	}, nil, "h2c")
	wantError(t, ask(t, endpoint("http", "127.0.0.1", unimplemented), asking{probe: Probe{Kind: GRPCProbe}}),
		`gRPC status 12 UNIMPLEMENTED: "unknown service"`)
}

func TestGRPCProbeOverTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	for want, served := range map[string][]string{"": {"h2", "http/1.1"}, "tls: ": {"http/1.1"}} {
		port := serveHTTP(t, healthServer(t), &cert, served...)
		spec := Spec{Scheme: "https", Host: "127.0.0.1", Port: port}
		e := NewPool().ServiceWith("svc", []Spec{spec}, Options{TLS: &TLSSettings{RootCAs: ca.pool()}}).Endpoints[0]
		wantError(t, ask(t, e, asking{probe: Probe{Kind: GRPCProbe}}), want)
	}
}

// FuzzHealthMessage: a message that is accepted says the same with another field after it, and whatever its status was with
// a status after it, it is that one (the last one counts).
func FuzzHealthMessage(f *testing.F) {
	f.Add(frame(0x08, 1))
	f.Add(frame())
	f.Add(frame(0x12, 2, 'h', 'i', 0x08, 2))
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := parseHealth(b)
		if err != nil {
			return
		}
		message := b[frameHead:]
		if again, err := parseHealth(frame(append(message[:len(message):len(message)], 0x1a, 1, 'x')...)); err != nil || again != status {
			t.Errorf("%x: %d, and with another field %d, %v", b, status, again, err)
		}
		if again, err := parseHealth(frame(append(message[:len(message):len(message)], 0x08, 3)...)); err != nil || again != 3 {
			t.Errorf("%x: with status 3 after it %d, %v", b, again, err)
		}
	})
}
