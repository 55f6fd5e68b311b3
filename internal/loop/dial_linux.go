package loop

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dial connects to addr. The connection belongs to the loop. A bound that has passed is os.ErrDeadlineExceeded, an end by the
// function that Begun was given net.ErrClosed. In a fiber of l only.
func (l *Loop) Dial(addr netip.AddrPort, o DialOptions) (*Conn, error) {
	fail := func(call string, err error) (*Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.NewSyscallError(call, err)}
	}
	if l.p.ended {
		return fail("connect", net.ErrClosed)
	}
	family := unix.AF_INET
	if !addr.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	fd, call, errno := rawConnect(family, addr)
	if errno != 0 && errno != unix.EINPROGRESS {
		return fail(call, errno)
	}
	c := l.newConn(fd, addr)
	if errno == 0 {
		return c, nil
	}
	if o.Begun != nil {
		o.Begun(c.Abort)
	}
	s := c.socket()
	for {
		late := false
		if !c.closed {
			s.full = true // Writable is owed: connected, or failed
			c.writer = c.fiber()
			late = c.writer.parkUntil(o.Deadline)
			c.writer = nil
		}
		switch {
		case c.closed:
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: net.ErrClosed}
		case late:
			c.Abort()
			return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.ErrDeadlineExceeded}
		}
		if s.full {
			continue // woken for nothing
		}
		if !s.drain {
			return c, nil // writable, and no error came with that
		}
		errno, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		if err != nil {
			_ = c.Close()
			return fail("connect", err)
		}
		return c, nil
	}
}

// Adopt makes a connection of the runtime one of the loop: TCP, or TLS that came from Wrap and has shaken hands. On error c
// is as it was. On the loop only.
func (l *Loop) Adopt(c net.Conn) (*Conn, error) {
	peer := netip.AddrPort{}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		peer = a.AddrPort()
	}
	switch c := c.(type) {
	case *net.TCPConn:
		fd, err := takeDescriptor(c)
		if err != nil {
			return nil, err
		}
		return l.newConn(fd, peer), nil
	case *tls.Conn:
		w, ok := c.NetConn().(*wrapped)
		if !ok || l.p.layout == nil || w.cipher != nil || !c.ConnectionState().HandshakeComplete {
			return nil, errors.ErrUnsupported
		}
		fd, err := takeDescriptor(w.conn)
		if err != nil {
			return nil, err
		}
		return l.newTLSConn(c, w, fd, peer), nil
	}
	return nil, errors.ErrUnsupported
}

// StartTLS shakes hands as a client, on a loop for handshakes, and returns the connection that replaces c. On error c is
// closed. The error is errors.ErrUnsupported where TLS cannot be polled, net.ErrClosed if a loop has ended. In a fiber of l only.
func (l *Loop) StartTLS(c *Conn, config *tls.Config, deadline time.Time) (*Conn, error) {
	if l.p.layout == nil {
		c.Abort()
		return nil, errors.ErrUnsupported
	}
	h := l.p.engine.handshakeLoop()
	if h == nil {
		c.Abort()
		return nil, net.ErrClosed
	}
	fb, peer, fd := c.fiber(), c.peer, c.take()
	var tc *tls.Conn
	var w *wrapped
	var failed error
	done := false // owned by l, like what is above once it is true
	offered := h.offer(func() {
		hc := h.newConn(fd, peer)
		h.Go(func(Runner) {
			_ = hc.SetDeadline(deadline)
			w = &wrapped{conn: hc}
			tc = tls.Client(w, config)
			if failed = tc.Handshake(); failed != nil {
				_ = hc.Close()
			} else {
				fd = hc.take()
			}
			l.Post(func() { done = true; fb.wake() })
		})
	})
	for offered && !done {
		fb.park()
	}
	switch {
	case failed != nil:
		return nil, failed
	case !offered || l.p.ended:
		_ = unix.Close(int(fd))
		return nil, net.ErrClosed
	}
	return l.newTLSConn(tc, w, fd, peer), nil
}

// rawConnect makes a socket that never blocks and begins to connect it, without telling the scheduler: on a loopback the whole
// of the TCP handshake happens within the call, and takes so long that the runtime's monitor would take the loop's processor
// away from it. EINPROGRESS says that it goes on; with any other error, of call, there is no descriptor.
func rawConnect(family int, a netip.AddrPort) (fd int32, call string, errno unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errno != 0 {
		return -1, "socket", errno
	}
	one := int32(1) // a slower connection is better than none
	_, _, _ = unix.RawSyscall6(unix.SYS_SETSOCKOPT, n, unix.IPPROTO_TCP, unix.TCP_NODELAY, uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one), 0)
	if ip := a.Addr().Unmap(); family == unix.AF_INET {
		sa := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(a.Port()), Addr: ip.As4()}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	} else {
		sa := unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(a.Port()), Addr: ip.As16()}
		if zone := ip.Zone(); zone != "" {
			if i, err := net.InterfaceByName(zone); err == nil {
				sa.Scope_id = uint32(i.Index)
			}
		}
		_, _, errno = unix.RawSyscall(unix.SYS_CONNECT, n, uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	}
	switch errno {
	case 0, unix.EINPROGRESS:
	case unix.EINTR:
		errno = unix.EINPROGRESS // it goes on all the same
	default:
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, n, 0, 0)
		n = ^uintptr(0)
	}
	return int32(n), "connect", errno
}
