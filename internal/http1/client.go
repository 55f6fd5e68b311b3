package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// maxAnswerHead bounds the head of a service's answer in bytes.
const maxAnswerHead = 64 << 10

// A ClientConn is a connection to a service. It carries one exchange at a time: Send, perhaps a body, ReadResponse until
// the final answer, the answer's body to its end. One piece of straight code may send while another receives; Abort may
// be called by anybody. Between two exchanges it holds no buffer.
type ClientConn struct {
	link
	in   *buffer
	body Body       // of the answer
	out  BodyWriter // of the request

	served   int64 // requests begun
	sawBytes bool  // of the current answer
	final    bool  // the final answer's head has been read
	persist  bool  // that answer lets the connection live
	taken    bool

	// WriteTimeout bounds each wait for the service to take a part of the request. Zero means 60s.
	WriteTimeout time.Duration

	idleSince time.Time // in a Pool
	onHangup  func()    // ends it there; made once
}

// NewClientConn returns a connection on which nothing has been sent. It sends and reads nothing yet.
func NewClientConn(c net.Conn) *ClientConn {
	return &ClientConn{link: link{conn: c}}
}

// Reset makes c, which nobody uses any more, a new one for conn, or for none.
func (c *ClientConn) Reset(conn net.Conn) { *c = ClientConn{link: link{conn: conn}} }

// Conn is the connection itself, for its addresses and its TLS state.
func (c *ClientConn) Conn() net.Conn { return c.conn }

func (c *ClientConn) writeTimeout() time.Duration {
	if c.WriteTimeout > 0 {
		return c.WriteTimeout
	}
	return time.Minute
}

// Send begins a request: its head, as it goes on the wire, and as much of its body as is to leave with it, framed as the
// head says, in one write. more: the head announces more of a body, which goes through [ClientConn.Writer] or
// [ClientConn.Upload]. Where it never does, because the final answer came before a 100 (Continue), the connection is not
// Reusable: the service may take the next request for that body.
func (c *ClientConn) Send(head, body []byte, more bool) error {
	c.served++
	c.sawBytes, c.final, c.persist = false, false, false
	c.out.start(&c.link, Framing{}, c.writeTimeout())
	c.out.ended = !more
	if len(body) == 0 {
		_, err := c.write(head, c.writeTimeout())
		return c.out.fail(err)
	}
	c.out.out = newBuffer(len(head) + len(body))
	c.out.out.w = copy(c.out.out.p, head)
	c.out.out.w += copy(c.out.out.p[c.out.out.w:], body)
	return c.out.flush()
}

// Writer frames the body of the request whose head has been sent. The request is complete when it has been finished.
func (c *ClientConn) Writer(f Framing) *BodyWriter {
	c.out.start(&c.link, f, c.writeTimeout())
	return &c.out
}

// ReadResponse reads the head of the next answer to the request, which had that method. After an interim answer (1xx) it
// is called again; after a 101 comes [ClientConn.TakeOver]; else [ClientConn.Body] is next. The wait for its first byte is
// at most wait, and so is the time from that to its last; zero: for ever. An [Upload] that makes progress renews it. The
// error is an [*Error] for a head that is malformed or too large, else what the connection says; see
// [ClientConn.Repeatable].
func (c *ClientConn) ReadResponse(method string, r *Response, wait time.Duration) error {
	c.answering(wait)
	defer c.answering(0)
	var until time.Time // of a head that has begun; zero: it has not
	for from := 0; ; {
		p := c.in.bytes()
		if end, ok := HeadEnd(p, from); ok && end <= maxAnswerHead {
			c.in.take(end)
			return c.begin(p[:end], method, r)
		}
		if from = len(p); from >= maxAnswerHead {
			return &Error{Status: 502, Reason: fmt.Sprintf("answer: head larger than %d bytes", maxAnswerHead)}
		}
		if from > 0 && wait > 0 {
			if until.IsZero() {
				until = time.Now().Add(wait)
			}
			wait = max(time.Until(until), 1)
		}
		c.in = c.in.room(max(readBuffer, min(2*from, maxAnswerHead)))
		n, err := c.read(c.in.p[c.in.w:], wait)
		if n == 0 {
			if from > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("answer: %w", err)
		}
		c.in.w += n
		c.sawBytes = true
	}
}

func (c *ClientConn) begin(head []byte, method string, r *Response) error {
	if err := ParseResponse(string(head), method, r); err != nil {
		return err
	}
	if r.Status < 200 {
		return nil
	}
	c.final, c.persist = true, !r.Close && r.Body.Kind != UntilClose
	c.body.start(&c.link, &c.in, r.Body, 0)
	return nil
}

// Body is the body of the final answer. Waits for it are bounded by [ClientConn.SetLimit] and [ClientConn.Abort] only: a
// service may send events hours apart.
func (c *ClientConn) Body() *Body { return &c.body }

// Answered tells whether the final answer's head has been read.
func (c *ClientConn) Answered() bool { return c.final }

// Served is the number of requests sent on the connection: more than one tells that it came from a pool.
func (c *ClientConn) Served() int64 { return c.served }

// SawBytes tells whether any byte of the current answer has come.
func (c *ClientConn) SawBytes() bool { return c.sawBytes }

// Repeatable tells whether err, of Send, of sending a body or of ReadResponse, may only mean that the service had closed
// a connection that was idle: it had served before, no byte of an answer came, and nothing here cut it short. Whether the
// request may be sent again is another question.
func (c *ClientConn) Repeatable(err error) bool {
	return c.served > 1 && !c.sawBytes && !errors.Is(err, os.ErrDeadlineExceeded) && !c.aborted()
}

func (c *ClientConn) aborted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.readCut != nil
}

// SetLimit bounds all waits together; the zero time takes the bound off.
func (c *ClientConn) SetLimit(t time.Time) { c.setLimit(t) }

// Abort ends every wait on the connection, now and later, with err. The connection is not used for another request.
func (c *ClientConn) Abort(err error) {
	c.cut(err, true, true)
}

// Reusable tells whether the connection can carry another request: the request has left whole, its final answer has been
// read to its end and lets the connection live, and nothing came behind it.
func (c *ClientConn) Reusable() bool {
	return !c.taken && c.final && c.persist && c.body.Ended() && len(c.body.pending) == 0 && c.out.complete() &&
		len(c.in.bytes()) == 0 && !c.aborted()
}

// release gives the buffers back: nothing of an answer's body may be in use.
func (c *ClientConn) release() {
	c.in.free()
	c.in = nil
	c.out.drop()
	c.body = Body{}
	c.final = false
}

// rest ends an exchange: the connection goes to a Pool.
func (c *ClientConn) rest() {
	c.release()
	c.setLimit(time.Time{})
	c.idleSince = c.now()
}

// TakeOver gives away the connection, without deadlines, with what the service has sent behind the head that was read
// last. c is not to be used any more.
func (c *ClientConn) TakeOver() (conn net.Conn, early []byte) {
	if p := c.in.bytes(); len(p) > 0 {
		early = append([]byte(nil), p...)
	}
	c.taken = true
	c.release()
	c.clear()
	return c.conn, early
}

// Close closes the connection.
func (c *ClientConn) Close() error {
	c.release()
	return c.conn.Close()
}
