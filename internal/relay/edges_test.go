package relay_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// fromClient are frames of a client.
func fromClient(frames ...string) (script []byte) {
	for _, text := range frames {
		fin, op := !strings.HasSuffix(text, "+"), websocket.OpText
		if strings.HasPrefix(text, "+") {
			op = websocket.OpContinuation
		}
		script = websocket.AppendFrame(script, op, fin, &[4]byte{1, 2, 3, 4}, []byte(strings.Trim(text, "+")))
	}
	return script
}

// serve has b take, answer and send all there is.
func (w *world) serve(b *backend) { w.do(func() { b.take(1 << 20); b.answer(0); b.send(1 << 20) }) }

// asked wants the owner asked n times by now, and waiting or not.
func (w *world) asked(n int, waits bool) {
	w.t.Helper()
	var lost int
	var waiting bool
	w.do(func() { lost, waiting = w.lost, w.loss != nil }) // on the loop: a timer may be next to write them
	if lost != n || waiting != waits {
		w.t.Fatalf("asked %d times, want %d; waits: %v, want %v", lost, n, waiting, waits)
	}
}

// pass has the client say what it has to say, and the upstream answer all of it.
func (w *world) pass() {
	w.do(func() { w.say(1 << 20) })
	w.serve(w.up)
}

// planned is a session that leaves its first backend, which owes an answer, for another one.
func (w *world) leaving() (old, next *backend) {
	w.t.Helper()
	old = w.up
	w.do(func() { w.say(1 << 20) })
	w.do(func() { old.take(1 << 20) })
	w.s.Detach("drain")
	synctest.Wait()
	w.asked(1, true)
	w.do(func() { next = w.resume() })
	return old, next
}

// goesOn wants the session to live with another backend, with so much uncertain.
func (w *world) goesOn(uncertain int) {
	w.t.Helper()
	w.flow(5)
	v := w.law()
	var st relay.Stats
	w.s.Stats(&st)
	if w.result != nil || v.closes > 0 || st.Moves != 1 || st.Uncertain != uncertain {
		w.t.Fatalf("%d moves, %d uncertain, want 1 and %d; %d Closes, result %+v", st.Moves, st.Uncertain, uncertain, v.closes, w.result)
	}
	if want := len(w.ends) - uncertain; len(v.answers) != want {
		w.t.Fatalf("%d answers, want %d", len(v.answers), want)
	}
}

// told wants the session to end with this Close.
func (w *world) told(code websocket.Code, reason string) {
	w.t.Helper()
	w.flow(100)
	v := w.law()
	if w.result == nil || v.closes != 1 || v.code != code || v.reason != reason {
		w.t.Fatalf("%d Closes, %d %q, result %+v", v.closes, v.code, v.reason, w.result)
	}
}

// The edges of a move, by the names that docs/decisions/0007-moving-a-session.md gives them, where no other test is about one.
func TestEdges(t *testing.T) {
	one, two := fromClient("m1"), fromClient("m1", "m2")
	for _, c := range []struct {
		name   string
		script []byte
		run    func(w *world)
	}{
		{"pinned: CloseTimeout", fromClient("m1"+strings.Repeat(filler(1), 300)+"+", "+"+filler(1)), func(w *world) {
			w.stay = true
			w.do(func() { w.say(310) })
			w.s.Detach("drain")
			synctest.Wait()
			w.asked(0, false)
			time.Sleep(1100 * time.Millisecond)
			w.asked(1, false) // not Movable
			w.pass()
			if v := w.law(); len(v.answers) != 1 || len(w.all) != 1 {
				w.t.Fatalf("%d answers, %d backends", len(v.answers), len(w.all))
			}
		}},
		{"pinned: lost", fromClient("m1"+strings.Repeat(filler(1), 300)+"+", "+"+filler(1)), func(w *world) {
			w.do(func() { w.say(310) })
			w.s.Detach("drain")
			synctest.Wait()
			w.do(func() { w.up.die(true) })
			w.asked(1, false)
			w.told(websocket.ServiceRestart, "no move")
		}},
		{"dead: read to its end", two, func(w *world) {
			w.up.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.asked(0, false)
			w.do(func() { w.up.wire.end = io.EOF; w.up.dead = true; w.up.wire.tell() })
			w.asked(1, true)
			w.goesOn(0)
		}},
		{"dead: CloseTimeout", two, func(w *world) {
			w.up.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.asked(0, false)
			time.Sleep(1100 * time.Millisecond)
			w.asked(1, true)
			w.goesOn(0)
		}},
		{"dead: within a message of the upstream", two, func(w *world) {
			w.do(func() { w.say(w.ends[0]); w.up.take(1 << 20) })
			w.do(func() {
				w.up.say(websocket.OpText, false, "a1"+strings.Repeat(".", 300))
				w.up.answered = 1
				w.up.send(1 << 20)
			})
			w.up.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.do(func() {
				w.up.say(websocket.OpContinuation, true, "!")
				w.up.send(1 << 20)
				w.up.wire.end, w.up.dead = errReset, true
				w.up.wire.tell()
			})
			w.asked(1, true)
			w.goesOn(0)
		}},
		{"dead: the client is slow", two, func(w *world) {
			w.do(func() { w.client.room = 10; w.say(w.ends[0]); w.up.take(1 << 20) })
			w.do(func() {
				w.up.say(websocket.OpText, true, "a1"+strings.Repeat(".", 200<<10))
				w.up.answered = 1
				w.up.send(1 << 20)
			})
			w.up.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.do(func() { w.up.wire.end, w.up.dead = errReset, true; w.up.wire.tell() })
			for range 30 { // longer than CloseTimeout, but each time it takes something
				time.Sleep(200 * time.Millisecond)
				w.do(func() { w.client.room = 1 << 10; w.client.tell() })
			}
			w.asked(0, false)
			w.goesOn(0)
		}},
		{"leaving: the client is slow", one, func(w *world) {
			old, _ := w.leaving()
			w.do(func() {
				w.client.room = 10
				old.say(websocket.OpText, true, "a1"+strings.Repeat(".", 200<<10))
				old.answered = 1
				old.send(1 << 20)
			})
			for range 30 {
				time.Sleep(200 * time.Millisecond)
				w.do(func() { w.client.room = 1 << 10; w.client.tell() })
			}
			w.goesOn(0)
		}},
		{"planned: upstream lost, GiveUp to stay", one, func(w *world) {
			w.pass()
			w.s.Detach("operator")
			synctest.Wait()
			w.do(func() { w.up.die(false) })
			w.asked(1, true)
			w.s.GiveUp(w.loss.Epoch, relay.Verdict{Stay: true})
			w.asked(2, true)
			if w.loss.Planned || w.loss.Cause != relay.CauseLost || !w.loss.Movable {
				w.t.Fatalf("asked %+v", w.loss)
			}
			w.goesOn(0)
		}},
		{"planned: its Close, GiveUp to stay, nowhere", one, func(w *world) {
			w.pass()
			w.s.Detach("operator")
			synctest.Wait()
			w.do(func() {
				w.up.out = websocket.AppendClose(w.up.out, nil, websocket.GoingAway, "see you")
				w.up.closed = true
				w.up.send(1 << 20)
			})
			w.asked(1, true)
			epoch := w.loss.Epoch
			w.wait = 0
			w.s.GiveUp(epoch, relay.Verdict{Stay: true})
			w.asked(2, false)
			w.told(websocket.GoingAway, "see you")
		}},
		{"planned: upstream lost", one, func(w *world) {
			w.pass()
			w.s.Detach("drain")
			synctest.Wait()
			w.do(func() { w.up.die(false) })
			w.asked(1, true)
			w.goesOn(0)
		}},
		{"planned: its Close", one, func(w *world) {
			w.pass()
			w.s.Detach("drain")
			synctest.Wait()
			w.do(func() { w.up.bye(websocket.GoingAway); w.up.send(1 << 20) })
			w.asked(1, true)
			w.goesOn(0)
		}},
		{"planned: dead, Resume", two, func(w *world) {
			old := w.up
			w.s.Detach("drain")
			synctest.Wait()
			old.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.do(func() { w.resume() })
			w.asked(1, true)
			w.do(func() { old.wire.end = io.EOF; old.dead = true; old.wire.tell() })
			w.asked(1, false)
			w.goesOn(0)
		}},
		{"planned: dead, GiveUp", two, func(w *world) {
			old := w.up
			w.s.Detach("drain")
			synctest.Wait()
			old.wire.broken = true
			w.do(func() { w.say(1 << 20) })
			w.s.GiveUp(w.loss.Epoch, relay.Verdict{Code: websocket.ServiceRestart, Reason: "given up"})
			synctest.Wait()
			w.asked(1, false)
			w.do(func() { old.wire.end = io.EOF; old.dead = true; old.wire.tell() })
			w.asked(2, true)
			w.goesOn(0)
		}},
		{"planned: GiveUp", one, func(w *world) {
			w.pass()
			w.s.Detach("drain")
			synctest.Wait()
			w.s.GiveUp(w.loss.Epoch, relay.Verdict{Code: websocket.ServiceRestart, Reason: "given up"})
			synctest.Wait()
			w.told(websocket.ServiceRestart, "given up")
		}},
		{"settling: a second", one, func(w *world) {
			old, _ := w.leaving()
			time.Sleep(900 * time.Millisecond)
			w.do(func() { old.take(1 << 20) })
			if old.closed {
				w.t.Fatal("told before a second")
			}
			time.Sleep(200 * time.Millisecond)
			w.do(func() { old.take(1 << 20) })
			if !old.closed {
				w.t.Fatal("not told after a second")
			}
			w.do(func() { old.send(1 << 20) })
			w.asked(1, false)
			w.goesOn(1)
		}},
		{"settling: lost", one, func(w *world) {
			old, _ := w.leaving()
			w.do(func() { old.die(false) })
			w.asked(1, false)
			w.goesOn(1)
		}},
		{"settling: its Close", one, func(w *world) {
			old, _ := w.leaving()
			w.do(func() { old.answer(0); old.bye(websocket.ServiceRestart); old.send(1 << 20) })
			w.asked(1, false)
			w.goesOn(0)
		}},
		{"leaving: FIN", one, func(w *world) {
			old, _ := w.leaving()
			w.serve(old)
			w.asked(1, true)
			w.do(func() { old.die(true) })
			w.asked(1, false)
			w.goesOn(0)
		}},
		{"leaving: reset", one, func(w *world) {
			old, _ := w.leaving()
			w.serve(old)
			w.do(func() { old.die(false) })
			w.asked(1, false)
			w.goesOn(0)
		}},
		{"leaving: CloseTimeout", one, func(w *world) {
			old, _ := w.leaving()
			w.serve(old)
			old.dead = true // it says nothing any more
			time.Sleep(1100 * time.Millisecond)
			synctest.Wait()
			w.asked(1, false)
			w.goesOn(0)
		}},
		{"leaving: Pings are answered here", one, func(w *world) {
			w.leaving()
			w.script = websocket.AppendFrame(w.script, websocket.OpPing, true, &[4]byte{1, 2, 3, 4}, []byte("p1"))
			w.do(func() { w.client.room = 1 << 20; w.say(1 << 20) })
			if !bytes.HasSuffix(w.client.out, websocket.AppendFrame(nil, websocket.OpPong, true, nil, []byte("p1"))) {
				w.t.Fatalf("the client was sent %q", w.client.out)
			}
			w.goesOn(0)
		}},
		{"next is there: the client's Close", one, func(w *world) {
			old, next := w.leaving()
			w.script = websocket.AppendClose(w.script, &[4]byte{1, 2, 3, 4}, 4002, "bye")
			w.do(func() { w.say(1 << 20) })
			w.asked(1, false)
			w.serve(next)
			if !next.closed || !old.wire.closed {
				w.t.Fatalf("the next has had the Close: %v; the old one is left: %v", next.closed, old.wire.closed)
			}
			w.told(4002, "bye")
		}},
		{"next is there: the client's FIN", one, func(w *world) {
			_, next := w.leaving()
			w.do(func() { w.client.end = io.EOF; w.client.tell() })
			w.asked(1, false)
			if !next.wire.fin {
				w.t.Fatal("the next has had no FIN")
			}
		}},
		{"next is there: the client is lost", one, func(w *world) {
			_, next := w.leaving()
			w.do(func() { w.client.end, w.client.broken = errReset, true; w.client.tell() })
			w.asked(1, false)
			if !next.wire.closed {
				w.t.Fatal("the next is not dismissed")
			}
		}},
		{"gone: Lose while planned", one, func(w *world) {
			w.pass()
			w.s.Detach("drain")
			w.s.Lose("unhealthy")
			synctest.Wait()
			w.asked(1, true)
			w.goesOn(0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &relay.Policy{Hold: 256, CloseTimeout: time.Second}, c.script, 1<<20, true)
				c.run(w)
				w.end()
			})
		})
	}
}
