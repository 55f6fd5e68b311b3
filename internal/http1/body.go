package http1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// A Source is a body that comes in pieces. [*Body] is one; what feeds the pipeline from HTTP/2 is another.
type Source interface {
	// Next returns the next piece of content, at least one byte. It is valid until the next call. After the last piece the
	// error is io.EOF, and again from then on.
	Next() ([]byte, error)

	// Trailers are the fields behind the content, once Next has returned io.EOF; nil if there are none.
	Trailers() Fields
}

// A Body is the body of a message as it comes over a connection. Its owner is the one who reads it; Ended and Left may be
// asked from elsewhere. Its errors are an [*Error] for a broken framing, io.ErrUnexpectedEOF for a peer that closed in
// the middle, an os.ErrDeadlineExceeded for one that sent nothing in time, and what the connection says.
type Body struct {
	link   *link
	in     **buffer // the connection's: bytes behind the body stay in it
	cursor Cursor
	kind   Kind          // constant, as the fields above
	wait   time.Duration // bounds each wait for the peer; zero: for ever
	size   int           // of the buffer for the next read: it follows what comes

	pending []byte // content that was decoded in place and not handed out: a part of *in
	err     error  // final; io.EOF after the whole body
	before  func() error
	most    int64  // content that Next gives at most; 0: no bound
	ended   func() // called once when the body has come whole

	done  atomic.Bool  // all of it has come
	lost  atomic.Bool  // it cannot come any more
	left  atomic.Int64 // content that is still to come, of a known length; -1: unknown
	count atomic.Int64 // content handed out, in bytes
}

// start begins a body framed as f.
func (b *Body) start(l *link, in **buffer, f Framing, wait time.Duration) {
	b.link, b.in, b.wait = l, in, wait
	b.cursor, b.kind, b.size = NewCursor(f), f.Kind, readBuffer
	if f.Kind == Length && f.Length > readBuffer {
		b.size = bodyBuffer
	}
	b.pending, b.err, b.before, b.ended = nil, nil, nil, nil
	b.most = 0
	b.count.Store(0)
	b.done.Store(f.Empty())
	b.lost.Store(false)
	switch f.Kind {
	case NoBody, Length:
		b.left.Store(f.Length)
	default:
		b.left.Store(-1)
	}
	if f.Empty() {
		b.err = io.EOF
	}
}

// Kind is how the body is framed.
func (b *Body) Kind() Kind { return b.kind }

// Limit has Next fail with an [*Error] of status 413 when there is more content than so many bytes; 0 is no bound. A
// length that has been announced is better judged before.
func (b *Body) Limit(most int64) { b.most = most }

// Count is the content handed out so far, in bytes.
func (b *Body) Count() int64 { return b.count.Load() }

// Ended tells whether the whole body has come over the connection, though it may not be read yet.
func (b *Body) Ended() bool { return b.done.Load() }

// Left is the content of a body of Kind Length that has not been taken off the connection's buffer yet, in bytes; -1 for
// other bodies that have not ended.
func (b *Body) Left() int64 { return b.left.Load() }

// Trailers are the fields of the trailer section (RFC 9112, section 7.1.2), once the body has been read to its end.
func (b *Body) Trailers() Fields {
	if b.kind != Chunked || !b.done.Load() {
		return nil
	}
	return b.cursor.Trailers()
}

// Next returns what has come of the content, chunked coding removed, and waits only if nothing has. What it returns is a
// part of the connection's buffer and valid until the next call. After the last piece the error is io.EOF.
func (b *Body) Next() ([]byte, error) {
	for len(b.pending) == 0 {
		if b.err != nil {
			return nil, b.err
		}
		if len((*b.in).bytes()) == 0 {
			if err := b.fill(); err != nil {
				return nil, err
			}
		}
		b.decode()
	}
	p := b.pending
	b.pending = nil
	if n := b.count.Add(int64(len(p))); b.most > 0 && n > b.most {
		b.err = &Error{Status: http.StatusRequestEntityTooLarge, Reason: "body: larger than the limit"}
		b.lost.Store(true)
		return nil, b.err
	}
	return p, nil
}

// more tells whether Next returns, if only an error, without a wait.
func (b *Body) more() bool { return len(b.pending) > 0 || b.err != nil }

// Ready tells whether Next would return something, if only io.EOF, without a wait for the peer.
func (b *Body) Ready() bool { return b.more() || len((*b.in).bytes()) > 0 }

// Whole returns all of the body if it has come already, and counts it as read; it never waits. It is valid until the
// exchange ends. ok is false, and nothing is lost, for a body that is not complete.
func (b *Body) Whole() (content []byte, ok bool) {
	if b.err == nil && len(b.pending) == 0 {
		b.decode()
	}
	if b.err != io.EOF { //nolint:errorlint // our own, never wrapped
		return nil, false
	}
	content, b.pending = b.pending, nil
	b.count.Add(int64(len(content)))
	return content, true
}

// Read is Next for callers with a buffer of their own. Content of a known length, or until the close, goes straight into p.
func (b *Body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(b.pending) == 0 && b.err == nil && len((*b.in).bytes()) == 0 {
		if left := b.cursor.Left(); left > 0 {
			return b.readDirect(p[:min(int64(len(p)), left)])
		}
	}
	if len(b.pending) == 0 {
		next, err := b.Next()
		if err != nil {
			return 0, err
		}
		b.pending = next
		b.count.Add(-int64(len(next)))
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	b.count.Add(int64(n))
	return n, nil
}

// readDirect reads content that no rule needs to look at into p.
func (b *Body) readDirect(p []byte) (int, error) {
	n, err := b.wire(p)
	if n > 0 {
		b.passed(int64(n))
		return n, nil
	}
	return 0, b.broke(err)
}

// passed notes that n bytes of content went past the buffer.
func (b *Body) passed(n int64) {
	b.cursor.Skip(n)
	b.count.Add(n)
	if b.kind == Length {
		b.left.Add(-n)
	}
	if b.cursor.Done() {
		b.end()
	}
}

// wire reads from the connection, after what must be done before the first wait.
func (b *Body) wire(p []byte) (int, error) {
	if b.before != nil {
		before := b.before
		b.before = nil
		if err := before(); err != nil {
			return 0, err
		}
	}
	return b.link.read(p, b.wait)
}

// fill reads once into the connection's empty buffer. A stream of small events does not hold a large one.
func (b *Body) fill() error {
	if in := *b.in; in == nil || len(in.p) != b.size {
		in.free()
		*b.in = newBuffer(b.size)
	}
	in := *b.in
	in.r, in.w = 0, 0
	n, err := b.wire(in.p)
	in.w = n
	switch {
	case n == 0:
		return b.broke(err)
	case n == b.size && b.size < bodyBuffer:
		b.size *= 4
	case n < b.size/16 && b.size > headBuffer:
		b.size /= 4
	}
	return nil
}

// decode takes the body's bytes off the connection's buffer, and leaves the content of them, chunked coding removed, in
// b.pending.
func (b *Body) decode() {
	in := *b.in
	p := in.bytes()
	content, used := 0, 0
	for b.err == nil {
		piece, n, err := b.cursor.Next(p[used:])
		if err != nil {
			b.err = err
			b.lost.Store(true)
			break
		}
		if piece == Data {
			if content != used {
				copy(p[content:], p[used:used+n])
			}
			content += n
			if b.kind == Length {
				b.left.Add(-int64(n))
			}
		}
		if used += n; used == len(p) || b.cursor.Done() {
			break
		}
	}
	if content > 0 {
		b.pending = p[:content]
	}
	if in != nil {
		in.take(used)
	}
	if b.err == nil && b.cursor.Done() {
		b.end()
	}
}

// broke is a connection that gives no more. A read that was cut short may be taken up again.
func (b *Body) broke(err error) error {
	if errors.Is(err, errStopped) {
		return err
	}
	if errors.Is(err, io.EOF) {
		if err = b.cursor.EOF(); err == nil {
			b.end()
			return b.err
		}
	}
	b.err = fmt.Errorf("body: %w", err)
	b.lost.Store(true)
	return b.err
}

// end is a body that has come whole.
func (b *Body) end() {
	b.err = io.EOF
	b.done.Store(true)
	b.left.Store(0)
	if f := b.ended; f != nil {
		b.ended = nil
		f()
	}
}

// discard reads what is left of the body, at most most bytes of it, until the limit of the link. It tells whether the body
// has come whole.
func (b *Body) discard(most int64) bool {
	for most >= 0 {
		p, err := b.Next()
		if err != nil {
			return b.done.Load()
		}
		most -= int64(len(p))
	}
	return b.done.Load() && len(b.pending) == 0
}
