package loop

import (
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
)

// Options are how an Engine is to work.
type Options struct {
	// Pumps has every connection pumped by goroutines, as on systems without epoll. The environment variable
	// FAIRLEAD_ENGINE=pump does the same, for tests and for the day on which an operator needs it.
	Pumps bool

	// Loops is how many threads poll. 0: one for each CPU that this process may use, its quota rounded up.
	Loops int

	// MaxHeld bounds the bytes that one Loop holds for slow readers: who owes most is then cut off. All that is pumped
	// counts as one Loop. 0: DefaultMaxHeld.
	MaxHeld int64

	// Lasting is given each socket that has been on a loop for 5 to 10 s, once, to set options that only a lasting
	// connection needs (keep-alive). It is called on the loop. Nil: nothing is set. What is pumped is not given.
	Lasting func(fd int)

	// Log is told once what the engine is, and of slow readers that were cut off. Nil: nobody.
	Log *slog.Logger

	selfTest func() error // nil: the real one
}

// An Engine is the loops of a process. It starts with the first Loop that is asked for, and then runs until Close.
type Engine struct {
	opts  Options
	start sync.Once
	next  atomic.Uint32 // connections that have come, and sessions that have asked for a loop

	threads atomic.Int32  // loops, those for handshakes included
	more    chan struct{} // has one when threads has changed

	pumped *account // of the loops that do not poll. Constant

	// Constant once it has started.
	loops  []*Loop // empty: pumps
	stop   chan struct{}
	ended  chan struct{} // closed when the loops have ended
	closed sync.WaitGroup

	cryptoOnce sync.Once
	crypto     []*Loop // for handshakes; constant after cryptoOnce
}

// Open returns an Engine that has not started yet.
func Open(o Options) *Engine {
	if os.Getenv("FAIRLEAD_ENGINE") == "pump" {
		o.Pumps = true
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Engine{opts: o, pumped: newAccount(&o), more: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
}

// Loop returns the loop for one session: both of its streams are to be attached to it. Any goroutine.
func (e *Engine) Loop() *Loop {
	e.start.Do(e.run)
	if len(e.loops) == 0 {
		return newToken(e.pumped)
	}
	select {
	case <-e.stop:
		return newToken(e.pumped) // too late for those
	default:
	}
	return e.loops[int(e.next.Add(1))%len(e.loops)]
}

// Held is how many bytes wait in this process for slow readers, and what all loops together may hold of them. Any goroutine.
func (e *Engine) Held() (held, most int64) {
	e.start.Do(e.run)
	held = e.pumped.held.Load()
	for _, l := range e.loops {
		held += l.account.held.Load()
		most += l.account.most
	}
	return held, max(most, e.pumped.most)
}

// Relieved is how often, since the start, a reader was told that it holds too much because all together did. Any goroutine.
func (e *Engine) Relieved() int64 {
	e.start.Do(e.run)
	n := e.pumped.relieved.Load()
	for _, l := range e.loops {
		n += l.account.relieved.Load()
	}
	return n
}

// Polled reports whether there are loops that poll: Listen works then, and Loop.Go and Loop.Dial. Any goroutine.
func (e *Engine) Polled() bool {
	e.start.Do(e.run)
	return len(e.loops) > 0
}

// Close ends the loops and waits for them. The connections that are left are closed; their sessions learn nothing of it.
func (e *Engine) Close() {
	e.start.Do(func() {}) // never to start
	select {
	case <-e.stop:
		return
	default:
	}
	e.cryptoOnce.Do(func() {}) // never to start
	close(e.stop)
	for _, l := range e.loops {
		l.Post(l.stop)
	}
	for _, l := range e.crypto {
		if l.p.handshakes {
			l.Post(l.stop)
		}
	}
	e.closed.Wait()
	close(e.ended)
}

// Attach makes c a Stream of l, and owns it from now on: nobody else may use c any more. A TCP connection, or TLS whose
// handshake is over and whose connection came from Wrap, is polled where l can; all else is pumped. Deadlines that are
// set on c are taken away. Any goroutine.
func Attach(l *Loop, c net.Conn) Stream {
	if s := l.attach(c); s != nil {
		return s
	}
	return Pump(l, c)
}
