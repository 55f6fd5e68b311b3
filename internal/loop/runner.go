package loop

import "sync"

// A Runner is where straight code that waits runs: a fiber of a polled loop, or a goroutine. Code that is given one waits
// only on a net.Conn or a [Gate], so that it runs in both.
type Runner interface {
	// Go runs f beside the caller, in the same kind of place.
	Go(f func(Runner))

	// Offload runs f where it may block or compute for long, and waits for it.
	Offload(f func())

	// Loop is the loop of a fiber; nil for a goroutine.
	Loop() *Loop
}

// Goroutines is the Runner of ordinary goroutines.
var Goroutines Runner = goroutines{}

type goroutines struct{}

func (goroutines) Go(f func(Runner)) { go f(Goroutines) }
func (goroutines) Offload(f func())  { f() }
func (goroutines) Loop() *Loop       { return nil }

// A Gate is how one piece of straight code waits for another. It is opened once and stays open; one waiter. Its zero value
// is shut.
type Gate struct {
	mu   sync.Mutex // guards the following
	open bool
	wake chan struct{} // nil: nobody waits
}

// Open lets the waiter through, now or when it comes. A second call does nothing.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open && g.wake != nil {
		close(g.wake)
	}
	g.open = true
}

// Wait returns when the gate is open.
func (g *Gate) Wait(Runner) {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	g.wake = make(chan struct{})
	g.mu.Unlock()
	<-g.wake
}
