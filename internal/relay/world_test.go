package relay_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A wire is a connection without a socket, seen from the gateway: kernels with buffers, and acknowledgements that may be late.
type wire struct {
	l *loop.Loop
	h loop.Handler

	arrived []byte // from the peer
	read    int
	end     error // after what arrived
	told    bool

	out     []byte // to the peer: taken by the kernel
	room    int
	full    bool
	got     []arrival // at the peer's kernel
	seen    int       // how much of out is known to be acknowledged
	cut     bool      // nothing gets through any more, either way
	broken  bool
	fin     bool
	closed  bool
	aborted bool
	plain   bool // acknowledgements can be asked for
	direct  bool // it says so itself
}

func (w *wire) Read(p []byte) (int, error) {
	if w.closed {
		return 0, net.ErrClosed
	}
	n := copy(p, w.arrived[w.read:])
	w.read += n
	switch {
	case n > 0:
		return n, nil
	case w.end != nil:
		return 0, w.end
	}
	w.told = false
	return 0, loop.ErrAgain
}

func (w *wire) Write(p []byte) (int, error) {
	switch {
	case w.closed:
		return 0, net.ErrClosed
	case w.fin:
		panic("write after FIN")
	case w.broken:
		return 0, errReset
	}
	n := min(len(p), w.room)
	w.room -= n
	w.out = append(w.out, p[:n]...)
	if n > 0 && !w.cut {
		w.got = append(w.got, arrival{len(w.out), w.l.Clock()})
	}
	if n < len(p) {
		w.full = true
		return n, loop.ErrAgain
	}
	return n, nil
}

// An arrival is how much of what was written had come at a time.
type arrival struct {
	at   int
	when time.Duration
}

// there is how much of what was written is with the peer's kernel.
func (w *wire) there() int {
	if len(w.got) == 0 {
		return 0
	}
	return w.got[len(w.got)-1].at
}

func (w *wire) Queued() int { return 0 }

func (w *wire) Unacked() int {
	if !w.plain {
		return -1
	}
	for _, a := range w.got {
		if !w.broken && a.when+40*time.Millisecond <= w.l.Clock() {
			w.seen = max(w.seen, a.at)
		}
	}
	return len(w.out) - w.seen
}

func (w *wire) LimitUnsent(int) bool { return w.plain }
func (w *wire) CloseWrite() error    { w.fin = true; return nil }
func (w *wire) Plain() bool          { return w.direct }
func (w *wire) Close()               { w.closed = true }
func (w *wire) Abort()               { w.closed, w.aborted = true, true }

// Handle has what is there told at once.
func (w *wire) Handle(h loop.Handler) {
	w.h = h
	w.l.Post(w.tell)
}

// tell gives the event that is due.
func (w *wire) tell() {
	if w.h == nil {
		return
	}
	var ev loop.Events
	if !w.told && (w.read < len(w.arrived) || w.end != nil) {
		w.told = true
		ev |= loop.Readable
	}
	if w.full && (w.room > 0 || w.broken) {
		w.full = false
		ev |= loop.Writable
	}
	if ev != 0 && !w.closed {
		w.h.Ready(w.l, ev)
	}
}

// A reader takes frames apart as they come.
type reader struct {
	cur     websocket.Cursor
	at      int
	message []byte
	frame   []byte
}

// feed calls got for every whole message and control frame of b, from where it stopped.
func (r *reader) feed(t *testing.T, b []byte, got func(op websocket.Opcode, payload string)) {
	for r.at < len(b) {
		kind, n, err := r.cur.Next(b[r.at:])
		if err != nil {
			t.Fatalf("was sent a broken frame: %v", err)
		}
		r.frame = append(r.frame, b[r.at:r.at+n]...)
		r.at += n
		if kind == websocket.None || r.cur.Left() > 0 {
			continue
		}
		payload := websocket.AppendPayload(nil, r.frame)
		r.frame = r.frame[:0]
		if kind == websocket.Control {
			got(r.cur.Opcode(), string(payload))
			continue
		}
		if r.message = append(r.message, payload...); r.cur.AtMessage() {
			got(websocket.OpText, string(r.message))
			r.message = nil
		}
	}
}

// A backend answers numbers, in order.
type backend struct {
	w        *world
	wire     *wire
	in       reader
	taken    int // of wire.out
	got      []int
	answered int
	out      []byte // what it has said, whole frames
	sent     int    // how much of that is on its way
	closed   bool   // it has sent a Close
	inLimit  int    // it dies when it has taken so much; <0: never
	outLimit int    // it dies when it has sent so much; <0: never
	fin      bool   // by FIN
	dead     bool
}

// take takes n bytes of input.
func (b *backend) take(n int) {
	if b.dead {
		return
	}
	n = min(n, b.wire.there()-b.taken)
	if b.inLimit >= 0 {
		n = min(n, b.inLimit-b.taken)
	}
	b.taken += n
	b.wire.room += n
	b.in.feed(b.w.t, b.wire.out[:b.taken], func(op websocket.Opcode, payload string) {
		switch op {
		case websocket.OpText:
			n := number(b.w.t, "m", payload)
			if want := fmt.Sprintf("m%d", n); strings.TrimRight(payload, filler(n)+" ") != want {
				b.w.t.Fatalf("message %d came as %.60q", n, payload)
			}
			b.got = append(b.got, n)
		case websocket.OpPing:
			b.say(websocket.OpPong, true, payload)
		case websocket.OpClose:
			if !b.closed {
				b.closed = true
				b.out = websocket.AppendFrame(b.out, websocket.OpClose, true, nil, []byte(payload))
			}
		}
	})
	if b.taken == b.inLimit {
		b.die(b.fin)
	}
}

func (b *backend) say(op websocket.Opcode, fin bool, payload string) {
	if !b.closed {
		b.out = websocket.AppendFrame(b.out, op, fin, nil, []byte(payload))
	}
}

// answer answers all but the last lag numbers.
func (b *backend) answer(lag int) {
	for ; b.answered < len(b.got)-lag && !b.closed; b.answered++ {
		n := b.got[b.answered]
		text := fmt.Sprintf("a%d%s", n, strings.Repeat(".", n%5*n%61))
		if n%3 == 0 {
			b.say(websocket.OpText, false, text[:1])
			b.say(websocket.OpPing, true, "between")
			b.say(websocket.OpContinuation, true, text[1:])
		} else {
			b.say(websocket.OpText, true, text)
		}
	}
}

// send puts n bytes on the way.
func (b *backend) send(n int) {
	if b.dead || b.wire.cut {
		return
	}
	n = min(n, len(b.out)-b.sent)
	if b.outLimit >= 0 {
		n = min(n, b.outLimit-b.sent)
	}
	if n > 0 {
		b.ack()
	}
	b.wire.arrived = append(b.wire.arrived, b.out[b.sent:b.sent+n]...)
	b.sent += n
	switch {
	case b.sent == b.outLimit:
		b.die(b.fin)
	case b.closed && b.sent == len(b.out):
		b.ack()
		b.wire.end, b.dead = io.EOF, true
	}
	b.wire.tell()
}

func (b *backend) ack() {
	if !b.wire.cut {
		b.wire.seen = b.wire.there()
	}
}

// die ends it: a FIN brings the last acknowledgement, a reset does not.
func (b *backend) die(fin bool) {
	if b.dead {
		return
	}
	b.dead = true
	if b.wire.cut {
		return
	}
	if fin {
		b.ack()
		b.wire.end = io.EOF
	} else {
		b.wire.Unacked() // the kernel knows what was acknowledged in time, whether it is asked or not
		b.wire.end, b.wire.broken = errReset, true
	}
	b.wire.tell()
}

// number is the number in a payload.
func number(t *testing.T, prefix, payload string) int {
	var n int
	if _, err := fmt.Sscanf(payload, prefix+"%d", &n); err != nil {
		t.Fatalf("got %q: %v", payload, err)
	}
	return n
}

// A world is a session between a client that sends numbers and backends that answer them.
type world struct {
	t      *testing.T
	l      *loop.Loop
	s      *relay.Session
	policy *relay.Policy
	client *wire
	script []byte // what the client says
	ends   []int  // of its messages in script
	all    []*backend
	up     *backend
	small  int // what a kernel takes
	plain  bool
	scale  int // of the steps of moves, in bytes

	loss    *relay.Loss // the owner waits
	planned int
	wait    time.Duration
	stay    bool
	result  *relay.Result
	lost    int
}

func newWorld(t *testing.T, p *relay.Policy, script []byte, room int, plain bool) *world {
	w := &world{t: t, l: loop.New(), policy: p, script: script, small: room, plain: plain, wait: 10 * time.Second}
	c := websocket.NewCursor(true, false)
	for at := 0; at < len(script); {
		kind, n, err := c.Next(script[at:])
		if err != nil {
			t.Fatal(err)
		}
		if at += n; kind != websocket.Control && kind != websocket.None && c.AtMessage() {
			w.ends = append(w.ends, at)
		}
	}
	w.client = &wire{l: w.l, room: room}
	w.up = w.newBackend()
	w.s = relay.Start(w.l, relay.Side{Stream: w.client}, relay.Side{Stream: w.up.wire}, p, w)
	synctest.Wait()
	return w
}

func (w *world) newBackend() *backend {
	b := &backend{w: w, wire: &wire{l: w.l, room: w.small, plain: w.plain}, inLimit: -1, outLimit: -1}
	b.in.cur = websocket.NewCursor(true, false)
	w.all = append(w.all, b)
	return b
}

func (w *world) Lost(_ *relay.Session, loss relay.Loss) relay.Verdict {
	if w.loss != nil || w.result != nil {
		w.t.Fatalf("asked %+v while the owner waits", loss)
	}
	w.lost++
	if !loss.Movable || w.wait == 0 {
		return relay.Verdict{Code: websocket.ServiceRestart, Reason: "no move", Stay: w.stay}
	}
	w.loss = &loss
	if loss.Planned {
		w.planned++
	}
	return relay.Verdict{Wait: w.wait, Code: websocket.ServiceRestart, Reason: "nowhere", Stay: w.stay}
}

func (w *world) Moved(_ *relay.Session, epoch uint32, ok bool) {
	if w.loss == nil || w.loss.Epoch != epoch {
		w.t.Fatalf("moved %d %v, asked %+v", epoch, ok, w.loss)
	}
	w.loss = nil
}

func (w *world) Done(_ *relay.Session, r *relay.Result) {
	if w.result != nil {
		w.t.Fatal("Done was called twice")
	}
	if w.loss != nil {
		w.t.Fatalf("Done while the owner waits for %+v", w.loss)
	}
	c := *r
	w.result = &c
}

func (w *world) do(f func()) {
	w.l.Post(f)
	synctest.Wait()
}

// say lets n more bytes of the client arrive.
func (w *world) say(n int) {
	if w.client.end != nil || w.client.closed {
		return
	}
	at := len(w.client.arrived)
	w.client.arrived = append(w.client.arrived, w.script[at:min(at+n, len(w.script))]...)
	w.client.tell()
}

// resume brings another backend, if the owner waits.
func (w *world) resume() *backend {
	if w.loss == nil {
		return nil
	}
	old := w.up
	b := w.newBackend()
	w.up = b
	if !w.s.Resume(relay.Side{Stream: b.wire}, w.loss.Epoch) {
		w.up, w.all = old, w.all[:len(w.all)-1] // Resume came before
		return nil
	}
	return b
}

// flow lets everything happen that can: every backend lives on and answers.
func (w *world) flow(until int) {
	for range until {
		w.do(func() {
			w.client.room = 1 << 30
			w.say(len(w.script))
			w.client.tell()
			for _, b := range w.all {
				if b.dead {
					continue
				}
				b.wire.room = 1 << 30
				b.take(1 << 30)
				b.answer(0)
				b.send(1 << 30)
				b.ack()
				b.wire.tell()
			}
			w.resume()
			if w.up.wire.cut && w.up.wire.h != nil && w.loss == nil {
				w.s.Lose("cut") // as a gateway that pings finds out
			}
		})
		time.Sleep(20 * time.Millisecond)
	}
}

// A view is what the client has seen.
type view struct {
	answers []int
	pongs   map[string]int
	closes  int
	code    websocket.Code
	reason  string
}

// law holds the world to what a session promises, and returns what the client saw.
func (w *world) law() *view {
	t := w.t
	v := &view{pongs: map[string]int{}}
	r := reader{cur: websocket.NewCursor(false, false)}
	r.feed(t, w.client.out, func(op websocket.Opcode, payload string) {
		if v.closes > 0 {
			t.Fatalf("the client got %v after a Close", op)
		}
		switch op {
		case websocket.OpText:
			v.answers = append(v.answers, number(t, "a", payload))
		case websocket.OpPong:
			v.pongs[payload]++
		case websocket.OpClose:
			v.closes++
			v.code, v.reason, _ = websocket.ParseClose([]byte(payload))
		}
	})
	for i, n := range v.answers {
		if i > 0 && n <= v.answers[i-1] {
			t.Fatalf("the client saw answers %v: repeated or out of order", v.answers)
		}
	}
	for p, n := range v.pongs {
		if n > 1 {
			t.Fatalf("the client saw %d Pongs for %q", n, p)
		}
	}
	if w.result == nil && (!r.cur.AtFrame() || r.cur.InMessage()) && len(w.client.out) > 0 && w.up.dead {
		t.Fatal("the client was left inside a message")
	}
	if w.result != nil && !r.cur.AtFrame() && !w.client.aborted && w.client.end == nil {
		t.Fatalf("the client was left inside a frame without a reset: %+v", w.result)
	}
	w.rateLaw()
	seen := map[int]int{}
	for _, b := range w.all {
		for i, n := range b.got {
			if i > 0 && n <= b.got[i-1] {
				t.Fatalf("a backend got %v: repeated or out of order", b.got)
			}
			if seen[n]++; seen[n] > 1 && !w.policy.Replay {
				t.Fatalf("message %d was given to %d backends", n, seen[n])
			}
		}
		if w.result != nil && !b.wire.closed {
			t.Fatal("a stream was not given back")
		}
	}
	var st relay.Stats
	w.s.Stats(&st)
	if w.result == nil && v.closes == 0 {
		said := 0
		for _, end := range w.ends {
			if end <= len(w.client.arrived) {
				said++
			}
		}
		if missing := said - len(v.answers); missing > st.Uncertain {
			t.Fatalf("%d answers missing (of %d), %d uncertain, %d moves", missing, said, st.Uncertain, st.Moves)
		}
		if w.policy.Replay && w.planned == 0 && st.Uncertain > 0 {
			t.Fatalf("replay counted %d uncertain", st.Uncertain)
		}
	}
	return v
}

// filler is what the n-th message is filled with.
func filler(n int) string { return string(rune('A' + n%26)) }

// conversation is what a client says: n numbers, some in fragments, with Pings between and inside.
func conversation(rng *rand.Rand, n, most int) []byte {
	var out []byte
	pings := 0
	frame := func(op websocket.Opcode, fin bool, payload string) {
		out = websocket.AppendFrame(out, op, fin, &[4]byte{byte(rng.Uint32()), 2, 3, 4}, []byte(payload))
	}
	ping := func() {
		pings++
		frame(websocket.OpPing, true, fmt.Sprintf("p%d", pings))
	}
	for i := range n {
		text := fmt.Sprintf("m%d", i+1) + strings.Repeat(filler(i+1), rng.IntN(most))
		switch rng.IntN(3) {
		case 0:
			cut := rng.IntN(len(text))
			frame(websocket.OpText, false, text[:cut])
			if rng.IntN(2) == 0 {
				ping()
			}
			frame(websocket.OpContinuation, true, text[cut:])
		case 1:
			ping()
			fallthrough
		default:
			frame(websocket.OpText, true, text)
		}
	}
	return out
}

// Whatever byte the backend dies at, the client sees answers in order, none twice, none cut; what is missing was counted; with
// replay nothing is.
func TestDeathAtEveryByte(t *testing.T) {
	for _, mode := range []string{"reconnect", "replay", "blind"} {
		for _, fin := range []bool{true, false} {
			for _, lag := range []int{0, 3} {
				name := fmt.Sprintf("%s,fin=%v,lag=%d", mode, fin, lag)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					p := &relay.Policy{Hold: 4096, Replay: mode == "replay", CloseTimeout: time.Second}
					var in, out int
					synctest.Test(t, func(t *testing.T) { in, out = death(t, p, mode != "blind", fin, lag, -1, -1) })
					for at := range in {
						synctest.Test(t, func(t *testing.T) { death(t, p, mode != "blind", fin, lag, at, -1) })
					}
					for at := range out {
						synctest.Test(t, func(t *testing.T) { death(t, p, mode != "blind", fin, lag, -1, at) })
					}
				})
			}
		}
	}
}

// death is one conversation whose first backend dies at a byte, -1: none. It returns how many there are.
func death(t *testing.T, p *relay.Policy, plain, fin bool, lag, in, out int) (most, mostOut int) {
	rng := rand.New(rand.NewPCG(uint64(in+2), uint64(out+2)))
	script := conversation(rand.New(rand.NewPCG(4, 4)), 9, 20)
	w := newWorld(t, p, script, 1<<20, plain)
	first := w.up
	first.inLimit, first.outLimit, first.fin = in, out, fin
	for len(w.client.arrived) < len(script) && !w.client.closed {
		w.do(func() { w.say(1 + rng.IntN(13)) })
		w.do(func() {
			first.take(1 + rng.IntN(30))
			first.answer(lag)
			first.send(1 + rng.IntN(20))
		})
		if rng.IntN(4) == 0 {
			time.Sleep(time.Millisecond) // not so slow that a message goes on alone
		}
		if rng.IntN(5) == 0 {
			w.do(func() { w.resume() })
		}
	}
	w.flow(100)
	if w.result != nil {
		t.Fatalf("in %d, out %d: ended %+v", in, out, w.result)
	}
	w.law()
	w.s.Close(away, "", "test")
	w.flow(5)
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if w.result == nil {
		t.Fatal("no end")
	}
	w.law()
	return first.taken, first.sent
}
