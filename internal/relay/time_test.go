package relay_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A fakeRig is a session between two fakeStreams, in fake time.
type fakeRig struct {
	l          *loop.Loop
	client, up *fakeStream
	owner      *owner
}

func newFakeRig(t *testing.T, p relay.Policy, fromClient, fromUp []byte) *fakeRig {
	l := loop.New()
	r := &fakeRig{
		l:      l,
		client: &fakeStream{l: l, script: fromClient, room: 1 << 30},
		up:     &fakeStream{l: l, script: fromUp, room: 1 << 30},
		owner:  &owner{t: t, done: make(chan relay.Result, 1)},
	}
	r.owner.session = relay.Start(l, relay.Side{Stream: r.client}, relay.Side{Stream: r.up}, &p, r.owner)
	synctest.Wait()
	return r
}

// do runs f on the loop and lets everything that follows from it happen.
func (r *fakeRig) do(f func()) {
	r.l.Post(f)
	synctest.Wait()
}

// arrive lets n more bytes of f's script arrive.
func (r *fakeRig) arrive(f *fakeStream, n int) {
	r.do(func() {
		f.came += n
		f.tell()
	})
}

func (r *fakeRig) cause() string {
	synctest.Wait()
	select {
	case res := <-r.owner.done:
		return res.Cause
	default:
		return ""
	}
}

func TestIdleCounts(t *testing.T) {
	mask := &[4]byte{1, 2, 3, 4}
	ping := websocket.AppendFrame(nil, websocket.OpPing, true, mask, []byte("x"))
	text := websocket.AppendFrame(nil, websocket.OpText, true, mask, []byte("x"))
	for name, c := range map[string]struct {
		policy relay.Policy
		frame  []byte
		idle   bool
	}{
		"silence":          {relay.Policy{}, nil, true},
		"data":             {relay.Policy{}, text, false},
		"ping":             {relay.Policy{}, ping, false},
		"data of messages": {relay.Policy{IdleMessages: true}, text, false},
		"ping of messages": {relay.Policy{IdleMessages: true}, ping, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.policy.Idle = 30 * time.Second
				r := newFakeRig(t, c.policy, bytes.Repeat(c.frame, 10), nil)
				for range 9 {
					time.Sleep(9 * time.Second)
					r.arrive(r.client, len(c.frame))
				}
				if got := r.cause() == relay.CauseIdle; got != c.idle {
					t.Errorf("ended idle: %v, want %v", got, c.idle)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
			})
		})
	}
}

// The gateway's own Pings and their answers are no life.
func TestIdleDespitePings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newFakeRig(t, relay.Policy{Idle: time.Minute, Ping: 10 * time.Second}, nil, nil)
		seen := [2]int{}
		for range 200 {
			time.Sleep(time.Second)
			r.do(func() {
				for i, f := range []*fakeStream{r.client, r.up} {
					fresh := f.out[seen[i]:]
					seen[i] = len(f.out)
					if len(fresh) == 0 || f.closed {
						continue
					}
					h, _, _ := websocket.ParseHeader(fresh)
					if h.Opcode != websocket.OpPing {
						continue
					}
					var mask *[4]byte
					if i == 0 {
						mask = &[4]byte{1, 2, 3, 4}
					}
					f.script = websocket.AppendFrame(f.script, websocket.OpPong, true, mask, websocket.AppendPayload(nil, fresh))
					f.came = len(f.script)
					f.tell()
				}
			})
		}
		if cause := r.cause(); cause != relay.CauseIdle {
			t.Errorf("cause %q", cause)
		}
		if len(r.client.out) < 5*10 {
			t.Errorf("client was sent %x", r.client.out)
		}
	})
}

// A reader that takes a little at a time is not stalled; one that takes nothing is.
func TestStallIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frame := websocket.AppendFrame(nil, websocket.OpBinary, true, nil, make([]byte, 50_000))
		r := newFakeRig(t, relay.Policy{}, nil, frame)
		r.client.room = 0
		r.arrive(r.up, len(frame))
		for range 20 {
			time.Sleep(50 * time.Second)
			r.do(func() { r.client.room = 10 }) // and the system does not even report it
		}
		if cause := r.cause(); cause != "" {
			t.Fatalf("ended: %s", cause)
		}
		time.Sleep(3 * time.Minute)
		if cause := r.cause(); cause != relay.CauseSlow {
			t.Errorf("cause %q", cause)
		}
	})
}

// A session is kept for hours, in great numbers: what it takes is no accident.
func TestSize(t *testing.T) {
	const most = 320
	if n := unsafe.Sizeof(relay.Session{}); n > most {
		t.Errorf("a Session takes %d bytes, want %d at most", n, most)
	}
	if n := relay.LinkSize; n > 104 {
		t.Errorf("to be able to move takes %d bytes, want 104 at most", n)
	}
}

// Passing a message on allocates nothing.
func TestRelayDoesNotAllocate(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.hello()
	up, buf := r.client.text("a message"), make([]byte, 64)
	_ = r.client.SetDeadline(time.Time{})
	_ = r.upstream.SetDeadline(time.Time{})
	n := testing.AllocsPerRun(500, func() {
		if _, err := r.client.Write(up); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(up); {
			n, err := r.upstream.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if n >= 1 { // the pools may lose a buffer to the collector now and then
		t.Errorf("%v allocations for a message", n)
	}
	r.finish()
}
