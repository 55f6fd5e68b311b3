package loop

import (
	"fmt"
	"sync"
)

// A Runner is where straight code that waits runs: a fiber of a polled loop, or a goroutine. The code is the same in both
// places; it waits in the methods of its connections, in Gate.Wait and in Offload, and nowhere else.
type Runner interface {
	// Go runs f beside the caller, in a place of the same kind: another fiber of the same loop, or another goroutine.
	Go(f func(Runner))
	// Offload runs f where it may block or compute for long, and returns when f has. A goroutine is such a place. A panic of
	// f is the caller's; in a fiber it is an *OffloadPanic.
	Offload(f func())
	// Loop is the loop of a fiber, nil for a goroutine.
	Loop() *Loop
}

// Goroutines is the Runner of code that runs in an ordinary goroutine.
var Goroutines Runner = goroutines{}

type goroutines struct{}

func (goroutines) Go(f func(Runner)) { go f(Goroutines) }

func (goroutines) Offload(f func()) { f() }

func (goroutines) Loop() *Loop { return nil }

// An OffloadPanic is what a panic in Offload is for the fiber that waits: it has lost the stack of the place.
type OffloadPanic struct {
	What  any
	Stack []byte
}

func (p *OffloadPanic) Error() string { return fmt.Sprintf("%v\n%s", p.What, p.Stack) }

// A parker is a fiber.
type parker interface {
	Runner
	park()
	wake()
}

// A Gate lets one Runner wait for something that another does. It is shut when it is made, and opens once.
type Gate struct {
	mu   sync.Mutex // guards the following
	open bool
	wake func() // ends the one Wait; nil: nobody waits
}

// Open ends the Wait of now or of later. Any goroutine, any number of times.
func (g *Gate) Open() {
	g.mu.Lock()
	wake := g.wake
	g.open, g.wake = true, nil
	g.mu.Unlock()
	if wake != nil {
		wake()
	}
}

// Opened tells whether the gate is open.
func (g *Gate) Opened() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Wait returns when the gate is open. One may wait at a time.
func (g *Gate) Wait(r Runner) {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return
	}
	if fb, ok := r.(parker); ok {
		opened := false // owned by the loop
		g.wake = func() {
			fb.Loop().Post(func() { opened = true; fb.wake() })
		}
		g.mu.Unlock()
		for !opened {
			fb.park()
		}
		return
	}
	open := make(chan struct{})
	g.wake = func() { close(open) }
	g.mu.Unlock()
	<-open
}
