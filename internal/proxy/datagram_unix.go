//go:build unix

package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// datagramReader returns what waits for a datagram without a buffer, and then reads it into one of datagramBuffers, which is
// the caller's.
func datagramReader(c *net.UDPConn) (func() (*[]byte, int, error), error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var buf *[]byte
	var n int
	var failed error
	try := func(fd uintptr) bool {
		buf = datagramBuffers.Get().(*[]byte)
		for {
			n, failed = syscall.Read(int(fd), *buf)
			if !errors.Is(failed, syscall.EINTR) {
				break
			}
		}
		if failed == nil {
			return true
		}
		datagramBuffers.Put(buf)
		buf = nil
		return !errors.Is(failed, syscall.EAGAIN)
	}
	return func() (*[]byte, int, error) {
		if err := raw.Read(try); err != nil {
			return nil, 0, err
		}
		if failed != nil {
			return nil, 0, os.NewSyscallError("read", failed)
		}
		return buf, n, nil
	}, nil
}
