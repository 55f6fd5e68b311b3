//go:build unix

package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// whenReady returns what waits until something can be read from c, without a buffer meanwhile, and then reads it into one of
// largeBuffers, which is the caller's. At the end of a TCP connection it is 0 bytes and no error.
func whenReady(c interface {
	net.Conn
	syscall.Conn
},
) (func() (*[]byte, int, error), error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var buf *[]byte
	var n int
	var failed error
	try := func(fd uintptr) bool {
		buf = largeBuffers.Get().(*[]byte)
		for {
			n, failed = syscall.Read(int(fd), *buf)
			if !errors.Is(failed, syscall.EINTR) {
				break
			}
		}
		if failed == nil {
			return true
		}
		largeBuffers.Put(buf)
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
