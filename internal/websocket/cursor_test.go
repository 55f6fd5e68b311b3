package websocket

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what a Cursor tells of a stream, however it was split.
type seen struct {
	first      uint8
	left, size int64
	inMessage  bool
	held       string
	err        error
}

func (c *Cursor) seen() seen {
	return seen{c.first, c.left, c.size, c.inMessage, string(c.Held()), c.Err()}
}

// walk feeds p and returns the bytes of all whole units and payload, in order.
func walk(t *testing.T, c *Cursor, p []byte) []byte {
	t.Helper()
	var out []byte
	for len(p) > 0 {
		held := bytes.Clone(c.Held())
		kind, n, err := c.Next(p)
		if err != nil {
			return out
		}
		if kind == None {
			if n != len(p) {
				t.Fatalf("None after %d of %d bytes", n, len(p))
			}
			return out
		}
		if n == 0 {
			t.Fatal("no progress")
		}
		out = append(append(out, held...), p[:n]...)
		p = p[n:]
	}
	return out
}

func sampleStream(masked bool) []byte {
	var m *[4]byte
	if masked {
		m = &[4]byte{1, 2, 3, 4}
	}
	var s []byte
	s = AppendFrame(s, OpText, true, m, []byte("hello"))
	s = AppendFrame(s, OpBinary, false, m, make([]byte, 126))
	s = AppendFrame(s, OpPing, true, m, make([]byte, 125))
	s = AppendFrame(s, OpContinuation, false, m, nil)
	s = AppendFrame(s, OpContinuation, true, m, make([]byte, 70_000))
	s = AppendFrame(s, OpText, true, m, nil)
	s = AppendFrame(s, OpPong, true, m, nil)
	return AppendClose(s, m, Normal, "bye")
}

func TestCursorSplit(t *testing.T) {
	for _, masked := range []bool{false, true} {
		in := sampleStream(masked)
		whole := NewCursor(masked, false)
		if out := walk(t, &whole, in); !bytes.Equal(out, in) {
			t.Fatal("units are not the stream")
		}
		if !whole.AtMessage() || whole.Opcode() != OpClose {
			t.Fatalf("at the end: %+v", whole.seen())
		}
		for k := range in {
			if k > 500 && k < len(in)-200 && k%997 != 0 {
				continue // inside the large payload nothing happens
			}
			split := NewCursor(masked, false)
			out := walk(t, &split, in[:k])
			out = append(out, walk(t, &split, in[k:])...)
			if split.seen() != whole.seen() {
				t.Fatalf("cut at %d: %+v, want %+v", k, split.seen(), whole.seen())
			}
			if !bytes.Equal(out, in) {
				t.Fatalf("cut at %d: units are not the stream", k)
			}
		}
		bytewise := NewCursor(masked, false)
		for _, b := range in {
			walk(t, &bytewise, []byte{b})
		}
		if bytewise.seen() != whole.seen() {
			t.Fatalf("byte by byte: %+v, want %+v", bytewise.seen(), whole.seen())
		}
	}
}

func TestCursorRules(t *testing.T) {
	const server, client = false, true
	for name, c := range map[string]struct {
		masked, deflate bool
		in              string
		want            error
	}{
		"text":                   {server, false, "\x81\x01a", nil},
		"reserved opcode":        {server, false, "\x83\x00", ErrOpcode},
		"reserved control":       {server, false, "\x8B\x00", ErrOpcode},
		"rsv1":                   {server, false, "\xC1\x01a", ErrReserved},
		"rsv1 agreed":            {server, true, "\xC1\x01a", nil},
		"rsv1 fragments":         {server, true, "\x41\x01a\x80\x01b", nil},
		"rsv1 on continuation":   {server, true, "\x41\x01a\xC0\x01b", ErrReserved},
		"rsv1 on control":        {server, true, "\xC9\x00", ErrReserved},
		"rsv2":                   {server, true, "\xA1\x01a", ErrReserved},
		"rsv3":                   {server, true, "\x91\x01a", ErrReserved},
		"unmasked client":        {client, false, "\x81\x01a", ErrUnmasked},
		"masked server":          {server, false, "\x81\x81abcda", ErrMasked},
		"fragmented ping":        {server, false, "\x09\x00", ErrControlFragment},
		"long ping":              {server, false, "\x89\x7E\x00\x7E", ErrControlLength},
		"continuation first":     {server, false, "\x80\x00", ErrNoMessage},
		"continuation after end": {server, false, "\x81\x00\x80\x00", ErrNoMessage},
		"text in message":        {server, false, "\x01\x00\x81\x00", ErrInMessage},
		"ping in message":        {server, false, "\x01\x00\x89\x00\x80\x00", nil},
		"length with top bit":    {server, false, "\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00", ErrLength},
		"length not minimal":     {server, false, "\x82\x7F\x00\x00\x00\x00\x00\x00\x00\x01a\x82\x7E\x00\x01a", nil},
		"message beyond 63 bits": {
			server, false,
			"\x02\x01a\x00\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", ErrLength,
		},
	} {
		cur := NewCursor(c.masked, c.deflate)
		err := cur.Advance([]byte(c.in))
		if !errors.Is(err, c.want) || !errors.Is(cur.Err(), c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if c.want != nil {
			if _, n, err := cur.Next([]byte("\x81\x00")); n != 0 || !errors.Is(err, c.want) {
				t.Errorf("%s: error is not final", name)
			}
		}
	}
}

// A session keeps two of them.
func TestCursorSize(t *testing.T) {
	if n := unsafe.Sizeof(Cursor{}); n > 32 {
		t.Errorf("a Cursor takes %d bytes, want 32 at most", n)
	}
}

func TestCursorPosition(t *testing.T) {
	c := NewCursor(false, false)
	step := func(in string, left, size int64, atFrame, atMessage bool) {
		t.Helper()
		if err := c.Advance([]byte(in)); err != nil {
			t.Fatal(err)
		}
		if c.Left() != left || c.MessageSize() != size || c.AtFrame() != atFrame || c.AtMessage() != atMessage {
			t.Fatalf("after %q: left %d size %d at frame %v at message %v", in, c.Left(), c.MessageSize(), c.AtFrame(), c.AtMessage())
		}
	}
	step("", 0, 0, true, true)
	step("\x01", 0, 0, false, false)
	step("\x03", 3, 3, false, false)
	step("ab", 1, 3, false, false)
	step("c", 0, 3, true, false)
	step("\x89\x01", 0, 3, false, false)
	step("p", 0, 3, true, false)
	step("\x80\x02de", 0, 5, true, true)
	step("\x82\x7E\x01\x00", 256, 256, false, false)
}

func TestCursorDoesNotAllocate(t *testing.T) {
	in := sampleStream(true)
	c := NewCursor(true, false)
	var buf [MaxControl]byte
	if n := testing.AllocsPerRun(100, func() {
		c = NewCursor(true, false)
		rest := in
		for len(rest) > 0 {
			kind, n, err := c.Next(rest[:min(len(rest), 50)]) // control frames are collected
			if err != nil {
				t.Fatal(err)
			}
			if kind == Control {
				AppendPayload(buf[:0], rest[:n])
			}
			rest = rest[n:]
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Law: however a stream is split, the units are the same bytes and the cursor ends in the same state.
func FuzzCursor(f *testing.F) {
	f.Add(sampleStream(false)[:600], uint64(1), false, false)
	f.Add(sampleStream(true)[:600], uint64(2), true, false)
	f.Add([]byte("\x41\x01a\x89\x00\x80\x01b"), uint64(3), false, true)
	f.Add([]byte("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00"), uint64(4), false, true)
	f.Fuzz(func(t *testing.T, in []byte, seed uint64, masked, deflate bool) {
		whole := NewCursor(masked, deflate)
		want := walk(t, &whole, in)
		if !bytes.HasPrefix(in, want) {
			t.Fatal("units are not the stream")
		}
		split := NewCursor(masked, deflate)
		rng := rand.New(rand.NewPCG(seed, 0))
		var got []byte
		for rest := in; len(rest) > 0; {
			n := min(1+rng.IntN(20), len(rest))
			got = append(got, walk(t, &split, rest[:n])...)
			rest = rest[n:]
		}
		a, b := whole.seen(), split.seen()
		if a.err != nil { // the bytes of the unit that broke the rule: whole leaves them where they were
			a.held, b.held = "", ""
		}
		if a != b || !bytes.Equal(got, want) {
			t.Fatalf("split %+v, whole %+v", b, a)
		}
		if len(whole.Held()) > 0 && whole.AtFrame() || whole.Left() < 0 || whole.MessageSize() < 0 {
			t.Fatalf("impossible state %+v", a)
		}
	})
}

// Law: what Append writes, ParseHeader reads, in as many bytes.
func FuzzHeader(f *testing.F) {
	f.Add(uint8(1), true, uint8(0), int64(125), true, uint32(7))
	f.Add(uint8(2), false, uint8(RSV1), int64(65536), false, uint32(0))
	f.Fuzz(func(t *testing.T, op uint8, fin bool, rsv uint8, length int64, masked bool, mask uint32) {
		h := Header{Opcode: Opcode(op & 15), Fin: fin, RSV: rsv & 0x70, Length: length & (1<<63 - 1), Masked: masked}
		if masked {
			h.Mask = [4]byte{byte(mask), byte(mask >> 8), byte(mask >> 16), byte(mask >> 24)}
		}
		p := h.Append(nil)
		got, n, err := ParseHeader(append(p, "rest"...))
		if err != nil || n != len(p) || got != h {
			t.Fatalf("%+v in %x: %+v, %d bytes, %v", h, p, got, n, err)
		}
		for k := range p {
			if _, n, err := ParseHeader(p[:k]); n != 0 || err != nil {
				t.Fatalf("%d of %d bytes: %d, %v", k, len(p), n, err)
			}
		}
	})
}

func TestAppendFrame(t *testing.T) {
	payload := []byte("Hello")
	// RFC 6455, section 5.7
	if got := AppendFrame(nil, OpText, true, nil, payload); string(got) != "\x81\x05Hello" {
		t.Errorf("%x", got)
	}
	masked := AppendFrame([]byte("x"), OpText, true, &[4]byte{0x37, 0xfa, 0x21, 0x3d}, payload)
	if string(masked) != "x\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" || string(payload) != "Hello" {
		t.Errorf("%x", masked)
	}
	if got := AppendPayload(nil, masked[1:]); string(got) != "Hello" {
		t.Errorf("%q", got)
	}
	if got := AppendPayload(nil, masked[1:len(masked)-1]); got != nil {
		t.Errorf("half a frame gave %q", got)
	}
	if got := AppendFrame(nil, OpBinary, true, nil, make([]byte, 65536)); !strings.HasPrefix(string(got), "\x82\x7F\x00\x00\x00\x00\x00\x01\x00\x00") {
		t.Errorf("%x", got[:10])
	}
}

func BenchmarkCursor(b *testing.B) {
	var in []byte
	for range 100 {
		in = AppendFrame(in, OpText, true, &[4]byte{1, 2, 3, 4}, make([]byte, 128))
	}
	c := NewCursor(true, false)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Advance(in); err != nil {
			b.Fatal(err)
		}
	}
}
