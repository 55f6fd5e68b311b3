package relay

import (
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A Frame is what a Tap is told of one frame, when its last byte has been read, or was said by the gateway.
type Frame struct {
	Time       time.Time
	From, To   By
	Opcode     websocket.Opcode
	Fin        bool
	Compressed bool  // RSV1: its message went through permessage-deflate
	Size       int64 // payload in bytes
	// Payload is the start of it, unmasked, at most as long as NewTap was told. A continuation has none.
	Payload []byte
	// Moved: no frame, but another upstream has taken over.
	Moved bool
}

// A Tap is told of the frames of one session, until that ends. What its reader does not take in time is dropped, and counted. The
// zero Tap is of no use; see NewTap.
type Tap struct {
	most, payload int    // constant
	wake          func() // constant

	mu      sync.Mutex // guards the following
	frames  []Frame
	dropped int64
	ended   bool
	told    bool // wake was called, and nothing was taken since
}

// NewTap makes a Tap that keeps at most so many frames for its reader, with that many bytes of payload each. wake is called when there
// is something to take, once until it is taken; on the session's loop: it must not block.
func NewTap(most, payload int, wake func()) *Tap {
	return &Tap{most: most, payload: payload, wake: wake}
}

// Take takes what there is: how many frames were dropped before, too, and whether the session has ended. Any goroutine.
func (t *Tap) Take() (frames []Frame, dropped int64, ended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	frames, dropped, ended = t.frames, t.dropped, t.ended
	t.frames, t.dropped, t.told = nil, 0, false
	return frames, dropped, ended
}

func (t *Tap) put(f *Frame) {
	t.mu.Lock()
	if len(t.frames) < t.most {
		g := *f
		g.Payload = append([]byte(nil), f.Payload[:min(len(f.Payload), t.payload)]...)
		t.frames = append(t.frames, g)
	} else {
		t.dropped++
	}
	t.rouse()
}

func (t *Tap) end() {
	t.mu.Lock()
	t.ended = true
	t.rouse()
}

// rouse is called with the lock held, and lets it go.
func (t *Tap) rouse() {
	told := t.told
	t.told = true
	t.mu.Unlock()
	if !told {
		t.wake()
	}
}

// Watch has t told of every frame from the next one on, until stop is called. With the session's end, or where that has been already, t
// is told that it has ended. Any goroutine, stop too.
func (s *Session) Watch(t *Tap) (stop func()) {
	s.loop().Post(func() {
		if s.phase == ended {
			t.end()
			return
		}
		c := s.need()
		if c.watch == nil {
			c.watch = newWatch(s)
			s.client.set(flagTapped)
		}
		c.watch.taps = append(c.watch.taps, t)
		c.watch.payload = max(c.watch.payload, t.payload)
	})
	return func() {
		s.loop().Post(func() {
			if s.client.has(flagTapped) {
				s.cold.watch.remove(t)
				s.unwatch()
			}
		})
	}
}

// unwatch forgets the watch if nobody watches.
func (s *Session) unwatch() {
	if len(s.cold.watch.taps) == 0 {
		s.cold.watch = nil
		s.client.clear(flagTapped)
	}
}

// A watch takes the frames of a session apart for its taps.
type watch struct {
	taps    []*Tap
	payload int // that the most curious of them wants
	sides   [2]watched
}

// watched is what comes from one peer.
type watched struct {
	head []byte // of a frame whose header is not whole
	left int64  // of the payload of the current one
	skip bool   // it had begun before
	h    websocket.Header
	kept []byte // the start of the payload
}

func newWatch(s *Session) *watch {
	w := new(watch)
	for i, x := range [...]*side{&s.client, &s.up} {
		v := &w.sides[i]
		if v.left = x.cur.Left(); v.left > 0 {
			v.skip = true
			continue
		}
		v.head = append(v.head, x.cur.Held()...)
	}
	return w
}

func (w *watch) remove(t *Tap) {
	for i, u := range w.taps {
		if u == t {
			w.taps = append(w.taps[:i], w.taps[i+1:]...)
			return
		}
	}
}

func (w *watch) put(f *Frame) {
	for _, t := range w.taps {
		t.put(f)
	}
}

// read is p, which was read from x.
func (w *watch) read(x *side, p []byte) {
	v, f := &w.sides[0], Frame{From: Client, To: Upstream}
	if x.by() == Upstream {
		v, f = &w.sides[1], Frame{From: Upstream, To: Client}
	}
	for len(p) > 0 {
		if v.left > 0 {
			p = p[v.take(p, w.payload):]
		} else if n, ok := v.header(p, w.payload); !ok {
			return // a frame rule is broken: the session ends
		} else if p = p[n:]; len(v.head) > 0 {
			return // more has to come
		}
		if v.left > 0 {
			continue
		}
		if !v.skip {
			f.Time = x.s.loop().Now()
			f.is(&v.h, v.kept)
			w.put(&f)
		}
		v.skip, v.kept = false, v.kept[:0]
	}
}

// header reads a header. It returns how much of p was of it; the head is empty then, unless there has to be more.
func (v *watched) header(p []byte, most int) (n int, ok bool) {
	for {
		h, size, err := websocket.ParseHeader(v.head)
		switch {
		case err != nil:
			return n, false
		case size > 0:
			v.h, v.left = h, h.Length
			// What was held of a control frame may be more than its header.
			rest := v.head[size:]
			v.head = v.head[:0]
			v.take(rest, most)
			return n, true
		case n == len(p):
			return n, true
		}
		v.head = append(v.head, p[n])
		n++
	}
}

// take takes of p what is payload, and keeps its first most bytes.
func (v *watched) take(p []byte, most int) (n int) {
	n = int(min(v.left, int64(len(p))))
	v.left -= int64(n)
	if k := min(most-len(v.kept), n); k > 0 && !v.skip && v.h.Opcode != websocket.OpContinuation {
		at := len(v.kept)
		v.kept = append(v.kept, p[:k]...)
		if v.h.Masked {
			websocket.Mask(v.kept[at:], v.h.Mask, at)
		}
	}
	return n
}

// is fills in what a header and the start of a payload say.
func (f *Frame) is(h *websocket.Header, payload []byte) {
	f.Opcode, f.Fin, f.Compressed, f.Size, f.Payload = h.Opcode, h.Fin, h.RSV&websocket.RSV1 != 0, h.Length, payload
}

// showOwn has those who watch see p, a frame of the gateway for x; nil: there is none.
func (s *Session) showOwn(x *side, p []byte) {
	if s.client.has(flagTapped) && len(p) > 0 {
		s.cold.watch.own(x, p)
	}
}

// own is a frame of the gateway's, whole, for x.
func (w *watch) own(x *side, p []byte) {
	h, n, err := websocket.ParseHeader(p)
	if err != nil || n == 0 {
		return // it has been made here: this does not happen
	}
	f := Frame{Time: x.s.loop().Now(), From: Gateway, To: x.by()}
	f.is(&h, websocket.AppendPayload(nil, p))
	w.put(&f)
}

// moved is another upstream that has taken over.
func (w *watch) moved(s *Session) {
	w.sides[1] = watched{}
	w.put(&Frame{Time: s.loop().Now(), From: Upstream, To: Client, Moved: true})
}

// endWatch is the end of the session.
func (s *Session) endWatch() {
	if !s.client.has(flagTapped) {
		return
	}
	for _, t := range s.cold.watch.taps {
		t.end()
	}
	s.cold.watch.taps = nil
	s.unwatch()
}
