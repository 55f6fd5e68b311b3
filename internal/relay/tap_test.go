package relay_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// framesOf are the frames of b as a Tap is to tell them.
func framesOf(t *testing.T, b []byte, payload int) (out []string) {
	t.Helper()
	for len(b) > 0 {
		h, n, err := websocket.ParseHeader(b)
		if err != nil || n == 0 {
			t.Fatal(err, n)
		}
		whole := b[:n+int(h.Length)]
		b = b[len(whole):]
		shown := websocket.AppendPayload(nil, whole)
		if h.Opcode == websocket.OpContinuation {
			shown = nil
		}
		out = append(out, fmt.Sprint(h.Opcode, h.Fin, h.Length, string(shown[:min(len(shown), payload)])))
	}
	return out
}

func told(frames []relay.Frame, from relay.By) (out []string) {
	for _, f := range frames {
		if f.From == from {
			out = append(out, fmt.Sprint(f.Opcode, f.Fin, f.Size, string(f.Payload)))
		}
	}
	return out
}

// However the bytes of a session come, a Tap is told of every frame from the next one on, as it was said.
func TestTap(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			client := conversation(rng, 20, 200)
			var up []byte
			for i := range 20 {
				up = websocket.AppendFrame(up, websocket.OpText, i%3 > 0, nil, bytes.Repeat([]byte{byte('a' + i)}, rng.IntN(300)))
				if i%3 == 0 {
					up = websocket.AppendFrame(up, websocket.OpContinuation, true, nil, []byte("rest"))
				}
			}
			p := relay.Policy{CloseTimeout: time.Second}
			if seed%2 == 0 {
				p.Hold = 1000
			}
			r := newFakeRig(t, p, client, up)
			s := r.owner.session
			payload, wakes := rng.IntN(150), 0
			tap := relay.NewTap(1000, payload, func() { wakes++ })
			skip := []int{rng.IntN(len(client)), rng.IntN(len(up))} // bytes that come before anybody watches
			r.arrive(r.client, skip[0])
			r.arrive(r.up, skip[1])
			stop := s.Watch(tap)
			synctest.Wait()
			for r.client.came < len(client) || r.up.came < len(up) {
				r.arrive(r.client, min(1+rng.IntN(40), len(client)-r.client.came))
				r.arrive(r.up, min(1+rng.IntN(40), len(up)-r.up.came))
			}
			frames, dropped, over := tap.Take()
			if dropped > 0 || over || wakes != 1 {
				t.Fatalf("%d dropped, over %v, %d wakes", dropped, over, wakes)
			}
			for i, c := range []struct {
				from relay.By
				all  []byte
			}{{relay.Client, client}, {relay.Upstream, up}} {
				want := framesOf(t, c.all, payload)
				want = want[len(want)-len(framesAfter(t, c.all, skip[i])):]
				if got := told(frames, c.from); !slices.Equal(got, want) {
					t.Fatalf("seed %d: of the %s the tap was told %q\nwant %q", seed, c.from, got, want)
				}
			}
			if seed%3 == 0 {
				stop()
			}
			s.Close(away, "", "test")
			time.Sleep(time.Minute)
			frames, _, over = tap.Take()
			if got, want := len(told(frames, relay.Gateway)), 2; seed%3 != 0 && (got != want || !over) || seed%3 == 0 && (got > 0 || over) {
				t.Errorf("seed %d: %d frames of the gateway, over %v", seed, got, over)
			}
			stop()
			synctest.Wait()
		})
	}
}

// framesAfter are the frames of b that end behind its first n bytes and do not begin within them, but where not even their header, or
// of a control frame anything, had come whole.
func framesAfter(t *testing.T, b []byte, n int) (out []int) {
	t.Helper()
	for at := 0; at < len(b); {
		h, size, err := websocket.ParseHeader(b[at:])
		if err != nil {
			t.Fatal(err)
		}
		begun := at + size
		end := begun + int(h.Length)
		if h.Opcode.Control() {
			begun = end
		}
		if begun > n {
			out = append(out, at)
		}
		at = end
	}
	return out
}

// A Tap whose reader is slow keeps what it may, and counts the rest.
func TestTapIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRig(t, relay.Policy{CloseTimeout: time.Second}, bytes.Repeat(rateText, 100), nil)
		wakes := 0
		tap := relay.NewTap(10, 1, func() { wakes++ })
		r.owner.session.Watch(tap)
		r.arrive(r.client, 100*len(rateText))
		if frames, dropped, _ := tap.Take(); len(frames) != 10 || dropped != 90 || wakes != 1 {
			t.Errorf("%d frames, %d dropped, %d wakes", len(frames), dropped, wakes)
		}
		r.owner.session.Cut("test")
		synctest.Wait()
		if _, _, over := tap.Take(); !over || wakes != 2 {
			t.Errorf("over %v, %d wakes", over, wakes)
		}
		late := relay.NewTap(1, 1, func() {})
		r.owner.session.Watch(late)()
		synctest.Wait()
		if _, _, over := late.Take(); !over {
			t.Error("a session that is over can be watched")
		}
	})
}

// A Tap is told what the gateway says in a move: the Pong to the client, and its Close, or its answer to one, to the upstream that is left.
func TestTapOfMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &relay.Policy{Hold: 256, CloseTimeout: time.Second}, fromClient("m1"), 1<<20, true)
		tap := relay.NewTap(100, 20, func() {})
		w.s.Watch(tap)
		w.do(func() { w.say(w.ends[0]) })
		w.serve(w.up)
		w.s.Detach("operator")
		synctest.Wait()
		w.goesOn(0)
		w.do(func() { w.up.die(true) })
		w.asked(2, true)
		w.script = websocket.AppendFrame(w.script, websocket.OpPing, true, &[4]byte{1, 2, 3, 4}, []byte("p"))
		w.do(func() { w.say(1 << 20) })
		w.do(func() { w.resume() })
		w.do(func() {
			w.up.out = websocket.AppendClose(w.up.out, nil, websocket.ServiceRestart, "x")
			w.up.send(1 << 20)
		})
		frames, _, _ := tap.Take()
		var got []string
		for _, f := range frames {
			switch {
			case f.Moved:
				got = append(got, "moved")
			case f.From == relay.Gateway:
				got = append(got, fmt.Sprint(f.Opcode, " ", f.To, " ", string(f.Payload[min(2, len(f.Payload)-1):])))
			}
		}
		want := []string{"8 upstream session moved", "moved", "10 client p", "moved", "8 upstream x"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q\nwant %q", got, want)
		}
		w.flow(2)
		w.end()
	})
}
