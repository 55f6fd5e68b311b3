package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A kind is a way to have a connection non-blocking: which connection, and which engine.
type kind struct {
	pair    func(t *testing.T) (outer, inner net.Conn) // outer is the test's end, inner the one to attach
	options Options
}

// attach gives inner to a loop of the kind.
func (k kind) attach(t *testing.T, inner net.Conn) (*Loop, Stream) {
	t.Helper()
	l := engine(t, k.options).Loop()
	s := Attach(l, inner)
	pumps := k.options.Pumps || runtime.GOOS != "linux"
	if name := fmt.Sprintf("%T", s); strings.HasSuffix(name, "Pump") != pumps {
		t.Fatalf("%T is a %s", inner, name)
	}
	return l, s
}

func engine(t *testing.T, o Options) *Engine {
	t.Setenv("FAIRLEAD_ENGINE", "") // these tests run both
	e := Open(o)
	t.Cleanup(e.Close)
	return e
}

// kinds runs f over every kind of connection.
func kinds(t *testing.T, f func(t *testing.T, k kind, outer, inner net.Conn)) {
	for name, k := range map[string]kind{
		"tcp pump":  {tcpPair, Options{Pumps: true}},
		"tls pump":  {tlsPair, Options{Pumps: true}},
		"tcp epoll": {tcpPair, Options{Loops: 1}},
		"tls epoll": {tlsPair, Options{Loops: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			outer, inner := k.pair(t)
			defer outer.Close()
			f(t, k, outer, inner)
		})
	}
}

func tcpPair(t *testing.T) (outer, inner net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if outer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if inner, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return outer, inner
}

func tlsPair(t *testing.T) (outer, inner net.Conn) {
	t.Helper()
	o, i := tcpPair(t)
	c := tls.Client(o, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // both ends are ours
	s := tls.Server(Wrap(i), &tls.Config{Certificates: []tls.Certificate{certificate()}})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Handshake() })
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return c, s
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func raw(c net.Conn) *net.TCPConn {
	return tcpOf(c)
}

// A handler does what the test says at each event, on the loop.
type handler func(ev Events)

func (h handler) Ready(_ *Loop, ev Events) { h(ev) }

// on runs f on l and waits for it.
func on(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	l.Post(func() { f(); close(done) })
	wait(t, done)
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

// drain reads s until it says why not, passing on data; the end goes to ended.
func drain(s Stream, data func([]byte), ended func(error)) handler {
	return func(ev Events) {
		if ev&Readable == 0 {
			return
		}
		buf := make([]byte, 1000)
		for {
			n, err := s.Read(buf)
			data(buf[:n])
			if errors.Is(err, ErrAgain) {
				return
			}
			if err != nil {
				ended(err)
				return
			}
		}
	}
}

func TestStreamReads(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		_ = inner.SetDeadline(time.Now().Add(-time.Second)) // left over from the handshake
		l, s := k.attach(t, inner)
		var got bytes.Buffer
		end := make(chan error, 1)
		on(t, l, func() {
			s.Handle(drain(s, func(p []byte) { got.Write(p) }, func(err error) { end <- err }))
		})
		want := bytes.Repeat([]byte("0123456789"), 50_000)
		if _, err := outer.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := outer.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := wait(t, end); err != io.EOF { //nolint:errorlint // it is promised as it is
			t.Fatalf("end: %v", err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("got %d bytes", got.Len())
		}
		on(t, l, func() { s.Close() })
	})
}

// A reader that pauses is told nothing more, and finds everything when it goes on.
func TestStreamPause(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		l, s := k.attach(t, inner)
		ready := make(chan Events, 100)
		on(t, l, func() { s.Handle(handler(func(ev Events) { ready <- ev })) })
		for range 3 {
			if _, err := outer.Write([]byte("abc")); err != nil {
				t.Fatal(err)
			}
		}
		if ev := wait(t, ready); ev != Readable {
			t.Fatalf("event %d", ev)
		}
		var got []byte
		for end := time.Now().Add(patience); len(got) < 9 && time.Now().Before(end); {
			on(t, l, func() {
				buf := make([]byte, 1)
				if n, err := s.Read(buf); n > 0 {
					got = append(got, buf[:n]...)
				} else if !errors.Is(err, ErrAgain) {
					t.Errorf("read: %v", err)
				}
			})
		}
		if string(got) != "abcabcabc" {
			t.Errorf("got %q", got)
		}
		on(t, l, func() { s.Abort() })
	})
}

func TestStreamWrites(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		_ = raw(inner).SetWriteBuffer(64 << 10)
		l, s := k.attach(t, inner)
		chunk := bytes.Repeat([]byte("x"), 30_000)
		const total = 4 << 20
		written, most, waits := 0, 0, 0
		var rest []byte
		over := false
		finished := make(chan struct{})
		write := func() {
			for written < total || len(rest) > 0 {
				if len(rest) == 0 {
					rest = chunk
					written += len(chunk)
				}
				n, err := s.Write(rest)
				rest = rest[n:]
				most = max(most, s.Queued())
				if errors.Is(err, ErrAgain) || s.Queued() >= HighWater {
					waits++
					return
				}
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
			if err := s.CloseWrite(); err != nil {
				t.Errorf("close write: %v", err)
			}
			over = true
			close(finished)
		}
		on(t, l, func() {
			s.Handle(handler(func(ev Events) {
				if ev&Writable != 0 && !over && s.Queued() < HighWater { // a pump may tell late
					write()
				}
			}))
			write()
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = outer.SetReadDeadline(time.Now().Add(patience))
			n, err := io.Copy(io.Discard, outer)
			if err != nil || n < total {
				t.Errorf("read %d: %v", n, err)
			}
		})
		wait(t, finished)
		wg.Wait()
		on(t, l, func() {
			if waits == 0 || most > HighWater+len(chunk) {
				t.Errorf("%d waits, %d bytes queued", waits, most)
			}
			s.Close()
			if _, err := s.Write(chunk); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write after close: %v", err)
			}
			if _, err := s.Read(chunk); !errors.Is(err, net.ErrClosed) {
				t.Errorf("read after close: %v", err)
			}
		})
	})
}

// Abort resets the connection, also from within an event, with writes under way, and without a Handler.
func TestStreamAbort(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		l, s := k.attach(t, inner)
		on(t, l, func() {
			s.Handle(handler(func(Events) { s.Abort() }))
			for range 100 {
				if _, err := s.Write(make([]byte, 100_000)); err != nil {
					break
				}
				if s.Queued() > 1<<20 {
					break
				}
			}
		})
		_, werr := outer.Write([]byte("x")) // it may be reset already: room is an event, too
		_ = outer.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, outer); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(werr, syscall.ECONNRESET) {
			t.Errorf("end: %v", err)
		}
	})
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		l, s := k.attach(t, inner)
		on(t, l, s.Abort)
		_ = outer.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, outer); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("end: %v", err)
		}
	})
}

func TestStreamReset(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		l, s := k.attach(t, inner)
		end := make(chan error, 1)
		on(t, l, func() { s.Handle(drain(s, func([]byte) {}, func(err error) { end <- err })) })
		_ = raw(outer).SetLinger(0)
		_ = raw(outer).Close()
		if err := wait(t, end); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("end: %v", err)
		}
		on(t, l, s.Close)
	})
}

func TestStreamTruncated(t *testing.T) {
	kinds(t, func(t *testing.T, k kind, outer, inner net.Conn) {
		if _, ok := inner.(*tls.Conn); !ok {
			t.Skip("not TLS")
		}
		l, s := k.attach(t, inner)
		end := make(chan error, 1)
		on(t, l, func() { s.Handle(drain(s, func([]byte) {}, func(err error) { end <- err })) })
		if _, err := raw(outer).Write([]byte{23, 3, 3, 0, 100, 1, 2, 3}); err != nil { // the start of a record
			t.Fatal(err)
		}
		_ = raw(outer).Close()
		if err := wait(t, end); err != ErrTruncated { //nolint:errorlint // it is promised as it is
			t.Errorf("end: %v", err)
		}
		on(t, l, s.Close)
	})
}

// A TLS connection that was busy gives its large buffer back when it is idle again, and loses nothing by it.
func TestPumpIdleBuffer(t *testing.T) {
	outer, inner := tlsPair(t)
	defer outer.Close()
	l := New()
	s := Pump(l, inner)
	var got bytes.Buffer
	came := make(chan int, 1000)
	on(t, l, func() {
		s.Handle(drain(s, func(p []byte) { got.Write(p); came <- got.Len() }, func(error) {}))
	})
	send := func(n, total int) {
		t.Helper()
		if _, err := outer.Write(bytes.Repeat([]byte("y"), n)); err != nil {
			t.Fatal(err)
		}
		for wait(t, came) < total {
		}
	}
	send(2000, 2000)
	time.Sleep(busyTime + busyTime/4) // the pump's own deadline, on a real connection
	send(10, 2010)
	send(5000, 7010)
	on(t, l, s.Abort)
}
