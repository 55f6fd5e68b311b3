package relay_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

var errReset = errors.New("reset")

// A fakeStream is a connection without a socket: the test decides, step by step, what it has and what it takes.
type fakeStream struct {
	l *loop.Loop
	h loop.Handler

	script []byte // what this peer may send, in order
	came   int    // how much of it has arrived
	read   int    // how much of it was read
	end    error  // after what came; nil: open
	told   bool   // Readable was told, ErrAgain not yet

	room    int // how much it takes
	out     []byte
	full    bool // ErrAgain was said
	broken  bool // writes fail
	fin     bool
	closed  bool
	aborted bool
}

func (f *fakeStream) Read(p []byte) (int, error) {
	if f.closed {
		return 0, net.ErrClosed
	}
	n := copy(p, f.script[f.read:f.came])
	f.read += n
	switch {
	case n > 0:
		return n, nil
	case f.end != nil:
		return 0, f.end
	}
	f.told = false
	return 0, loop.ErrAgain
}

func (f *fakeStream) Write(p []byte) (int, error) {
	switch {
	case f.closed:
		return 0, net.ErrClosed
	case f.fin:
		return 0, errors.New("write after FIN")
	case f.broken:
		return 0, errReset
	}
	n := min(len(p), f.room)
	f.room -= n
	f.out = append(f.out, p[:n]...)
	if n < len(p) {
		f.full = true
		return n, loop.ErrAgain
	}
	return n, nil
}

func (f *fakeStream) Queued() int  { return 0 }
func (f *fakeStream) Unacked() int { return -1 }

func (f *fakeStream) CloseWrite() error {
	f.fin = true
	return nil
}

func (f *fakeStream) Close() { f.closed = true }

func (f *fakeStream) Abort() { f.closed, f.aborted = true, true }

func (f *fakeStream) Handle(h loop.Handler) { f.h = h }

// tell gives the event that is due.
func (f *fakeStream) tell() {
	var ev loop.Events
	if !f.told && (f.read < f.came || f.end != nil) {
		f.told = true
		ev |= loop.Readable
	}
	if f.full && (f.room > 0 || f.broken) {
		f.full = false
		ev |= loop.Writable
	}
	if ev != 0 && !f.closed {
		f.h.Ready(f.l, ev)
	}
}

// act is one step of the schedule at this peer.
func (f *fakeStream) act(op, arg byte) {
	if f.closed {
		return
	}
	switch op {
	case 0, 1, 2: // bytes arrive
		if f.end == nil {
			f.came = min(f.came+1+int(arg)*int(arg)/16, len(f.script))
		}
	case 3: // it reads
		f.room += 1 + int(arg)*int(arg)/16
	case 4:
		if f.end == nil {
			f.end = io.EOF
		}
	case 5:
		f.end, f.broken = errReset, true
	case 6: // its next frame is a Close
		at := boundary(f.script, f.came)
		f.script = websocket.AppendClose(bytes.Clone(f.script[:at]), maskFor(f.script), websocket.Code(4000)+websocket.Code(arg), "bye")
		f.came = len(f.script)
	case 7: // its next frame breaks a rule
		at := boundary(f.script, f.came)
		f.script = append(bytes.Clone(f.script[:at]), 0x83, f.script[1]&0x80, 0, 0, 0, 0)
		f.came = len(f.script)
	}
	f.tell()
}

// boundary is the end of the frame of script that holds its byte at.
func boundary(script []byte, at int) int {
	end := 0
	for end < at {
		h, n, _ := websocket.ParseHeader(script[end:])
		end += n + int(h.Length)
	}
	return end
}

func maskFor(script []byte) *[4]byte {
	if script[1]&0x80 == 0 {
		return nil
	}
	return &[4]byte{9, 8, 7, 6}
}

// law holds what a peer was sent to the rules, given what the other one has sent.
func law(t *testing.T, to, from *fakeStream, masked bool, res *relay.Result) {
	t.Helper()
	own := to.out
	n := 0
	for n < len(own) && n < from.read && own[n] == from.script[n] {
		n++
	}
	c := websocket.NewCursor(masked, false)
	closes, at := 0, 0
	for at < len(own) {
		kind, used, err := c.Next(own[at:])
		if err != nil {
			t.Fatalf("was sent a broken frame: %v", err)
		}
		if closes > 0 {
			t.Fatalf("was sent %x after a Close", own[at:])
		}
		if kind == websocket.Control && c.Opcode() == websocket.OpClose {
			closes++
		} else if at+used > n && !(kind == websocket.None && (to.aborted || to.broken)) { // the start of a Close, perhaps
			t.Fatalf("byte %d was not sent by the peer: %.40x, kind %d, to %+v, result %+v", n, own[n:], kind, to.aborted, res)
		}
		at += used
	}
	half := masked && from.end != nil && res.Cause == relay.CauseClientFIN // is passed on as it came
	if !to.aborted && !c.AtFrame() && !half && !to.broken {
		t.Fatalf("%d bytes before the end of a frame: not a reset; %+v", c.Left(), res)
	}
}

// heldLaw is law for a session that could move: there a control frame does not wait for the rest of a message.
func heldLaw(t *testing.T, to, from *fakeStream, masked bool, res *relay.Result) {
	t.Helper()
	data, control, broken := sort(to.out, masked)
	allData, allControl, _ := sort(from.script[:from.read], masked)
	if broken {
		t.Fatal("was sent a broken frame")
	}
	if !bytes.HasPrefix(allData, data) {
		t.Fatalf("was sent data that its peer did not send; %+v", res)
	}
	for i, frame := range control {
		switch op := websocket.Opcode(frame[0] & 15); {
		case len(allControl) > 0 && bytes.Equal(allControl[0], frame):
			allControl = allControl[1:]
		case op == websocket.OpClose && i == len(control)-1 || op == websocket.OpPong && !masked: // of the gateway
		default:
			t.Fatalf("was sent %x, not by its peer; %+v", frame, res)
		}
	}
	closed := len(control) > 0 && websocket.Opcode(control[len(control)-1][0]&15) == websocket.OpClose
	if closed && !bytes.HasSuffix(to.out, control[len(control)-1]) {
		t.Fatal("was sent something after a Close")
	}
	c := websocket.NewCursor(masked, false)
	_ = c.Advance(to.out)
	half := masked && from.end != nil && res.Cause == relay.CauseClientFIN
	if !to.aborted && !c.AtFrame() && !half && !to.broken {
		t.Fatalf("%d bytes before the end of a frame: not a reset; %+v", c.Left(), res)
	}
}

// sort takes apart what was sent: data frames, also a part of one, and whole control frames.
func sort(b []byte, masked bool) (data []byte, control [][]byte, broken bool) {
	c := websocket.NewCursor(masked, false)
	start := 0 // of the current unit
	for at := 0; at < len(b); {
		kind, n, err := c.Next(b[at:])
		if err != nil {
			return data, control, true
		}
		at += n
		switch kind {
		case websocket.None:
			return data, control, false
		case websocket.Control:
			control = append(control, b[start:at])
		default:
			data = append(data, b[start:at]...)
		}
		start = at
	}
	return data, control, false
}

// Laws, whatever happens in whatever order: Done comes exactly once; every peer is sent whole frames of the other, in
// order, then at most one Close and nothing more; a frame that cannot be finished ends in a reset.
func FuzzSchedule(f *testing.F) {
	f.Add(uint64(1), []byte("\x00\xff\x10\xff\x03\xff\x13\xff\x06\x01\x16\x02"))
	f.Add(uint64(2), []byte("\x00\x20\x03\x20\x18\x00\x10\x30\x04\x00"))
	f.Add(uint64(3), []byte("\x00\x03\x15\x00\x09\x10"))
	f.Add(uint64(4), []byte("\x10\x40\x05\x00\x15\x00"))
	f.Add(uint64(5), []byte("\x00\xff\x00\xff\x03\x05\x08\x00\x13\xff\x13\xff\x00\xff\x00\xff"))
	f.Add(uint64(6), []byte("\x10\xff\x13\x00\x07\x00\x03\x30\x17\x00"))
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 200 {
		steps := make([]byte, 2+2*rng.IntN(30))
		for k := range steps {
			steps[k] = byte(rng.Uint32())
		}
		f.Add(uint64(100+i), steps)
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps []byte) {
		synctest.Test(t, func(t *testing.T) { schedule(t, seed, steps) })
	})
}

func schedule(t *testing.T, seed uint64, steps []byte) {
	rng := rand.New(rand.NewPCG(seed, 1))
	l := loop.New()
	client := &fakeStream{l: l, script: traffic(rng, 3000, true), room: rng.IntN(2000)}
	up := &fakeStream{l: l, script: traffic(rng, 3000, false), room: rng.IntN(2000)}
	o := &owner{t: t, done: make(chan relay.Result, 1), verdict: relay.Verdict{Code: websocket.ServiceRestart}}
	policy := &relay.Policy{CloseTimeout: time.Second, Idle: time.Minute, Stall: 30 * time.Second}
	if seed%3 == 0 {
		policy.MaxMessage = 3000
	}
	if seed%2 == 0 {
		policy.Hold = 2000 // messages are held, but the owner finds no other upstream
	}
	if seed%2 == 0 {
		policy.Hold = 2000 // messages are held, but the owner finds no other upstream
	}
	s := relay.Start(l, relay.Side{Stream: client}, relay.Side{Stream: up}, policy, o)
	synctest.Wait()
	for ; len(steps) >= 2; steps = steps[2:] {
		who, op, arg := client, steps[0]&15, steps[1]
		if steps[0]&16 != 0 {
			who = up
		}
		switch op {
		case 8:
			s.Close(away, "test", "test")
		case 10:
			s.Detach("test")
		case 9:
			time.Sleep(time.Duration(arg) * 50 * time.Millisecond)
		default:
			l.Post(func() { who.act(op, arg) })
		}
		if arg%4 != 0 {
			synctest.Wait()
		}
	}
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	if n := o.calls.Load(); n != 1 {
		t.Fatalf("Done was called %d times", n)
	}
	if !client.closed || !up.closed {
		t.Fatal("a stream was not given back")
	}
	res := <-o.done
	if res.By == 0 || res.Cause == "" || res.Held != 0 {
		t.Fatalf("result %+v", res)
	}
	if policy.Hold > 0 {
		heldLaw(t, up, client, true, &res)
		heldLaw(t, client, up, false, &res)
		return
	}
	law(t, up, client, true, &res)
	law(t, client, up, false, &res)
}
