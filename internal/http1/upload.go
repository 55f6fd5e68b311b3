package http1

import (
	"errors"
	"os"
	"sync/atomic"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// errStopped ends an upload that nobody needs any more.
var errStopped = errors.New("http1: the exchange has ended before the request's body")

// An Upload sends a request's body beside the code that waits for the answer. Its owner is that code.
type Upload struct {
	c    *ClientConn
	to   Receiver // instead of c
	src  Source
	gate loop.Gate

	over atomic.Bool // it has ended
	err  error       // why; nil: the body has been sent whole. Readable when over
}

// Upload sends the body of the request whose head has been sent, framed as f, in a place of its own that r gives. While the
// answer is waited for, each piece renews the wait of ReadResponse. If the body cannot be read, the connection is aborted
// with the reason, a [*SourceError]; if it cannot be sent, sending ends, and the answer, which may be on its way, tells
// more. Stop must be called before the connection goes back to a Pool, and before src's exchange ends.
func (c *ClientConn) Upload(r loop.Runner, src Source, f Framing) *Upload {
	u := &Upload{c: c, src: src}
	c.Writer(f)
	r.Go(u.run)
	return u
}

// A Receiver takes a request's body where no ClientConn does: HTTP/2.
type Receiver interface {
	Sink

	// Begin is called before all else, with the Runner that calls Write and Finish.
	Begin(r loop.Runner)

	// Abort says that the body cannot be read to its end, with a [*SourceError].
	Abort(err error)

	// Stop ends Write and Finish with err, now and later. Anybody may call it.
	Stop(err error)
}

// UploadTo sends src to a Receiver, as [ClientConn.Upload] does over its connection.
func UploadTo(r loop.Runner, to Receiver, src Source) *Upload {
	u := &Upload{to: to, src: src}
	r.Go(u.runTo)
	return u
}

func (u *Upload) runTo(r loop.Runner) {
	u.to.Begin(r)
	err := copyBody(u.to, u.src, nil)
	if _, unread := errors.AsType[*SourceError](err); unread && !errors.Is(err, errStopped) {
		u.to.Abort(err)
	}
	u.finish(err)
}

func (u *Upload) finish(err error) {
	u.err = err
	u.over.Store(true)
	u.gate.Open()
}

func (u *Upload) run(loop.Runner) {
	err := copyBody(&u.c.out, u.src, u.c.extend)
	var unread *SourceError
	switch {
	case errors.Is(err, errStopped): // by Stop
	case errors.As(err, &unread), errors.Is(err, os.ErrDeadlineExceeded):
		u.c.Abort(err)
	}
	u.finish(err)
}

// Stop ends the upload, if it has not ended, and returns when it has. The error is nil if the body has been sent whole;
// else the connection is not Reusable.
func (u *Upload) Stop(r loop.Runner) error {
	b := bodyOf(u.src)
	stopped := !u.over.Load()
	cut := stopped && b != nil && !b.Ended() // else nothing more is read
	if stopped {
		if cut {
			b.link.cut(errStopped, true, false)
		} else if s, ok := u.src.(interface{ Stop(error) }); ok && b == nil {
			s.Stop(errStopped)
		}
		if u.c != nil {
			u.c.cut(errStopped, false, true)
		} else {
			u.to.Stop(errStopped)
		}
	}
	u.gate.Wait(r)
	if stopped {
		if cut {
			b.link.mend(true, false)
		}
		if u.err == nil && u.c != nil { // it was about to end anyway
			u.c.mend(false, true)
		}
	}
	return u.err
}

// Over tells whether the upload has ended, well or not.
func (u *Upload) Over() bool { return u.over.Load() }
