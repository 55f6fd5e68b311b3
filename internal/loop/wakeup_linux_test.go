package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// What comes while a part of the last record still waits to be read is told to whoever reads that part.
func TestRestIsNotTheLast(t *testing.T) {
	l := stepped(t)
	at, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	l.p.layout = &at
	outer, inner := tlsPair(t)
	defer outer.Close()
	s := Attach(l, inner).(*tlsStream)
	told := 0
	s.Handle(handler(func(ev Events) { told++ }))
	step := func() {
		batch := poll(t, l)
		for i := range batch {
			l.p.dispatch(&batch[i])
		}
	}
	l.greet()
	var one [1]byte
	if n, err := s.Read(one[:]); n != 0 || err != ErrAgain { //nolint:errorlint // it is promised as it is
		t.Fatalf("read %d, %v", n, err)
	}
	told = 0
	_, _ = io.WriteString(outer, "ab")
	for told == 0 {
		step()
	}
	if n, _ := s.Read(one[:]); n != 1 {
		t.Fatalf("read %d", n)
	}
	_, _ = io.WriteString(outer, "c") // its event comes while b waits
	step()
	got := ""
	for end := time.Now().Add(patience); got != "bc"; {
		n, err := s.Read(one[:])
		got += string(one[:n])
		if errors.Is(err, ErrAgain) && time.Now().Before(end) {
			before := told
			l.p.poll()
			if got != "bc" && told == before {
				t.Fatalf("read %q, and nobody tells of the rest", got)
			}
		}
	}
	s.Abort()
}

// A client that goes is noticed though the last read has taken exactly what was there, so that no new event was due.
func TestOnHangupBehindFullRead(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	gone, ready := make(chan struct{}, 1), make(chan struct{})
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		c.Loop().Go(func(r Runner) {
			defer c.Close()
			var over Gate
			c.OnHangup(func() { gone <- struct{}{}; over.Open() })
			var two [2]byte
			if _, err := io.ReadFull(c, two[:]); err != nil {
				t.Error(err)
			}
			ready <- struct{}{}
			over.Wait(r)
		})
	}})
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "xy")
	<-ready
	c.Close()
	wait(t, gone)
}

// A dial that is given up before it begins to wait does not wait, and on a loop that has ended none begins.
func TestDialGivenUpAtOnce(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	full := backlogged(t)
	failed := make(chan error, 1)
	l := e.Loop()
	l.Post(func() {
		l.Go(func(r Runner) {
			_, err := l.Dial(full, DialOptions{Deadline: time.Now().Add(time.Hour), Begun: func(abandon func()) { abandon() }})
			failed <- err
		})
	})
	if err := wait(t, failed); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		c.Loop().Go(func(Runner) {
			failed <- nil
			_, _ = c.Read(make([]byte, 1))
			_, err := l.Dial(full, DialOptions{})
			failed <- err
		})
	}})
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wait(t, failed)
	e.Close()
	select {
	case err := <-failed:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	default:
		t.Error("the dial was left waiting")
	}
}

// A panic in what was offloaded is the fiber's, as it would be in a goroutine.
func TestOffloadPanics(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	l := e.Loop()
	got := make(chan any, 1)
	l.Post(func() {
		l.Go(func(r Runner) {
			defer func() { got <- recover() }()
			r.Offload(func() { panic("oops") })
		})
	})
	p, ok := wait(t, got).(*OffloadPanic)
	if !ok || p.What != "oops" || !strings.Contains(p.Error(), "oops") || !strings.Contains(string(p.Stack), "TestOffloadPanics") {
		t.Errorf("recovered %v", p)
	}
}

// The first handshake of a process that ends already has no loop to go to.
func TestStartTLSTooLate(t *testing.T) {
	e := engine(t, Options{Loops: 1})
	failed := make(chan error, 1)
	addr := listen(t, e, ListenOptions{Accept: func(c *Conn) {
		c.Loop().Go(func(Runner) {
			failed <- nil
			_, _ = c.Read(make([]byte, 1))
			other, err := c.Loop().StartTLS(c, &tls.Config{InsecureSkipVerify: true}, time.Now().Add(patience))
			if other != nil {
				t.Error("a connection")
			}
			failed <- err
		})
	}})
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wait(t, failed)
	e.cryptoOnce.Do(func() {}) // as Close does
	_, _ = io.WriteString(c, "x")
	if err := wait(t, failed); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// Where TLS cannot be polled no listener is: its connections could not go on to services with TLS.
func TestListenWithoutTLS(t *testing.T) {
	e := engine(t, Options{Loops: 1, selfTest: func() error { return errors.New("not as it was") }})
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = e.Listen(ln, ListenOptions{Accept: echo, Admit: func(netip.AddrPort) bool { return true }})
	if !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// A connection counts as open until what Close still had to send has left.
func TestOnClosed(t *testing.T) {
	cert, err := selfTestCertificate()
	if err != nil {
		t.Fatal(err)
	}
	e := engine(t, Options{Loops: 1})
	asked, closed := make(chan bool, 1), make(chan struct{})
	size := make(chan int, 1)
	addr := listen(t, e, ListenOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}, Accept: func(c *Conn) {
		c.Loop().Go(func(Runner) {
			n := 0
			for c.s.Queued() == 0 { // what the kernel takes nobody knows
				k, err := c.Write(make([]byte, 16<<10))
				if n += k; err != nil {
					t.Error(err)
					return
				}
			}
			_ = c.Close()
			c.OnClosed(func() { close(closed) })
			asked <- true
			size <- n
		})
	}})
	c, err := tls.Dial("tcp", addr.String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wait(t, asked)
	select {
	case <-closed:
		t.Error("closed before anybody has read")
	default:
	}
	n, err := io.Copy(io.Discard, c)
	if want := wait(t, size); err != nil || int(n) != want {
		t.Errorf("%d bytes, want %d: %v", n, want, err)
	}
	wait(t, closed)
}
