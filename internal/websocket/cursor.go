package websocket

import "sync"

// A FrameError is a rule of RFC 6455 that a peer broke. Its text is fit for the reason of a Close.
type FrameError string

func (e FrameError) Error() string { return string(e) }

// The rules that a [Cursor] holds a peer to.
const (
	ErrOpcode          FrameError = "reserved opcode"                 // section 5.2
	ErrReserved        FrameError = "reserved bit set"                // section 5.2; RFC 7692, section 6
	ErrLength          FrameError = "frame length out of range"       // section 5.2
	ErrUnmasked        FrameError = "frame of a client is not masked" // section 5.1
	ErrMasked          FrameError = "frame of a server is masked"     // section 5.1
	ErrControlFragment FrameError = "fragmented control frame"        // section 5.5
	ErrControlLength   FrameError = "control frame too long"          // section 5.5
	ErrNoMessage       FrameError = "continuation without a message"  // section 5.4
	ErrInMessage       FrameError = "new message inside a message"    // section 5.4
)

// A Kind is what [Cursor.Next] found.
type Kind uint8

const (
	// None is the start of a header or control frame that is not whole yet: it is in [Cursor.Held].
	None Kind = iota
	// Head is the whole header of a data frame: [Cursor.Header].
	Head
	// Payload is payload of the current data frame, not necessarily all of it.
	Payload
	// Control is a whole control frame, header and payload: [Cursor.Header] and [AppendPayload].
	Control
)

// MaxHeld is the most bytes that [Cursor.Held] may have: a masked control frame.
const MaxHeld = 2 + 4 + MaxControl

// A Cursor follows the frames of one direction of a session as its bytes pass. It never looks at the payload of data
// frames, never allocates, and any split of the bytes gives the same. Its owner is the one goroutine that reads that
// direction. The first broken rule is final.
type Cursor struct {
	masked bool // constant: frames must be masked (from a client), or must not
	rsv1   bool // constant: permessage-deflate is agreed

	head      Header // of the current or last frame
	left      int64  // payload of the current data frame that has not passed yet
	size      int64  // payload of the current message's frames, as their headers announce
	inMessage bool   // a message has begun and not ended
	err       error

	frames   int64
	messages int64

	nheld uint8
	held  *[MaxHeld]byte // start of a header or control frame; nil while there is none
}

// heldBuffers are for the few directions that stand inside a header or control frame.
var heldBuffers = sync.Pool{New: func() any { return new([MaxHeld]byte) }}

// NewCursor returns a Cursor at the start of a direction. masked: the frames come from a client. deflate:
// permessage-deflate was agreed, so the first frame of a message may carry RSV1.
func NewCursor(masked, deflate bool) Cursor {
	return Cursor{masked: masked, rsv1: deflate}
}

// Next consumes the next unit of p: it returns what it is and how many bytes of p belong to it. Bytes of the unit that
// came with an earlier p were in [Cursor.Held] before the call. With None all of p was used. After an error nothing
// is consumed any more; the error is a [FrameError].
func (c *Cursor) Next(p []byte) (Kind, int, error) {
	if c.err != nil {
		return None, 0, c.err
	}
	if len(p) == 0 {
		return None, 0, nil
	}
	if c.left > 0 {
		n := int(min(int64(len(p)), c.left))
		c.left -= int64(n)
		if c.left == 0 {
			c.endFrame()
		}
		return Payload, n, nil
	}
	if c.nheld == 0 {
		size, whole, err := c.measure(p)
		if err != nil {
			return c.fail(err)
		}
		if whole && size <= len(p) {
			return c.begin(p[:size], size)
		}
	}
	return c.collect(p)
}

// collect gathers a unit that does not lie whole in one p.
func (c *Cursor) collect(p []byte) (Kind, int, error) {
	if c.held == nil {
		c.held = heldBuffers.Get().(*[MaxHeld]byte)
	}
	used := 0
	for {
		size, whole, err := c.measure(c.held[:c.nheld])
		if err != nil {
			return c.fail(err)
		}
		if n := int(c.nheld); n == size && whole {
			held := c.held
			c.nheld, c.held = 0, nil
			kind, used, err := c.begin(held[:n], used)
			heldBuffers.Put(held)
			return kind, used, err
		}
		n := copy(c.held[c.nheld:size], p[used:])
		if n == 0 {
			return None, used, nil
		}
		c.nheld += uint8(n)
		used += n
	}
}

// measure tells how many bytes the unit at the start of p has, as far as p tells it: whole is false while the answer may
// still grow. It checks the rules that the first two bytes decide.
func (c *Cursor) measure(p []byte) (size int, whole bool, err error) {
	if len(p) < 2 {
		return 2, false, nil
	}
	if err := c.check(p[0], p[1]); err != nil {
		return 0, false, err
	}
	size = headerSize(p[1])
	if Opcode(p[0] & 0x0F).Control() {
		size += int(p[1] &^ bitMask)
	}
	return size, true, nil
}

// check holds the first two bytes of a header to the rules.
func (c *Cursor) check(b0, b1 byte) error {
	op, fin, rsv := Opcode(b0&0x0F), b0&bitFin != 0, b0&(RSV1|RSV2|RSV3)
	masked := b1&bitMask != 0
	switch op {
	case OpContinuation, OpText, OpBinary, OpClose, OpPing, OpPong:
	default:
		return ErrOpcode
	}
	// RFC 7692, section 6: only the first frame of a message carries RSV1.
	if rsv != 0 && (rsv != RSV1 || !c.rsv1 || op.Control() || op == OpContinuation) {
		return ErrReserved
	}
	if masked != c.masked {
		if c.masked {
			return ErrUnmasked
		}
		return ErrMasked
	}
	switch {
	case op.Control() && !fin:
		return ErrControlFragment
	case op.Control() && b1&^bitMask > MaxControl:
		return ErrControlLength
	case op == OpContinuation && !c.inMessage:
		return ErrNoMessage
	case !op.Control() && op != OpContinuation && c.inMessage:
		return ErrInMessage
	}
	return nil
}

// begin enters the unit whose bytes are all there; n of them came with the current p.
func (c *Cursor) begin(unit []byte, n int) (Kind, int, error) {
	h, _, err := ParseHeader(unit)
	if err != nil {
		return c.fail(err)
	}
	if !h.Opcode.Control() {
		size := h.Length
		if c.inMessage {
			size += c.size
		}
		if size < h.Length { // beyond 63 bits in all: no peer means it
			return c.fail(ErrLength)
		}
		c.size = size
	}
	c.head = h
	if h.Opcode.Control() {
		c.frames++
		return Control, n, nil
	}
	c.inMessage = true
	c.left = h.Length
	if c.left == 0 {
		c.endFrame()
	}
	return Head, n, nil
}

// endFrame leaves a data frame.
func (c *Cursor) endFrame() {
	c.frames++
	if c.head.Fin {
		c.messages++
		c.inMessage = false
	}
}

func (c *Cursor) fail(err error) (Kind, int, error) {
	c.err = err
	return None, 0, err
}

// Header is the header of the current frame, or between frames of the last one.
func (c *Cursor) Header() Header { return c.head }

// Held is the start of a header or control frame that is not whole yet. It is valid until the next call of Next.
func (c *Cursor) Held() []byte {
	if c.held == nil {
		return nil
	}
	return c.held[:c.nheld]
}

// Left is the payload of the current data frame that has not passed yet, in bytes.
func (c *Cursor) Left() int64 { return c.left }

// AtFrame reports whether the last byte seen was the last of a frame: here another frame may be put in.
func (c *Cursor) AtFrame() bool { return c.left == 0 && c.nheld == 0 }

// AtMessage reports whether the last byte seen was the last of a message, or of a control frame between messages.
func (c *Cursor) AtMessage() bool { return c.AtFrame() && !c.inMessage }

// MessageSize is the payload of the current message in bytes, as the headers of its frames so far announce it. After the
// message it keeps its value until the next one begins.
func (c *Cursor) MessageSize() int64 { return c.size }

// Frames is the number of frames that have passed whole.
func (c *Cursor) Frames() int64 { return c.frames }

// Messages is the number of messages that have passed whole.
func (c *Cursor) Messages() int64 { return c.messages }

// Err is the rule that was broken, or nil.
func (c *Cursor) Err() error { return c.err }

// Advance walks all of p, for callers that only want to know where it ends.
func (c *Cursor) Advance(p []byte) error {
	for len(p) > 0 {
		_, n, err := c.Next(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
