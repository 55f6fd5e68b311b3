package relay_test

import (
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A loop that holds too much for slow readers cuts off who holds most, until it holds no more than it may. Who reads stays.
func TestHeldIsBounded(t *testing.T) {
	const most = 300 << 10
	e := loop.Open(loop.Options{Loops: 1, MaxHeld: most})
	t.Cleanup(e.Close)
	o := rigOptions{engine: e, policy: relay.Policy{CloseTimeout: 50 * time.Millisecond}}
	good := newRig(t, o)
	good.hello()
	var flood sync.WaitGroup
	defer flood.Wait()
	const slow = 24
	ended := make(chan relay.Result, slow)
	o.done, o.pipeClient = ended, true // no kernel takes what nobody reads: each session holds as much as it may
	rigs := make([]*rig, slow)
	for i := range rigs {
		r := newRig(t, o)
		rigs[i] = r
		frame := r.upstream.frame(websocket.OpBinary, true, string(make([]byte, 32<<10)))
		flood.Go(func() {
			_ = r.upstream.SetWriteDeadline(time.Now().Add(patience))
			for range 1000 {
				if _, err := r.upstream.Write(frame); err != nil {
					return // cut off, or the test is over
				}
			}
		})
	}
	cut := 0
	for end := time.After(patience); cut < slow/3; cut++ {
		select {
		case res := <-ended:
			if res.Cause != relay.CauseHeld || res.By != relay.Gateway {
				t.Fatalf("ended by %v: %s", res.By, res.Cause)
			}
		case <-end:
			held, _ := e.Held()
			t.Fatalf("%d were cut off, %d bytes are held", cut, held)
		}
	}
	good.hello()
	for _, r := range rigs {
		_ = r.client.Close()
		r.upstream.reset()
	}
	for ; cut < slow; cut++ {
		<-ended
	}
	good.finish()
	if held, limit := e.Held(); held != 0 || limit != most {
		t.Errorf("%d bytes are held for nobody, limit %d", held, limit)
	}
}

// What is held never gets far beyond the limit, whatever order the debts change in.
func TestDebts(t *testing.T) {
	l := loop.Open(loop.Options{Pumps: true, MaxHeld: 1000}).Loop()
	debts := make([]loop.Debt, 10)
	told := map[int]bool{}
	done := make(chan struct{})
	owe := func(i int, bytes int64) {
		l.Owe(&debts[i], loop.Task(func() { told[i] = true }), bytes)
	}
	l.Post(func() {
		for i := range debts {
			owe(i, int64(100-i))
		}
		owe(3, 0)
		owe(7, 300) // too much in all, and the most
		owe(7, 301) // it knows
		l.Post(func() {
			owe(7, 0)
			owe(7, 90)
			owe(2, 400)
			l.Post(func() { close(done) })
		})
	})
	<-done
	if len(told) != 2 || !told[7] || !told[2] {
		t.Errorf("told %v, want 7 and 2", told)
	}
}
