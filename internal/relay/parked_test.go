package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A client that says more than may wait for another upstream is not read meanwhile, so its Pong cannot come.
func TestPongBehindWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &relay.Policy{Hold: 256, Ping: time.Second, Pong: 2 * time.Second, CloseTimeout: time.Second}
		w := newWorld(t, p, fromClient("m1", "m2"+strings.Repeat(filler(2), 300)), 1<<20, true)
		w.do(func() { w.say(w.ends[0]) })
		w.serve(w.up)
		w.do(func() { w.up.die(true) })
		w.do(func() { w.say(300) }) // a part of the next one, and more than may wait
		w.asked(1, true)
		time.Sleep(8 * time.Second)
		w.asked(1, true)
		w.do(func() { w.resume() })
		w.goesOn(0)
		w.end()
	})
}

// One that is read, and owes a Pong, is lost; so says the cause.
func TestPongMissingMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &relay.Policy{Hold: 256, Ping: time.Second, Pong: 2 * time.Second}, fromClient("m1"), 1<<20, true)
		w.pass()
		w.do(func() { w.up.die(true) })
		w.asked(1, true)
		time.Sleep(8 * time.Second)
		w.asked(1, false)
		if w.result == nil || w.result.By != relay.Client || w.result.Cause != relay.CausePong {
			t.Errorf("result %+v", w.result)
		}
	})
}

// A Ping that the gateway answers, because no upstream is there, keeps the session from being idle, as any other does.
func TestPingMeanwhileIsLife(t *testing.T) {
	for _, messages := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			script := fromClient("m1")
			for i := range byte(9) {
				script = websocket.AppendFrame(script, websocket.OpPing, true, &[4]byte{1, 2, 3, 4}, []byte{'0' + i})
			}
			w := newWorld(t, &relay.Policy{Hold: 256, Idle: 3 * time.Second, IdleMessages: messages, CloseTimeout: time.Second}, script, 1<<20, true)
			w.do(func() { w.say(w.ends[0]) })
			w.serve(w.up)
			w.do(func() { w.up.die(true) })
			for range 4 {
				time.Sleep(2 * time.Second)
				w.do(func() { w.say(7) })
			}
			w.asked(1, !messages)
			w.end()
		})
	}
}
