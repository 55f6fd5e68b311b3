package loop

import "golang.org/x/sys/unix"

// unacked is how many bytes the socket fd has that the peer has not acknowledged, or -1.
func unacked(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}

// limitUnsent has the socket fd take no more while n bytes or more are not sent yet.
func limitUnsent(fd, n int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n) // without it the kernel keeps more, that is all
}
