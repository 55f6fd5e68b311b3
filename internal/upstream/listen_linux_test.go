package upstream

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAcceptedConnectionsAreWatched(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for option, want := range map[int]int{
		unix.TCP_USER_TIMEOUT: int(userTimeout.Milliseconds()),
		unix.TCP_KEEPIDLE:     int(keepAliveIdle.Seconds()),
		unix.TCP_KEEPCNT:      keepAliveCount,
	} {
		var got int
		if err := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); err != nil || got != want {
			t.Errorf("option %d is %d, %v, want %d", option, got, err, want)
		}
	}
}
