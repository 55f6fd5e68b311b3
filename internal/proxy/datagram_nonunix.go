//go:build !unix

package proxy

import "net"

// datagramReader returns what waits for a datagram, and reads it into one of datagramBuffers, which is the caller's.
func datagramReader(c *net.UDPConn) (func() (*[]byte, int, error), error) {
	return func() (*[]byte, int, error) {
		buf := datagramBuffers.Get().(*[]byte)
		n, err := c.Read(*buf)
		if err != nil {
			datagramBuffers.Put(buf)
			return nil, 0, err
		}
		return buf, n, nil
	}, nil
}
