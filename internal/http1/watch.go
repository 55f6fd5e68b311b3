package http1

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// A Hangup is a connection that can tell by itself that its peer has gone, whether or not it is read; those of a
// loop can. nil takes the function off. It is called at most once, and must not wait.
type Hangup interface{ OnHangup(gone func()) }

// errUnwatched ends the read of a watch.
var errUnwatched = errors.New("http1: not watched any more")

// A watch tells when a client goes away. Over a connection that is no [Hangup] it reads ahead: what comes is kept for
// the next request.
type watch struct {
	x      *Exchange
	runner loop.Runner
	gone   func(error)
	hook   Hangup // nil: it reads

	mu      sync.Mutex // guards the following
	reading bool
	stopped bool
	ended   bool       // the read has
	ahead   *buffer    // what it read
	gate    *loop.Gate // opens when it has ended
}

func (w *watch) start(x *Exchange, r loop.Runner, gone func(error)) {
	w.x, w.runner, w.gone = x, r, gone
	if w.hook = hangupOf(x.conn.conn); w.hook != nil {
		w.hook.OnHangup(func() { gone(io.EOF) })
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
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.reading || len(w.x.conn.in.bytes()) > 0 { // a pipelined request: nothing more will tell
		return
	}
	w.reading = true
	w.gate = new(loop.Gate)
	w.runner.Go(w.readAhead)
}

func (w *watch) readAhead(loop.Runner) {
	b := newBuffer(headBuffer)
	n, err := w.x.conn.read(b.p, 0)
	if b.w = n; n == 0 && !errors.Is(err, errUnwatched) && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.gone(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead, w.ended = b, true
	w.gate.Open()
}

func (w *watch) stop() {
	if w.x == nil {
		return
	}
	c := w.x.conn
	if w.hook != nil {
		w.hook.OnHangup(nil)
		*w = watch{}
		return
	}
	w.mu.Lock()
	w.stopped = true
	reading, ended := w.reading, w.ended
	w.mu.Unlock()
	if reading {
		if !ended {
			c.cut(errUnwatched, true, false)
			w.gate.Wait(w.runner)
			c.mend(true, false)
		}
		if len(w.ahead.bytes()) > 0 {
			c.in.free() // there was nothing in it
			c.in = w.ahead
		} else {
			w.ahead.free()
		}
	}
	*w = watch{}
}
