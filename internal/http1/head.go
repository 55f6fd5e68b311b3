package http1

import (
	"bytes"
	"strings"
)

// Bounds of a head, besides its size in bytes, which is for those who read.
const (
	// MaxFields is how many field lines a head or a trailer section may have.
	MaxFields = 256
	// maxEmptyLines is how many empty lines may come before a request.
	maxEmptyLines = 4
)

// An Error is a message that http1 does not take, with the answer to give: for a request Status is 400, 417, 431, 501
// or 505; for a response always 502. After it the connection must not be used again: where the message ends is not known.
// Reason quotes nothing of the message, so it is fit for a log and for the answer's body.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// bad is what most broken rules are.
func bad(reason string) *Error { return &Error{Status: 400, Reason: reason} }

// A Kind is how the end of a body is found (RFC 9112, section 6.3).
type Kind uint8

const (
	// NoBody: the message ends with its head.
	NoBody Kind = iota
	// Length: a Content-Length announced the body.
	Length
	// Chunked: the chunked transfer coding, its trailer section included.
	Chunked
	// UntilClose: a response that ends with its connection.
	UntilClose
)

// A Framing tells where the body of a message ends.
type Framing struct {
	Kind   Kind
	Length int64 // bytes, of Kind Length only; may be 0
}

// Empty tells whether a message framed so can have no byte of content.
func (f Framing) Empty() bool {
	return f.Kind == NoBody || f.Kind == Length && f.Length == 0
}

// HeadEnd looks for the end of the head at the start of p. from is how much of p an earlier call has seen already (0 at
// first; the length of p then), so that calls over a growing buffer take linear time in all. end is the length of the
// head, its empty line included; the rest of p is body. ok is also true, as soon as it is seen, for a head that
// [ParseRequest] and [ParseResponse] refuse anyway: a line that ends with a bare LF, or too many empty lines before the
// first line. The caller bounds the size of p.
//
// RFC 9112, section 2.2: empty lines before a request are skipped (four at most): they belong to the head.
func HeadEnd(p []byte, from int) (end int, ok bool) {
	i := max(from, emptyLines(p))
	for {
		n := bytes.IndexByte(p[i:], '\n')
		if n < 0 {
			return 0, false
		}
		i += n + 1
		// The line that ends here is empty, or it ends badly.
		if i < 2 || p[i-2] != '\r' || i < 3 || p[i-3] == '\n' {
			return i, true
		}
	}
}

// emptyLines returns the length of the empty lines at the start of a head.
func emptyLines[T []byte | string](p T) int {
	n := 0
	for n < 2*maxEmptyLines && n+2 <= len(p) && p[n] == '\r' && p[n+1] == '\n' {
		n += 2
	}
	return n
}

// wholeHead tells whether raw ends as a head does. All that reads a head relies on it to stop in time.
func wholeHead(raw string) bool { return strings.HasSuffix(raw, "\r\n\r\n") }

// http2Preface is how a client opens HTTP/2 with prior knowledge (RFC 9113, section 3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// IsHTTP2Preface tells whether p, the first bytes of a connection, begins with the connection preface of HTTP/2. maybe:
// p is the start of one and more bytes will tell (also of no bytes at all). Both are false for HTTP/1.
func IsHTTP2Preface(p []byte) (yes, maybe bool) {
	n := min(len(p), len(http2Preface))
	same := string(p[:n]) == http2Preface[:n]
	return same && n == len(http2Preface), same && n < len(http2Preface)
}

// badByte tells what is wrong with a line that has c where it must not.
func badByte(c, next byte) string {
	switch {
	case c == '\n':
		return "a line ends with a bare LF"
	case c == '\r' && next != '\n':
		return "a bare CR"
	case c == '\r':
		return "a line ends too early"
	case c == 0:
		return "a NUL"
	case c == ' ' || c == '\t':
		return "whitespace where none may be"
	case c < ' ' || c == 0x7F:
		return "a control character"
	case c >= 0x80:
		return "a byte that is not ASCII"
	}
	return "a character that may not be there"
}
