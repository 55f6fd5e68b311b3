package http1

// Bounds of a chunked body, besides its content.
const (
	// maxChunkLine is the length of a chunk's first line: size, extensions, CRLF.
	maxChunkLine = 1 << 10
	// maxTrailer is the length of a trailer section.
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
	// End: the body is complete. The bytes with it are the last of its Frame; those behind them are no part of it.
	End
)

// A Cursor follows one body as its bytes pass. It does not look at content, allocates only for trailers, and any split of
// the bytes gives the same. Its owner is the one who reads the body. The first broken rule is final.
type Cursor struct {
	kind Kind
	left int64
}

// NewCursor returns a Cursor at the start of a body framed so.
func NewCursor(f Framing) Cursor {
	return Cursor{kind: f.Kind, left: f.Length}
}

// Next tells what is at the start of p and how many bytes of p belong to it: n > 0 if p has any and the body is not complete,
// so a loop over p until None or End ends. [End] comes as soon as the body is complete, for an empty body at once and with
// an empty p too, and again from then on with n = 0. A body of Kind [UntilClose] is Data for ever: see [Cursor.EOF].
// The error is an [*Error] with status 400; whoever reads a response takes it for a 502.
func (c *Cursor) Next(p []byte) (piece Piece, n int, err error) {
	panic("http1: not written yet")
}

// Left returns how many bytes of content come next that no rule needs to look at: of the announced length, of the current
// chunk, or of UntilClose the greatest int64. They may pass by without [Cursor.Next] (splice, or a read straight into where
// they go) if [Cursor.Skip] is told.
func (c *Cursor) Left() int64 {
	panic("http1: not written yet")
}

// Skip tells that n bytes of content, n ≤ [Cursor.Left], passed without [Cursor.Next].
func (c *Cursor) Skip(n int64) {
	panic("http1: not written yet")
}

// Done tells whether the body is complete: Next has returned [End], or would now.
func (c *Cursor) Done() bool {
	panic("http1: not written yet")
}

// EOF tells what the end of the connection means at this point: nil if the body is complete or ends just so (Kind
// [UntilClose]), else io.ErrUnexpectedEOF.
func (c *Cursor) EOF() error {
	panic("http1: not written yet")
}

// Trailers returns the fields of the trailer section, once [End] has come; nil if there were none. Those that no trailer
// may carry ([ForbiddenTrailer]) are not among them.
func (c *Cursor) Trailers() Fields {
	panic("http1: not written yet")
}

// ForbiddenTrailer tells whether name has no place in a trailer section: fields for framing, routing, authentication,
// request modifiers, content format and caching (RFC 9110, section 6.5.1), and those that a gateway sets.
func ForbiddenTrailer(name string) bool {
	panic("http1: not written yet")
}
