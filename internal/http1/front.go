package http1

import (
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// A Front serves HTTP/1.1 on connections of polled loops. A connection waits for a whole head without goroutine, fiber or
// buffer; then a fiber serves the exchange, and the connection waits again. One Front serves many connections; its fields are
// set before and not changed.
type Front struct {
	Options ServerOptions

	// Serve serves one exchange, in a fiber, and ends it (Exchange.Done, Exchange.TakeOver). err is that of
	// ServerConn.Next: nil, or an *Error for a head that is to be refused. again: the connection can serve another. Required.
	Serve func(r loop.Runner, x *Exchange, err error) (again bool)

	// Owner makes what ServerConn.Owner is for a connection; on its loop. Nil: nothing.
	Owner func(c *loop.Conn) any

	// Preface is given plain connections that begin with the preface of HTTP/2, with their Owner and what has been read of them. They are the
	// runtime's then, for goroutines. It must not wait. Nil: HTTP/2 is refused as a head that is none.
	Preface func(owner any, c net.Conn, read []byte)

	// Closed is called once for each connection that Accept was given, when it is no client's of this Front any more: it has
	// been closed, or given away. Nil: nobody asks.
	Closed func()

	// Panicked is told of a panic in Serve, which costs its connection. Nil: it is not caught.
	Panicked func(what any, stack []byte)

	open     atomic.Int64 // connections
	slow     atomic.Int64 // heads that were cut at their deadline
	stopping atomic.Bool
}

// Open is how many connections the Front has. Any goroutine.
func (f *Front) Open() int64 { return f.open.Load() }

// Slow is how many heads were cut at their deadline, since start. Any goroutine.
func (f *Front) Slow() int64 { return f.slow.Load() }

// A waiting is a connection of a Front. While it waits it is the Handler of its stream. Owned by the loop.
type waiting struct {
	front  *Front
	c      *loop.Conn
	stream loop.Stream
	server ServerConn
	part   []byte // of a head, when its rest has not come; nil: nothing
	timer  loop.Timer
	due    time.Time // when timer is to come; zero: it is not set
	open   bool      // Closed has not been called
	head   []byte    // given to run
}

// Accept owns c from now on. On the loop of c.
func (f *Front) Accept(c *loop.Conn) {
	w := &waiting{front: f, c: c, server: ServerConn{link: link{conn: c}, options: &f.Options}, open: true}
	w.timer.Init(c.Loop(), w)
	f.open.Add(1)
	if f.Owner != nil {
		w.server.Owner = f.Owner(c)
	}
	w.wait(f.Options.headTimeout())
}

// Stop closes the connections of l that wait, and has the others close after the exchange that is under way. On the loop.
func (f *Front) Stop(l *loop.Loop) {
	f.stopping.Store(true)
	var all []*waiting
	for h := range l.Handlers() {
		if w, ok := h.(*waiting); ok && w.front == f {
			all = append(all, w)
		}
	}
	for _, w := range all {
		w.end()
	}
}

// wait lets the loop watch the connection, for d.
func (w *waiting) wait(d time.Duration) {
	if w.front.stopping.Load() {
		w.end()
		return
	}
	w.within(d)
	w.stream = loop.Attach(w.c.Loop(), w.c)
	w.stream.Handle(w)
}

func (w *waiting) within(d time.Duration) {
	w.due = w.c.Loop().Now().Add(d)
	w.timer.Reset(d)
}

// Ready is where the loop calls.
func (w *waiting) Ready(l *loop.Loop, ev loop.Events) {
	if w.stream == nil { // an exchange is under way
		return
	}
	if ev&loop.Timeout != 0 {
		if w.due.IsZero() || l.Now().Before(w.due) {
			return // of an earlier wait
		}
		w.late()
		return
	}
	if ev&loop.Readable == 0 {
		return
	}
	for {
		buf := l.Buffer()
		n, err := w.stream.Read(buf)
		p, from := buf[:n], 0
		if len(w.part) > 0 {
			from = len(w.part)
			w.part = append(w.part, p...)
			p = w.part
		}
		if n > 0 && w.advance(p, from) {
			return
		}
		switch {
		case errors.Is(err, loop.ErrAgain):
			return
		case err != nil:
			w.end() // nobody is there to read an answer
			return
		}
	}
}

// advance looks at what has come, of which from bytes have been looked at before, and reports whether the wait has ended.
func (w *waiting) advance(p []byte, from int) bool {
	if w.server.served == 0 && w.c.TLS() == nil && w.front.Preface != nil {
		yes, maybe := IsHTTP2Preface(p)
		if yes {
			w.preface(p)
			return true
		}
		if maybe {
			w.keep(p, from)
			return false
		}
	}
	if _, ok := HeadEnd(p, from); ok || len(p) >= w.server.options.headLimit() {
		w.begin(p)
		return true
	}
	w.keep(p, from)
	return false
}

// keep holds on to the part of a head.
func (w *waiting) keep(p []byte, from int) {
	if from == 0 {
		w.part = append(make([]byte, 0, len(p)+64), p...)
		if w.server.served > 0 { // the first head's time runs from the start of the connection
			w.within(w.server.options.headTimeout())
		}
	}
}

// attend ends the wait: a fiber is to use the connection.
func (w *waiting) attend() {
	w.timer.Stop()
	w.due, w.stream = time.Time{}, nil
	w.c.Attend()
}

// begin has a fiber serve what begins with the head p.
func (w *waiting) begin(p []byte) {
	w.attend()
	w.head = p // valid until the fiber waits for the first time
	w.c.Loop().Go(w.run)
}

// late is the end of the time for a head, or between two.
func (w *waiting) late() {
	if len(w.part) == 0 {
		w.end()
		return
	}
	w.front.slow.Add(1)
	w.part = nil
	w.attend()
	w.c.Loop().Go(w.run)
}

// run serves exchanges until there is no head to go on with.
func (w *waiting) run(r loop.Runner) {
	defer w.recover()
	var x *Exchange
	var err error
	if p := w.head; p != nil {
		w.head, w.part = nil, nil
		x, err = w.server.Begin(p)
	} else {
		x, err = w.server.Refuse(&Error{Status: http.StatusRequestTimeout, Reason: "head not complete in time"})
	}
	for {
		if w.front.stopping.Load() {
			w.server.CloseAfter()
		}
		if !w.front.Serve(r, x, err) {
			w.gone()
			return
		}
		rest := w.server.Buffered()
		if len(rest) == 0 {
			w.wait(w.server.options.idleTimeout())
			return
		}
		if _, ok := HeadEnd(rest, 0); !ok && len(rest) < w.server.options.headLimit() {
			w.keep(rest, 0)
			w.server.release()
			w.wait(w.server.options.headTimeout())
			return
		}
		x, err = w.server.Next() // does not wait
	}
}

func (w *waiting) recover() {
	if w.front.Panicked == nil {
		return
	}
	if what := recover(); what != nil {
		w.front.Panicked(what, debug.Stack())
		w.c.Abort()
		w.gone()
	}
}

// preface gives the connection to HTTP/2.
func (w *waiting) preface(p []byte) {
	p = append([]byte(nil), p...)
	w.attend()
	c, err := w.c.Leave()
	w.gone()
	if err == nil {
		w.front.Preface(w.server.Owner, c, p)
	}
}

// end closes a connection that waits.
func (w *waiting) end() {
	if w.stream != nil {
		w.attend()
	}
	_ = w.c.Close()
	w.gone()
}

// gone is the end of the connection here. It counts as long as it has a descriptor and perhaps the last bytes of an answer.
func (w *waiting) gone() {
	if !w.open {
		return
	}
	w.open, w.part = false, nil
	w.c.OnClosed(w.uncount)
}

func (w *waiting) uncount() {
	w.front.open.Add(-1)
	if w.front.Closed != nil {
		w.front.Closed()
	}
}
