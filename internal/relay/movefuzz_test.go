package relay_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// Laws, whatever happens in whatever order: those of world.law; a move that the owner began ends for it, too; Done comes last.
func FuzzMove(f *testing.F) {
	f.Add(uint64(93), []byte("00,08AZ0\xdf&")) // taken late, and not acknowledged yet
	f.Add(uint64(135), []byte("0X90"))         // a message larger than the window
	f.Add(uint64(29), []byte("\x7f$70"))       // too many messages behind a Close of the upstream
	rng := rand.New(rand.NewPCG(8, 8))
	for i := range 400 {
		steps := make([]byte, 2+2*rng.IntN(60))
		for k := range steps {
			steps[k] = byte(rng.Uint32())
		}
		f.Add(uint64(i), steps)
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps []byte) {
		synctest.Test(t, func(t *testing.T) { moves(t, seed, steps) })
	})
}

func moves(t *testing.T, seed uint64, steps []byte) {
	rng := rand.New(rand.NewPCG(seed, 3))
	p := &relay.Policy{
		Hold: []int{256, 2048, 64 << 10}[rng.IntN(3)], Replay: rng.IntN(2) == 0,
		CloseTimeout: time.Second, Idle: time.Hour, Stall: 30 * time.Second,
	}
	if rng.IntN(3) == 0 {
		p.Ping = time.Second
	}
	if seed%5 == 4 {
		p.Rate = relay.Rate{Every: 50 * time.Millisecond, Burst: 1 + int(seed%16)}
	}
	size := []int{20, 400}[rng.IntN(2)]
	if seed%4 == 3 {
		size = 6000
	}
	w := newWorld(t, p, conversation(rng, 30, size), []int{50, 1000, 1 << 20}[rng.IntN(3)], rng.IntN(3) > 0)
	if w.scale = 1; seed%4 == 3 { // messages that are read into memory of their own, and kept there
		w.scale, w.client.direct = 10, true
	}
	w.stay = rng.IntN(2) == 0
	for ; len(steps) >= 2; steps = steps[2:] {
		op, arg, who := steps[0]&15, steps[1], int(steps[0]>>4)
		switch {
		case op == 8:
			time.Sleep(time.Duration(arg) * time.Duration(arg) * time.Millisecond / 4)
		case op == 12:
			w.s.Detach("test")
		case op == 13 && arg%4 == 1:
			w.s.Lose("test")
		case op == 13 && arg%16 == 2:
			w.s.Close(away, "", "test")
		case op == 13 && arg == 7:
			w.s.Cut("test")
		default:
			w.l.Post(func() { w.step(op, arg, who) })
		}
		if arg%4 != 0 {
			synctest.Wait()
		}
	}
	synctest.Wait()
	w.wait, w.stay = time.Minute, true
	w.flow(200)
	w.law()
	w.s.Close(away, "", "test")
	w.flow(10)
	w.client.end = io.EOF
	w.do(w.client.tell)
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	if w.result == nil {
		t.Fatal("no end")
	}
	w.law()
}

// step is something that happens at a peer.
func (w *world) step(op, arg byte, who int) {
	size := w.scale * (1 + int(arg)*int(arg)/16)
	b := w.up
	if arg%3 == 0 {
		b = w.all[who%len(w.all)] // also one that was left
	}
	switch op {
	case 0, 1, 2:
		if op > 0 && w.scale > 1 {
			size = w.untilEnd(int(arg) % 3)
		}
		w.say(size)
	case 3:
		w.client.room += size
		w.client.tell()
	case 4, 5:
		b.take(size)
	case 6:
		b.answer(int(arg) % 4)
	case 7:
		b.send(size)
	case 9:
		b.die(arg&1 == 0)
	case 10, 11:
		w.resume()
	case 13:
		if w.loss != nil && arg%4 == 0 {
			w.s.GiveUp(w.loss.Epoch, relay.Verdict{Code: websocket.ServiceRestart, Reason: "given up", Stay: w.stay})
		}
	case 14:
		b.ack()
		b.wire.cut = b.wire.cut || arg%8 == 0 // an acknowledgement that is lost with the network would go unnoticed
	case 15:
		w.misbehave(b, arg)
	}
}

// misbehave has a peer say goodbye in its own way.
func (w *world) misbehave(b *backend, arg byte) {
	switch arg % 16 {
	case 0, 1, 2: // the backend goes: a move, if the owner likes
		b.bye(websocket.ServiceRestart)
	case 3:
		b.bye(websocket.GoingAway)
	case 4:
		b.bye(4001)
	case 5:
		if w.atBoundary() {
			w.script = websocket.AppendClose(w.script[:len(w.client.arrived)], &[4]byte{1, 2, 3, 4}, 4002, "bye")
			w.say(100)
		}
	case 6:
		w.client.end = io.EOF
	case 7:
		w.client.end, w.client.broken = errReset, true
	case 8, 9, 10:
		b.say(websocket.OpPing, true, "are you there")
	case 11:
		w.wait = 0
	case 12:
		w.wait = 2 * time.Second
	}
	w.client.tell()
}

// untilEnd is how much is missing of the client's current message and of n more.
func (w *world) untilEnd(n int) int {
	for i, end := range w.ends {
		if missing := end - len(w.client.arrived); missing > 0 {
			return w.ends[min(i+n, len(w.ends)-1)] - len(w.client.arrived)
		}
	}
	return 0
}

func (b *backend) bye(code websocket.Code) {
	if !b.closed && !b.dead {
		b.out = websocket.AppendClose(b.out, nil, code, "bye")
		b.closed = true
	}
}

func (w *world) atBoundary() bool {
	c := websocket.NewCursor(true, false)
	return !errors.Is(c.Advance(w.client.arrived), io.EOF) && c.AtMessage() && w.client.end == nil
}
