package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// carrier is a service that reads until the end of each connection, and then answers with its name and what it was sent.
func carrier(t *testing.T, name string, conf *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(wait))
			if conf != nil {
				c = tls.Server(c, conf)
			}
			wg.Go(func() {
				defer c.Close()
				all, err := io.ReadAll(c)
				if err == nil {
					_, _ = io.WriteString(c, name+":")
					_, _ = c.Write(all)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func streamTo(id string, backends ...route.Backend) []route.Stream {
	return []route.Stream{{Route: leadsTo(id, backends...)}}
}

// exchanged sends and ends its side, and returns all that comes back.
func exchanged(t *testing.T, c net.Conn, send string) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(wait))
	go func() {
		_, _ = io.WriteString(c, send)
		closeWrite(c)
	}()
	all, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	return string(all)
}

func dialTCP(t *testing.T, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	return c
}

func overTCP(at netip.AddrPort, streams []route.Stream) *route.Listener {
	return &route.Listener{Name: "gw", Address: at, Transport: route.TransportTCP, Port: at.Port(), Hosts: []*route.Host{{Name: "gw/tcp", Streams: streams}}}
}

func TestTCP(t *testing.T) {
	g := startProgrammable(t)
	at, refusing := freeAddress(t), closedPort(t)
	streams := streamTo("tcp", g.backend("svc", refusing, carrier(t, "one", nil)))
	g.program(overTCP(at, streams))
	for i, size := range []int{0, 3, 300 << 10, 8 << 20, 3, 8 << 20} { // the connection that is refused costs nobody anything
		if i == 4 {
			forever := *streams[0].Policy
			forever.WebSocket.IdleTimeout = -1
			streams := streamTo("tcp", streams[0].Backends[0])
			streams[0].Policy = &forever
			g.program(overTCP(at, streams))
		}
		send := strings.Repeat("x", size)
		if got := exchanged(t, dialTCP(t, at), send); got != "one:"+send {
			t.Errorf("%d bytes sent, %d came back: %.40q", size, len(got), got)
		}
		rec := g.log.next(t)
		if rec["protocol"] != "TCP" || rec["route"] != "tcp" || rec["service"] != "svc" || rec["bytes_in"] != float64(size) || rec["bytes_out"] != float64(size+4) ||
			rec["cause"] != nil || rec["status"] != nil || !strings.HasPrefix(rec["client"].(string), "127.0.0.1:") {
			t.Errorf("line %v", rec)
		}
	}
	// What is open stays with its endpoint when its listener goes.
	c := dialTCP(t, at)
	_, _ = io.WriteString(c, "a")
	eventually(t, "carried", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.carried) == 1 })
	g.program()
	if got := exchanged(t, c, "b"); got != "one:ab" {
		t.Errorf("%q", got)
	}
	g.log.next(t)
	// Nothing to carry to.
	invalid := route.Backend{Name: "gone", Weight: 1, Invalid: "no such Service"}
	for cause, streams := range map[string][]route.Stream{
		"no route": nil, "no backend that is valid": streamTo("tcp", invalid), "no endpoint available": streamTo("tcp", g.backend("none")),
		"connection refused": streamTo("tcp", g.backend("refusing", refusing)),
	} {
		g.program(overTCP(at, streams))
		if c, err := net.Dial("tcp", at.String()); err == nil { // the reset may come that early
			_ = c.SetDeadline(time.Now().Add(wait))
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("%s: something came", cause)
			}
			c.Close()
		}
		if rec := g.log.next(t); !strings.Contains(fmt.Sprint(rec["cause"]), cause) {
			t.Errorf("line %v, want %s", rec, cause)
		}
	}
}

// eventually waits for what other goroutines do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(wait); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestTCPIdle(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	streams := streamTo("tcp", g.backend("svc", carrier(t, "one", nil)))
	streams[0].Policy.WebSocket.IdleTimeout = 40 * time.Millisecond
	g.program(overTCP(at, streams))
	c := dialTCP(t, at)
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want a reset", err)
	}
	if rec := g.log.next(t); rec["cause"] != "idle timeout" {
		t.Errorf("line %v", rec)
	}
}

// TestTCPReset has the service cut a connection: the client learns that it was not the end.
func TestTCPReset(t *testing.T) {
	g := startProgrammable(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	at := freeAddress(t)
	g.program(overTCP(at, streamTo("tcp", g.backend("svc", ln.Addr().String()))))
	c := dialTCP(t, at)
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "x")
	_, _ = io.ReadFull(s, make([]byte, 1)) // it is carried by now
	_ = s.(*net.TCPConn).SetLinger(0)
	s.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want a reset", err)
	}
	if rec := g.log.next(t); !strings.HasPrefix(fmt.Sprint(rec["cause"]), "from the service: ") {
		t.Errorf("line %v", rec)
	}
}

// TestTLSModes has one port on which TLS is passed through, ends for a backend, and ends for HTTP.
func TestTLSModes(t *testing.T) {
	g := startProgrammable(t)
	ca := newIssuer(t)
	inner := &tls.Config{Certificates: []tls.Certificate{*ca.issue(t, nil, 9, "passed.example", "deep.passed.example")}}
	cert := &route.HostTLS{Certificates: []*tls.Certificate{ca.issue(t, nil, 2, "ends.example", "again.example", "web.example")}}
	passed := func(name string) []route.Stream {
		return streamTo(name, g.backend(name, carrier(t, name, inner)))
	}
	web := &route.Host{Name: "web", Hostname: "web.example", TLS: cert, Rules: ruleTo("web", g.backend("web", naming(t, "web")))}
	at, only := freeAddress(t), freeAddress(t)
	streams := append(passed("exact"), passed("deep")...)
	streams[0].Hostnames, streams[1].Hostnames = []string{"passed.example"}, []string{"*.passed.example"}
	if u := g.program(
		secure(at,
			&route.Host{Name: "passed", Hostname: "passed.example", Streams: streams[:1]},
			&route.Host{Name: "deep", Hostname: "*.passed.example", Streams: streams[1:]},
			&route.Host{Name: "ends", Hostname: "ends.example", TLS: cert, Streams: streamTo("ends", g.backend("ends", carrier(t, "ends", nil)))},
			&route.Host{Name: "waits", Hostname: "waits.example", TLS: cert, Raw: true},
			&route.Host{Name: "again", Hostname: "again.example", TLS: cert, Streams: streamTo("again", g.backend("again", "https://"+carrier(t, "again", inner)))},
			web,
		),
		secure(only, web),
	); len(u) > 0 {
		t.Fatal(u)
	}
	for _, c := range []struct {
		name, by string
		serial   int64
	}{{"passed.example", "exact", 9}, {"deep.passed.example", "deep", 9}, {"ends.example", "ends", 2}, {"again.example", "again", 2}} {
		for _, size := range []int{0, 1, 300 << 10} {
			tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: c.name, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := tc.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != c.serial {
				t.Errorf("%s: certificate %d, want %d", c.name, got, c.serial)
			}
			send := strings.Repeat("x", size)
			if got := exchanged(t, tc, send); got != c.by+":"+send {
				t.Errorf("%s: %.40q", c.name, got)
			}
			tc.Close()
			if rec := g.log.next(t); rec["protocol"] != "TLS" || rec["host"] != c.name || rec["route"] != c.by || rec["cause"] != nil || (rec["tls_version"] == nil) != (c.serial == 9) {
				t.Errorf("line %v", rec)
			}
		}
	}
	for _, at := range []netip.AddrPort{at, only} {
		tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "web.example"})
		if err != nil {
			t.Fatal(err)
		}
		if status, body := over(t, tc, "web.example", "/x"); status != http.StatusOK || !strings.HasPrefix(body, "web ") {
			t.Errorf("%d %q", status, body)
		}
	}
	// A name that is passed through is none for requests.
	tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "web.example"})
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := over(t, tc, "passed.example", "/"); status != http.StatusMisdirectedRequest {
		t.Errorf("%d, want 421", status)
	}
	// A listener of TLS without a route speaks no HTTP.
	if tc, err = dialTLS(t, at, &tls.Config{ServerName: "waits.example", InsecureSkipVerify: true}); err == nil { //nolint:gosec // nothing is said
		_, _ = io.WriteString(tc, get("waits.example", "/"))
		_, err = tc.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("a listener of TLS without a route answers")
	}
	if _, err := dialTLS(t, at, &tls.Config{ServerName: "other.example", InsecureSkipVerify: true}); !errors.Is(err, io.EOF) { //nolint:gosec // it fails before
		t.Errorf("unknown name: %v", err)
	}
}

// TestHostileHellos has connections that begin with anything but a hello on a port where hellos are read.
func TestHostileHellos(t *testing.T) {
	ca := newIssuer(t)
	cert := &route.HostTLS{Certificates: []*tls.Certificate{ca.issue(t, nil, 2, "web.example")}}
	waiting := func(greeting time.Duration) (*programmable, netip.AddrPort) {
		g, at := startProgrammable(t), freeAddress(t)
		g.greeting = greeting
		g.program(secure(at,
			&route.Host{Name: "passed", Hostname: "passed.example", Streams: streamTo("p", g.backend("p", carrier(t, "p", nil)))},
			&route.Host{Name: "web", Hostname: "web.example", TLS: cert, Rules: ruleTo("web", g.backend("web", naming(t, "web")))},
		))
		return g, at
	}
	g, at := waiting(500 * time.Millisecond)
	hello := capturedHello(t, "passed.example")
	huge := "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc" + strings.Repeat("\x00", 1<<14)
	for name, send := range map[string]string{
		"garbage": "\x00\x01\x02\x03\x04\x05\x06\x07", "HTTP": "GET / HTTP/1.1\r\n\r\n", "half a hello": hello[:len(hello)/2],
		"nothing": "", "huge": huge, "beyond": "\x16\x03\x01\x40\x00\x01\xff\xff\xff", "another message": "\x16\x03\x01\x00\x04\x02\x00\x00\x00",
		"empty records": strings.Repeat("\x16\x03\x01\x00\x00", 9), "a name of 70 KB": "\x16\x03\x01\x3f\xff\x01\x01\x11\x11",
	} {
		c := dialTCP(t, at)
		_, _ = io.WriteString(c, send)
		closeWrite(c)
		answer, _ := io.ReadAll(c)
		if len(answer) > 200 || strings.HasPrefix(string(answer), "p:") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	// Who takes too long is cut.
	var slow []net.Conn
	for _, send := range []string{"", "\x16", hello[:len(hello)/2]} {
		c := dialTCP(t, at)
		_, _ = io.WriteString(c, send)
		slow = append(slow, c)
	}
	for _, c := range slow {
		if answer, err := io.ReadAll(c); len(answer) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("slow: %q, %v", answer, err)
		}
	}
	eventually(t, "all connections are over", func() bool { return g.conns.Load() == 0 })
	// A hello byte by byte is a hello, and its connection is carried.
	g, at = waiting(wait)
	c := dialTCP(t, at)
	_ = c.(*net.TCPConn).SetNoDelay(true)
	for i := range len(hello) {
		_, _ = io.WriteString(c, hello[i:i+1])
	}
	if got := exchanged(t, c, ""); got != "p:"+hello {
		t.Errorf("%q", got)
	}
	eventually(t, "all connections are over", func() bool { return g.conns.Load() == 0 })
}

// capturedHello is the first flight of a client.
func capturedHello(t testing.TB, name string) string {
	a, b := net.Pipe()
	defer a.Close()
	go func() { _ = tls.Client(b, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake() }() //nolint:gosec // it goes nowhere
	buf := make([]byte, 1<<14)
	n, err := a.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

// TestCarriedConnectionsAreLimited floods a listener over limits.connections.
func TestCarriedConnectionsAreLimited(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	g.program(overTCP(at, streamTo("tcp", g.backend("svc", carrier(t, "one", nil)))))
	set := *g.settings.Load()
	set.limits.Connections = 3
	g.settings.Store(&set)
	served := make([]net.Conn, 3)
	for i := range served {
		served[i] = dialTCP(t, at)
		eventually(t, "carried", func() bool { return g.conns.Load() == int64(i+1) })
	}
	for range 20 {
		if c, err := net.Dial("tcp", at.String()); err == nil {
			_ = c.SetDeadline(time.Now().Add(wait))
			if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("a connection over the limit is served")
			}
			c.Close()
		}
	}
	for _, c := range served {
		if got := exchanged(t, c, "x"); got != "one:x" {
			t.Errorf("%q", got)
		}
	}
	eventually(t, "released", func() bool { return g.conns.Load() == 0 })
	if got := exchanged(t, dialTCP(t, at), "y"); got != "one:y" {
		t.Errorf("behind the flood: %q", got)
	}
}

// TestCarriedAtShutdown has one client that goes when it is told to, and one that does not.
func TestCarriedAtShutdown(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	g.program(overTCP(at, streamTo("tcp", g.backend("svc", carrier(t, "one", nil)))))
	polite, deaf := dialTCP(t, at), dialTCP(t, at)
	eventually(t, "carried", func() bool { g.mu.Lock(); defer g.mu.Unlock(); return len(g.carried) == 2 })
	done := make(chan struct{})
	ctx, cut := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		g.Shutdown(ctx)
	}()
	if _, err := io.ReadAll(polite); err != nil { // the service may still have its last word
		t.Errorf("read: %v, want the end", err)
	}
	polite.Close()
	cut()
	<-done
	_, _ = io.Copy(io.Discard, deaf)
	causes := fmt.Sprint(g.log.next(t)["cause"], g.log.next(t)["cause"])
	if !strings.Contains(causes, causeShutdown) {
		t.Errorf("causes %s", causes)
	}
}
