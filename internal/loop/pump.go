package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Pump makes c a Stream of l, and owns it from now on. One goroutine waits for what c sends; another lives while what was
// written cannot go out at once. A TCP connection holds no buffer while it is idle, any other 512 bytes. Deadlines that
// are set on c are taken away.
func Pump(l *Loop, c net.Conn) Stream {
	_ = c.SetDeadline(time.Time{}) // a connection that is broken already will say so when it is read
	if s := pumpTCP(l, c); s != nil {
		return s
	}
	p := &connPump{l: l, c: c, idle: make([]byte, idleSize)}
	p.wake.L = &p.mu
	p.onRead = p.tellReadable
	p.onWrite = p.tellWritable
	return p
}

const (
	// idleSize is the buffer that waits for the first bytes after silence.
	idleSize = 512
	// recordSize is the most plaintext of a TLS record: crypto/tls returns no more at once, and writes no more.
	recordSize = 16 << 10
	// busyTime is how long a connection may be silent before it gives its large buffer back.
	busyTime = time.Second
	// lastWrite bounds how long Close waits for a write that is under way.
	lastWrite = time.Second
)

var recordBuffers = sync.Pool{New: func() any {
	b := make([]byte, recordSize)
	return &b
}}

// A connPump is the Stream of a connection that can only be read and written blocking: TLS, pipes.
type connPump struct {
	l       *Loop
	c       net.Conn
	idle    []byte // owned by pumpReads
	onRead  Task   // p.tellReadable, bound once
	onWrite Task

	// Owned by the loop.
	h      Handler
	closed bool

	mu       sync.Mutex // guards the following
	wake     sync.Cond  // pending has been used up, or ended
	pending  []byte     // read, not yet taken by Read
	rerr     error      // after pending
	queue    []byte     // to be written
	inFlight int        // being written
	flushing bool       // pumpWrites runs
	high     bool       // Queued has reached HighWater: Writable is owed
	fin      bool       // CloseWrite was called
	finSent  bool
	werr     error
	over     bool // Close or Abort was called
	users    int  // goroutines that use c
}

func (p *connPump) Handle(h Handler) {
	p.h = h
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
	go p.pumpReads()
}

// pumpReads reads c until it ends, and waits after each read until the loop has taken what came.
func (p *connPump) pumpReads() {
	defer p.leave()
	r := reader{p: p}
	defer r.release()
	for {
		n, err := r.read()
		p.mu.Lock()
		if p.over {
			p.mu.Unlock()
			return
		}
		p.pending, p.rerr = r.buf[:n], readError(err)
		p.mu.Unlock()
		p.l.turn(p.onRead)
		p.mu.Lock()
		for len(p.pending) > 0 && !p.over {
			p.wake.Wait()
		}
		over := p.over
		p.mu.Unlock()
		if over || err != nil {
			return
		}
	}
}

// A reader chooses the buffer for the next read: small while the connection is idle, large while it is busy.
type reader struct {
	p     *connPump
	buf   []byte
	large *[]byte
	until time.Time // read deadline, while large is held
}

func (r *reader) read() (int, error) {
	for {
		if r.large == nil {
			r.buf = r.p.idle
		} else {
			r.buf = *r.large
			r.p.setReadDeadline(&r.until)
		}
		n, err := r.p.c.Read(r.buf)
		if n == 0 && r.large != nil && isTimeout(err) && !r.p.isOver() {
			r.release() // silence: wait on with the small one
			continue
		}
		if n == len(r.p.idle) && r.large == nil {
			r.large = recordBuffers.Get().(*[]byte)
		}
		return n, err
	}
}

func (r *reader) release() {
	if r.large == nil {
		return
	}
	recordBuffers.Put(r.large)
	r.large, r.until = nil, time.Time{}
	r.p.setReadDeadline(nil)
}

// setReadDeadline keeps a deadline of about busyTime, or with nil takes it away. It must not undo the one of end.
func (p *connPump) setReadDeadline(until *time.Time) {
	var t time.Time
	if until != nil {
		now := time.Now()
		if until.Sub(now) > busyTime/2 {
			return
		}
		t = now.Add(busyTime)
		*until = t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		_ = p.c.SetReadDeadline(t) // without deadlines a large buffer is held for longer, that is all
	}
}

func (p *connPump) isOver() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// readError is what Read says for err.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ErrTruncated
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}

// tellReadable runs on the loop.
func (p *connPump) tellReadable() {
	if !p.closed {
		p.h.Ready(p.l, Readable)
	}
}

func (p *connPump) tellWritable() {
	if !p.closed && p.h != nil {
		p.h.Ready(p.l, Writable)
	}
}

func (p *connPump) Read(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.pending)
	p.pending = p.pending[n:]
	if len(p.pending) > 0 {
		return n, nil
	}
	if p.rerr != nil {
		p.wake.Signal()
		return n, p.rerr
	}
	p.pending = nil
	p.wake.Signal()
	return n, ErrAgain
}

func (p *connPump) Write(b []byte) (int, error) {
	if p.closed {
		return 0, net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.werr != nil {
		return 0, p.werr
	}
	if len(b) == 0 {
		return 0, nil
	}
	if p.queue == nil {
		p.queue = (*readBuffers.Get().(*[]byte))[:0]
	}
	p.queue = append(p.queue, b...)
	p.high = p.high || len(p.queue)+p.inFlight >= HighWater
	p.startWrites()
	return len(b), nil
}

// startWrites is called with the lock held.
func (p *connPump) startWrites() {
	if !p.flushing {
		p.flushing = true
		p.users++
		go p.pumpWrites()
	}
}

// pumpWrites writes what is queued, then ends.
func (p *connPump) pumpWrites() {
	defer p.leave()
	for {
		batch, fin := p.nextWrite()
		switch {
		case batch != nil:
			p.writeBatch(batch)
		case fin:
			err := closeWrite(p.c)
			p.mu.Lock()
			p.finSent = true
			p.werr = err
			p.mu.Unlock()
			p.l.turn(p.onWrite)
		default:
			return
		}
	}
}

// nextWrite takes the queue, or says that FIN is due. With neither the goroutine is to end: it is no longer flushing.
func (p *connPump) nextWrite() (batch []byte, fin bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.werr != nil:
	case len(p.queue) > 0:
		batch, p.queue = p.queue, nil
		p.inFlight = len(batch)
		return batch, false
	case p.fin && !p.finSent:
		return nil, true
	}
	p.flushing = false
	return nil, false
}

// writeBatch writes batch piece by piece, so that Queued shows progress.
func (p *connPump) writeBatch(batch []byte) {
	for rest := batch; len(rest) > 0; {
		n, err := p.c.Write(rest[:min(len(rest), recordSize)])
		rest = rest[n:]
		p.mu.Lock()
		p.inFlight = len(rest)
		if err != nil {
			p.werr, p.queue, p.inFlight = err, nil, 0
		}
		tell := err != nil || p.high && len(p.queue)+p.inFlight <= LowWater
		if tell {
			p.high = false
		}
		over := p.over
		p.mu.Unlock()
		if tell {
			p.l.turn(p.onWrite)
		}
		if err != nil || over {
			break
		}
	}
	if cap(batch) == BufferSize {
		batch = batch[:BufferSize]
		readBuffers.Put(&batch)
	}
}

// closeWrite sends close_notify and FIN, as far as c can.
func closeWrite(c net.Conn) error {
	type halfCloser interface{ CloseWrite() error }
	h, ok := c.(halfCloser)
	if !ok {
		return nil // no half-close: Close will have to do
	}
	err := h.CloseWrite()
	if t, ok := c.(*tls.Conn); ok && err == nil {
		if h, ok := t.NetConn().(halfCloser); ok { // a Conn of this package, too
			err = h.CloseWrite()
		}
	}
	return err
}

func (p *connPump) Queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.queue) + p.inFlight
	if p.fin && !p.finSent && p.werr == nil {
		n++
	}
	return n
}

func (p *connPump) Unacked() int {
	return unackedConn(tcpOf(p.c))
}

func (p *connPump) CloseWrite() error {
	if p.closed {
		return net.ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.werr != nil {
		return p.werr
	}
	if !p.fin {
		p.fin = true
		p.startWrites()
	}
	return nil
}

func (p *connPump) Close() { p.end(false) }

func (p *connPump) Abort() { p.end(true) }

// end stops the goroutines; the last of them closes c.
func (p *connPump) end(reset bool) {
	if p.closed {
		return
	}
	p.closed = true
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.queue = nil
	if reset {
		resetOnClose(p.c)
	}
	_ = p.c.SetReadDeadline(longAgo)
	if reset || p.inFlight == 0 {
		_ = p.c.SetWriteDeadline(longAgo)
	} else {
		_ = p.c.SetWriteDeadline(time.Now().Add(lastWrite))
	}
	p.wake.Signal()
	p.users++
	go p.leave() // closing TLS may block: not on the loop
}

// longAgo ends every read or write that waits.
var longAgo = time.Unix(1, 0)

// leave is the end of a goroutine that uses c.
func (p *connPump) leave() {
	p.mu.Lock()
	p.users--
	last := p.over && p.users == 0
	p.mu.Unlock()
	if !last {
		return
	}
	if t, ok := p.c.(*tls.Conn); ok {
		_ = t.NetConn().Close() // whether close_notify was sent is CloseWrite's affair
		return
	}
	_ = p.c.Close()
}

// resetOnClose has the last Close of c send RST, where it is TCP.
func resetOnClose(c net.Conn) {
	if t := tcpOf(c); t != nil {
		_ = t.SetLinger(0)
	}
}
