package loop

import (
	"crypto/tls"
	"net"
	"time"
)

// A wrapped is a connection under TLS that can move to a loop when the handshake is over. Until then it is the connection as
// it is; afterwards only crypto/tls still uses it, on the loop. See Attach.
type wrapped struct {
	conn   net.Conn     // TCP, of the runtime or of a loop, but in selfTest
	cipher cipherStream // nil: not on a loop
}

// A cipherStream is what crypto/tls reads from and writes to on a loop.
type cipherStream interface {
	readCipher(p []byte) (int, error)
	writeCipher(p []byte) (int, error)
}

// Wrap makes c fit for TLS that is to move to a loop later: give what it returns to tls.Client or tls.Server. What is no
// TCP connection comes back as it is.
func Wrap(c net.Conn) net.Conn {
	if t, ok := c.(*net.TCPConn); ok {
		return &wrapped{conn: t}
	}
	return c
}

func (c *wrapped) Read(p []byte) (int, error) {
	if c.cipher != nil {
		return c.cipher.readCipher(p)
	}
	return c.conn.Read(p)
}

func (c *wrapped) Write(p []byte) (int, error) {
	if c.cipher != nil {
		return c.cipher.writeCipher(p)
	}
	return c.conn.Write(p)
}

// Close closes the connection, unless it belongs to a loop.
func (c *wrapped) Close() error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.Close()
}

// CloseWrite sends FIN, unless the connection belongs to a loop.
func (c *wrapped) CloseWrite() error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.(interface{ CloseWrite() error }).CloseWrite()
}

// LocalAddr is nil once the connection belongs to a loop.
func (c *wrapped) LocalAddr() net.Addr {
	if c.cipher != nil {
		return nil
	}
	return c.conn.LocalAddr()
}

// RemoteAddr is nil once the connection belongs to a loop.
func (c *wrapped) RemoteAddr() net.Addr {
	if c.cipher != nil {
		return nil
	}
	return c.conn.RemoteAddr()
}

// SetDeadline does nothing on a loop, where nothing blocks; crypto/tls sets one before close_notify. So do the others.
func (c *wrapped) SetDeadline(t time.Time) error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.SetDeadline(t)
}

// SetReadDeadline is as SetDeadline.
func (c *wrapped) SetReadDeadline(t time.Time) error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline is as SetDeadline.
func (c *wrapped) SetWriteDeadline(t time.Time) error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.SetWriteDeadline(t)
}

// tcpOf is the TCP connection under c, nil if there is none.
func tcpOf(c net.Conn) *net.TCPConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if w, ok := c.(*wrapped); ok {
		c = w.conn
	}
	t, _ := c.(*net.TCPConn)
	return t
}
