package upstream

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDialNoticesDeadPeers(t *testing.T) {
	c, err := new(Dialer).Dial(t.Context(), endpoint("http", "127.0.0.1", listen(t, echo)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []struct {
		name             string
		level, opt, want int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60000},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if err := raw.Control(func(fd uintptr) {
			got, err := unix.GetsockoptInt(int(fd), opt.level, opt.opt)
			if err != nil || got != opt.want {
				t.Errorf("%s is %d, %v, want %d", opt.name, got, err, opt.want)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}
