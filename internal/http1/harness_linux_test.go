package http1

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

func init() { fibers = onLoop }

// onLoop is the world of a polled loop of its own.
func onLoop(t testing.TB, secure bool) world {
	e := loop.Open(loop.Options{Loops: 1})
	t.Cleanup(e.Close)
	return world{
		"fibers",
		func(t testing.TB, f func(loop.Runner, net.Conn)) string {
			ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			addr := address(ln, secure)
			o := loop.ListenOptions{
				Accept: func(c *loop.Conn) { c.Loop().Go(func(r loop.Runner) { f(r, c) }) },
				Admit:  func(netip.AddrPort) bool { return true },
				Control: func(fd int) error {
					return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				},
				Failed: func(p netip.AddrPort, err error) { t.Errorf("%v: %v", p, err) },
			}
			if secure {
				o.TLS, o.HandshakeTimeout = certificate(t), longest
			}
			l, err := e.Listen(ln, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(l.Close)
			return addr
		},
		func(r loop.Runner, addr string) (net.Conn, error) {
			c, err := r.Loop().Dial(netip.MustParseAddrPort(addr), loop.DialOptions{Deadline: time.Now().Add(longest)})
			if err != nil {
				return nil, err
			}
			return c, nil
		},
	}
}
