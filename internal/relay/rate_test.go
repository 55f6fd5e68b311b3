package relay_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// rateLaw: by now no more messages of the client have passed than Policy.Rate lets it say, however they came.
func (w *world) rateLaw() {
	r := w.policy.Rate
	if r.Every == 0 {
		return
	}
	said := map[int]bool{}
	for _, b := range w.all {
		for _, n := range b.got {
			said[n] = true
		}
	}
	if most := r.Burst + int(w.l.Clock()/r.Every); len(said) > most {
		w.t.Fatalf("%d messages have passed, %d may", len(said), most)
	}
	if w.result != nil && w.result.Cause == relay.CauseRate && w.result.By != relay.Gateway && w.result.Code == websocket.Policy {
		w.t.Fatalf("ended %+v", w.result)
	}
}

var (
	rateMask = &[4]byte{1, 2, 3, 4}
	rateText = websocket.AppendFrame(nil, websocket.OpText, true, rateMask, []byte("x"))
)

func TestRate(t *testing.T) {
	frame := func(op websocket.Opcode, fin bool) []byte {
		return websocket.AppendFrame(nil, op, fin, rateMask, []byte("x"))
	}
	fragments := append(frame(websocket.OpText, false), bytes.Repeat(frame(websocket.OpContinuation, false), 20)...)
	fragments = append(fragments, frame(websocket.OpContinuation, true)...)
	for name, c := range map[string]struct {
		client, up []byte
		ends       bool
	}{
		"a burst":              {bytes.Repeat(rateText, 10), nil, false},
		"one more":             {bytes.Repeat(rateText, 11), nil, true},
		"fragments":            {fragments, nil, false},
		"messages in pieces":   {bytes.Repeat(fragments, 11), nil, true},
		"Pings":                {bytes.Repeat(frame(websocket.OpPing, true), 50), nil, false},
		"of the service":       {nil, bytes.Repeat(websocket.AppendFrame(nil, websocket.OpText, true, nil, []byte("x")), 50), false},
		"a Close after enough": {append(bytes.Repeat(rateText, 10), websocket.AppendClose(nil, rateMask, normal, "")...), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newFakeRig(t, relay.Policy{Rate: relay.Rate{Every: 100 * time.Millisecond, Burst: 10}, CloseTimeout: time.Second}, c.client, c.up)
				r.arrive(r.up, len(c.up))
				r.arrive(r.client, len(c.client))
				time.Sleep(time.Minute)
				synctest.Wait()
				var res relay.Result
				select {
				case res = <-r.owner.done:
				default:
				}
				if got := res.Cause == relay.CauseRate; got != c.ends {
					t.Fatalf("ended %+v", res)
				}
				if !c.ends {
					if r.client.end = errReset; res.Cause == "" {
						r.do(r.client.tell)
						time.Sleep(time.Minute)
					}
					return
				}
				if res.Code != websocket.Policy || res.Reason != relay.CauseRate || res.By != relay.Gateway || res.MessagesIn != 10 {
					t.Errorf("result %+v", res)
				}
				bye := websocket.AppendClose(nil, nil, websocket.Policy, relay.CauseRate)
				if !bytes.HasSuffix(r.client.out, bye) {
					t.Errorf("the client was sent %x", r.client.out)
				}
				if !bytes.HasPrefix(r.up.out, c.client[:10*len(c.client)/11]) || !closesWith(t, r.up.out[10*len(c.client)/11:], away, relay.CauseRate) {
					t.Errorf("the upstream was sent %x", r.up.out)
				}
			})
		})
	}
}

// closesWith reports whether frame is that Close.
func closesWith(t *testing.T, frame []byte, code websocket.Code, reason string) bool {
	t.Helper()
	got, why, err := websocket.ParseClose(websocket.AppendPayload(nil, frame))
	return err == nil && got == code && why == reason
}

// A client may go on at the rate for ever, and one that was silent may say a burst, no more.
func TestRateOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := relay.Policy{Rate: relay.Rate{Every: 100 * time.Millisecond, Burst: 3}, CloseTimeout: time.Second}
		r := newFakeRig(t, policy, bytes.Repeat(rateText, 1000), nil)
		for range 500 {
			r.arrive(r.client, len(rateText))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		r.arrive(r.client, 3*len(rateText))
		if cause := r.cause(); cause != "" {
			t.Fatalf("ended: %s", cause)
		}
		r.arrive(r.client, len(rateText))
		time.Sleep(time.Minute)
		if cause := r.cause(); cause != relay.CauseRate {
			t.Errorf("cause %q", cause)
		}
	})
}

// A client that is not read, because its service takes nothing, says later what it could have said meanwhile, and no more.
func TestRateOfClientNotRead(t *testing.T) {
	for name, c := range map[string]struct {
		wait     time.Duration
		messages int
		ends     bool
	}{
		"ten seconds":       {10 * time.Second, 101, false},
		"ten seconds, more": {10 * time.Second, 104, true},
		"much longer":       {50 * time.Minute, 620, true}, // not for ever
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := relay.Policy{Rate: relay.Rate{Every: 100 * time.Millisecond, Burst: 3}, Stall: -1, CloseTimeout: time.Second}
				r := newFakeRig(t, policy, bytes.Repeat(rateText, 1+c.messages), nil)
				r.up.room = 1
				r.arrive(r.client, len(rateText)) // and now the service takes nothing
				r.arrive(r.client, c.messages*len(rateText))
				time.Sleep(c.wait)
				r.do(func() {
					r.up.room = 1 << 30
					r.up.tell()
				})
				time.Sleep(30 * time.Second)
				if got := r.cause() == relay.CauseRate; got != c.ends {
					t.Errorf("ended: %v, want %v", got, c.ends)
				}
				if !c.ends {
					r.client.end = errReset
					r.do(r.client.tell)
					time.Sleep(time.Minute)
				}
			})
		})
	}
}

// A client that talks at the rate while another upstream is looked for is not blamed for what the gateway did not read meanwhile.
func TestRateOfClientThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := conversation(rand.New(rand.NewPCG(1, 2)), 60, 30)
		policy := &relay.Policy{Hold: 200, Rate: relay.Rate{Every: 100 * time.Millisecond, Burst: 3}, CloseTimeout: time.Second}
		w := newWorld(t, policy, script, 1<<20, true)
		w.do(func() { w.up.die(true) })
		at := 0
		for _, end := range w.ends[:50] {
			w.do(func() { w.say(end - at) })
			at = end
			time.Sleep(100 * time.Millisecond)
		}
		w.flow(50)
		if w.result != nil {
			t.Fatalf("ended %+v", w.result)
		}
	})
}
