//go:build unix

package loop

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// pumpTCP is Pump for a plain TCP connection; nil if c is none.
func pumpTCP(l *Loop, c net.Conn) Stream {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	p := &tcpPump{l: l, c: t, raw: raw, drained: make(chan struct{}, 1)}
	if err := raw.Control(func(fd uintptr) { p.fd = int(fd) }); err != nil {
		return nil
	}
	p.onRead = p.tellReadable
	p.onWrite = p.tellWritable
	return p
}

// A tcpPump is the Stream of a TCP connection. Its goroutines only wait: the loop itself reads and writes the descriptor,
// which never blocks. The descriptor is ours and stays open until both goroutines have left and Close or Abort was
// called; after that the loop does not touch it.
type tcpPump struct {
	l       *Loop
	c       *net.TCPConn
	raw     syscall.RawConn
	fd      int
	onRead  Task // p.tellReadable, bound once
	onWrite Task
	drained chan struct{} // tells waitReads to look at reading

	// Owned by the loop.
	h      Handler
	closed bool

	reading atomic.Bool // Readable was told, and Read has not said ErrAgain since
	over    atomic.Bool // Close or Abort was called, or nothing more can be read
	ended   atomic.Bool // Close or Abort was called
	blind   atomic.Bool // the poller failed: nobody waits for reads any more

	mu       sync.Mutex // guards the following
	full     bool       // Write has said ErrAgain: Writable is owed
	flushing bool       // waitWrites runs
	users    int        // goroutines that use c
}

func (p *tcpPump) Handle(h Handler) {
	p.h = h
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
	go p.waitReads()
}

// waitReads waits for c to become readable until it ends.
func (p *tcpPump) waitReads() {
	defer p.leave()
	err := p.raw.Read(p.readable)
	if err == nil || p.over.Load() {
		return
	}
	// The poller itself failed: let the loop find out by reading.
	p.blind.Store(true)
	p.reading.Store(true)
	p.l.turn(p.onRead)
}

// readable is called by the runtime's poller when there may be something to read. It returns false to wait for more:
// only after Read has found nothing, or an edge would be lost.
func (p *tcpPump) readable(uintptr) bool {
	if p.over.Load() {
		return true
	}
	p.reading.Store(true)
	p.l.turn(p.onRead)
	for p.reading.Load() && !p.over.Load() {
		<-p.drained
	}
	return p.over.Load()
}

// drain ends the wait in readable.
func (p *tcpPump) drain() {
	p.reading.Store(false)
	select {
	case p.drained <- struct{}{}:
	default:
	}
}

// tellReadable runs on the loop.
func (p *tcpPump) tellReadable() {
	if !p.closed {
		p.h.Ready(p.l, Readable)
	}
}

func (p *tcpPump) Read(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	if len(b) == 0 {
		return 0, nil
	}
	for {
		n, err := syscall.Read(p.fd, b)
		switch {
		case n > 0:
			return n, nil
		case n == 0 && err == nil:
			p.over.Store(true)
			p.drain()
			return 0, io.EOF
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN) && !p.blind.Load():
			p.drain()
			return 0, ErrAgain
		default:
			p.over.Store(true)
			p.drain()
			return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
		}
	}
}

func (p *tcpPump) Write(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	sent := 0
	for sent < len(b) {
		n, err := syscall.Write(p.fd, b[sent:])
		if n > 0 {
			sent += n
		}
		switch {
		case err == nil:
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			p.awaitRoom()
			return sent, ErrAgain
		default:
			return sent, &net.OpError{Op: "write", Net: "tcp", Err: err}
		}
	}
	return sent, nil
}

// awaitRoom has Writable told when there is room.
func (p *tcpPump) awaitRoom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = true
	if !p.flushing {
		p.flushing = true
		p.users++
		go p.waitWrites()
	}
}

// waitWrites waits for room until nobody asks for it any more.
func (p *tcpPump) waitWrites() {
	defer p.leave()
	if err := p.raw.Write(p.writable); err == nil {
		return
	}
	p.mu.Lock()
	p.flushing, p.full = false, false
	p.mu.Unlock()
	if !p.ended.Load() {
		p.l.turn(p.onWrite) // the poller failed: the next write will say why
	}
}

// writable is called once at first, then by the runtime's poller when there may be room. It returns false to wait for
// more: only if the loop has found none since, or an edge would be lost.
func (p *tcpPump) writable(uintptr) bool {
	p.mu.Lock()
	p.full = false
	p.mu.Unlock()
	if !p.ended.Load() {
		p.l.turn(p.onWrite)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full && !p.ended.Load() {
		return false
	}
	p.flushing = false
	return true
}

// tellWritable runs on the loop.
func (p *tcpPump) tellWritable() {
	if !p.closed && p.h != nil {
		p.h.Ready(p.l, Writable)
	}
}

// Queued is always 0: the caller keeps what Write did not take.
func (p *tcpPump) Queued() int { return 0 }

func (p *tcpPump) Unacked() int {
	if p.closed {
		return -1
	}
	return unacked(p.fd)
}

// LimitUnsent has Write take no more while n bytes or more wait in the kernel to be sent. Unacked then counts what was written.
func (p *tcpPump) LimitUnsent(n int) bool {
	if !p.closed {
		limitUnsent(p.fd, n)
	}
	return true
}

func (p *tcpPump) CloseWrite() error {
	if p.closed {
		return net.ErrClosed
	}
	return p.c.CloseWrite()
}

func (p *tcpPump) Close() { p.end() }

func (p *tcpPump) Abort() {
	if p.closed {
		return
	}
	_ = p.c.SetLinger(0)
	p.end()
}

// end has the goroutines leave; the last of them closes c. Neither can be blocked in anything but the poller.
func (p *tcpPump) end() {
	if p.closed {
		return
	}
	p.closed = true
	p.over.Store(true)
	p.ended.Store(true)
	p.drain()
	_ = p.c.SetDeadline(longAgo)
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
	p.leave()
}

// leave is the end of a goroutine that uses c. It never runs inside a call of raw, where closing would wait for itself.
func (p *tcpPump) leave() {
	p.mu.Lock()
	p.users--
	last := p.ended.Load() && p.users == 0
	p.mu.Unlock()
	if last {
		_ = p.c.Close()
	}
}

// unackedConn is Unacked for a connection that is not pumped by its descriptor.
func unackedConn(t *net.TCPConn) int {
	if t == nil {
		return -1
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	_ = raw.Control(func(fd uintptr) { n = unacked(int(fd)) })
	return n
}
