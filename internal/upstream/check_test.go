package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ask probes once: as e's service says, within the probe's own timeout.
func ask(t *testing.T, e *Endpoint, a asking) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), a.probe.timeout())
	defer cancel()
	return check(ctx, new(Dialer), e, a)
}

// wantError wants err to contain text, or to be nil if that is empty.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		t.Errorf("error %v, want %q", err, text)
	}
}

// serveHTTP serves h until the test ends, over what protocols says.
func serveHTTP(t *testing.T, h http.HandlerFunc, cert *tls.Certificate, protocols ...string) int {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.Config.Protocols = new(http.Protocols)
	for _, p := range protocols {
		switch p {
		case "h2c":
			s.Config.Protocols.SetUnencryptedHTTP2(true)
		case "h2":
			s.Config.Protocols.SetHTTP2(true)
			s.EnableHTTP2 = true
		default:
			s.Config.Protocols.SetHTTP1(true)
		}
	}
	if cert != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

func TestHTTPProbe(t *testing.T) {
	port := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		switch code, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/status/")); {
		case err == nil:
			w.WriteHeader(code)
		case r.URL.Path == "/early":
			w.WriteHeader(http.StatusEarlyHints)
		case r.URL.Path == "/echo":
			fmt.Fprintf(w, "%s %s host=%s agent=%s close=%t", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Close)
		case r.URL.Path == "/deep":
			_, _ = io.WriteString(w, strings.Repeat("x", maxProbedBody-4)+"here")
		case r.URL.Path == "/deeper":
			_, _ = io.WriteString(w, strings.Repeat("x", maxProbedBody-3)+"here")
		case r.URL.Path == "/stream":
			_, _ = io.WriteString(w, "data: well\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case r.URL.Path == "/head":
			w.Header().Set("X-Long", strings.Repeat("x", maxProbed))
		case r.URL.Path == "/silent":
			<-r.Context().Done()
		}
	}, nil, "http/1.1")
	teapot := new(StatusSet)
	if err := teapot.Add(418, 418); err != nil {
		t.Fatal(err)
	}
	const short = 50 * time.Millisecond
	for _, tt := range []struct {
		name  string
		probe Probe
		want  string // in the error; empty: well
	}{
		{"defaults", Probe{Body: "GET / host=localhost agent=Fairlead-Probe close=true", Path: "/echo"}, "does not contain"},
		{"echo", Probe{Path: "/echo?a=b%20c", Host: "a.test:80", Body: "GET /echo?a=b%20c host=a.test:80 agent=Fairlead-Probe close=true"}, ""},
		{"root", Probe{}, ""},
		{"early hints", Probe{Path: "/early"}, ""},
		{"204", Probe{Path: "/status/204"}, ""},
		{"399 is still well", Probe{Path: "/status/399"}, ""},
		{"a redirect is not followed", Probe{Path: "/status/302"}, ""},
		{"404", Probe{Path: "/status/404"}, "status 404"},
		{"503", Probe{Path: "/status/503"}, "status 503"},
		{"418 wanted", Probe{Path: "/status/418", Status: *teapot}, ""},
		{"418 wanted, 200 there", Probe{Path: "/status/200", Status: *teapot}, "status 200"},
		{"at the end of what is read", Probe{Path: "/deep", Body: "here"}, ""},
		{"beyond what is read", Probe{Path: "/deeper", Body: "here"}, "the first 65536 bytes"},
		{"a stream", Probe{Path: "/stream", Body: "well"}, ""},
		{"a stream without it", Probe{Path: "/stream", Body: "ill", Timeout: short}, "no answer within 50ms"},
		{"silent", Probe{Path: "/silent", Timeout: short}, "no answer within 50ms"},
		{"endless head", Probe{Path: "/head"}, "too long"},
		{"bad path", Probe{Path: "health"}, "must begin with /"},
		{"bad host", Probe{Host: "a\r\nb: c"}, "no host name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.probe.Kind = HTTPProbe
			wantError(t, ask(t, endpoint("http", "127.0.0.1", port), asking{probe: tt.probe}), tt.want)
		})
	}
}

func TestHTTPProbeOverHTTP2(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1")
	proto := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.Host) }
	for _, tt := range []struct {
		name, scheme string
		cert         *tls.Certificate
		protocol     Protocol
		served       []string
		want         string
	}{
		{"h2c", "http", nil, H2C, []string{"h2c"}, "HTTP/2.0 localhost"},
		{"h2c service, but it speaks HTTP/1.1 only", "http", nil, H2C, []string{"http/1.1"}, ""},
		{"h2", "https", &cert, H2, []string{"h2", "http/1.1"}, "HTTP/2.0 localhost"},
		{"h2 service that agrees on HTTP/1.1", "https", &cert, H2, []string{"http/1.1"}, "HTTP/1.1 localhost"},
		{"HTTP/1.1 service", "https", &cert, HTTP1, []string{"h2", "http/1.1"}, "HTTP/1.1 localhost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := serveHTTP(t, proto, tt.cert, tt.served...)
			spec := Spec{Scheme: tt.scheme, Host: "127.0.0.1", Port: port}
			e := NewPool().ServiceWith("svc", []Spec{spec}, Options{TLS: &TLSSettings{RootCAs: ca.pool()}}).Endpoints[0]
			err := ask(t, e, asking{Probe{Kind: HTTPProbe, Body: tt.want}, tt.protocol})
			if tt.want == "" && err == nil {
				t.Error("well, want an error")
			} else if tt.want != "" {
				wantError(t, err, "")
			}
		})
	}
}

func TestProbeTLS(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, other := ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1"), ca.issue(t, time.Now().Add(time.Hour), "other.test")
	ok := func(http.ResponseWriter, *http.Request) {}
	secure, wrong, plain := serveHTTP(t, ok, &cert, "http/1.1"), serveHTTP(t, ok, &other, "http/1.1"), serveHTTP(t, ok, nil, "http/1.1")
	for _, tt := range []struct {
		name   string
		scheme string
		port   int
		probe  Probe
		want   string
	}{
		{"as the endpoint", "https", secure, Probe{Kind: HTTPProbe}, ""},
		{"as the endpoint, same port by number", "https", secure, Probe{Kind: HTTPProbe, Port: secure}, ""},
		{"wrong name", "https", wrong, Probe{Kind: HTTPProbe}, "tls: "},
		{"another port is clear text", "https", secure, Probe{Kind: HTTPProbe, Port: plain}, ""},
		{"another port with TLS", "http", plain, Probe{Kind: HTTPProbe, Port: secure, TLS: ProbeTLSOn}, ""},
		{"off", "https", plain, Probe{Kind: HTTPProbe, TLS: ProbeTLSOff}, ""},
		{"off where it is on", "https", secure, Probe{Kind: HTTPProbe, TLS: ProbeTLSOff}, "status 400"},
		{"TCP only connects", "https", plain, Probe{Kind: TCPProbe}, ""},
		{"TCP with TLS", "https", secure, Probe{Kind: TCPProbe, TLS: ProbeTLSOn}, ""},
		{"TCP with TLS, wrong name", "https", wrong, Probe{Kind: TCPProbe, TLS: ProbeTLSOn}, "tls: "},
		{"WebSocket", "https", wrong, Probe{Kind: WebSocketProbe}, "tls: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := Spec{Scheme: tt.scheme, Host: "127.0.0.1", Port: tt.port}
			e := NewPool().ServiceWith("svc", []Spec{spec}, Options{TLS: &TLSSettings{RootCAs: ca.pool()}}).Endpoints[0]
			wantError(t, ask(t, e, asking{probe: tt.probe}), tt.want)
		})
	}
}

func TestTCPProbe(t *testing.T) {
	port := listen(t, echo)
	wantError(t, ask(t, endpoint("http", "127.0.0.1", port), asking{probe: Probe{Kind: TCPProbe}}), "")
	closed := endpoint("http", "127.0.0.1", closedPort(t))
	wantError(t, ask(t, closed, asking{probe: Probe{Kind: TCPProbe}}), "connection refused")
	wantError(t, ask(t, closed, asking{probe: Probe{Kind: TCPProbe, Port: port}}), "")
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	wantError(t, ask(t, endpoint("http", "127.0.0.1", silent),
		asking{probe: Probe{Kind: TCPProbe, TLS: ProbeTLSOn, Timeout: 50 * time.Millisecond}}), "no answer within 50ms")
}

func TestProbeEnds(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":        "",
		"half a head":    "HTTP/1.1 200 OK\r\nContent-Le",
		"no HTTP":        "SSH-2.0-x\r\n\r\n",
		"many 1xx":       strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
		"half a body":    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
		"a broken chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			port := listen(t, func(c net.Conn) {
				_, _ = io.WriteString(c, answer)
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, c)
			})
			if err := ask(t, endpoint("http", "127.0.0.1", port), asking{probe: Probe{Kind: HTTPProbe, Body: "here"}}); err == nil {
				t.Error("well, want an error")
			}
		})
	}
}

func TestStatusSet(t *testing.T) {
	var s StatusSet
	for _, bad := range [][2]int{{99, 200}, {500, 600}, {300, 200}, {0, 0}, {-1, 600}} {
		if err := s.Add(bad[0], bad[1]); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	if s != (StatusSet{}) {
		t.Fatal("what was refused has changed the set")
	}
	for _, good := range [][2]int{{200, 299}, {100, 100}, {599, 599}} {
		if err := s.Add(good[0], good[1]); err != nil {
			t.Error(err)
		}
	}
	for code := -1; code < 1200; code++ {
		if want := code >= 200 && code <= 299 || code == 100 || code == 599; s.Has(code) != want {
			t.Errorf("%d: %t", code, !want)
		}
	}
}

func TestProbeCheck(t *testing.T) {
	for text, p := range map[string]Probe{
		"":             {Kind: HTTPProbe, Path: "/a?b", Host: "a.test", Port: 65535},
		"kind":         {Kind: "icmp"},
		"interval":     {Kind: TCPProbe, Interval: -1},
		"timeout":      {Kind: TCPProbe, Timeout: -1},
		"healthy":      {Kind: TCPProbe, HealthyThreshold: -1},
		"unhealthy th": {Kind: TCPProbe, UnhealthyThreshold: -1},
		"port 65536":   {Kind: TCPProbe, Port: 65536},
		"path":         {Kind: HTTPProbe, Path: "http://a.test/"},
		"no path of":   {Kind: HTTPProbe, Path: "/%zz"},
		"host":         {Kind: WebSocketProbe, Host: "a b"},
		"subprotocol":  {Kind: WebSocketProbe, Subprotocol: "a, b"},
	} {
		wantError(t, p.Check(), text)
	}
}

// TestProbesLeaveMetadataAlone: a name that leads to a link-local address is not probed, whoever registered it.
func TestProbesLeaveMetadataAlone(t *testing.T) {
	d := &Dialer{Timeout: time.Second, Resolver: nameServer(t, map[string][][4]byte{
		"evil.test.": {{169, 254, 169, 254}}, "any.test.": {{0, 0, 0, 0}}, "group.test.": {{224, 0, 0, 1}},
	})}
	for _, name := range []string{"evil.test", "any.test", "group.test"} {
		e := newEndpoint("svc", Spec{ID: "id", Scheme: "http", Host: name, Port: 80}, nil)
		err := check(t.Context(), d, e, asking{probe: Probe{Kind: TCPProbe}})
		if err == nil || !strings.Contains(err.Error(), "where no service is probed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzStatusSet: what is read is what stands between the commas, in whatever order.
func FuzzStatusSet(f *testing.F) {
	for _, s := range []string{"200", "200-299,404", " 100 - 599 ", "", ",", "299-200", "2xx", "-1", "200-299-300", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var whole StatusSet
		err := whole.UnmarshalText([]byte(text))
		items := strings.Split(text, ",")
		slices.Reverse(items)
		var turned StatusSet
		if other := turned.UnmarshalText([]byte(strings.Join(items, ","))); (err == nil) != (other == nil) || whole != turned {
			t.Fatalf("%q: %v, turned round %v", text, err, other)
		}
		if err != nil && whole != (StatusSet{}) {
			t.Fatalf("%q: refused, and yet read", text)
		}
		for code := range 700 {
			in := false
			for _, item := range items {
				var one StatusSet
				in = in || one.UnmarshalText([]byte(item)) == nil && one.Has(code)
			}
			if err == nil && whole.Has(code) != in {
				t.Fatalf("%q: has %d: %t", text, code, whole.Has(code))
			}
		}
	})
}
