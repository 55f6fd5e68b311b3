package relay

import "sync"

// The buffers of a keep. Small ones stay in their keep; the others are shared, so that what a session keeps between a question and
// its answer is memory that another has just given back.

const (
	// smallKeep is what a session may keep without owing it to its loop, in bytes, and the largest buffer that stays in a keep.
	smallKeep = 4 << 10
	// mediumBuffer holds a message of 16 KiB and what stands around it.
	mediumBuffer = 20 << 10
	// largeBuffer holds what a session keeps by default, and one read more.
	largeBuffer = 136 << 10
)

var (
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	largeBuffers  = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// extend returns b with p behind it. Its memory may be another then, and the old one is given back.
func extend(b, p []byte) []byte {
	n := len(b) + len(p)
	if n <= cap(b) || n <= smallKeep || n > largeBuffer {
		was := b
		b = append(b, p...)
		if n > cap(was) {
			giveBack(was)
		}
		return b
	}
	var c []byte
	if n <= mediumBuffer {
		c = mediumBuffers.Get().(*[mediumBuffer]byte)[:0]
	} else {
		c = largeBuffers.Get().(*[largeBuffer]byte)[:0]
	}
	c = append(append(c, b...), p...)
	giveBack(b)
	return c
}

// giveBack takes the memory of b, which nobody uses any more.
func giveBack(b []byte) {
	switch cap(b) {
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(b[:mediumBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// stay is what of b stays in a keep that is given back: its memory, if it is small.
func stay(b []byte) []byte {
	if cap(b) <= smallKeep {
		return b[:0]
	}
	giveBack(b)
	return nil
}

// add puts p behind what is in the window. p may lie in reading: then it stays where it is, if it can.
func (k *keep) add(p []byte) {
	switch {
	case len(k.window) == 0 && k.reading != nil && within(p, k.reading[:]):
		k.emptied()
		k.window, k.lent = p[:len(p):len(p)], true
	case k.lent || k.own != nil:
		b := extend(nil, k.window)
		k.emptied()
		k.window = extend(b, p)
	default:
		k.window = extend(k.window, p)
	}
}

// emptied gives the memory of the window back, and returns what of it may stay in the keep.
func (k *keep) emptied() []byte {
	b := k.window
	k.window = nil
	switch {
	case k.lent:
		k.lent = false
		return nil
	case k.own != nil:
		mediumBuffers.Put(k.own)
		k.own = nil
		return nil
	}
	return stay(b)
}

// within reports whether p was cut from b, up to its end.
func within(p, b []byte) bool { return cap(p) > 0 && &p[:cap(p)][cap(p)-1] == &b[len(b)-1] }

// pullOwn is pull from the client into memory that becomes the window's with what is read: a message of 16 KiB is not copied in this
// process.
func (x *side) pullOwn() bool {
	l, b := x.s.link, mediumBuffers.Get().(*[mediumBuffer]byte)
	l.need().reading = b
	moved := x.pullInto(b[:])
	if k := l.keep; k != nil && k.reading == b { // else the session has ended meanwhile, or begun another keep
		k.reading = nil
		if k.lent {
			k.lent, k.own = false, b
			return moved
		}
		l.rest()
	}
	mediumBuffers.Put(b)
	return moved
}
