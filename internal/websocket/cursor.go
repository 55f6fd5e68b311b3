package websocket

import "sync"

// A FrameError is a rule of RFC 6455 that a peer broke. Its text is fit for the reason of a Close.
type FrameError uint8

// The rules that a [Cursor] and [ParseClose] hold a peer to.
const (
	noError            FrameError = iota
	ErrOpcode                     // section 5.2
	ErrReserved                   // section 5.2; RFC 7692, section 6
	ErrLength                     // section 5.2
	ErrUnmasked                   // section 5.1
	ErrMasked                     // section 5.1
	ErrControlFragment            // section 5.5
	ErrControlLength              // section 5.5
	ErrNoMessage                  // section 5.4
	ErrInMessage                  // section 5.4
	ErrCloseLength                // section 5.5.1
	ErrCloseCode                  // section 7.4
	ErrCloseReason                // section 8.1, so its close code is 1007; that of the others is 1002
)

func (e FrameError) Error() string {
	switch e {
	case ErrOpcode:
		return "reserved opcode"
	case ErrReserved:
		return "reserved bit set"
	case ErrLength:
		return "frame length out of range"
	case ErrUnmasked:
		return "frame of a client is not masked"
	case ErrMasked:
		return "frame of a server is masked"
	case ErrControlFragment:
		return "fragmented control frame"
	case ErrControlLength:
		return "control frame too long"
	case ErrNoMessage:
		return "continuation without a message"
	case ErrInMessage:
		return "new message inside a message"
	case ErrCloseLength:
		return "close payload of one byte"
	case ErrCloseCode:
		return "invalid close code"
	case ErrCloseReason:
		return "close reason is not UTF-8"
	}
	return "frame error"
}

// A Kind is what [Cursor.Next] found.
type Kind uint8

const (
	// None is the start of a header or control frame that is not whole yet: it is in [Cursor.Held].
	None Kind = iota
	// Head is the whole header of a data frame: [Cursor.Opcode], and in [Cursor.Left] the length of its payload.
	Head
	// Payload is payload of the current data frame, not necessarily all of it.
	Payload
	// Control is a whole control frame, header and payload: [Cursor.Opcode] and [AppendPayload].
	Control
)

// MaxHeld is the most bytes that [Cursor.Held] may have: a masked control frame.
const MaxHeld = 2 + 4 + MaxControl

// A Cursor follows the frames of one direction of a session as its bytes pass. It never looks at the payload of data
// frames, never allocates, and any split of the bytes gives the same. Its owner is the one goroutine that reads that
// direction. The first broken rule is final. A session keeps two for hours, so they are small.
type Cursor struct {
	left int64          // payload of the current data frame that has not passed yet
	size int64          // payload of the current message's frames, as their headers announce
	held *[MaxHeld]byte // start of a header or control frame; nil while there is none

	nheld     uint8 // bytes in held
	first     uint8 // first byte of the current or last frame: FIN and opcode
	masked    bool  // constant: frames must be masked (from a client), or must not
	rsv1      bool  // constant: permessage-deflate is agreed
	inMessage bool  // a message has begun and not ended
	err       FrameError
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
	if c.err != noError {
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
		if err != noError {
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
		if err != noError {
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
func (c *Cursor) measure(p []byte) (size int, whole bool, err FrameError) {
	if len(p) < 2 {
		return 2, false, noError
	}
	if err := c.check(p[0], p[1]); err != noError {
		return 0, false, err
	}
	size = headerSize(p[1])
	if Opcode(p[0] & 0x0F).Control() {
		size += int(p[1] &^ bitMask)
	}
	return size, true, noError
}

// check holds the first two bytes of a header to the rules.
func (c *Cursor) check(b0, b1 byte) FrameError {
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
	return noError
}

// begin enters the unit whose bytes are all there; n of them came with the current p.
func (c *Cursor) begin(unit []byte, n int) (Kind, int, error) {
	c.first = unit[0]
	if c.Opcode().Control() {
		return Control, n, nil
	}
	length, ok := payloadLength(unit)
	size := length
	if c.inMessage {
		size += c.size
	}
	if !ok || size < length { // beyond 63 bits, by itself or in all: no peer means it
		return c.fail(ErrLength)
	}
	c.left, c.size, c.inMessage = length, size, true
	if length == 0 {
		c.endFrame()
	}
	return Head, n, nil
}

// endFrame leaves a data frame.
func (c *Cursor) endFrame() {
	if c.first&bitFin != 0 {
		c.inMessage = false
	}
}

func (c *Cursor) fail(err FrameError) (Kind, int, error) {
	c.err = err
	return None, 0, err
}

// Opcode is that of the current frame, or between frames of the last one.
func (c *Cursor) Opcode() Opcode { return Opcode(c.first & 0x0F) }

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

// InMessage reports whether a message has begun and not ended.
func (c *Cursor) InMessage() bool { return c.inMessage }

// MessageSize is the payload of the current message in bytes, as the headers of its frames so far announce it. After the
// message it keeps its value until the next one begins.
func (c *Cursor) MessageSize() int64 { return c.size }

// Err is the rule that was broken, or nil.
func (c *Cursor) Err() error {
	if c.err == noError {
		return nil
	}
	return c.err
}

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
