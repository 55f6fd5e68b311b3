package http1

import (
	"bytes"
	"io"
	"math"
)

// Bounds of a chunked body, besides its content.
const (
	// maxChunkLine is the length in bytes of a chunk's first line: size, extensions, CRLF.
	maxChunkLine = 1 << 10
	// maxChunkDigits is how many digits a chunk's size may have, leading zeros included.
	maxChunkDigits = 16
	// maxOverhead is how many bytes of first lines may come in excess of 16 and twice the data per chunk, summed as they come
	// and never below zero. It ends senders of long extensions on tiny chunks, and lets one byte per chunk pass for ever.
	maxOverhead = 16 << 10
	// maxTrailer is the length in bytes of a trailer section.
	maxTrailer = 8 << 10
)

// A Piece is what [Cursor.Next] found.
type Piece uint8

const (
	// None: there were no bytes, and the body is not complete.
	None Piece = iota
	// Data is content, not necessarily all that is left of it.
	Data
	// Frame is part of the chunked coding, no content: a chunk's first line, the CRLF behind its data, trailers.
	Frame
	// End: the body is complete. The bytes with it are the last of its framing; those behind them are no part of it.
	End
)

// A Cursor follows one body as its bytes pass. It does not look at content, allocates only for trailers, and any split of
// the bytes gives the same. Its owner is the one who reads the body. The first broken rule is final.
type Cursor struct {
	state    cursorState
	digits   uint8  // of the chunk's size, so far
	line     uint16 // bytes of the chunk's first line, so far
	overhead int32  // see maxOverhead
	left     int64  // content that comes next; of a chunk whose first line is not over: its size so far
	trailer  *trailer
	err      *Error
}

// A trailer is the trailer section of a chunked body: not one byte of it in most.
type trailer struct {
	raw    []byte // as it came, until it is whole
	fields Fields
}

// A cursorState is what a Cursor expects next.
type cursorState uint8

const (
	atEnd      cursorState = iota
	inLength               // content of an announced length: left
	inStream               // content until the connection ends
	inChunk                // content of a chunk: left
	dataCR                 // CR behind a chunk's data
	dataLF                 // and LF
	inSize                 // a digit of a chunk's size, or what ends it
	inExt                  // chunk extensions
	lineLF                 // LF of a chunk's first line
	trailerAny             // the start of a trailer section
	trailerLF              // LF of the empty line of an empty trailer section
	inTrailer              // within a trailer section that is not empty
)

// NewCursor returns a Cursor at the start of a body framed so.
func NewCursor(f Framing) Cursor {
	switch {
	case f.Empty():
		return Cursor{}
	case f.Kind == Length:
		return Cursor{state: inLength, left: f.Length}
	case f.Kind == Chunked:
		return Cursor{state: inSize}
	}
	return Cursor{state: inStream}
}

// Next tells what is at the start of p and how many bytes of p belong to it: n > 0 if p has any and the body is not complete,
// so a loop over p until None or End ends. [End] comes as soon as the body is complete, for an empty body at once and with
// an empty p too, and again from then on with n = 0. A body of Kind [UntilClose] is Data for ever: see [Cursor.EOF].
// The error is an [*Error] with status 400 or 431; whoever reads a response takes it for a 502.
func (c *Cursor) Next(p []byte) (piece Piece, n int, err error) {
	switch {
	case c.err != nil:
		return None, 0, c.err
	case c.state == atEnd:
		return End, 0, nil
	case len(p) == 0:
		return None, 0, nil
	}
	if left := c.Left(); left > 0 {
		n = int(min(int64(len(p)), left))
		c.Skip(int64(n))
		return Data, n, nil
	}
	n, c.err = c.frame(p)
	switch {
	case c.err != nil:
		return None, 0, c.err
	case c.state == atEnd:
		return End, n, nil
	}
	return Frame, n, nil
}

// Left returns how many bytes of content come next that no rule needs to look at: of the announced length, of the current
// chunk, or of UntilClose the greatest int64. They may pass by without [Cursor.Next] (splice, or a read straight into where
// they go) if [Cursor.Skip] is told.
func (c *Cursor) Left() int64 {
	switch c.state {
	case inLength, inChunk:
		return c.left
	case inStream:
		return math.MaxInt64
	}
	return 0
}

// Skip tells that n bytes of content, n ≤ [Cursor.Left], passed without [Cursor.Next].
func (c *Cursor) Skip(n int64) {
	switch {
	case c.state == inStream:
		return
	case n > c.Left():
		panic("http1: Cursor.Skip beyond Cursor.Left")
	}
	c.left -= n
	if c.left > 0 {
		return
	}
	switch c.state {
	case inLength:
		c.state = atEnd
	case inChunk:
		c.state = dataCR
	}
}

// Done tells whether the body is complete: Next has returned [End], or would now.
func (c *Cursor) Done() bool { return c.state == atEnd && c.err == nil }

// EOF tells what the end of the connection means at this point: nil if the body is complete or ends just so (Kind
// [UntilClose]), else io.ErrUnexpectedEOF.
func (c *Cursor) EOF() error {
	if c.err == nil && (c.state == atEnd || c.state == inStream) {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// Trailers returns the fields of the trailer section, once [End] has come; nil if there were none. Those that no trailer
// may carry ([ForbiddenTrailer]) are not among them.
func (c *Cursor) Trailers() Fields {
	if c.trailer == nil {
		return nil
	}
	return c.trailer.fields
}

// frame follows the chunked coding (RFC 9112, section 7.1) through p until content or the end of the body, and returns how
// many bytes that are.
func (c *Cursor) frame(p []byte) (int, *Error) {
	for i, b := range p {
		switch c.state {
		case dataCR:
			if b != '\r' {
				return 0, bad("chunk: no CRLF behind its data")
			}
			c.state = dataLF
		case dataLF:
			if b != '\n' {
				return 0, bad("chunk: no CRLF behind its data")
			}
			c.state, c.digits, c.line, c.left = inSize, 0, 0, 0
		case inSize, inExt:
			if err := c.chunkLine(b); err != nil {
				return 0, err
			}
		case lineLF:
			if b != '\n' {
				return 0, bad("chunk: a bare CR in its first line")
			}
			if err := c.beginChunk(); err != nil {
				return 0, err
			}
			if c.state == inChunk {
				return i + 1, nil
			}
		case trailerAny:
			if b != '\r' {
				c.state, c.trailer = inTrailer, new(trailer)
				n, err := c.collect(p[i:])
				return i + n, err
			}
			c.state = trailerLF
		case trailerLF:
			if b != '\n' {
				return 0, bad("trailer: a bare CR")
			}
			c.state = atEnd
			return i + 1, nil
		default: // inTrailer
			n, err := c.collect(p[i:])
			return i + n, err
		}
	}
	return len(p), nil
}

// chunkLine takes one byte of a chunk's first line: its size, then extensions, which are ignored. RFC 9112, section
// 7.1.1, would let whitespace stand around the ";": readers differ on it, so it is refused before the first.
func (c *Cursor) chunkLine(b byte) *Error {
	if c.line++; c.line >= maxChunkLine {
		return bad("chunk: its first line is too long")
	}
	if c.state == inSize && classes[b]&hexByte != 0 {
		if c.digits++; c.digits > maxChunkDigits || c.left > math.MaxInt64>>4 {
			return bad("chunk: its size is too large")
		}
		c.left = c.left<<4 | int64(hexValue(b))
		return nil
	}
	switch {
	case c.digits == 0:
		return bad("chunk: no size")
	case b == '\r':
		c.state = lineLF
	case c.state == inSize && b == ';':
		c.state = inExt
	case c.state == inSize:
		return bad("chunk: its size is not a hexadecimal number")
	case control(b):
		return bad("chunk extension: " + badByte(b, '\n'))
	}
	return nil
}

// hexValue returns the value of a hexadecimal digit.
func hexValue(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return lower(b) - 'a' + 10
}

// beginChunk comes behind the first line of a chunk.
func (c *Cursor) beginChunk() *Error {
	size := int32(min(c.left, maxOverhead))
	c.overhead = max(c.overhead+int32(c.line)+1-16-2*size, 0)
	if c.overhead > maxOverhead {
		return bad("chunks: too much framing for their data")
	}
	if c.left > 0 {
		c.state = inChunk
	} else {
		c.state = trailerAny
	}
	return nil
}

// collect takes the start of p that belongs to the trailer section.
func (c *Cursor) collect(p []byte) (int, *Error) {
	used := 0
	for used < len(p) {
		n := bytes.IndexByte(p[used:], '\n') + 1
		if n == 0 {
			n = len(p) - used
		}
		raw := &c.trailer.raw
		if len(*raw)+n > maxTrailer {
			return 0, &Error{Status: 431, Reason: "trailer: too large"}
		}
		*raw = append(*raw, p[used:used+n]...)
		used += n
		switch {
		case (*raw)[len(*raw)-1] != '\n':
		case !bytes.HasSuffix(*raw, []byte("\r\n")):
			return 0, bad("trailer: a line ends with a bare LF")
		case bytes.HasSuffix(*raw, []byte("\r\n\r\n")):
			return used, c.endTrailer()
		}
	}
	return used, nil
}

// endTrailer reads the trailer section, which is whole.
func (c *Cursor) endTrailer() *Error {
	fields, err := readFields(string(c.trailer.raw), 0, nil, nil)
	if err != nil {
		return &Error{Status: err.Status, Reason: "trailer: " + err.Reason}
	}
	fields.Keep(func(f Field) bool { return !ForbiddenTrailer(f.Name) })
	c.trailer.raw = nil
	if len(fields) > 0 {
		c.trailer.fields = fields
	}
	c.state = atEnd
	return nil
}
