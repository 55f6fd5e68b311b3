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
