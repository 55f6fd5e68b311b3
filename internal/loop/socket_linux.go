package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A socket is the Stream of a TCP connection that its Loop polls, and the lower half of a tlsStream. All of it is owned by
// the loop. It holds no buffer.
type socket struct {
	l    *Loop
	h    Handler
	tls  *tlsStream // which it is a part of; nil: plain
	fd   int32
	slot uint32 // 0: not registered

	told   bool // Readable was told, and Read has not said ErrAgain since
	full   bool // a write has found no room: Writable is owed
	drain  bool // the kernel has more than bytes to say (an end, an error): only EAGAIN or that ends a read
	fin    fin
	broken bool // it could not be registered
	last   bool // WriteLast has left bytes with the kernel that go with the end
	closed bool
	age    age
}

// A fin is what is known of the peer's FIN.
type fin uint8

const (
	noFIN   fin = iota
	hasFIN      // what the kernel has to say behind the bytes is FIN
	readFIN     // and these have been read
)

// attach is Attach where l polls; nil if c is to be pumped.
func (l *Loop) attach(c net.Conn) Stream {
	if l.p == nil {
		return nil
	}
	switch c := c.(type) {
	case *Conn:
		return c.give(l)
	case *net.TCPConn:
		fd, err := takeDescriptor(c)
		if err != nil {
			return nil
		}
		return &socket{l: l, fd: fd}
	case *tls.Conn:
		if t := l.attachTLS(c); t != nil {
			return t
		}
	}
	return nil
}

// takeDescriptor takes the socket out of c, which ends. On error c stays as it was.
func takeDescriptor(c net.Conn) (int32, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := -1
	var failed error
	err = raw.Control(func(old uintptr) {
		fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, err
	}
	_ = c.Close() // the descriptor of the runtime; the connection lives on in ours
	return int32(fd), nil
}

func (s *socket) Handle(h Handler) {
	s.h = h
	if s.closed {
		return
	}
	if s.slot != 0 { // it changes hands: of what is there already no event will tell
		if s.told {
			s.l.p.fresh = append(s.l.p.fresh, s)
		}
		return
	}
	if err := s.l.p.register(s); err != nil {
		s.broken = true
		s.l.Post(func() { s.tell(Readable) })
	}
}

// occur is an event of the poller.
func (s *socket) occur(events uint32) {
	const (
		readable = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
		writable = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
	)
	if events&(readable&^unix.EPOLLIN) != 0 {
		s.drain = true
		switch {
		case s.fin == readFIN:
		case events&unix.EPOLLRDHUP != 0 && events&(unix.EPOLLPRI|unix.EPOLLERR) == 0:
			s.fin = hasFIN
		default:
			s.fin = noFIN
		}
	}
	var ev Events
	if events&writable != 0 && s.full {
		s.full = false
		if s.tls == nil || s.tls.flush() {
			ev |= Writable
		}
	}
	if events&readable != 0 && !s.told {
		ev |= Readable
	}
	s.tell(ev)
	if c := s.conn(); c != nil && s.drain {
		c.lost()
	}
}

func (s *socket) tell(ev Events) {
	if ev == 0 || s.closed {
		return
	}
	s.told = s.told || ev&Readable != 0
	s.h.Ready(s.l, ev)
}

func (s *socket) Read(p []byte) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, more, err := s.receive(p)
	if err == nil && !more {
		s.told = false
		return n, ErrAgain
	}
	return n, err
}

// receive reads once. more: the kernel may have more than that. If it has not, and only then, an event will tell. io.EOF
// is FIN.
func (s *socket) receive(p []byte) (n int, more bool, err error) {
	if s.broken {
		return 0, true, &net.OpError{Op: "read", Net: "tcp", Err: unix.ENOSPC}
	}
	if s.fin == readFIN {
		return 0, true, io.EOF
	}
	got, errno := rawRead(s.fd, p)
	switch {
	case got > 0:
		if s.fin == hasFIN && got < len(p) {
			s.fin = readFIN
		}
		// A short read has emptied the socket: what comes later is an edge. An end that came with it is known.
		return got, got == len(p) || s.drain, nil
	case errno == 0:
		return 0, true, io.EOF
	case errno == unix.EAGAIN:
		return 0, false, nil
	default:
		return 0, true, &net.OpError{Op: "read", Net: "tcp", Err: errno}
	}
}

func (s *socket) Write(p []byte) (int, error) { return s.send(p, 0) }

// WriteLast is Write for one who calls Close or CloseWrite next, in the same batch: the end then goes with the last bytes, in one
// packet. Without that the bytes wait for 200 ms.
func (s *socket) WriteLast(p []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Write(p)
	}
	s.last = true
	return s.send(p, unix.MSG_MORE)
}

func (s *socket) send(p []byte, flags uintptr) (int, error) {
	if s.closed {
		return 0, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, errno := rawWrite(s.fd, p, flags)
	switch {
	case errno == 0 && n == len(p):
		return n, nil
	case errno == 0 || errno == unix.EAGAIN:
		// Also after a part the kernel has noted that it owes an event.
		s.full = true
		return n, ErrAgain
	default:
		return n, &net.OpError{Op: "write", Net: "tcp", Err: errno}
	}
}

// Queued is always 0: the caller keeps what Write did not take.
func (s *socket) Queued() int { return 0 }

func (s *socket) Unacked() int {
	if s.closed {
		return -1
	}
	return unacked(int(s.fd))
}

// CloseWrite sends FIN when the batch of events has been done: often the connection is closed by then, and that sends it, too.
func (s *socket) CloseWrite() error {
	if s.closed {
		return net.ErrClosed
	}
	s.l.p.fins = append(s.l.p.fins, s)
	return nil
}

// LimitUnsent has Write take no more while n bytes or more wait in the kernel to be sent: what waits here is known not to have
// arrived. It reports whether Unacked counts what was written: not under TLS, where nothing happens.
func (s *socket) LimitUnsent(n int) bool {
	if s.tls == nil && !s.closed {
		limitUnsent(int(s.fd), n)
	}
	return s.tls == nil
}

// Plain tells that nothing but what was written goes over the wire: Close needs no other word before it.
func (s *socket) Plain() bool { return s.tls == nil }

func (s *socket) Close() { s.end(false) }

func (s *socket) Abort() { s.end(true) }

// end gives the descriptor up. It is closed when the batch of events has been done. What WriteLast left goes before that: if the peer has
// said anything meanwhile (a Pong behind its Close, say), close is a reset, and drops it.
func (s *socket) end(reset bool) {
	if s.closed {
		return
	}
	s.closed, s.h = true, nil
	if reset {
		_ = unix.SetsockoptLinger(int(s.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	p := s.l.p
	p.forget(s)
	if s.last && !reset {
		_, _, _ = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(s.fd), unix.SHUT_WR, 0)
	}
	p.dead = append(p.dead, s.fd)
	s.fd = -1
}

// rawRead reads from a socket that never blocks, without telling the scheduler. 0 without error is the end. recv and send
// cost the kernel a little less than read and write, and package syscall one jump less than package unix.
func rawRead(fd int32, p []byte) (int, unix.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// rawWrite writes to a socket that never blocks, without telling the scheduler.
func rawWrite(fd int32, p []byte, flags uintptr) (int, unix.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL|flags, 0, 0)
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
