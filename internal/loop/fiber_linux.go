package loop

import (
	"iter"
	"runtime/debug"
	"time"
)

// A fiber runs straight code on the thread of a polled loop: where it would wait, the loop goes on with other things. It is
// a coroutine, not a goroutine beside the loop: a switch costs tens of nanoseconds, no lock and no other thread, and what
// runs in it is on the loop. Owned by its loop.
type fiber struct {
	l     *Loop
	next  func() (struct{}, bool) // goes on with it, until it parks or its work is done
	stop  func()
	yield func(struct{}) bool
	work  func(Runner)

	parked bool
	due    bool  // in poller.ready
	timer  Timer // ends park at a deadline
	late   bool  // and has
}

// idleFibers is how many fibers without work a loop keeps.
const idleFibers = 128

// Go runs f in a fiber of the loop, which must be polled: at once if the caller is a task of the loop, soon if it is a fiber.
// On the loop only.
func (l *Loop) Go(f func(Runner)) {
	p := l.p
	var fb *fiber
	if n := len(p.idle); n > 0 {
		fb = p.idle[n-1]
		p.idle = p.idle[:n-1]
	} else {
		fb = &fiber{l: l}
		fb.timer.Init(l, (*fiberTimer)(fb))
		fb.next, fb.stop = iter.Pull(fb.run)
	}
	fb.work = f
	p.fibers++
	fb.wake()
}

// run is the coroutine. It does one piece of work after the other.
func (fb *fiber) run(yield func(struct{}) bool) {
	fb.yield = yield
	p := fb.l.p
	for {
		fb.work(fb)
		fb.work = nil
		p.fibers--
		if p.ended || len(p.idle) >= idleFibers {
			return
		}
		p.idle = append(p.idle, fb)
		if !yield(struct{}{}) {
			return
		}
	}
}

// wake has the fiber go on: at once, if no other one is running.
func (fb *fiber) wake() {
	p := fb.l.p
	if p.current == nil {
		fb.resume()
		return
	}
	fb.wakeSoon()
}

// wakeSoon has the fiber go on when the caller, who may hold a lock, is done.
func (fb *fiber) wakeSoon() {
	if !fb.due {
		fb.due = true
		fb.l.p.ready = append(fb.l.p.ready, fb)
	}
}

func (fb *fiber) resume() {
	fb.due = false
	if fb.work == nil {
		return // woken for what is over
	}
	fb.l.p.current = fb
	fb.next()
	fb.l.p.current = nil
}

// park lets the loop go on until somebody calls wake. It may return without that: the caller looks for itself.
func (fb *fiber) park() {
	fb.parked = true
	ok := fb.yield(struct{}{})
	fb.parked = false
	if !ok {
		panic("loop: fiber was left parked") // stop is for fibers without work
	}
}

// parkUntil is park with a deadline, and reports whether that has passed. Zero: none.
func (fb *fiber) parkUntil(deadline time.Time) (late bool) {
	fb.late = false
	fb.arm(deadline)
	if !fb.late {
		fb.park()
	}
	fb.l.p.timers.remove(&fb.timer)
	return fb.late
}

// arm sets the deadline of parkUntil, also one that is under way.
func (fb *fiber) arm(deadline time.Time) {
	switch {
	case deadline.IsZero():
		fb.l.p.timers.remove(&fb.timer)
	case deadline.After(fb.l.Now()):
		fb.l.p.timers.set(&fb.timer, fb.l.Clock(), deadline.Sub(fb.l.Now()))
	default:
		fb.late = true
		if fb.parked {
			fb.wakeSoon()
		}
	}
}

// A fiberTimer is what the timer of a fiber tells.
type fiberTimer fiber

func (t *fiberTimer) Ready(*Loop, Events) {
	fb := (*fiber)(t)
	if fb.parked {
		fb.late = true
		fb.wake()
	}
}

func (fb *fiber) Go(f func(Runner)) { fb.l.Go(f) }

func (fb *fiber) Offload(f func()) {
	var panicked *OffloadPanic
	done := false // owned by the loop, like what is above once it is true
	go func() {
		defer func() {
			if what := recover(); what != nil {
				panicked = &OffloadPanic{what, debug.Stack()}
			}
			fb.l.Post(func() { done = true; fb.wake() })
		}()
		f()
	}()
	for !done {
		fb.park()
	}
	if panicked != nil {
		panic(panicked)
	}
}

func (fb *fiber) Loop() *Loop { return fb.l }

// runReady goes on with the fibers that others have woken. What they wake is for the next time.
func (p *poller) runReady() {
	n := len(p.ready)
	for i := range n {
		p.ready[i].resume()
	}
	if n > 0 {
		rest := copy(p.ready, p.ready[n:])
		clear(p.ready[rest:])
		p.ready = p.ready[:rest]
	}
}

// lastFibers bounds how long a loop that ends waits for what its fibers have given to goroutines.
const lastFibers = 2 * time.Second

// endFibers lets every fiber come to its end: their connections are closed by now.
func (p *poller) endFibers(l *Loop) {
	p.runReady()
	for deadline := time.Now().Add(lastFibers); p.fibers > 0 && time.Now().Before(deadline); {
		if !l.runQueued() && len(p.ready) == 0 {
			l.now = 0
			p.timers.run(l.Clock())
			time.Sleep(time.Millisecond)
		}
		p.runReady()
	}
	for _, fb := range p.idle {
		fb.stop()
	}
	p.idle = nil
}
