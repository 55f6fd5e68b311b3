package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listen serves accept on loopback until the test ends, and returns the address.
func listen(t *testing.T, e *Engine, o ListenOptions) netip.AddrPort {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	if o.Admit == nil {
		o.Admit = func(netip.AddrPort) bool { return true }
	}
	if o.Failed == nil {
		o.Failed = func(p netip.AddrPort, err error) { t.Errorf("%v: %v", p, err) }
	}
	o.HandshakeTimeout = patience
	l, err := e.Listen(ln, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return addr
}

// echo answers in a fiber what it reads, until the end.
func echo(c *Conn) {
	c.Loop().Go(func(Runner) {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		buf := make([]byte, 32<<10)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	})
}

// exchange sends size bytes and wants them back, then the end.
func exchange(t *testing.T, c net.Conn, size int) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	out := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(out)
		if h, ok := c.(interface{ CloseWrite() error }); ok && err == nil {
			err = h.CloseWrite()
		}
		sent <- err
	}()
	in, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(in, out) {
		t.Errorf("%d bytes back, want %d: %v", len(in), len(out), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestListenEcho(t *testing.T) {
	cert, err := selfTestCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		e := engine(t, Options{Loops: 2})
		o := ListenOptions{Accept: echo}
		if secure {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		}
		addr := listen(t, e, o)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				c, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if secure {
					c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				}
				exchange(t, c, 1<<20)
			})
		}
		all.Wait()
	}
}

// A fiber dials, plain and with TLS, and passes the bytes of a client on, both ways.
func TestDialFromFiber(t *testing.T) {
	cert, err := selfTestCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, secure := range []bool{false, true} {
		e := engine(t, Options{Loops: 2})
		o := ListenOptions{Accept: echo}
		if secure {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
		}
		behind := listen(t, e, o)
		front := listen(t, e, ListenOptions{Accept: func(c *Conn) {
			c.Loop().Go(func(r Runner) {
				defer c.Close()
				up, err := r.Loop().Dial(behind, DialOptions{Deadline: time.Now().Add(patience)})
				if err == nil && secure {
					up, err = r.Loop().StartTLS(up, &tls.Config{InsecureSkipVerify: true}, time.Now().Add(patience))
				}
				if err != nil {
					t.Error(err)
					return
				}
				defer up.Close()
				var back Gate
				r.Go(func(Runner) {
					defer back.Open()
					_, _ = io.Copy(struct{ io.Writer }{c}, up)
					_ = c.CloseWrite()
				})
				_, _ = io.Copy(struct{ io.Writer }{up}, c)
				_ = up.CloseWrite()
				back.Wait(r)
			})
		}})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				c, err := net.Dial("tcp", front.String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				exchange(t, c, 1<<20)
			})
		}
		all.Wait()
	}
}

func TestDialRefused(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	nobody := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close()
	failed := make(chan error)
	l := e.Loop()
	l.Post(func() {
		l.Go(func(r Runner) {
			_, err := r.Loop().Dial(nobody, DialOptions{Deadline: time.Now().Add(patience)})
			failed <- err
		})
	})
	if err := <-failed; !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

// Deadlines end a wait, whenever they are set, and do not spoil what comes after.
func TestConnDeadlines(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	result := make(chan error, 8)
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		var reading bool
		l := c.Loop()
		l.Go(func(r Runner) {
			defer c.Close()
			buf := make([]byte, 8)
			_ = c.SetReadDeadline(l.Now().Add(10 * time.Millisecond))
			_, err := c.Read(buf)
			result <- err
			_, err = c.Read(buf) // still past
			result <- err
			_ = c.SetReadDeadline(time.Time{})
			reading = true
			_, err = c.Read(buf) // ended from elsewhere
			result <- err
			_ = c.SetReadDeadline(l.Now().Add(patience))
			_, err = c.Read(buf)
			result <- err
			big := make([]byte, 64<<20)
			_ = c.SetWriteDeadline(l.Now().Add(20 * time.Millisecond))
			_, err = c.Write(big)
			result <- err
		})
		var look Task
		look = func() {
			if !reading {
				l.Post(look)
				return
			}
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
		l.Post(look)
	}})
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	_, _ = c.Write([]byte("x"))
	if err := <-result; err != nil {
		t.Errorf("read: %v", err)
	}
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write: %v", err)
	}
}

// A connection that is read by a fiber, then by a Handler, then by a fiber again, loses nothing, whenever its bytes come.
func TestConnModes(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	got := make(chan string, 1)
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		l := c.Loop()
		var all []byte
		var attended func()
		handled := func() {
			s := Attach(l, c)
			s.Handle(handler(func(Events) {
				var one [3]byte
				n, err := s.Read(one[:])
				all = append(all, one[:n]...)
				if n == 0 && errors.Is(err, ErrAgain) {
					return
				}
				c.Attend()
				attended()
			}))
		}
		attended = func() {
			l.Go(func(Runner) {
				var two [2]byte
				n, err := c.Read(two[:])
				all = append(all, two[:n]...)
				if err != nil {
					c.Close()
					got <- string(all)
					return
				}
				handled()
			})
		}
		handled()
	}})
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := ""
	for i := range 1000 {
		piece := "abcdefghijklmnop"[:i%16+1]
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
		want += piece
	}
	c.Close()
	if s := wait(t, got); s != want {
		t.Errorf("%d bytes, want %d", len(s), len(want))
	}
}

// While a fiber does something else, it is told that the client has gone; bytes that wait are not an end.
func TestOnHangup(t *testing.T) {
	for _, reset := range []bool{false, true} {
		e := engine(t, Options{Loops: 1})
		gone := make(chan struct{}, 2)
		ready := make(chan struct{})
		addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
			c.Loop().Go(func(r Runner) {
				defer c.Close()
				var over Gate
				var one [1]byte
				_, _ = c.Read(one[:])
				c.OnHangup(func() { gone <- struct{}{}; over.Open() })
				ready <- struct{}{}
				over.Wait(r)
			})
		}})
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x"))
		<-ready
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		wait(t, gone)
	}
}

// Offload runs elsewhere; many fibers wait at once, and their memory goes to others afterwards.
func TestOffloadAndReuse(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	l := e.Loop()
	const n = 1000
	var done sync.WaitGroup
	done.Add(n)
	var sum atomic.Int64
	l.Post(func() {
		for i := range n {
			l.Go(func(r Runner) {
				defer done.Done()
				r.Offload(func() { sum.Add(int64(i)) })
			})
		}
	})
	done.Wait()
	if sum.Load() != n*(n-1)/2 {
		t.Error(sum.Load())
	}
	kept := make(chan int)
	l.Post(func() { kept <- len(l.p.idle) })
	if k := <-kept; k > idleFibers || k == 0 {
		t.Errorf("%d idle fibers", k)
	}
}

// A loop that ends lets its fibers come to their ends.
func TestEngineEndsFibers(t *testing.T) {
	e := Open(Options{Loops: 1})
	var ended atomic.Int64
	var begun sync.WaitGroup
	begun.Add(3)
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		c.Loop().Go(func(Runner) {
			begun.Done()
			_, err := c.Read(make([]byte, 1))
			if errors.Is(err, net.ErrClosed) {
				ended.Add(1)
			}
		})
	}})
	for range 3 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	begun.Wait()
	e.Close()
	if ended.Load() != 3 {
		t.Errorf("%d fibers saw the end", ended.Load())
	}
}

// What negotiated another protocol is given to goroutines; a failed handshake is told once.
func TestListenElsewhere(t *testing.T) {
	cert, err := selfTestCertificate()
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Loops: 1})
	failed := make(chan error, 4)
	addr := listen(t, e, ListenOptions{
		TLS:    &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
		Accept: echo,
		Elsewhere: func(c *tls.Conn, _ netip.AddrPort, _ any) {
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		},
		Failed: func(_ netip.AddrPort, err error) { failed <- err },
	})
	for _, proto := range []string{"h2", "http/1.1"} {
		c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, 1<<16)
		c.Close()
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	if err := wait(t, failed); err == nil {
		t.Error("no error")
	}
	c.Close()
}

// What Hello has read TLS begins with, however little that is; what the handshake notes stays with the connection, and decides
// where it goes.
func TestListenLooksBeforeTLS(t *testing.T) {
	cert, err := selfTestCertificate()
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Loops: 1})
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	noted, taken, failed := make(chan any, 4), make(chan string, 4), make(chan error, 4)
	refused := errors.New("refused")
	size := 0
	addr := listen(t, e, ListenOptions{
		TLS: &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			Note(hello.Context(), hello.ServerName)
			return conf, nil
		}},
		Hello: func(c *Conn) ([]byte, bool, error) {
			if size++; size == 6 {
				return nil, false, refused
			}
			p := make([]byte, size*size*size*5)
			n, err := c.Read(p)
			if err != nil || p[0] != 'x' {
				return p[:n], false, err
			}
			conn, err := c.Leave()
			if err != nil {
				return nil, false, err
			}
			_ = conn.Close()
			taken <- string(p[:n])
			return nil, true, nil
		},
		Accept: func(c *Conn) { noted <- c.Noted(); echo(c) },
		Leaves: func(_ string, note any) bool { return note == "leaves.test" },
		Elsewhere: func(c *tls.Conn, _ netip.AddrPort, note any) {
			noted <- note
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		},
		Failed: func(_ netip.AddrPort, err error) { failed <- err },
	})
	for _, name := range []string{"stays.test", "leaves.test", "stays.test", "leaves.test"} {
		c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, 1<<16)
		c.Close()
		if got := wait(t, noted); got != name {
			t.Errorf("noted %v, want %s", got, name)
		}
	}
	for range 2 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("x and more"))
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
	if got := wait(t, taken); got != "x and more" {
		t.Errorf("taken %q", got)
	}
	if err := wait(t, failed); !errors.Is(err, refused) {
		t.Errorf("failed: %v", err)
	}
}

// Loops share what one of them accepts.
func TestListenSpreads(t *testing.T) {
	e := engine(t, Options{Loops: 2})
	var accepted sync.WaitGroup
	accepted.Add(200)
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) { echo(c); accepted.Done() }})
	for range 200 {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	accepted.Wait()
	for _, l := range e.loops {
		if n := l.p.load.Load(); n < 70 {
			t.Errorf("a loop has %d of 200 connections", n)
		}
	}
}

// A dial that nobody answers ends at its deadline, or when it is given up.
func TestDialEnds(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	full := backlogged(t)
	failed := make(chan error)
	for _, given := range []bool{false, true} {
		l := e.Loop()
		l.Post(func() {
			l.Go(func(r Runner) {
				o := DialOptions{Deadline: time.Now().Add(30 * time.Millisecond)}
				if given {
					o = DialOptions{Begun: func(abandon func()) { l.Post(abandon) }}
				}
				_, err := r.Loop().Dial(full, o)
				failed <- err
			})
		})
		want := os.ErrDeadlineExceeded
		if given {
			want = net.ErrClosed
		}
		if err := wait(t, failed); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// backlogged is the address of a socket that listens and whose backlog is full.
func backlogged(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := addrPort(sa)
	for range 3 { // until one is not answered
		c, err := net.DialTimeout("tcp", addr.String(), 50*time.Millisecond)
		if err != nil {
			break
		}
		t.Cleanup(func() { c.Close() })
	}
	return addr
}

// What the runtime has dialled becomes a connection of the loop.
func TestAdopt(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (net.Conn, net.Conn){"tcp": tcpPair, "tls": tlsPair} {
		t.Run(name, func(t *testing.T) {
			e := engine(t, Options{Loops: 1})
			outer, inner := pair(t)
			defer outer.Close()
			l := e.Loop()
			l.Post(func() {
				c, err := l.Adopt(inner)
				if err != nil {
					t.Error(err)
					return
				}
				echo(c)
			})
			exchange(t, outer, 1<<18)
		})
	}
}

// A socket that stays is told of once, one that goes before is not, and the sweep ends when there is nothing to look for.
func TestLasting(t *testing.T) {
	e := Open(Options{Loops: 1})
	l := stepped(t)
	l.p.engine = e
	var told []int
	e.opts.Lasting = func(fd int) { told = append(told, fd) }
	pair := func() *socket {
		outer, inner := tcpPair(t)
		t.Cleanup(func() { outer.Close() })
		s := Attach(l, inner).(*socket)
		s.Handle(handler(func(Events) {}))
		return s
	}
	stays, goes := pair(), pair()
	if !l.p.sweeping || l.p.young != 2 {
		t.Fatalf("sweeping %v, %d young", l.p.sweeping, l.p.young)
	}
	sweeper{}.Ready(l, Timeout)
	goes.Close()
	late := pair()
	for range 3 {
		sweeper{}.Ready(l, Timeout)
	}
	if len(told) != 2 || told[0] != int(stays.fd) || told[1] != int(late.fd) {
		t.Errorf("told of %v, want %d and %d", told, stays.fd, late.fd)
	}
	if l.p.sweeping || l.p.young != 0 {
		t.Errorf("sweeping %v, %d young", l.p.sweeping, l.p.young)
	}
	stays.Close()
	late.Close()
	if l.p.young != 0 {
		t.Errorf("%d young", l.p.young)
	}
}
