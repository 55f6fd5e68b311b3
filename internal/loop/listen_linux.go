package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// acceptsPerTurn bounds how many connections a loop takes before it looks after those that it has.
	acceptsPerTurn = 64
	// acceptPause is how long nothing is accepted after a failure, such as having no descriptor left.
	acceptPause = 100 * time.Millisecond
	// maxHandshakes bounds the TLS handshakes that one loop has under way, at 10 to 30 KB each. More wait in the backlog.
	maxHandshakes = 4096
	// uneven is how many more connections than another a loop may have before it gives one away, beside a tenth.
	uneven = 16
)

var errHandshakes = errors.New("too many TLS handshakes are under way")

// A Listener accepts connections for the loops of an Engine.
type Listener struct {
	opts   ListenOptions
	engine *Engine
	fd     int
	loops  []*Loop // that accept; constant

	mu        sync.Mutex // guards the following
	acceptors int        // that still have the descriptor
	closed    bool
	done      chan struct{}
}

// An acceptor is a Listener in one loop, and owned by that.
type acceptor struct {
	ln   *Listener
	l    *Loop
	slot int32 // 0: not registered, for a pause
	over bool
}

// Listen has the loops accept the connections that come to ln, which it owns from now on. The error is
// errors.ErrUnsupported if the Engine has no loops, or if they cannot do TLS, which StartTLS needs also behind a plain ln: then
// ln is as it was.
func (e *Engine) Listen(ln *net.TCPListener, opts ListenOptions) (*Listener, error) {
	e.start.Do(e.run)
	if len(e.loops) == 0 || e.loops[0].p.layout == nil {
		return nil, errors.ErrUnsupported
	}
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	if err := raw.Control(func(old uintptr) { fd, failed = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, os.NewSyscallError("fcntl", failed)
	}
	_ = ln.Close()                                                    // the socket lives on in ours
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // its connections inherit it
	if opts.Control != nil {
		if err := opts.Control(fd); err != nil {
			_ = unix.Close(fd)
			return nil, err
		}
	}
	loops := e.loops
	if opts.TLS != nil {
		loops = e.handshakeLoops()
	}
	r := &Listener{opts: opts, engine: e, fd: fd, loops: loops, acceptors: len(loops), done: make(chan struct{})}
	for _, l := range loops {
		a := &acceptor{ln: r, l: l}
		l.Post(a.start)
	}
	return r, nil
}

// Close stops accepting, and returns when no loop accepts any more. Any goroutine but a loop.
func (ln *Listener) Close() {
	ln.mu.Lock()
	if !ln.closed {
		ln.closed = true
		for _, l := range ln.loops {
			l.Post(func() {
				for _, a := range l.p.listeners {
					if a.ln == ln {
						a.close()
					}
				}
			})
		}
	}
	ln.mu.Unlock()
	select {
	case <-ln.done:
	case <-ln.engine.stop:
	}
}

func (ln *Listener) isClosed() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.closed
}

func (a *acceptor) start() {
	p := a.l.p
	if a.over {
		return
	}
	if a.ln.isClosed() {
		a.end()
		return
	}
	slot := int32(p.newSlot())
	// Level-triggered, so that what one turn leaves comes with the next; one loop is woken for a connection, not all.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, Fd: slot}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, a.ln.fd, &ev); err != nil {
		p.free = append(p.free, uint32(slot))
		a.pause(err)
		return
	}
	a.slot = slot
	if p.listeners == nil {
		p.listeners = make(map[int32]*acceptor)
	}
	p.listeners[slot] = a
}

// pause stops accepting for a while.
func (a *acceptor) pause(why error) {
	a.leave()
	a.ln.opts.Failed(netip.AddrPort{}, why)
	a.l.NewTimer(a.start).Reset(acceptPause)
}

// leave takes the socket out of the poller.
func (a *acceptor) leave() {
	if a.slot == 0 {
		return
	}
	p := a.l.p
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, a.ln.fd, nil)
	delete(p.listeners, a.slot)
	p.slots[a.slot].generation++
	p.free = append(p.free, uint32(a.slot))
	a.slot = 0
}

func (a *acceptor) close() {
	a.leave()
	a.end()
}

// end gives the descriptor back; the last one closes it.
func (a *acceptor) end() {
	if a.over {
		return
	}
	a.over = true
	ln := a.ln
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.acceptors--; ln.acceptors == 0 {
		_ = unix.Close(ln.fd)
		close(ln.done)
	}
}

// accept takes what has come.
func (a *acceptor) accept() {
	for range acceptsPerTurn {
		if a.ln.opts.TLS != nil && a.l.p.load.Load() >= maxHandshakes {
			a.pause(errHandshakes)
			return
		}
		fd, peer, errno := rawAccept(a.ln.fd)
		switch errno {
		case 0:
			a.take(fd, peer)
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO:
		default: // EMFILE, ENFILE, ENOBUFS, ENOMEM: what waits in the backlog is served when there is room
			a.pause(os.NewSyscallError("accept", errno))
			return
		}
	}
}

// take begins the life of a connection.
func (a *acceptor) take(fd int32, peer netip.AddrPort) {
	opts := &a.ln.opts
	if !opts.Admit(peer) {
		_ = unix.Close(int(fd))
		return
	}
	if opts.TLS != nil {
		a.l.newConn(fd, peer).handshakeAsServer(a.ln)
		return
	}
	e := a.ln.engine
	e.next.Add(1)
	l := e.lightest(a.l)
	l.p.load.Add(1) // until it is registered
	begin := func() {
		l.p.load.Add(-1)
		c := l.newConn(fd, peer)
		if opts.Before == nil {
			opts.Accept(c)
			return
		}
		l.Go(func(Runner) {
			if err := opts.Before(c); err != nil {
				c.Abort()
				opts.Failed(peer, err)
				return
			}
			opts.Accept(c)
		})
	}
	switch {
	case l == a.l:
		begin()
	case !l.offer(begin):
		_ = unix.Close(int(fd))
		opts.Failed(peer, net.ErrClosed)
	}
}

// lightest is the loop for a new connection: own, unless another has far fewer.
func (e *Engine) lightest(own *Loop) *Loop {
	best, load := own, int64(0)
	if own.p.handshakes {
		best = e.loops[int(e.next.Load())%len(e.loops)]
	}
	load = best.p.load.Load()
	for _, l := range e.loops {
		if n := l.p.load.Load(); n+uneven+n/10 < load {
			best, load = l, n
		}
	}
	return best
}

// handshakeAsServer shakes hands in a fiber of a handshake loop, and gives the connection to one that serves.
func (c *Conn) handshakeAsServer(ln *Listener) {
	opts, l := &ln.opts, c.l
	l.Go(func(Runner) {
		peer := c.peer
		_ = c.SetDeadline(l.Now().Add(opts.HandshakeTimeout))
		if opts.Before != nil {
			if err := opts.Before(c); err != nil {
				c.Abort()
				opts.Failed(peer, err)
				return
			}
			_ = c.SetDeadline(l.Now().Add(opts.HandshakeTimeout))
		}
		begins := net.Conn(c)
		if opts.Hello != nil {
			read, taken, err := opts.Hello(c)
			switch {
			case taken:
				return
			case err != nil:
				_ = c.Close()
				opts.Failed(c.peer, err)
				return
			case len(read) > 0:
				begins = &begun{c, read}
			}
		}
		w := &wrapped{conn: begins}
		tc := tls.Server(w, opts.TLS)
		ctx, note := context.Background(), new(any)
		if opts.TLS.GetConfigForClient != nil {
			ctx, note = Noting()
		}
		if err := tc.HandshakeContext(ctx); err != nil {
			opts.Failed(c.peer, err)
			_ = c.Close()
			return
		}
		if opts.leaves(tc, *note) {
			conn, err := c.Leave()
			if err != nil {
				opts.Failed(c.peer, err)
				return
			}
			w.conn = conn
			opts.Elsewhere(tc, c.peer, *note)
			return
		}
		e, fd, peer := ln.engine, c.take(), c.peer
		e.next.Add(1)
		to := e.lightest(l)
		to.p.load.Add(1) // until it is registered
		accept := func() {
			to.p.load.Add(-1)
			c := to.newTLSConn(tc, w, fd, peer)
			c.note = *note
			opts.Accept(c)
		}
		if !to.offer(accept) {
			_ = unix.Close(int(fd))
			opts.Failed(peer, net.ErrClosed)
		}
	})
}

// leaves tells whether a connection goes Elsewhere after its handshake.
func (o *ListenOptions) leaves(c *tls.Conn, note any) bool {
	if o.Elsewhere == nil {
		return false
	}
	protocol := c.ConnectionState().NegotiatedProtocol
	if o.Leaves != nil {
		return o.Leaves(protocol, note)
	}
	return protocol != "" && protocol != "http/1.1"
}

// A begun is a connection of which something has been read. All of that has been used when a TLS handshake on it is over: the
// last of the client's messages answers the server's.
type begun struct {
	*Conn
	read []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(p, c.read)
		c.read = c.read[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// handshakeLoops are threads as those that serve, but of low priority: a storm of handshakes computes on them alone, and
// what is open goes before it.
func (e *Engine) handshakeLoops() []*Loop {
	e.start.Do(e.run)
	e.cryptoOnce.Do(func() {
		for range e.loops {
			l, err := newPolled()
			if err != nil {
				e.opts.Log.Warn("fewer handshake threads", "err", err)
				break
			}
			l.p.handshakes, l.p.engine, l.p.layout = true, e, e.loops[0].p.layout
			e.crypto = append(e.crypto, l)
		}
		if len(e.crypto) == 0 {
			e.crypto = e.loops[:len(e.loops):len(e.loops)]
			return
		}
		for _, l := range e.crypto {
			e.closed.Go(l.pollRun)
		}
		e.threads.Add(int32(len(e.crypto)))
		e.more <- struct{}{}
	})
	return e.crypto
}

// handshakeLoop is the one that has least to do, nil if the Engine was closed before there was any.
func (e *Engine) handshakeLoop() *Loop {
	all := e.handshakeLoops()
	if len(all) == 0 {
		return nil
	}
	best, load := all[0], all[0].p.load.Load()
	for _, l := range all[1:] {
		if n := l.p.load.Load(); n < load {
			best, load = l, n
		}
	}
	return best
}

// rawAccept accepts from a descriptor that never blocks, without telling the scheduler.
func rawAccept(ln int) (int32, netip.AddrPort, unix.Errno) {
	var sa unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(ln), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return 0, netip.AddrPort{}, errno
	}
	switch sa.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		return int32(fd), netip.AddrPortFrom(netip.AddrFrom4(in.Addr), swap(in.Port)), 0
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&sa))
		a := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 && a.Is6() {
			return int32(fd), addrPort(&unix.SockaddrInet6{Port: int(swap(in.Port)), ZoneId: in.Scope_id, Addr: in.Addr}), 0
		}
		return int32(fd), netip.AddrPortFrom(a, swap(in.Port)), 0
	}
	return int32(fd), netip.AddrPort{}, 0
}

// swap turns a port from the order of the network.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}
