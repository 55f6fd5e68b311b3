package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// h2Service is a service that speaks HTTP/2 alone: over TLS if secure, else in clear text.
func h2Service(t *testing.T, secure bool, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	if secure {
		s.Config.Protocols.SetHTTP2(true)
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{NextProtos: []string{"h2"}}
		s.StartTLS()
		t.Cleanup(s.Close)
		return "https://" + s.Listener.Addr().String()
	}
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// speaking is a backend with a protocol.
func (g *programmable) speaking(p upstream.Protocol, name string, endpoints ...string) route.Backend {
	b := g.backend(name, endpoints...)
	var specs []upstream.Spec
	for _, e := range b.Service.Endpoints {
		specs = append(specs, e.Spec)
	}
	b.Service = g.pool.ServiceWith(name, specs, upstream.Options{Protocol: p})
	return b
}

func TestHTTP2Upstream(t *testing.T) {
	g := startProgrammable(t)
	serve := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Trailer", r.Trailer.Get("X-Client-Sum"))
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprintf(w, "%s %s %s %s|", r.Method, r.Host, r.RequestURI, body)
		_ = r.Header.Write(w)
		w.Header().Set("X-Sum", fmt.Sprint(len(body)))
	}
	addr := g.rules(
		below("/h2c", g.speaking(upstream.H2C, "h2c", h2Service(t, false, serve))),
		below("/h2", g.speaking(upstream.H2, "h2", h2Service(t, true, serve))),
		below("/other", g.speaking(upstream.H2C, "other", naming(t, "http/1.1"))),
		below("/gone", g.speaking(upstream.H2C, "gone", closedPort(t))),
	)
	big := strings.Repeat("0123456789", 50_000)
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, path := range []string{"/h2c", "/h2"} {
			for _, body := range []string{"", "small", big} {
				for _, known := range []bool{true, false} {
					r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+path+"//a%2Fb?x=%20&&", strings.NewReader(body))
					r.Host = "gw.test:99"
					r.Header.Set("X-Kept", "1")
					if !known {
						r.ContentLength = -1
						r.Trailer = http.Header{"X-Client-Sum": nil}
						r.Body = io.NopCloser(&trailing{Reader: strings.NewReader(body), done: func() { r.Trailer.Set("X-Client-Sum", "42") }})
					}
					resp, got := do(t, c, r)
					want := "POST gw.test:99 " + path + "//a%2Fb?x=%20&& " + body + "|"
					if resp.StatusCode != 200 || !strings.HasPrefix(got, want) || resp.Header.Get("X-Proto") != "HTTP/2.0" ||
						resp.Trailer.Get("X-Sum") != fmt.Sprint(len(body)) || resp.Header.Get("X-Request-Id") == "" {
						t.Errorf("%s, %d bytes: %d %v %.200q", path, len(body), resp.StatusCode, resp.Header, got)
					}
					if !known && resp.Header.Get("X-Trailer") != "42" {
						t.Errorf("the client's trailer: %q", resp.Header.Get("X-Trailer"))
					}
					saw := got[min(len(got), len(want)):]
					if !strings.Contains(saw, "X-Kept: 1\r\n") || !strings.Contains(saw, "X-Forwarded-For: 127.0.0.1\r\n") || strings.Contains(saw, "Expect") {
						t.Errorf("the service saw %q", saw)
					}
				}
			}
			if resp, got := ask(t, c, "HEAD", "http://"+addr+path); resp.StatusCode != 200 || got != "" {
				t.Errorf("HEAD: %d %q", resp.StatusCode, got)
			}
		}
		for path, status := range map[string]int{"/other": 502, "/gone": 502} {
			if resp, body := ask(t, c, "GET", "http://"+addr+path); resp.StatusCode != status {
				t.Errorf("%s: %d %q", path, resp.StatusCode, body)
			}
		}
	})
}

// trailing calls done before the end.
type trailing struct {
	io.Reader
	done func()
}

func (r *trailing) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.done()
	}
	return n, err
}

// TestHTTP2BothWays is what a bidirectional call of gRPC needs: messages one by one, each way, before the other way has
// ended, with trailers behind them, and an end that reaches the service when the client goes.
func TestHTTP2BothWays(t *testing.T) {
	g := startProgrammable(t)
	gone := make(chan struct{}, 1)
	addr := g.rules(below("/", g.speaking(upstream.H2C, "echo", h2Service(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.Header.Get("Te") != "trailers" {
			t.Errorf("TE: %q", r.Header.Get("Te"))
		}
		w.WriteHeader(200)
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		b := make([]byte, 100)
		for {
			n, err := r.Body.Read(b)
			if n > 0 {
				_, _ = w.Write(b[:n])
				_ = rc.Flush()
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				gone <- struct{}{}
				return
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}))))
	c := httpClient(t, true)
	open := func() (*io.PipeWriter, *http.Response) {
		pr, pw := io.Pipe()
		r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/pkg.Service/Method", pr)
		r.Header.Set("Te", "trailers")
		r.Header.Set("Content-Type", "application/grpc")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			fmt.Fprintf(pw, "message %02d", i)
			b := make([]byte, 10)
			if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != fmt.Sprintf("message %02d", i) {
				t.Fatalf("%q %v", b, err)
			}
		}
		return pw, resp
	}
	pw, resp := open()
	pw.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("the end: %q %v %v", rest, err, resp.Trailer)
	}
	resp.Body.Close()
	if rec := g.log.next(t); rec["status"] != 200.0 || rec["bytes_in"] != 200.0 || rec["bytes_out"] != 200.0 {
		t.Errorf("line %v", rec)
	}
	_, resp = open()
	resp.Body.Close() // RST_STREAM
	select {
	case <-gone:
	case <-time.After(wait):
		t.Error("the service was not told that the client has gone")
	}
	g.log.next(t)
}

// TestHTTP2Connections: requests to one endpoint share connections; one that has ended is replaced.
func TestHTTP2Connections(t *testing.T) {
	g := startProgrammable(t)
	conns := make(chan net.Conn, 100)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns <- c
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	addr := g.rules(below("/", g.speaking(upstream.H2C, "s", s.Listener.Addr().String())))
	c := httpClient(t, false)
	get := func() {
		t.Helper()
		if resp, body := ask(t, c, "GET", "http://"+addr+"/"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
	}
	for range 10 {
		get()
	}
	if n := len(conns); n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	(<-conns).Close()
	get()
	if n := len(conns); n != 1 {
		t.Fatalf("%d new connections, want 1", n)
	}
}

// A reload ends no stream: it goes on over its connection, which ends behind it.
func TestHTTP2OutlivesReload(t *testing.T) {
	g := startProgrammable(t)
	closed := make(chan struct{}, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(flushing{w, http.NewResponseController(w)}, r.Body)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	addr := g.rules(below("/", g.speaking(upstream.H2C, "echo", s.Listener.Addr().String())))
	pr, pw := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", pr)
	says := make(chan *http.Response)
	go func() {
		resp, err := httpClient(t, true).Do(r)
		if err != nil {
			t.Error(err)
		}
		says <- resp
	}()
	_, _ = io.WriteString(pw, "before")
	resp := <-says
	b := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "before" {
		t.Fatalf("%q %v", b, err)
	}
	if err := g.Apply(Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}}); err != nil {
		t.Fatal(err)
	}
	if resp, body := ask(t, httpClient(t, false), "GET", "http://"+addr+"/"); resp.StatusCode != 200 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	_, _ = io.WriteString(pw, "behind")
	if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "behind" {
		t.Fatalf("%q %v", b, err)
	}
	pw.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
	resp.Body.Close()
	select {
	case <-closed:
	case <-time.After(wait):
		t.Error("the connection of the old settings is still open")
	}
}

// flushing sends each piece at once.
type flushing struct {
	io.Writer
	rc *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	_ = f.rc.Flush()
	return n, err
}
