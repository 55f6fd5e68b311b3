package loop

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// The last bytes and the end go in one packet, and under TLS the last bytes go through TLS.
func TestWriteLast(t *testing.T) {
	last := func(t *testing.T, l *Loop, s Stream, f func()) {
		on(t, l, func() {
			s.Handle(handler(func(Events) {}))
			n, err := s.(interface{ WriteLast(p []byte) (int, error) }).WriteLast([]byte("bye"))
			if n != 3 || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
			f()
		})
	}
	read := func(t *testing.T, c net.Conn) {
		t.Helper()
		if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
	for _, by := range []string{"Close", "CloseWrite"} {
		t.Run(by, func(t *testing.T) {
			outer, inner := tcpPair(t)
			defer outer.Close()
			l := engine(t, Options{Loops: 1}).Loop()
			s := Attach(l, inner)
			before := segments(t, outer)
			last(t, l, s, func() {
				if by == "Close" {
					s.Close()
				} else if err := s.CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			read(t, outer)
			if n := segments(t, outer) - before; n != 1 {
				t.Errorf("%d segments have come, want 1", n)
			}
			if by != "Close" {
				on(t, l, s.Close)
			}
		})
	}
	t.Run("what the peer says meanwhile", func(t *testing.T) {
		outer, inner := tcpPair(t)
		defer outer.Close()
		l := engine(t, Options{Loops: 1}).Loop()
		s := Attach(l, inner)
		last(t, l, s, func() {
			if _, err := outer.Write([]byte("unread")); err != nil {
				t.Error(err)
			}
			s.Close()
		})
		read(t, outer)
	})
	t.Run("TLS", func(t *testing.T) {
		outer, inner := tlsPair(t)
		defer outer.Close()
		l := engine(t, Options{Loops: 1}).Loop()
		s := Attach(l, inner)
		last(t, l, s, func() { _ = s.CloseWrite() })
		read(t, outer)
		on(t, l, s.Close)
	})
}

// segments is how many the kernel has got for c.
func segments(t *testing.T, c net.Conn) uint32 {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n uint32
	if err := raw.Control(func(fd uintptr) {
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = info.Segs_in
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
