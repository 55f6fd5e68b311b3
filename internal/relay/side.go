package relay

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A side is one peer of a session: what comes from it, and what goes to it. Its times are those of Session.now.
type side struct {
	s      *Session
	peer   *side // the other one
	stream loop.Stream
	by     By // who this is: Client or Upstream

	// What comes from it.
	cur      websocket.Cursor
	head     []byte
	readable bool // the stream may have more
	eof      bool // nothing more will come
	lost     bool // and that because the connection failed
	broken   bool // it broke a frame rule: what still comes is no frames
	passing  bool // its current data frame goes to peer
	closeIn  bool // it has sent its Close
	code     websocket.Code
	reason   string
	lastRead time.Duration

	// What goes to it.
	out       []byte // what stream did not take yet, from sent on
	sent      int
	shut      bool // no frame of the peer goes to it any more
	dead      bool // it takes nothing any more: a write failed
	wantClose bool // farewell is to be sent at the next boundary
	closeOut  bool // it has been sent a Close, its last frame
	wantFIN   bool
	fin       bool // CloseWrite was called
	cut       bool // to be reset as soon as out is empty
	gone      bool // stream was given back
	farewell  Verdict

	handed  int64         // bytes that stream took
	moved   int64         // handed less what is known to be on its way still, at stalled
	stalled time.Duration // since when it takes nothing; zero: it does

	// Ping and Pong.
	wantPing bool
	pinging  bool // a Ping of ours is unanswered
	owing    bool // a Ping of the peer is unanswered
	ping     [8]byte
	pingAt   time.Duration // of the older of the two
	nextPing time.Duration

	// Of what came from it; written by the loop, read by any goroutine.
	bytes, frames, messages atomic.Int64
}

func (x *side) init(s *Session, by By, from Side) {
	x.s, x.by, x.stream, x.head = s, by, from.Stream, from.Head
	x.cur = websocket.NewCursor(by == Client, from.Deflate)
}

// mayRead reports whether reading x makes sense now. A peer that does not take what it was given stops it: that is the
// backpressure.
func (x *side) mayRead() bool {
	if x.gone || x.eof || len(x.head) == 0 && !x.readable {
		return false
	}
	y := x.peer
	return y.shut && !y.inFrame() || !y.full()
}

// pull reads x once and passes on what came. It reports whether there was anything.
func (x *side) pull() bool {
	if !x.mayRead() {
		return false
	}
	buf := x.s.loop.Buffer()
	space := buf[websocket.MaxHeld:] // before it is room for the start of a unit that came earlier
	var n int
	var err error
	if len(x.head) > 0 {
		n = copy(space, x.head)
		if x.head = x.head[n:]; len(x.head) == 0 {
			x.head = nil
		}
	} else {
		n, err = x.stream.Read(space)
	}
	if n > 0 {
		x.lastRead = x.s.now()
		x.s.lastActivity.Store(x.s.started.Add(x.lastRead).UnixNano())
		if x.broken {
			x.s.result.Discarded += int64(n)
		} else {
			x.walk(buf, websocket.MaxHeld, n)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, loop.ErrAgain):
		x.readable = false
	case errors.Is(err, io.EOF):
		x.s.ended(x, false, "")
	default:
		x.s.ended(x, true, "")
	}
	return n > 0
}

// walk passes the n bytes at buf[off:] to the peer, frame by frame, as far as they may go. What the cursor still held of
// an earlier read is put in front of them, so that it all goes in one write.
func (x *side) walk(buf []byte, off, n int) {
	s, y := x.s, x.peer
	held := x.cur.Held()
	run := off - copy(buf[off-len(held):], held) // start of what is not passed on yet
	unit, pos, end := run, off, off+n            // start of the current unit; next byte for the cursor
	alive := false
	for pos < end {
		kind, n, err := x.cur.Next(buf[pos:end])
		if err != nil {
			x.forward(buf[run:unit])
			s.result.Discarded += int64(end - unit)
			s.broke(x, err)
			return
		}
		if kind == websocket.None {
			pos = end
			break
		}
		pos += n
		keep := x.passing
		switch kind {
		case websocket.Head:
			keep = s.admit(x)
			x.passing = keep
			alive = true
		case websocket.Control:
			keep = s.control(x, buf[unit:pos])
			alive = alive || keep && !s.policy.IdleMessages
		default:
			alive = true
		}
		if !keep {
			x.forward(buf[run:unit])
			s.result.Discarded += int64(pos - unit)
			run = pos
		}
		unit = pos
		if x.broken { // by the payload of a Close
			s.result.Discarded += int64(end - pos)
			break
		}
		if (y.wantClose || y.wantPing) && x.cur.Left() == 0 {
			x.forward(buf[run:pos])
			run = pos
			y.speak()
		}
	}
	x.forward(buf[run:unit])
	x.frames.Store(x.cur.Frames())
	x.messages.Store(x.cur.Messages())
	if alive {
		s.life = s.now()
	}
}

// forward gives p, which came from x, to its peer.
func (x *side) forward(p []byte) {
	if len(p) == 0 {
		return
	}
	x.bytes.Store(x.bytes.Load() + int64(len(p)))
	x.peer.send(p)
}

// send writes p to x, behind what waits already. p is copied if it cannot go at once.
func (x *side) send(p []byte) {
	if x.gone || x.dead {
		x.s.result.Discarded += int64(len(p))
		return
	}
	if len(x.out) == 0 {
		n, err := x.stream.Write(p)
		x.handed += int64(n)
		p = p[n:]
		if err != nil && !errors.Is(err, loop.ErrAgain) {
			x.die()
			return
		}
		if len(p) == 0 {
			return
		}
		x.out = *outBuffers.Get().(*[]byte)
	}
	x.out = append(x.out, p...)
}

// flush writes what waits for x.
func (x *side) flush() {
	if len(x.out) == 0 || x.gone || x.dead {
		return
	}
	n, err := x.stream.Write(x.out[x.sent:])
	x.handed += int64(n)
	x.sent += n
	switch {
	case err != nil && !errors.Is(err, loop.ErrAgain):
		x.die()
	case x.sent == len(x.out):
		x.drop()
	}
}

// drop forgets what waits for x.
func (x *side) drop() {
	if cap(x.out) == outSize {
		b := x.out[:0]
		outBuffers.Put(&b)
	}
	x.out, x.sent = nil, 0
}

// outSize holds what one read may leave unsent, and some frames of our own.
const outSize = loop.BufferSize + 1024

var outBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, outSize)
	return &b
}}

// queued is how many bytes wait in this process for x.
func (x *side) queued() int {
	if x.gone {
		return 0
	}
	return len(x.out) - x.sent + x.stream.Queued()
}

// full reports whether x has to take something before more is read for it.
func (x *side) full() bool {
	if x.gone || x.dead {
		return false
	}
	if len(x.out) == 0 && x.stream.Queued() < loop.HighWater {
		x.stalled = 0
		return false
	}
	if x.stalled == 0 {
		x.stalled, x.moved = x.s.now(), x.progress()
		x.s.stale = true
	}
	return true
}

// progress changes whenever x takes something.
func (x *side) progress() int64 {
	return x.handed - int64(x.stream.Queued()) - int64(x.stream.Unacked())
}

// inFrame reports whether x has been sent a part of a frame, so that nothing may be put in.
func (x *side) inFrame() bool { return x.peer.passing && x.peer.cur.Left() > 0 }

// speak sends x what the gateway itself has to say, if it stands between two frames.
func (x *side) speak() {
	if !x.wantClose && !x.wantPing {
		return
	}
	if x.gone || x.dead || x.fin || x.closeOut {
		x.wantClose, x.wantPing = false, false
		return
	}
	if x.inFrame() {
		return
	}
	var buf [websocket.MaxHeld]byte
	switch {
	case x.wantClose:
		x.wantClose, x.wantPing, x.closeOut = false, false, true
		if x.by == Client {
			x.s.code(x.farewell.Code, x.farewell.Reason)
		}
		x.send(websocket.AppendClose(buf[:0], x.mask(), x.farewell.Code, x.farewell.Reason))
	case x.wantPing:
		x.wantPing = false
		if x.pinging || x.owing || x.shut {
			return
		}
		_, _ = rand.Read(x.ping[:]) // never fails
		x.pinging, x.pingAt = true, x.s.now()
		x.s.stale = true
		x.send(websocket.AppendFrame(buf[:0], websocket.OpPing, true, x.mask(), x.ping[:]))
	}
}

// mask is the mask for a frame of our own: we are the upstream's client (RFC 6455, section 5.3).
func (x *side) mask() *[4]byte {
	if x.by == Client {
		return nil
	}
	var m [4]byte
	_, _ = rand.Read(m[:]) // never fails
	return &m
}
