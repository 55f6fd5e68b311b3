package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions bound what clients may cost. One value is shared by all connections of a listener; it is not changed.
type ServerOptions struct {
	// HeadLimit bounds a request's head in bytes; a longer one is answered 431. Zero means 64 KiB.
	HeadLimit int

	// IdleTimeout bounds the wait between two requests. Zero means 2m.
	IdleTimeout time.Duration

	// HeadTimeout bounds a request's head, from its first byte (of a new connection: from the start) to its last.
	// A head that has begun by then is answered 408. Zero means 30s.
	HeadTimeout time.Duration

	// BodyTimeout bounds each wait for a client that sends its body or takes its answer; one that makes any progress is
	// not cut. Zero means 60s.
	BodyTimeout time.Duration

	// UnreadTimeout bounds how long the rest of a body is read that nobody wanted. Zero means 5s.
	UnreadTimeout time.Duration

	// MaxUnread bounds how much of it is read, in bytes; a client that sends more loses its connection. Zero
	// means 256 KiB.
	MaxUnread int64
}

func (o *ServerOptions) headLimit() int             { return orDefault(o.HeadLimit, 64<<10) }
func (o *ServerOptions) idleTimeout() time.Duration { return orDefault(o.IdleTimeout, 2*time.Minute) }

func (o *ServerOptions) headTimeout() time.Duration { return orDefault(o.HeadTimeout, 30*time.Second) }

func (o *ServerOptions) bodyTimeout() time.Duration { return orDefault(o.BodyTimeout, time.Minute) }

func (o *ServerOptions) unreadTimeout() time.Duration {
	return orDefault(o.UnreadTimeout, 5*time.Second)
}
func (o *ServerOptions) maxUnread() int64 { return orDefault(o.MaxUnread, 256<<10) }

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

// ErrIdle ends a connection on which no request has begun in time.
var ErrIdle = errors.New("http1: no request in time")

// A ServerConn is a client's connection. Between two requests it holds neither a buffer nor an [Exchange], unless a
// pipelined request has come. It has one owner at a time; CloseAfter may be called by anybody.
type ServerConn struct {
	// Owner is the server's own: what it knows of the client. Nothing here looks at it.
	Owner any

	link
	options *ServerOptions
	in      *buffer   // what has come and is not taken; nil: nothing
	x       *Exchange // the one that is under way; nil: none
	served  int64     // exchanges begun
	last    atomic.Bool
}

var exchanges = sync.Pool{New: func() any { return new(Exchange) }}

// NewServerConn returns a connection on which nothing has been read. It reads nothing yet.
func NewServerConn(c net.Conn, o *ServerOptions) *ServerConn {
	return &ServerConn{link: link{conn: c}, options: o}
}

// Conn is the connection itself, for its addresses and its TLS state.
func (c *ServerConn) Conn() net.Conn { return c.conn }

// Served is the number of exchanges that have begun on the connection, heads that were refused among them.
func (c *ServerConn) Served() int64 { return c.served }

// CloseAfter makes the exchange that is under way, or the next one, the connection's last; its answer says so if its head
// has not been made.
func (c *ServerConn) CloseAfter() { c.last.Store(true) }

// Buffered is what has come of the next request, nil for nothing. It is valid until the next call of Next, Begin or Close.
func (c *ServerConn) Buffered() []byte { return c.in.bytes() }

// Next waits for the next request's head; its body may not have come yet. The error is
//   - an [*Error], and the Exchange is there to answer it: its Request has what could be read of it, it has no body, and the
//     connection closes behind the answer. Status 408 is a head that did not come in time.
//   - io.EOF for a client that closed between two requests, [ErrIdle] for one that sent nothing in time, and what
//     the connection says. The Exchange is nil, and the caller closes the connection.
func (c *ServerConn) Next() (*Exchange, error) {
	wait := c.options.idleTimeout()
	if c.served == 0 || c.in != nil {
		wait = c.options.headTimeout()
	}
	until := time.Time{} // of the head; zero: not begun
	for from := 0; ; {
		p := c.in.bytes()
		if end, ok := HeadEnd(p, from); ok && end <= c.options.headLimit() {
			c.in.take(end)
			return c.begin(p[:end])
		}
		if len(p) >= c.options.headLimit() {
			c.in.take(len(p))
			return c.refuse(&Error{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head too large"})
		}
		if from = len(p); from > 0 {
			if until.IsZero() {
				until = c.now().Add(c.options.headTimeout())
			}
			wait = max(until.Sub(c.now()), 1)
		}
		c.in = c.in.room(max(headBuffer, min(2*from, c.options.headLimit())))
		n, err := c.read(c.in.p[c.in.w:], wait)
		c.in.w += n
		if n > 0 {
			continue
		}
		begun := emptyLines(c.in.bytes()) < from
		c.release()
		switch timeout := errors.Is(err, os.ErrDeadlineExceeded); {
		case timeout && begun:
			return c.refuse(&Error{Status: http.StatusRequestTimeout, Reason: "head not complete in time"})
		case timeout:
			return nil, ErrIdle
		case begun && errors.Is(err, io.EOF):
			return nil, fmt.Errorf("request: %w", io.ErrUnexpectedEOF)
		}
		return nil, err
	}
}

// Begin starts the exchange whose head is at the start of raw, whole as [HeadEnd] delimits it; what follows the head may
// be body and further requests. Nothing of raw is kept. The connection must have nothing [ServerConn.Buffered]. The error
// is an [*Error], as that of Next.
func (c *ServerConn) Begin(raw []byte) (*Exchange, error) {
	end, ok := HeadEnd(raw, 0)
	if !ok || end > c.options.headLimit() {
		return c.refuse(&Error{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head too large"})
	}
	if rest := raw[end:]; len(rest) > 0 {
		c.in = c.in.room(len(rest))
		c.in.w = copy(c.in.p, rest)
	}
	return c.begin(raw[:end])
}

// Refuse starts an exchange for a request that cannot be read to the end of its head: its answer is the connection's
// last. The error is why.
func (c *ServerConn) Refuse(why *Error) (*Exchange, error) { return c.refuse(why) }

func (c *ServerConn) begin(head []byte) (*Exchange, error) {
	x := c.newExchange()
	err := ParseRequest(string(head), &x.Request)
	if err != nil {
		x.Request.Body, x.Request.Close, x.refused = Framing{}, true, true
		c.last.Store(true)
	}
	x.body.start(&c.link, &c.in, x.Request.Body, c.options.bodyTimeout())
	if len(c.in.bytes()) == 0 {
		c.release()
	}
	return x, err
}

func (c *ServerConn) refuse(why *Error) (*Exchange, error) {
	x := c.newExchange()
	x.Request, x.refused = Request{Fields: x.Request.Fields[:0], Close: true, Minor: 1}, true
	x.body.start(&c.link, &c.in, Framing{}, c.options.bodyTimeout())
	c.last.Store(true)
	return x, why
}

func (c *ServerConn) newExchange() *Exchange {
	x := exchanges.Get().(*Exchange)
	x.reset(c)
	c.x = x
	c.served++
	return x
}

// release gives the buffer back.
func (c *ServerConn) release() {
	c.in.free()
	c.in = nil
}

// Close closes the connection at once, whatever is under way. The owner calls it; who else wants to end the connection
// closes Conn.
func (c *ServerConn) Close() error {
	c.release()
	if x := c.x; x != nil {
		c.x = nil
		x.free()
	}
	return c.conn.Close()
}

// linger sends FIN and reads for a while what the client is still sending: a RST for bytes that nobody took could
// overtake the answer (RFC 9112, section 9.6). Then it closes.
func (c *ServerConn) linger() {
	if w, ok := c.conn.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
		c.mend(true, true)
		c.setLimit(c.now().Add(c.options.unreadTimeout()))
		c.in = c.in.room(readBuffer)
		for most := c.options.maxUnread(); most > 0; {
			n, err := c.read(c.in.p, c.options.unreadTimeout())
			if err != nil {
				break
			}
			most -= int64(n)
		}
	}
	_ = c.Close()
}
