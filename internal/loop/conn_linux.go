package loop

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Conn is a TCP connection of a polled loop, plain or under TLS. It has two modes and changes between them without a system
// call: attended, in which fibers of its loop use it as a net.Conn, one reading and one writing; and handled, in which a
// Handler is told of events and uses the Stream that Attach returns. It is registered once for its life. Everything about it
// is on its loop only.
type Conn struct {
	l    *Loop
	s    Stream // *socket or *tlsStream
	tls  *tls.Conn
	peer netip.AddrPort
	note any // see Note

	reader, writer  *fiber
	readBy, writeBy time.Time
	hangup          func()
	closing         bool // Close was called, and what is queued is still to go
	closed          bool
	given           bool // Attach has taken the stream
	onClosed        func()
}

// closeTimeout bounds how long Close goes on sending what is queued.
const closeTimeout = 10 * time.Second

// newConn makes the socket fd a Conn of l, attended.
func (l *Loop) newConn(fd int32, peer netip.AddrPort) *Conn {
	c := &Conn{l: l, s: &socket{l: l, fd: fd}, peer: peer}
	c.s.Handle(c)
	return c
}

// newTLSConn is newConn for what has shaken hands.
func (l *Loop) newTLSConn(tc *tls.Conn, w *wrapped, fd int32, peer netip.AddrPort) *Conn {
	c := &Conn{l: l, s: l.newTLS(tc, w, fd), tls: tc, peer: peer}
	c.s.Handle(c)
	return c
}

// socket is the descriptor's half of the stream.
func (c *Conn) socket() *socket {
	if t, ok := c.s.(*tlsStream); ok {
		return &t.socket
	}
	return c.s.(*socket)
}

// conn is the attended connection that s belongs to, nil if there is none.
func (s *socket) conn() *Conn {
	c, _ := s.h.(*Conn)
	return c
}

// give is Attach for a Conn of the same loop.
func (c *Conn) give(l *Loop) Stream {
	if c.l != l {
		panic("loop: a connection was attached to another loop")
	}
	c.given = true
	return c.s
}

// Attend takes back what Attach has given: the Handler is told of nothing any more.
func (c *Conn) Attend() {
	c.given = false
	c.s.Handle(c)
}

// Loop is where the connection lives.
func (c *Conn) Loop() *Loop { return c.l }

// Ready is where the loop calls.
func (c *Conn) Ready(_ *Loop, ev Events) {
	if c.closing {
		if c.s.Queued() == 0 {
			c.finish()
		}
		return
	}
	if ev&Writable != 0 && c.writer != nil {
		c.writer.wake()
	}
	if ev&Readable == 0 {
		return
	}
	switch {
	case c.reader != nil:
		c.reader.wake()
	case c.hangup != nil && c.ended():
		c.hangUp()
	}
}

// lost is the end of the socket, perhaps behind bytes that nobody has read. Under TLS these may be no more than the
// close_notify, so the end counts at once. It comes also where Readable was told before.
func (c *Conn) lost() {
	if c.reader == nil && c.hangup != nil && !c.closed && !c.given && (c.tls != nil || c.ended()) {
		c.hangUp()
	}
}

func (c *Conn) hangUp() {
	f := c.hangup
	c.hangup = nil
	f()
}

// OnHangup has f called on the loop, once, when the peer has ended the connection or lost it and has sent nothing more before
// that (under TLS: whatever it has sent before). Nil: no longer. It works while nobody reads.
func (c *Conn) OnHangup(f func()) {
	c.hangup = f
	if f != nil && c.tls != nil && c.socket().drain {
		c.l.Post(c.lost)
		return
	}
	if f != nil && c.socket().told { // no event will tell of what is there already
		c.l.Post(func() { c.Ready(c.l, Readable) })
	}
}

// ended looks whether nothing but the end is there to be read.
func (c *Conn) ended() bool {
	if c.closed || c.given {
		return false
	}
	var one [1]byte
	s := c.socket()
	n, _, err := unix.Recvfrom(int(s.fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN: //nolint:errorlint // an Errno, as it is
		if c.tls == nil {
			s.told = false // the next event will tell
		}
		return false
	case err == unix.EINTR: //nolint:errorlint // an Errno, as it is
		return false
	}
	return n <= 0
}

// Read waits until something has come. The error is os.ErrDeadlineExceeded, io.EOF, ErrTruncated, net.ErrClosed or says why
// the connection was lost. In a fiber only.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if err := c.usable(c.readBy); err != nil {
			return 0, err
		}
		n, err := c.s.Read(p)
		switch {
		case n > 0 || len(p) == 0:
			return n, nil
		case err != ErrAgain: //nolint:errorlint // it is our own, as it is
			return 0, err
		}
		c.reader = c.fiber()
		late := c.reader.parkUntil(c.readBy)
		c.reader = nil
		if late {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// writePiece bounds what a TLS stream is given at once: it takes all.
const writePiece = 64 << 10

// Write waits until everything is with the kernel, or, under TLS, little enough is queued. The error is
// os.ErrDeadlineExceeded, net.ErrClosed or says why the connection was lost. In a fiber only.
func (c *Conn) Write(p []byte) (int, error) {
	sent := 0
	for {
		if err := c.usable(c.writeBy); err != nil {
			return sent, err
		}
		n, err := c.s.Write(p[sent:min(len(p), sent+writePiece)])
		sent += n
		switch {
		case err != nil && err != ErrAgain: //nolint:errorlint // it is our own, as it is
			return sent, err
		case err != nil || c.s.Queued() >= HighWater:
		case sent == len(p):
			return sent, nil
		default:
			continue
		}
		c.writer = c.fiber()
		late := c.writer.parkUntil(c.writeBy)
		c.writer = nil
		if late {
			return sent, os.ErrDeadlineExceeded
		}
		if sent == len(p) && c.s.Queued() < HighWater {
			return sent, nil
		}
	}
}

func (c *Conn) usable(deadline time.Time) error {
	switch {
	case c.closed || c.closing || c.given:
		return net.ErrClosed
	case !deadline.IsZero() && !deadline.After(c.l.Now()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// fiber is the one that runs.
func (c *Conn) fiber() *fiber {
	fb := c.l.p.current
	if fb == nil {
		panic("loop: a connection is read or written outside of a fiber")
	}
	return fb
}

// CloseWrite sends FIN, after close_notify under TLS, behind everything that was written.
func (c *Conn) CloseWrite() error {
	if err := c.usable(time.Time{}); err != nil {
		return err
	}
	return c.s.CloseWrite()
}

// Close ends the connection. What was written is still sent, for a bounded time; a fiber that waits gets net.ErrClosed.
func (c *Conn) Close() error {
	if c.closed || c.closing || c.given {
		return nil
	}
	c.hangup = nil
	if c.tls != nil {
		_ = c.s.CloseWrite() // close_notify
		if c.s.Queued() > 0 {
			c.closing = true
			t := c.l.NewTimer(c.finish)
			t.Reset(closeTimeout)
			c.release()
			return nil
		}
	}
	c.finish()
	return nil
}

// OnClosed has f called once Close has nothing more to send, or has given that up: at once, if it is so now. On the loop.
func (c *Conn) OnClosed(f func()) {
	if c.closing && !c.closed {
		c.onClosed = f
		return
	}
	f()
}

// finish gives the descriptor back.
func (c *Conn) finish() {
	if c.closed {
		return
	}
	c.closed = true
	c.s.Close()
	c.release()
}

// Abort resets the connection (RST) and drops everything.
func (c *Conn) Abort() {
	if c.closed || c.given {
		return
	}
	c.closed, c.hangup = true, nil
	c.s.Abort()
	c.release()
}

// release has those who wait see the end.
func (c *Conn) release() {
	if fb := c.reader; fb != nil {
		fb.wakeSoon()
	}
	if fb := c.writer; fb != nil {
		fb.wakeSoon()
	}
	if f := c.onClosed; f != nil && c.closed {
		c.onClosed = nil
		f()
	}
}

// Alive reports whether an idle connection can still be used: its peer has neither ended it nor sent anything. What has come
// of TLS itself is taken.
func (c *Conn) Alive() bool {
	if c.closed || c.closing || c.given {
		return false
	}
	s := c.socket()
	if s.drain {
		return false
	}
	if !s.told && (c.tls == nil || c.s.(*tlsStream).fed) {
		return true // nothing has come since it was read last
	}
	var one [1]byte
	n, err := c.s.Read(one[:])
	return n == 0 && err == ErrAgain //nolint:errorlint // it is our own, as it is
}

// SetLinger with 0 has Close reset the connection.
func (c *Conn) SetLinger(sec int) error {
	if err := c.usable(time.Time{}); err != nil {
		return err
	}
	return unix.SetsockoptLinger(int(c.socket().fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: int32(sec)})
}

// LocalAddr is a *net.TCPAddr, asked of the kernel; nil once the connection is closed.
func (c *Conn) LocalAddr() net.Addr {
	if c.closed {
		return nil
	}
	sa, err := unix.Getsockname(int(c.socket().fd))
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(addrPort(sa))
}

// RemoteAddr is a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer) }

// Peer is RemoteAddr without an allocation.
func (c *Conn) Peer() netip.AddrPort { return c.peer }

// SetPeer notes the peer that a PROXY protocol header has named.
func (c *Conn) SetPeer(a netip.AddrPort) { c.peer = a }

// TLS is what the connection runs under, nil if it is plain. Only its ConnectionState may be asked for.
func (c *Conn) TLS() *tls.Conn { return c.tls }

// Noted is what Note was told in the handshake of the connection, nil if it was not.
func (c *Conn) Noted() any { return c.note }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds Read, also one that waits. Zero: no bound.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readBy = t
	if c.reader != nil {
		c.reader.arm(t)
	}
	return nil
}

// SetWriteDeadline bounds Write as SetReadDeadline does Read.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeBy = t
	if c.writer != nil {
		c.writer.arm(t)
	}
	return nil
}

// take ends the registration and takes the descriptor out. The connection must be plain, and nobody may use it any more.
func (c *Conn) take() int32 {
	s := c.s.(*socket)
	c.l.p.unregister(s)
	fd := s.fd
	s.fd, s.closed, s.h = -1, true, nil
	c.closed = true
	return fd
}

// Leave makes the connection one of the runtime's, for goroutines. It must be plain. On error it is closed.
func (c *Conn) Leave() (net.Conn, error) {
	f := os.NewFile(uintptr(c.take()), "tcp")
	defer f.Close() //nolint:errcheck // FileConn has a descriptor of its own
	return net.FileConn(f)
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 && a.Is6() {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				a = a.WithZone(i.Name)
			}
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

var _ io.ReadWriteCloser = (*Conn)(nil)
