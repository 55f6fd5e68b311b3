//go:build !unix

package proxy

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// whenReady returns what waits until something can be read from c, and reads it into one of largeBuffers, which is the
// caller's. At the end of a TCP connection it is 0 bytes and no error.
func whenReady(c interface {
	net.Conn
	syscall.Conn
},
) (func() (*[]byte, int, error), error) {
	return func() (*[]byte, int, error) {
		buf := largeBuffers.Get().(*[]byte)
		n, err := c.Read(*buf)
		if err != nil && !errors.Is(err, io.EOF) {
			largeBuffers.Put(buf)
			return nil, 0, err
		}
		return buf, n, nil
	}, nil
}
