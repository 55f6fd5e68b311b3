package loop

import (
	"crypto/tls"
	"net"
	"time"
)

// A Conn is a TCP connection under TLS that can move to a loop when the handshake is over. Until then it is the
// connection as it is; afterwards only crypto/tls still uses it, on the loop. See Attach.
type Conn struct {
	conn   net.Conn     // TCP, but in selfTest
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
		return &Conn{conn: t}
	}
	return c
}

func (c *Conn) Read(p []byte) (int, error) {
	if c.cipher != nil {
		return c.cipher.readCipher(p)
	}
	return c.conn.Read(p)
}

func (c *Conn) Write(p []byte) (int, error) {
	if c.cipher != nil {
		return c.cipher.writeCipher(p)
	}
	return c.conn.Write(p)
}

// Close closes the connection, unless it belongs to a loop.
func (c *Conn) Close() error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.Close()
}

// CloseWrite sends FIN, unless the connection belongs to a loop.
func (c *Conn) CloseWrite() error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.(*net.TCPConn).CloseWrite()
}

// LocalAddr is nil once the connection belongs to a loop.
func (c *Conn) LocalAddr() net.Addr {
	if c.cipher != nil {
		return nil
	}
	return c.conn.LocalAddr()
}

// RemoteAddr is nil once the connection belongs to a loop.
func (c *Conn) RemoteAddr() net.Addr {
	if c.cipher != nil {
		return nil
	}
	return c.conn.RemoteAddr()
}

// SetDeadline does nothing on a loop, where nothing blocks; crypto/tls sets one before close_notify. So do the others.
func (c *Conn) SetDeadline(t time.Time) error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.SetDeadline(t)
}

// SetReadDeadline is as SetDeadline.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.cipher != nil {
		return nil
	}
	return c.conn.SetReadDeadline(t)
}

// SetWriteDeadline is as SetDeadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
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
	if w, ok := c.(*Conn); ok {
		c = w.conn
	}
	t, _ := c.(*net.TCPConn)
	return t
}
