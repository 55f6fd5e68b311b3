package http1

import "sync"

// Sizes of the pooled buffers in bytes. A connection holds one during an exchange only, and only while there is something
// in it or a read under way.
const (
	headBuffer = 4 << 10  // for a request's head, and what came with it
	readBuffer = 16 << 10 // for an answer's head and a small body
	bodyBuffer = 64 << 10 // for a body that did not come with its head
)

// A buffer holds bytes that have come over a connection and that nobody has taken: p[r:w].
type buffer struct {
	p    []byte
	r, w int
}

var (
	headBuffers = sync.Pool{New: func() any { return &buffer{p: make([]byte, headBuffer)} }}
	readBuffers = sync.Pool{New: func() any { return &buffer{p: make([]byte, readBuffer)} }}
	bodyBuffers = sync.Pool{New: func() any { return &buffer{p: make([]byte, bodyBuffer)} }}
)

// newBuffer lends an empty buffer of at least size bytes.
func newBuffer(size int) *buffer {
	switch {
	case size <= headBuffer:
		return headBuffers.Get().(*buffer)
	case size <= readBuffer:
		return readBuffers.Get().(*buffer)
	case size <= bodyBuffer:
		return bodyBuffers.Get().(*buffer)
	}
	return &buffer{p: make([]byte, size)}
}

// free gives b back; nil is none.
func (b *buffer) free() {
	if b == nil {
		return
	}
	b.r, b.w = 0, 0
	switch len(b.p) {
	case headBuffer:
		headBuffers.Put(b)
	case readBuffer:
		readBuffers.Put(b)
	case bodyBuffer:
		bodyBuffers.Put(b)
	}
}

// bytes are what is in b; none if it is nil.
func (b *buffer) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.p[b.r:b.w]
}

// take marks n bytes as taken.
func (b *buffer) take(n int) {
	if b.r += n; b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// room returns a buffer with what is in b, nil for nothing, at its start and room for at least size bytes in all. It is b
// itself if it is large enough; else b is given back.
func (b *buffer) room(size int) *buffer {
	switch {
	case b == nil:
		return newBuffer(size)
	case len(b.p) < size:
		large := newBuffer(size)
		large.w = copy(large.p, b.bytes())
		b.free()
		return large
	case b.r > 0:
		b.w = copy(b.p, b.p[b.r:b.w])
		b.r = 0
	}
	return b
}
