package http1

import "github.com/fairlead-gateway/fairlead/internal/loop"

// An Upload sends a request's body beside the code that waits for the answer.
type Upload struct {
	gate loop.Gate
}

// Upload sends the body of the request whose head has been sent, framed as f, in a place of its own that r gives. While the answer
// is waited for, each piece gives the service the wait of ReadResponse anew. If the body cannot be read, the connection is aborted with the
// reason, a [*SourceError]; if it cannot be sent, sending ends, and the answer, which may be on its way, tells more.
func (c *ClientConn) Upload(r loop.Runner, src Source, f Framing) *Upload { panic("not written") }

// Stop ends the upload, if it has not ended, and waits for that. It tells whether the body has been sent whole. It is called once, when the answer
// has been passed on or will not come.
func (u *Upload) Stop(r loop.Runner) bool { panic("not written") }
