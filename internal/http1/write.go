package http1

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrLength is a body that has more or less content than its head announced. The connection cannot be used any more.
var ErrLength = errors.New("http1: content does not have the announced length")

// coalesce is how much content is copied behind a head, or behind other content, to leave in one write. Larger pieces
// leave as they are.
const coalesce = 8 << 10

// A Sink takes a body in pieces. [*Exchange] (the answer) and [*BodyWriter] (a request's body) are some; what feeds the
// pipeline from HTTP/2 is another.
type Sink interface {
	// Write sends a piece of content, with whatever waited to go with it. It blocks while the peer does not take it.
	Write(p []byte) (int, error)

	// Finish ends the body. trailers are left out where the framing has no place for them.
	Finish(trailers Fields) error
}

// A BodyWriter frames one message on a connection. Head and content that are written close together leave in one write.
type BodyWriter struct {
	link *link
	wait time.Duration // bounds each wait for the peer

	out  *buffer // frames that have not left; nil: none
	bufs [4][]byte
	vec  net.Buffers // of bufs, while it is written
	tcp  *net.TCPConn

	kind  Kind
	left  int64 // content still to come, of Kind Length
	count int64 // content taken, in bytes
	err   error // final
	ended bool
}

// start begins a message framed as f.
func (w *BodyWriter) start(l *link, f Framing, wait time.Duration) {
	w.out.free()
	*w = BodyWriter{link: l, wait: wait, kind: f.Kind, left: f.Length}
	w.tcp, _ = l.conn.(*net.TCPConn)
}

// head begins the message with what f appends.
func (w *BodyWriter) head(p []byte) {
	w.out = newBuffer(len(p) + coalesce/2)
	w.out.w = copy(w.out.p, p)
}

// Count is the content taken so far, in bytes.
func (w *BodyWriter) Count() int64 { return w.count }

// Write sends p as content, with what waited to go with it. Of a message without a body it drops p. More than was
// announced is an [ErrLength], and nothing of p is sent.
func (w *BodyWriter) Write(p []byte) (int, error) {
	if err := w.push(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// push takes p as content. more: the next piece or the end comes at once, so a small piece may wait for it.
func (w *BodyWriter) push(p []byte, more bool) error {
	if w.err != nil {
		return w.err
	}
	switch {
	case w.kind == NoBody:
		return w.flushUnless(more)
	case w.ended || w.kind == Length && int64(len(p)) > w.left:
		return w.fail(ErrLength)
	case len(p) == 0: // a chunk of no bytes would end the body
		return w.flushUnless(more)
	}
	w.left -= int64(len(p))
	w.count += int64(len(p))
	if w.tcp == nil && w.kind == Chunked { // one write without writev: the piece must fit beside its frame
		for len(p) > bodyBuffer/2 {
			if err := w.piece(p[:bodyBuffer/2], true); err != nil {
				return err
			}
			p = p[bodyBuffer/2:]
		}
	}
	return w.piece(p, more)
}

// piece frames p and sends it, or keeps it for the next write.
func (w *BodyWriter) piece(p []byte, more bool) error {
	frame := 0
	if w.kind == Chunked {
		frame = 20 // 16 digits and two line ends
	}
	if len(p) > coalesce && (w.tcp != nil || frame == 0) {
		return w.large(p)
	}
	if w.out != nil && len(w.out.p)-w.out.w < len(p)+frame {
		if w.out.w > coalesce {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	w.out = w.out.room(len(w.out.bytes()) + len(p) + frame)
	b := w.out.p[:w.out.w]
	if frame > 0 {
		b = AppendChunkHead(b, int64(len(p)))
	}
	b = append(b, p...)
	if frame > 0 {
		b = append(b, ChunkEnd...)
	}
	w.out.w = len(b)
	return w.flushUnless(more)
}

// large sends p in its frame, behind what waits, without a copy of p.
func (w *BodyWriter) large(p []byte) error {
	if w.kind == Chunked {
		w.out = w.out.room(len(w.out.bytes()) + 20)
		w.out.w = len(AppendChunkHead(w.out.p[:w.out.w], int64(len(p))))
	}
	if w.tcp == nil { // no chunk: only a head can wait
		if err := w.flush(); err != nil {
			return err
		}
		_, err := w.link.write(p, w.wait)
		return w.fail(err)
	}
	w.vec = append(w.bufs[:0], w.out.bytes(), p)
	if w.kind == Chunked {
		w.vec = append(w.vec, chunkEnd)
	}
	err := w.link.writev(w.tcp, &w.vec, w.wait)
	w.vec, w.bufs = nil, [4][]byte{}
	w.drop()
	return w.fail(err)
}

var chunkEnd = []byte(ChunkEnd)

// Flush sends what waits.
func (w *BodyWriter) Flush() error {
	if w.err != nil {
		return w.err
	}
	return w.flush()
}

func (w *BodyWriter) flush() error {
	if w.out == nil {
		return nil
	}
	_, err := w.link.write(w.out.bytes(), w.wait)
	w.drop()
	return w.fail(err)
}

func (w *BodyWriter) flushUnless(more bool) error {
	if more {
		return nil
	}
	return w.flush()
}

// drop gives the buffer of waiting frames back.
func (w *BodyWriter) drop() {
	w.out.free()
	w.out = nil
}

// Finish ends the message and sends what waits. Less content than announced is an [ErrLength]. trailers go with a chunked
// body only.
func (w *BodyWriter) Finish(trailers Fields) error {
	if w.err != nil || w.ended {
		return w.err
	}
	w.ended = true
	switch {
	case w.kind == Length && w.left > 0:
		_ = w.flush()
		return w.fail(ErrLength)
	case w.kind == Chunked && trailers == nil:
		w.out = w.out.room(len(w.out.bytes()) + len(LastChunk))
		w.out.w += copy(w.out.p[w.out.w:], LastChunk)
	case w.kind == Chunked:
		end := AppendLastChunk(nil, trailers)
		w.out = w.out.room(len(w.out.bytes()) + len(end))
		w.out.w += copy(w.out.p[w.out.w:], end)
	}
	return w.flush()
}

// complete tells whether the whole message has left.
func (w *BodyWriter) complete() bool { return w.ended && w.err == nil }

// sent notes n bytes of content that left without Write, of Kind Length or UntilClose.
func (w *BodyWriter) sent(n int64) {
	w.left -= n
	w.count += n
}

// fail makes an error final. nil is none.
func (w *BodyWriter) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write: %w", err)
	}
	return w.err
}
