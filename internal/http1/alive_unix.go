//go:build unix

package http1

import (
	"errors"
	"net"
	"syscall"
)

// quiet tells whether nothing has come over c's socket, neither bytes nor its end. What has no socket is quiet.
func quiet(c net.Conn) bool {
	n, err := peek(c)
	return n < 0 && err == nil
}

// hasEnded tells whether c's socket has nothing more to give, or is broken.
func hasEnded(c net.Conn) bool {
	n, err := peek(c)
	return n == 0 || err != nil
}

// peek looks what c's socket has: -1 for nothing yet, 0 for its end, 1 for bytes.
func peek(c net.Conn) (int, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return -1, nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	n, cause := -1, error(nil)
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, cause = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	switch {
	case err != nil:
		return -1, err
	case errors.Is(cause, syscall.EAGAIN) || errors.Is(cause, syscall.EINTR):
		return -1, nil
	}
	return n, cause
}
