package loop

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A wheel runs each timer once, never before its time, and at the latest when the wheel is run a tick after it, whatever
// is set, moved and removed meanwhile, also by the timers themselves.
func TestWheel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var w wheel
	now := time.Hour
	type entry struct {
		*Timer
		due time.Duration // 0: not set
	}
	entries := make([]*entry, 300)
	ran := 0
	set := func(e *entry) {
		span := time.Duration(1) << rng.UintN(44) // up to 5 hours
		e.due = now + time.Duration(rng.Int64N(int64(span)))
		w.set(e.Timer, now, e.due-now)
	}
	for i := range entries {
		e := new(entry)
		e.Timer = &Timer{h: Task(func() {
			if ran++; e.due == 0 || now < e.due {
				t.Errorf("ran at %v, due %v", now, e.due)
			}
			e.due = 0
			switch rng.UintN(4) {
			case 0:
				set(e)
			case 1:
				set(entries[rng.IntN(len(entries))])
			case 2:
				other := entries[rng.IntN(len(entries))]
				w.remove(other.Timer)
				other.due = 0
			}
		})}
		entries[i] = e
	}
	for i := range entries {
		set(entries[i])
	}
	for range 30_000 {
		if rng.UintN(3) == 0 {
			set(entries[rng.IntN(len(entries))])
		}
		now += time.Duration(rng.Int64N(1 << rng.UintN(38)))
		w.run(now)
		count := 0
		for _, e := range entries {
			if e.due == 0 {
				continue
			}
			if count++; now-e.due > 2*tickTime {
				t.Fatalf("%v late", now-e.due)
			}
		}
		if count != w.count {
			t.Fatalf("%d timers set, the wheel counts %d", count, w.count)
		}
		if count > 0 {
			next := time.Duration(w.next()) * tickTime
			for _, e := range entries {
				if e.due != 0 && next-e.due > 2*tickTime {
					t.Fatalf("would sleep %v too long", next-e.due)
				}
			}
		}
	}
	if ran < 1000 {
		t.Errorf("only %d ran", ran)
	}
}

// The timers of a polled loop.
func TestPolledTimer(t *testing.T) {
	l := engine(t, Options{Loops: 1}).Loop()
	fired := make(chan time.Duration, 10)
	var tm, never *Timer
	on(t, l, func() {
		start := time.Now()
		tm = l.NewTimer(func() { fired <- time.Since(start) })
		never = l.NewTimer(func() { t.Error("a stopped timer ran") })
		never.Reset(time.Millisecond)
		tm.Reset(time.Hour)
		tm.Reset(20 * time.Millisecond)
		never.Stop()
	})
	if d := wait(t, fired); d < 20*time.Millisecond {
		t.Errorf("after %v", d)
	}
	on(t, l, func() {
		if len(fired) > 0 {
			t.Error("ran twice")
		}
	})
}

// A loop can be woken any number of times.
func TestWakes(t *testing.T) {
	l := engine(t, Options{Loops: 1}).Loop()
	for range 2000 {
		on(t, l, func() {})
	}
}
