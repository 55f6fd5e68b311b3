package loop

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// Tasks run one at a time, all of them, each poster's in order.
func TestPost(t *testing.T) {
	l := New()
	const posters, each = 8, 1000
	var inside atomic.Int32
	last := make([]int, posters)
	ran := 0
	done := make(chan struct{})
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := 1; i <= each; i++ {
				post := l.Post
				if p%2 == 0 {
					post = l.turn
				}
				post(func() {
					if inside.Add(1) != 1 {
						t.Error("two tasks at once")
					}
					if last[p] != i-1 {
						t.Errorf("poster %d: task %d after %d", p, i, last[p])
					}
					last[p] = i
					inside.Add(-1)
					if ran++; ran == posters*each {
						close(done)
					}
				})
			}
		})
	}
	wg.Wait()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("tasks are missing")
	}
}

// Post never runs the task inside the call, so it may be called with any lock held.
func TestPostUnderLock(t *testing.T) {
	l := New()
	var mu sync.Mutex
	done := make(chan struct{})
	mu.Lock()
	l.Post(func() {
		mu.Lock()
		defer mu.Unlock()
		l.Post(func() { close(done) })
	})
	mu.Unlock()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("task did not run")
	}
}

// The buffer lasts as long as the task, and an idle loop holds none.
func TestBuffer(t *testing.T) {
	l := New()
	done := make(chan struct{})
	l.Post(func() {
		b := l.Buffer()
		if len(b) != BufferSize || &b[0] != &l.Buffer()[0] {
			t.Error("buffer changed within a task")
		}
		close(done)
	})
	<-done
	for end := time.Now().Add(patience); ; {
		l.mu.Lock()
		idle, buf := !l.running, l.buf
		l.mu.Unlock()
		if idle {
			if buf != nil {
				t.Error("idle loop holds a buffer")
			}
			return
		}
		if time.Now().After(end) {
			t.Fatal("loop still runs")
		}
	}
}

func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New()
		start := time.Now()
		var fired []time.Duration
		tm := l.NewTimer(func() { fired = append(fired, l.Now().Sub(start)) })
		l.Post(func() { tm.Reset(time.Hour) })
		l.Post(func() { tm.Reset(time.Minute) })
		time.Sleep(2 * time.Minute)
		l.Post(func() { tm.Reset(time.Minute); tm.Stop() })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(fired) != 1 || fired[0] != time.Minute {
			t.Errorf("fired at %v", fired)
		}
	})
}
