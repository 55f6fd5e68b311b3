package http1

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// A Hangup is a connection that can tell by itself that its peer has gone, whether or not it is read; those of a
// loop can. nil takes the function off. It is called at most once, and must not wait.
type Hangup interface{ OnHangup(gone func()) }

// errUnwatched ends the read of a watch.
var errUnwatched = errors.New("http1: not watched any more")

// A watch tells when a client goes away. Over a connection that is no [Hangup] it reads ahead: what comes is kept for
// the next request. Owned by who reads the request's body, then by who ends the exchange.
type watch struct {
	x      *Exchange // nil: nobody watches
	runner loop.Runner
	gone   func(error)
	hook   Hangup     // nil: it reads
	ahead  *readAhead // nil: it does not
}

// A readAhead is one read beside an exchange.
type readAhead struct {
	c    *ServerConn
	gone func(error)
	b    *buffer   // what came; readable behind the gate
	gate loop.Gate // opens when the read has ended
	over atomic.Bool
}

func (w *watch) start(x *Exchange, r loop.Runner, gone func(error)) {
	w.x, w.runner, w.gone = x, r, gone
	if w.hook = hangupOf(x.conn.conn); w.hook != nil {
		if x.hungUp == nil {
			x.hungUp = func() { x.watch.gone(io.EOF) }
		}
		w.hook.OnHangup(x.hungUp)
		return
	}
	if x.body.Ended() {
		w.read()
		return
	}
	x.body.ended = w.read
}

// hangupOf is what can tell of c that its peer has gone, nil if nothing can.
func hangupOf(c net.Conn) Hangup {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	h, _ := c.(Hangup)
	return h
}

// read starts to read ahead.
func (w *watch) read() {
	c := w.x.conn
	if len(c.in.bytes()) > 0 { // a pipelined request: nothing more will tell
		return
	}
	w.ahead = &readAhead{c: c, gone: w.gone}
	w.runner.Go(w.ahead.run)
}

func (a *readAhead) run(loop.Runner) {
	a.b = newBuffer(headBuffer)
	n, err := a.c.read(a.b.p, 0)
	if a.b.w = n; n == 0 && !errors.Is(err, errUnwatched) && !errors.Is(err, os.ErrDeadlineExceeded) {
		a.gone(err)
	}
	a.over.Store(true)
	a.gate.Open()
}

func (w *watch) stop() {
	if w.x == nil {
		return
	}
	if w.hook != nil {
		w.hook.OnHangup(nil)
	}
	w.x.body.ended = nil
	if a, c := w.ahead, w.x.conn; a != nil {
		cut := !a.over.Load()
		if cut {
			c.cut(errUnwatched, true, false)
		}
		a.gate.Wait(w.runner)
		if cut {
			c.mend(true, false)
		}
		c.in.free() // there was nothing in it
		if c.in = a.b; len(c.in.bytes()) == 0 {
			c.release()
		}
	}
	*w = watch{}
}
