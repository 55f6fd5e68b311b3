package relay_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// deathModes are the values of failover, and reconnect over a stream that tells nothing of acknowledgements (TLS).
var deathModes = []string{"off", "reconnect", "replay", "blind"}

func deathPolicy(mode string) *relay.Policy {
	p := &relay.Policy{Hold: 4096, Replay: mode == "replay", CloseTimeout: time.Second}
	if mode == "off" {
		p.Hold = 0
	}
	return p
}

// A doom is how a backend dies: behind so many bytes that it took, or sent (-1: it does not), by FIN or by a reset.
type doom struct {
	in, out int
	fin     bool
}

// dooms calls f for every byte of from one to the other, each way, and both ways of dying.
func dooms(from, to, fromOut, toOut int, f func(doom)) {
	for _, fin := range []bool{true, false} {
		for at := from; at <= to; at++ {
			f(doom{at, -1, fin})
		}
		for at := fromOut; at <= toOut; at++ {
			f(doom{-1, at, fin})
		}
	}
}

// Without failover the client is told of the death, whatever byte it comes at, or reset where it is inside a frame.
func TestDeathWithoutFailover(t *testing.T) {
	t.Parallel()
	one := func(d doom) (in, out int) {
		synctest.Test(t, func(t *testing.T) {
			p, rng := deathPolicy("off"), rand.New(rand.NewPCG(1, uint64(d.in+d.out)))
			w := newWorld(t, p, conversation(rand.New(rand.NewPCG(4, 4)), 9, 20), 1<<20, true)
			b := w.up
			b.inLimit, b.outLimit, b.fin = d.in, d.out, d.fin
			for w.client.arrived == nil || len(w.client.arrived) < len(w.script) && !b.dead {
				w.do(func() { w.say(1 + rng.IntN(13)) })
				w.do(func() { b.take(1 + rng.IntN(30)); b.answer(0); b.send(1 + rng.IntN(20)) })
			}
			w.flow(100)
			in, out = b.taken, b.sent
			v := w.law()
			if b.dead && v.closes == 0 && !w.client.aborted {
				t.Fatalf("%+v: the client was not told: %+v", d, w.result)
			}
			if v.closes > 0 && (v.code != websocket.ServiceRestart || v.reason != "no move") {
				t.Fatalf("%+v: the client was told %d %q", d, v.code, v.reason)
			}
			w.end()
		})
		return in, out
	}
	in, out := one(doom{in: -1, out: -1})
	dooms(0, in, 0, out, func(d doom) { one(d) })
}

// end ends the session and wants it over.
func (w *world) end() {
	w.t.Helper()
	w.s.Close(away, "", "test")
	w.flow(5)
	w.client.end = io.EOF
	w.do(w.client.tell)
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if w.result == nil {
		w.t.Fatal("no end")
	}
	w.law()
}

// Whatever byte the backend dies at while the session closes: who has said Close is answered with it, once, and who has not is
// told, or goes on.
func TestDeathDuringClose(t *testing.T) {
	for _, mode := range deathModes {
		for _, by := range []string{"client", "gateway", "1012", "1001", "4001"} {
			for _, lag := range []int{0, 2} {
				t.Run(fmt.Sprintf("%s,%s,lag=%d", mode, by, lag), func(t *testing.T) {
					t.Parallel()
					one := func(d doom) (in, out [2]int) {
						synctest.Test(t, func(t *testing.T) { in, out = closingDeath(t, mode, by, lag, d) })
						return in, out
					}
					in, out := one(doom{in: -1, out: -1})
					dooms(in[0], in[1], out[0], out[1], func(d doom) { one(d) })
				})
			}
		}
	}
}

// closingDeath is one conversation that ends while its backend dies. It returns which bytes are of the end.
func closingDeath(t *testing.T, mode, by string, lag int, d doom) (in, out [2]int) {
	rng := rand.New(rand.NewPCG(5, 7)) // always the same, so that the bytes are
	w := newWorld(t, deathPolicy(mode), conversation(rand.New(rand.NewPCG(5, 5)), 4, 20), 1<<20, mode != "blind")
	b := w.up
	for len(w.client.arrived) < len(w.script) {
		w.do(func() { w.say(1 + rng.IntN(13)) })
		w.do(func() { b.take(1 << 20); b.answer(lag); b.send(1 << 20) })
	}
	in[0], out[0] = b.taken, b.sent
	b.fin = d.fin
	if d.in >= 0 {
		b.inLimit = d.in
	}
	if d.out >= 0 {
		b.outLimit = d.out
	}
	switch by {
	case "client":
		w.script = websocket.AppendClose(w.script, &[4]byte{1, 2, 3, 4}, 4002, "bye")
	case "gateway":
		w.s.Close(websocket.Policy, "time", "test")
	case "1012":
		b.bye(websocket.ServiceRestart)
	case "1001":
		b.bye(websocket.GoingAway)
	case "4001":
		b.bye(4001)
	}
	for range 60 {
		w.do(func() { w.say(1 + rng.IntN(4)) })
		w.do(func() {
			if b.inLimit == b.taken || b.outLimit == b.sent {
				b.die(b.fin)
			}
			b.take(1 + rng.IntN(4))
			b.answer(0)
			b.send(1 + rng.IntN(4))
		})
	}
	in[1], out[1] = b.taken, b.sent
	w.flow(100)
	judgeClosing(w, mode, by, d, out[1] == len(b.out))
	w.end()
	return in, out
}

// judgeClosing is the model. whole: all that the backend had to say has left it.
func judgeClosing(w *world, mode, by string, d doom, whole bool) {
	t, v := w.t, w.law()
	is := func(codes ...websocket.Code) bool {
		for _, code := range codes {
			if v.closes == 1 && v.code == code {
				return true
			}
		}
		return false
	}
	ok := false
	switch {
	case w.client.aborted: // nothing can be said inside a frame; with a Close no message is held back any more
		ok = v.closes == 0 && w.result.Cause == relay.CauseCut && (mode == "off" || by == "client" || by == "gateway")
	case by == "client" && mode == "off":
		ok = is(4002, websocket.ServiceRestart) // it may have died before it came
	case by == "client":
		ok = is(4002)
	case by == "gateway":
		ok = is(websocket.Policy)
	case mode == "off" && whole:
		ok = is(map[string]websocket.Code{"1012": 1012, "1001": 1001, "4001": 4001}[by]) || !d.fin && is(websocket.ServiceRestart)
	case mode == "off":
		ok = is(websocket.ServiceRestart)
	case by == "4001":
		ok = is(4001) || v.closes == 0 && w.result == nil && len(w.all) == 2
	default: // the session goes on
		ok = v.closes == 0 && w.result == nil && len(w.all) == 2
	}
	if !ok {
		t.Fatalf("%+v: the client saw %d Closes, %d %q; %d backends, result %+v", d, v.closes, v.code, v.reason, len(w.all), w.result)
	}
}

// Whatever byte the old backend, or the new one, dies at in a planned move: the session goes on. Without a death nothing is lost.
func TestDeathDuringPlannedMove(t *testing.T) {
	for _, mode := range deathModes[1:] {
		for _, who := range []string{"old", "new"} {
			t.Run(mode+","+who, func(t *testing.T) {
				t.Parallel()
				one := func(d doom) (in, out [2]int) {
					synctest.Test(t, func(t *testing.T) { in, out = plannedDeath(t, mode, who == "new", d) })
					return in, out
				}
				in, out := one(doom{in: -1, out: -1})
				dooms(in[0], in[1], out[0], out[1], func(d doom) { one(d) })
			})
		}
	}
}

// plannedDeath is one planned move in the middle of a conversation. It returns which bytes of the one who dies are of that time.
func plannedDeath(t *testing.T, mode string, dieNew bool, d doom) (in, out [2]int) {
	rng := rand.New(rand.NewPCG(6, 7)) // always the same, so that the bytes are
	w := newWorld(t, deathPolicy(mode), conversation(rand.New(rand.NewPCG(6, 6)), 8, 20), 1<<20, mode != "blind")
	first := w.up
	who := first
	live := func(lag int) {
		w.do(func() { w.say(1 + rng.IntN(13)) })
		for _, b := range w.all {
			w.do(func() { b.take(1 + rng.IntN(30)); b.answer(lag); b.send(1 + rng.IntN(20)) })
		}
	}
	for len(w.client.arrived) < len(w.script)/3 {
		live(1)
	}
	w.s.Detach("drain")
	doomed := func(b *backend) {
		who, in[0], out[0] = b, b.taken, b.sent
		b.inLimit, b.outLimit, b.fin = d.in, d.out, d.fin
	}
	if !dieNew {
		doomed(first)
	}
	for len(w.client.arrived) < len(w.script) {
		live(1)
		if who.inLimit == who.taken || who.outLimit == who.sent {
			w.do(func() { who.die(who.fin) })
		}
		if rng.IntN(5) == 0 {
			w.do(func() {
				if b := w.resume(); b != nil && dieNew && who == first {
					doomed(b)
				}
			})
		}
	}
	for range 20 {
		live(0)
	}
	w.do(func() {
		if b := w.resume(); b != nil && dieNew && who == first {
			doomed(b)
		}
	})
	w.flow(150)
	in[1], out[1] = who.taken, who.sent
	if w.result != nil {
		t.Fatalf("%+v: ended %+v", d, w.result)
	}
	v := w.law()
	var st relay.Stats
	w.s.Stats(&st)
	if d.in < 0 && d.out < 0 && (len(v.answers) != len(w.ends) || st.Uncertain != 0 || st.Moves != 1) {
		t.Fatalf("%d of %d answers, %d uncertain, %d moves", len(v.answers), len(w.ends), st.Uncertain, st.Moves)
	}
	if w.policy.Replay && len(v.answers) != len(w.ends) {
		t.Fatalf("%+v: %d of %d answers", d, len(v.answers), len(w.ends))
	}
	w.end()
	return in, out
}
