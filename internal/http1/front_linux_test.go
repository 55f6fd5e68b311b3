package http1

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

const patience = 30 * time.Second

// front serves f on loopback until the test ends.
func front(t *testing.T, f *Front) (addr string) {
	t.Helper()
	t.Setenv("FAIRLEAD_ENGINE", "")
	e := loop.Open(loop.Options{Loops: 2})
	t.Cleanup(e.Close)
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	l, err := e.Listen(ln, loop.ListenOptions{
		Accept: f.Accept,
		Admit:  func(netip.AddrPort) bool { return true },
		Failed: func(_ netip.AddrPort, err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return addr
}

// answerBody answers with what it was sent, and the target.
func answerBody(_ loop.Runner, x *Exchange, err error) bool {
	if err != nil {
		_ = x.Reply(&Answer{Status: err.(*Error).Status}, nil) //nolint:errorlint // ServerConn.Next promises it
		return x.Done()
	}
	body, err := io.ReadAll(x.Body())
	if err != nil {
		return x.Done()
	}
	_ = x.Reply(&Answer{Status: 200, Fields: Fields{{"X-Target", x.Request.Target}}}, body)
	return x.Done()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func expect(t *testing.T, r *bufio.Reader, target, body string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != body || resp.Header.Get("X-Target") != target {
		t.Fatalf("%s: %q, %v; want %s: %q", resp.Header.Get("X-Target"), got, err, target, body)
	}
}

// Requests one after the other, in one segment, and cut anywhere, are answered in order.
func TestFrontKeepAlive(t *testing.T) {
	addr := front(t, &Front{Serve: answerBody})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			c := dial(t, addr)
			r := bufio.NewReader(c)
			for i := range 100 {
				fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
				expect(t, r, fmt.Sprintf("/%d", i), "abc")
			}
		})
	}
	all.Wait()
	stream := ""
	for i := range 10 {
		stream += fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, i, strings.Repeat("x", i))
	}
	for cut := 0; cut < len(stream); cut += 7 {
		c := dial(t, addr)
		r := bufio.NewReader(c)
		_, _ = io.WriteString(c, stream[:cut])
		_, _ = io.WriteString(c, stream[cut:])
		for i := range 10 {
			expect(t, r, fmt.Sprintf("/%d", i), strings.Repeat("x", i))
		}
		c.Close()
	}
}

// A head that does not come in time is answered 408, silence is not answered; both are the end.
func TestFrontTimes(t *testing.T) {
	f := &Front{Serve: answerBody, Options: ServerOptions{HeadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}}
	addr := front(t, f)
	for sent, want := range map[string]string{"GET / HT": "HTTP/1.1 408 ", "": "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n": "HTTP/1.1 200 "} {
		c := dial(t, addr)
		_, _ = io.WriteString(c, sent)
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
			t.Errorf("%q: %q, %v", sent, got, err)
		}
	}
	if f.Slow() != 1 {
		t.Errorf("%d slow heads", f.Slow())
	}
}

func TestFrontRefusesLargeHeads(t *testing.T) {
	addr := front(t, &Front{Serve: answerBody, Options: ServerOptions{HeadLimit: 1000}})
	for _, more := range []int{1000, 100_000} {
		c := dial(t, addr)
		go fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n", strings.Repeat("x", more))
		got, _ := io.ReadAll(c)
		if !strings.HasPrefix(string(got), "HTTP/1.1 431 ") {
			t.Errorf("%d: %.40q", more, got)
		}
	}
}

// The count of connections comes back to nothing, and the preface of HTTP/2 is given away, cut anywhere.
func TestFrontPreface(t *testing.T) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"
	got := make(chan string, 1)
	var closed sync.WaitGroup
	f := &Front{Serve: answerBody, Closed: closed.Done}
	f.Preface = func(_ any, c net.Conn, read []byte) {
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			rest := make([]byte, len(preface)-len(read))
			_, _ = io.ReadFull(c, rest)
			got <- string(read) + string(rest)
		}()
	}
	addr := front(t, f)
	for cut := range len(preface) {
		closed.Add(1)
		c := dial(t, addr)
		_ = c.(*net.TCPConn).SetNoDelay(true)
		_, _ = io.WriteString(c, preface[:cut])
		_, _ = io.WriteString(c, preface[cut:])
		if s := <-got; s != preface {
			t.Errorf("%d: %q", cut, s)
		}
		c.Close()
	}
	closed.Wait()
	if f.Open() != 0 {
		t.Errorf("%d open", f.Open())
	}
}

// A Front that stops still has a connection whose client takes the last of its answer: who ends the process waits for that.
func TestFrontCountsWhatIsStillSent(t *testing.T) {
	t.Setenv("FAIRLEAD_ENGINE", "")
	e := loop.Open(loop.Options{Loops: 1})
	t.Cleanup(e.Close)
	small := func(option int) func(_, _ string, c syscall.RawConn) error {
		return func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 4096) })
		}
	}
	ln, err := (&net.ListenConfig{Control: small(unix.SO_SNDBUF)}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	body := make([]byte, 1<<20+32<<10) // its last part fits what a loop keeps for a slow reader
	served, closed := make(chan bool, 1), make(chan struct{})
	f := &Front{
		Serve: func(_ loop.Runner, x *Exchange, _ error) bool {
			_ = x.Reply(&Answer{Status: 200}, body)
			again := x.Done()
			served <- again
			return again
		},
		Closed: func() { close(closed) },
	}
	l, err := e.Listen(ln.(*net.TCPListener), loop.ListenOptions{
		Accept: f.Accept, Admit: func(netip.AddrPort) bool { return true },
		Failed: func(_ netip.AddrPort, err error) { t.Error(err) },
		TLS:    certificate(t), HandshakeTimeout: patience,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	inner, err := (&net.Dialer{Control: small(unix.SO_RCVBUF)}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(inner, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // both ends are ours
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	got := 0
	for buf, over := make([]byte, 512), false; !over; {
		n, err := c.Read(buf)
		if got += n; err != nil {
			t.Fatal(err)
		}
		select {
		case again := <-served:
			if over = true; !again {
				t.Error("the connection does not go on")
			}
		default:
		}
	}
	e.Each(f.Stop)
	if n := f.Open(); n != 1 {
		t.Errorf("%d open connections, though the answer has not left", n)
	}
	rest, err := io.Copy(io.Discard, c)
	if err != nil || got+int(rest) < len(body) {
		t.Errorf("%d bytes: %v", got+int(rest), err)
	}
	<-closed
	if n := f.Open(); n != 0 {
		t.Errorf("%d open connections", n)
	}
}
