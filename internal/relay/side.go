package relay

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A side is one peer of a session: what comes from it, and what goes to it.
type side struct {
	s      *Session
	stream loop.Stream
	cur    websocket.Cursor // of what comes from it
	state  state
	held   atomic.Int32 // bytes that wait for it; read by any goroutine

	// Of what came from it and was passed on; written by the loop, read by any goroutine.
	lastRead atomic.Int64 // Clock, when a byte was read last
	bytes    atomic.Int64
	messages atomic.Int64
	parts    atomic.Int64 // frames that ended no message: those before the last of a message, and control frames
}

func (x *side) init(s *Session, by By, from Side) {
	x.s, x.stream = s, from.Stream
	x.cur = websocket.NewCursor(by == Client, from.Deflate)
	if len(from.Head) > 0 {
		x.set(flagEarly)
		x.cold().early = from.Head
	}
}

// by says who x is.
func (x *side) by() By {
	if x == &x.s.client {
		return Client
	}
	return Upstream
}

// peer is the other one.
func (x *side) peer() *side {
	if x == &x.s.client {
		return &x.s.up
	}
	return &x.s.client
}

// mayRead reports whether reading x makes sense now. A peer that does not take what it was given stops it: that is the
// backpressure.
func (x *side) mayRead() bool {
	if x.has(flagGone|flagEOF) || !x.has(flagReadable|flagEarly) {
		return false
	}
	y := x.peer()
	if l := x.s.link; l != nil && l.parked() && x == &x.s.client && !l.fixed {
		return true // room says how much
	}
	return y.has(flagShut) && !y.inFrame() || !y.full()
}

// pull reads x once and passes on what came. It reports whether there was anything.
func (x *side) pull() bool {
	if !x.mayRead() {
		return false
	}
	if l := x.s.link; l != nil && l.medium && x == &x.s.client {
		return x.pullOwn()
	}
	return x.pullInto(x.s.loop().Buffer())
}

// readAt is where in a buffer a read begins: before it is room for the start of a unit that came earlier. It is half a page because
// an AMD EPYC copies at half its speed to where the offset in a page is 1 to 15 bytes above that of the source, and the kernel
// begins messages near the start of a page.
const readAt = 2 << 10

const _ = uint(readAt - websocket.MaxHeld) // it is room enough

// pullInto is pull with scratch space.
func (x *side) pullInto(buf []byte) bool {
	p := buf[readAt:]
	if x.s.link != nil {
		if p = p[:x.room(len(p))]; len(p) == 0 {
			return false
		}
	}
	n, err := x.read(p)
	if n > 0 {
		x.lastRead.Store(int64(x.s.now()))
		if x.s.client.has(flagTapped) {
			x.s.cold.watch.read(x, p[:n])
		}
		if x.has(flagBroken) {
			x.s.discard(n)
		} else {
			x.walk(buf, readAt, n)
		}
	}
	switch {
	case err == nil || x.has(flagGone):
	case err == loop.ErrAgain: //nolint:errorlint // it is promised as it is
		x.clear(flagReadable)
	case errors.Is(err, io.EOF):
		x.s.ended(x, false, "")
	default:
		x.s.ended(x, true, "")
	}
	return n > 0
}

// read reads x, after what came with the handshake.
func (x *side) read(p []byte) (int, error) {
	if !x.has(flagEarly) {
		return x.stream.Read(p)
	}
	c := x.cold()
	n := copy(p, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil
		x.clear(flagEarly)
	}
	return n, nil
}

// walk passes the n bytes at buf[off:] to the peer, frame by frame, as far as they may go. What the cursor still held of
// an earlier read is put in front of them, so that it all goes in one write.
func (x *side) walk(buf []byte, off, n int) {
	s, y := x.s, x.peer()
	held := x.cur.Held()
	run := off - copy(buf[off-len(held):], held) // start of what is not passed on yet
	unit, pos, end := run, off, off+n            // start of the current unit; next byte for the cursor
	whole := run                                 // end of the last message, or of a control frame behind it
	var messages, parts int64
	alive := false
	for pos < end {
		kind, n, err := x.cur.Next(buf[pos:end])
		if err != nil {
			x.forward(buf[run:unit], whole-run)
			run = unit
			s.broke(x, err)
			s.discard(end - unit)
			break
		}
		if kind == websocket.None {
			break
		}
		pos += n
		keep := x.has(flagPassing)
		switch kind {
		case websocket.Head:
			if keep = s.admit(x); keep {
				x.set(flagPassing)
			} else {
				x.clear(flagPassing)
			}
			alive = true
		case websocket.Control:
			if s.link != nil && x.cur.Opcode() == websocket.OpClose {
				x.forward(buf[run:unit], whole-run) // so that it is known where the peer stands
				run = unit
			}
			keep = s.control(x, buf[unit:pos])
			if keep && x.has(flagHold) && x.cur.InMessage() { // it need not wait for the rest of the message
				x.forward(buf[run:unit], whole-run)
				x.pass(buf[unit:pos])
				run = pos
			}
			alive = alive || keep && !s.policy.IdleMessages
		default:
			alive = true
		}
		switch {
		case !keep:
			x.forward(buf[run:unit], whole-run)
			s.discard(pos - unit)
			run = pos
		case x.cur.Left() == 0: // a frame has passed
			if kind != websocket.Control && x.cur.AtMessage() {
				messages++
				whole = pos
				if s.link != nil && x.message(buf[run:pos]) {
					run = pos
				}
			} else {
				parts++
				if !x.cur.InMessage() {
					whole = pos
				}
			}
		}
		unit = pos
		if x.has(flagBroken | flagGone) { // by a Close
			s.discard(end - pos)
			break
		}
		if y.has(flagWantClose|flagWantPing|flagWantPong) && x.cur.Left() == 0 {
			x.forward(buf[run:pos], whole-run)
			run = pos
			y.speak()
		}
	}
	x.forward(buf[run:unit], whole-run)
	if messages > 0 {
		x.messages.Store(x.messages.Load() + messages)
	}
	if parts > 0 {
		x.parts.Store(x.parts.Load() + parts)
	}
	if alive {
		s.life = s.now()
	}
}

// forward gives p, which came from x, to its peer. Its first whole bytes end a message.
func (x *side) forward(p []byte, whole int) {
	switch {
	case len(p) == 0:
	case x.s.link == nil:
		x.bytes.Store(x.bytes.Load() + int64(len(p)))
		x.peer().emit(p)
	case x.has(flagHold):
		x.hold(p, whole)
	default:
		x.pass(p)
	}
}

// pass gives p to the peer of x, on a session that could move.
func (x *side) pass(p []byte) {
	x.bytes.Store(x.bytes.Load() + int64(len(p)))
	x.peer().send(p)
}

// discard counts n bytes that nobody is given. Before the end has begun these are the answers to Pings of our own.
func (s *Session) discard(n int) {
	if s.phase != open && n > 0 {
		s.need().result.Discarded += int64(n)
	}
}

// send is emit for what comes from the peer.
func (x *side) send(p []byte) {
	if l := x.s.link; l != nil && x == &x.s.up && l.take(p, false) {
		return
	}
	x.emit(p)
}

// sendOwn is send for a frame of the gateway.
func (x *side) sendOwn(p []byte) {
	x.s.showOwn(x, p)
	if l := x.s.link; l != nil && x == &x.s.up && !l.fixed && l.keep != nil {
		l.record(p, true, l.parked())
	}
	x.emit(p)
}

// emit writes p to x, behind what waits already. p is copied if it cannot go at once.
func (x *side) emit(p []byte) {
	if x.has(flagGone | flagDead) {
		x.s.discard(len(p))
		return
	}
	if !x.has(flagWaiting) {
		if p = p[x.write(p):]; len(p) == 0 || x.has(flagDead) {
			return
		}
		x.set(flagWaiting)
		x.cold().out = *outBuffers.Get().(*[]byte)
	}
	c := x.cold()
	c.out = append(c.out, p...)
}

// write writes what fits of p, and returns how much that is.
func (x *side) write(p []byte) int {
	n, err := x.put(p)
	if x.s.cold != nil {
		x.cold().handed += int64(n)
	}
	if err != nil && err != loop.ErrAgain { //nolint:errorlint // it is promised as it is
		x.die(len(p) - n)
	}
	return n
}

func (x *side) put(p []byte) (int, error) {
	if x.parting() {
		if s, ok := x.stream.(interface{ WriteLast(p []byte) (int, error) }); ok {
			return s.WriteLast(p)
		}
	}
	return x.stream.Write(p)
}

// parting reports whether nothing but FIN goes to the client behind what it is sent now, in this turn: the Closes have crossed.
func (x *side) parting() bool {
	return x.by() == Client && x.state&(flagCloseIn|flagCloseOut) == flagCloseIn|flagCloseOut
}

// flush writes what waits for x.
func (x *side) flush() {
	if !x.has(flagWaiting) || x.has(flagGone|flagDead) {
		return
	}
	c := x.cold()
	n := x.write(c.out[c.sent:])
	if !x.has(flagWaiting) {
		return // it died
	}
	if l := x.s.link; l != nil && l.keep != nil && x == &x.s.up && n > 0 {
		l.keep.flushed = x.s.now()
	}
	if c.sent += n; c.sent == len(c.out) {
		x.drop()
	}
}

// drop forgets what waits for x.
func (x *side) drop() {
	if !x.has(flagWaiting) {
		return
	}
	c := x.cold()
	if cap(c.out) == outSize {
		b := c.out[:0]
		outBuffers.Put(&b)
	}
	c.out, c.sent = nil, 0
	x.clear(flagWaiting)
}

// outSize holds what one read may leave unsent, and some frames of our own.
const outSize = loop.BufferSize + 1024

var outBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, outSize)
	return &b
}}

// waiting is how many bytes the stream of x did not take yet.
func (x *side) waiting() int {
	if !x.has(flagWaiting) {
		return 0
	}
	c := x.cold()
	return len(c.out) - c.sent
}

// queued is how many bytes wait in this process for x.
func (x *side) queued() int {
	if x.has(flagGone) {
		return 0
	}
	return x.waiting() + x.stream.Queued()
}

// full reports whether x has to take something before more is read for it.
func (x *side) full() bool {
	if x.has(flagGone | flagDead) {
		return false
	}
	if !x.has(flagWaiting) && x.stream.Queued() < loop.HighWater {
		x.clear(flagStalled)
		return false
	}
	if !x.has(flagStalled) {
		x.set(flagStalled)
		c := x.cold()
		c.stalled, c.moved = x.s.now(), x.progress(c)
		x.s.stale = true
	}
	return true
}

// progress changes whenever x, which is stalled, takes something.
func (x *side) progress(c *coldSide) int64 {
	return c.handed - int64(x.stream.Queued()) - int64(x.stream.Unacked())
}

// inFrame reports whether x has been sent a part of a frame, so that nothing may be put in.
func (x *side) inFrame() bool {
	y := x.peer()
	return y.state&(flagPassing|flagHold) == flagPassing && y.cur.Left() > 0
}

// inMessage reports whether x has been sent a part of a message.
func (x *side) inMessage() bool {
	y := x.peer()
	return y.state&(flagPassing|flagHold) == flagPassing && y.cur.InMessage()
}

// speak sends x what the gateway itself has to say, if it stands between two frames.
func (x *side) speak() {
	if !x.has(flagWantClose | flagWantPing | flagWantPong) {
		return
	}
	if x.has(flagGone | flagDead | flagFIN | flagCloseOut) {
		x.clear(flagWantClose | flagWantPing | flagWantPong | flagPolite)
		return
	}
	if x.inFrame() {
		return
	}
	var buf [websocket.MaxHeld]byte
	if x.has(flagWantPong) {
		x.clear(flagWantPong)
		l := x.s.link
		x.sendOwn(websocket.AppendFrame(buf[:0], websocket.OpPong, true, x.mask(), l.pinged()))
		l.forgetPing()
	}
	switch {
	case x.has(flagWantClose):
		if x.has(flagPolite) && x.inMessage() {
			return
		}
		x.clear(flagWantClose | flagWantPing | flagPolite)
		x.set(flagCloseOut | flagShut)
		bye := x.cold().farewell
		if x.by() == Client || x.s.client.has(flagGone) {
			x.s.code(bye.Code, bye.Reason)
		}
		x.sendOwn(websocket.AppendClose(buf[:0], x.mask(), bye.Code, bye.Reason))
	case x.has(flagWantPing):
		x.clear(flagWantPing)
		if x.has(flagPinging | flagOwing | flagShut) {
			return
		}
		c := x.cold()
		_, _ = rand.Read(c.ping[:]) // never fails
		c.pingAt = x.s.now()
		x.set(flagPinging)
		x.s.stale = true
		x.sendOwn(websocket.AppendFrame(buf[:0], websocket.OpPing, true, x.mask(), c.ping[:]))
	}
}

// mask is the mask for a frame of our own: we are the upstream's client (RFC 6455, section 5.3).
func (x *side) mask() *[4]byte {
	if x.by() == Client {
		return nil
	}
	var m [4]byte
	_, _ = rand.Read(m[:]) // never fails
	return &m
}
