package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A SourceError is a body that could not be read to its end; the other errors of [Copy] are its sink's.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Copy sends src to dst, piece by piece as it comes, its trailers too, and finishes dst. Chunks are framed anew. It returns
// a [*SourceError], dst not finished, if src fails. Between connections that can, a large body does not pass through
// this process's memory.
func Copy(dst Sink, src Source) error { return copyBody(dst, src, nil) }

// copyBody is Copy that calls progress after each piece.
func copyBody(dst Sink, src Source, progress func()) error {
	w, b := writerOf(dst), bodyOf(src)
	for {
		if w != nil && b != nil {
			if err := w.pass(b, progress); err != nil {
				return err
			}
		}
		p, err := src.Next()
		switch {
		case errors.Is(err, io.EOF):
			return dst.Finish(src.Trailers())
		case err != nil:
			return &SourceError{err}
		}
		if w != nil {
			err = w.push(p, b != nil && b.more())
		} else {
			_, err = dst.Write(p)
		}
		if err != nil {
			return err
		}
		if progress != nil {
			progress()
		}
	}
}

func writerOf(dst Sink) *BodyWriter {
	switch d := dst.(type) {
	case *BodyWriter:
		return d
	case *Exchange:
		if d.status != 0 {
			return &d.out
		}
	}
	return nil
}

func bodyOf(src Source) *Body {
	b, _ := src.(*Body)
	return b
}

// A Forwarder is a connection that can pass what it receives on to another one without this process looking at it. It
// passes at most n bytes, and returns how many; fewer, with or without an error, if it cannot go on: then nothing else
// has been taken from it, or dst is not usable any more.
type Forwarder interface {
	Forward(dst net.Conn, n int64) (int64, error)
}

const (
	passMin   = 256 << 10 // bytes from which it is worth the extra system calls
	passPiece = 256 << 10 // bytes under one deadline
)

// pass moves content from b to w past this process's memory, as long as that is possible and goes fast. It leaves the
// rest, and what went wrong, to the plain way, unless that could not know of it.
func (w *BodyWriter) pass(b *Body, progress func()) error {
	if w.err != nil || w.ended || !w.passable(b) {
		return nil
	}
	forward := forwarderOf(b.link.conn, w)
	if forward == nil {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	for left := b.Left(); left > 0; left = b.Left() {
		// Who stalls must be known, for what is on its way between the two is lost with the writer: the reader's deadline
		// comes long before the writer's.
		begun := time.Now()
		if b.link.armRead(shorter(b.wait, w.wait/2)) != nil || w.link.armWrite(w.wait) != nil {
			return nil
		}
		n, err := forward.Forward(w.link.conn, min(left, passPiece))
		b.passed(n)
		w.sent(n)
		if progress != nil && n > 0 {
			progress()
		}
		took := time.Since(begun)
		switch {
		case err == nil && n == min(left, passPiece) && took < w.wait/8:
			continue
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && took < w.wait*3/4, hasEnded(b.link.conn):
			return nil
		}
		return w.fail(w.link.why(err, &w.link.writeCut))
	}
	return nil
}

// passable tells whether b and w are such that bytes may go from one to the other as they are, and enough of them.
func (w *BodyWriter) passable(b *Body) bool {
	return b.kind == Length && b.err == nil && len(b.pending) == 0 && len((*b.in).bytes()) == 0 && b.before == nil &&
		(w.kind == Length && w.left >= b.Left() || w.kind == UntilClose) && b.Left() >= passMin
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// forwarderOf is what passes bytes from c to w, nil if nothing can.
func forwarderOf(c net.Conn, w *BodyWriter) Forwarder {
	if f, ok := c.(Forwarder); ok {
		return f
	}
	if t, ok := c.(*net.TCPConn); ok && w.tcp != nil && canSplice {
		return splicer{t}
	}
	return nil
}

// A splicer lets the kernel pass bytes between two TCP connections.
type splicer struct{ from *net.TCPConn }

func (s splicer) Forward(dst net.Conn, n int64) (int64, error) {
	return dst.(*net.TCPConn).ReadFrom(&io.LimitedReader{R: s.from, N: n})
}
