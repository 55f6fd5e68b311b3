package relay_test

import (
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// An endlessStream never runs dry.
type endlessStream struct {
	fakeStream
	frame []byte
	reads int
}

func (e *endlessStream) Read(p []byte) (int, error) {
	e.reads++
	return copy(p, e.frame), nil
}

// A session that floods gets a bounded number of reads, then it is the turn of the others of its loop.
func TestFairness(t *testing.T) {
	l := engine.Loop()
	mask := &[4]byte{1, 2, 3, 4}
	client := &endlessStream{fakeStream: fakeStream{l: l, room: 1 << 40}, frame: websocket.AppendFrame(nil, websocket.OpBinary, true, mask, make([]byte, 1000))}
	up := &fakeStream{l: l, room: 1 << 40}
	o := &owner{t: t, done: make(chan relay.Result, 1)}
	s := relay.Start(l, relay.Side{Stream: client}, relay.Side{Stream: up}, &relay.Policy{CloseTimeout: time.Millisecond}, o)
	l.Post(func() { client.h.Ready(l, loop.Readable) })
	turns := make(chan int)
	for range 20 {
		l.Post(func() {
			before := client.reads
			l.Post(func() { turns <- client.reads - before })
		})
		select {
		case n := <-turns:
			if n > 3*relay.ReadsPerTurn { // of the turns between two tasks of others
				t.Fatalf("%d reads before it was another's turn", n)
			}
		case <-time.After(patience):
			t.Fatal("it is never another's turn")
		}
	}
	l.Post(func() { up.out = nil })
	s.Close(websocket.GoingAway, "", "test")
	o.result()
}

// Both sides die in one batch of events: one Done, whatever the order.
func TestBothDieAtOnce(t *testing.T) {
	for range 100 {
		r := newRig(t, rigOptions{})
		r.hello()
		blocked, release := make(chan struct{}), make(chan struct{})
		relay.LoopOf(r.session).Post(func() { close(blocked); <-release })
		<-blocked
		r.client.reset()
		r.upstream.reset()
		if rand.UintN(2) == 0 {
			r.session.Close(websocket.GoingAway, "", "test")
		}
		close(release)
		r.owner.result()
		done := make(chan struct{})
		relay.LoopOf(r.session).Post(func() { close(done) })
		<-done // a second Done would have come by now
	}
}

// Sessions that come and go leave nothing behind, however they went.
func TestCycles(t *testing.T) {
	cycles := 3000
	if testing.Short() {
		cycles = 500
	}
	cycle(t, 500) // pools, tables
	fds, goroutines, heap := measure(t)
	cycle(t, cycles)
	for end := time.Now().Add(patience); ; {
		f, g, h := measure(t)
		if f <= fds+2 && g <= goroutines+2 && h <= heap+256<<10 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("fds %d, goroutines %d, heap %d; before %d, %d, %d", f, g, h, fds, goroutines, heap)
		}
		time.Sleep(10 * time.Millisecond) // the peers' runtime is still closing
	}
}

// cycle opens and ends n sessions, a few at a time.
func cycle(t *testing.T, n int) {
	t.Run("", func(t *testing.T) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					cycleOne(t, i)
				}
			})
		}
		wg.Wait()
	})
}

func cycleOne(t *testing.T, i int64) {
	r := newRig(t, rigOptions{tlsClient: i%10 == 0, tlsUpstream: i%15 == 0, policy: relay.Policy{CloseTimeout: 20 * time.Millisecond}})
	_, _ = r.client.Write(r.client.text("hello")[:rand.UintN(11)])
	switch i % 4 {
	case 0:
		r.client.reset()
	case 1:
		r.upstream.reset()
	case 2:
		_ = r.client.Close()
		_ = r.upstream.Close()
	case 3:
		r.session.Close(websocket.GoingAway, "", "test")
		_ = r.client.Close()
		_ = r.upstream.Close()
	}
	_ = r.client.Close()
	_ = r.upstream.Close()
	r.owner.result()
}

func measure(t *testing.T) (fds, goroutines, heap int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return len(list), runtime.NumGoroutine(), int(m.HeapAlloc)
}
