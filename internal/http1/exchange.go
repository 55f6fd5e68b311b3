package http1

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// An Answer is the head of the final answer to a request.
type Answer struct {
	Status int
	Reason string // "": the usual one for Status

	// Fields are written as they are, in their order, but for what concerns the connection: Connection, Keep-Alive,
	// Proxy-Connection, Transfer-Encoding and Content-Length are left out, and the Exchange writes its own from Body.
	// (A Content-Length stays in the answer to a HEAD and in a 304 whose Body is NoBody: it tells of the body that is not
	// sent.) With an Upgrade field goes its connection option. A Date is added if there is none.
	Fields Fields

	// Body is what follows: Length for content of a known length; Chunked or UntilClose, which mean the same here, for
	// content of unknown length: it is chunked for HTTP/1.1 and ends with the connection for HTTP/1.0. NoBody is content
	// of length 0. To HEAD, 204 and 304 nothing is sent, whatever Body says; what is written is dropped.
	Body Framing
}

// An Exchange is one request on a client's connection and the answer to it. Request and body may be used by one piece of
// straight code, and the answer by another beside it; both have ended when Done or TakeOver is called, and after it
// nobody may use the Exchange or anything of it but strings.
type Exchange struct {
	Request Request

	conn *ServerConn
	body Body
	out  BodyWriter
	head []byte // scratch for heads

	refused   bool // its head: what comes behind it is not known, and not read
	interim   bool // a 100 has been sent
	status    int  // of the final answer; 0: not begun
	persist   bool // the connection serves another request, if all goes well
	brief     bool // the answer has no body because of its status or method
	watch     watch
	hungUp    func() // calls the watch's; made once, kept with the Exchange
	continued atomic.Bool
}

// reset begins a new exchange on c.
func (x *Exchange) reset(c *ServerConn) {
	fields, head := x.Request.Fields, x.head
	x.Request.Fields = fields[:0]
	x.conn, x.head = c, head[:0]
	x.refused, x.interim, x.status, x.persist, x.brief = false, false, 0, false, false
	x.continued.Store(false)
}

// free gives x back. Large heads do not stay in the pool.
func (x *Exchange) free() {
	x.out.drop()
	x.out = BodyWriter{}
	fields, head := x.Request.Fields, x.head
	clear(fields)
	if cap(fields) > 64 {
		fields = nil
	}
	if cap(head) > headBuffer {
		head = nil
	}
	x.Request = Request{Fields: fields[:0]}
	x.conn, x.head = nil, head[:0]
	x.body.cursor, x.body.pending, x.body.link, x.body.in, x.body.before, x.body.ended = Cursor{}, nil, nil, nil, nil, nil
	x.watch = watch{}
	exchanges.Put(x)
}

// Conn is the connection that the exchange is on.
func (x *Exchange) Conn() *ServerConn { return x.conn }

// Body is the request's body. Reading it sends no 100 (Continue): see [Exchange.Interim] and [Exchange.ContinueOnRead].
func (x *Exchange) Body() *Body { return &x.body }

// ContinueOnRead makes the first read that has to wait for the body send a 100 (Continue), if the client may be waiting
// for one (RFC 9110, section 10.1.1). It is called before the first read, by code that has nothing to ask a service
// first.
func (x *Exchange) ContinueOnRead() {
	x.body.before = func() error {
		if !x.Request.Expect {
			return nil
		}
		return x.Interim(http.StatusContinue, nil)
	}
}

// SetLimit bounds all waits of the exchange together; the zero time takes the bound off.
func (x *Exchange) SetLimit(t time.Time) { x.conn.setLimit(t) }

// Interim sends an interim answer, status 100 to 199 but 101, at once. HTTP/1.0 clients get none (RFC 9110, section
// 15.2), a 100 is sent at most once, and only to a client that may wait for it; behind the head of the final answer none
// is sent. Fields are written without those that [Answer] leaves out.
func (x *Exchange) Interim(status int, fields Fields) error {
	if x.Request.Minor == 0 || x.status != 0 || status == http.StatusSwitchingProtocols {
		return nil
	}
	if status == http.StatusContinue {
		if x.interim || !x.Request.Expect {
			return nil
		}
		x.interim = true
		x.continued.Store(true)
	}
	b := AppendStatusLine(x.head[:0], status, reasonOf(status, ""))
	b, _ = appendEndToEnd(b, fields, false)
	x.head = append(b, "\r\n"...)
	_, err := x.conn.write(x.head, x.conn.options.bodyTimeout())
	return err
}

// Respond begins the final answer. Its head leaves with the first content, or with [Exchange.Flush] or [Exchange.Finish].
// It may be called once.
func (x *Exchange) Respond(a *Answer) {
	c := x.conn
	f := a.Body
	x.status = a.Status
	x.brief = x.Request.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	x.persist = !x.Request.Close && !c.last.Load() && x.settleable()
	unknown := f.Kind == Chunked || f.Kind == UntilClose
	if unknown {
		if f.Kind = Chunked; x.Request.Minor == 0 {
			f.Kind = UntilClose
			x.persist = x.persist && x.brief
		}
	}
	b := AppendStatusLine(x.head[:0], a.Status, reasonOf(a.Status, a.Reason))
	announced := x.brief && f.Kind == NoBody && a.Status != http.StatusNoContent
	b, found := appendEndToEnd(b, a.Fields, announced)
	if !found.date {
		b = appendDate(b, c.now())
	}
	switch {
	case a.Status == http.StatusNoContent || announced: // RFC 9110, section 8.6
	case f.Kind == Length || f.Kind == NoBody:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, f.Length, 10)
		b = append(b, "\r\n"...)
	case f.Kind == Chunked && !x.brief:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case found.upgrade && !x.persist: // RFC 9110, section 7.8
		b = append(b, "Connection: upgrade, close\r\n"...)
	case found.upgrade:
		b = append(b, "Connection: upgrade\r\n"...)
	case !x.persist:
		b = append(b, "Connection: close\r\n"...)
	case x.Request.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	x.head = append(b, "\r\n"...)
	if x.brief {
		f = Framing{}
	}
	x.out.start(&c.link, f, c.options.bodyTimeout())
	x.out.head(x.head)
}

// settleable tells whether what is left of the request's body may be read to get to the next request.
func (x *Exchange) settleable() bool {
	if x.body.Ended() {
		return true
	}
	if x.Request.Expect && !x.continued.Load() && x.body.Count() == 0 {
		return false // whether the client sends its body is anybody's guess (RFC 9110, section 10.1.1)
	}
	left := x.body.Left()
	return left >= 0 && left <= x.conn.options.maxUnread() && !x.body.lost.Load()
}

// Status is that of the final answer, 0 before [Exchange.Respond].
func (x *Exchange) Status() int { return x.status }

// Write sends content of the answer, with its head if that has not left. It blocks while the client does not take it. Pieces
// larger than 8 KiB are not copied. Without Respond before it is an error.
func (x *Exchange) Write(p []byte) (int, error) {
	if x.status == 0 {
		return 0, errNoAnswer
	}
	return x.out.Write(p)
}

var errNoAnswer = errors.New("http1: content before the answer's head")

// Flush sends what waits: a head that is to leave before there is content.
func (x *Exchange) Flush() error { return x.out.Flush() }

// Finish ends the answer and sends what waits. Trailers go to HTTP/1.1 clients with content of unknown length.
func (x *Exchange) Finish(trailers Fields) error {
	if x.status == 0 {
		return errNoAnswer
	}
	return x.out.Finish(trailers)
}

// Reply answers with a whole body, in one write.
func (x *Exchange) Reply(a *Answer, content []byte) error {
	a.Body = Framing{Kind: Length, Length: int64(len(content))}
	x.Respond(a)
	if err := x.out.push(content, true); err != nil {
		return err
	}
	return x.out.Finish(nil)
}

// Sent is the content of the answer that has been taken from its writer, in bytes.
func (x *Exchange) Sent() int64 { return x.out.Count() }

// TakeOver ends the exchange and gives away the connection, without deadlines, with what the client has sent behind
// its head: WebSocket's business, after the body's. The ServerConn and x are not to be used any more.
func (x *Exchange) TakeOver() (conn net.Conn, early []byte) {
	c := x.conn
	x.Unwatch()
	if p := c.in.bytes(); len(p) > 0 {
		early = append([]byte(nil), p...)
	}
	c.release()
	c.clear()
	c.x = nil
	x.free()
	return c.conn, early
}

// Done ends the exchange. It tells whether the connection can serve another one: the answer has left whole, and what was
// left of the request's body could be read within its bounds. Otherwise the connection is closed, in such a way that an
// answer is not lost to the rest of the request. It may wait for UnreadTimeout.
func (x *Exchange) Done() bool {
	c := x.conn
	x.Unwatch()
	if !x.out.complete() || x.status == 0 {
		x.breakOff()
		_ = c.Close()
		return false
	}
	c.setLimit(time.Time{})
	ended := x.body.Ended()
	switch {
	case x.persist && !ended:
		c.mend(true, true)
		c.setLimit(c.now().Add(c.options.unreadTimeout()))
		ended = x.body.discard(c.options.maxUnread())
		c.setLimit(time.Time{})
	case !x.persist && x.Request.Close && !x.refused && ended && len(c.in.bytes()) == 0:
		_ = c.Close() // the client expects it, and is not sending
		return false
	}
	if !x.persist || !ended {
		c.linger()
		return false
	}
	c.mend(true, true)
	if len(c.in.bytes()) == 0 {
		c.release()
	}
	c.x = nil
	x.free()
	return true
}

// breakOff makes the client see that its answer is not whole where only the end of the connection would tell the end of it.
func (x *Exchange) breakOff() {
	if x.status == 0 || x.out.kind != UntilClose {
		return
	}
	c := x.conn.conn
	if t, ok := c.(*tls.Conn); ok { // not with a close_notify
		c = t.NetConn()
	}
	switch t := c.(type) {
	case interface{ Abort() }: // of a loop
		t.Abort()
	case interface{ SetLinger(sec int) error }: // TCP
		_ = t.SetLinger(0) // RST
		_ = c.Close()
	}
}

// Watch calls gone, once and from elsewhere, when the client goes away while the exchange is under way: it closes or
// resets its connection. gone must not wait. Watch comes before the body is read in another place, and begins when the
// body has ended: who reads that learns himself. A client that sends the next request meanwhile is not watched further.
func (x *Exchange) Watch(r loop.Runner, gone func(error)) { x.watch.start(x, r, gone) }

// Unwatch ends Watch: gone is not running when it returns, nor called later. It comes when nobody reads the body any
// more. Done and TakeOver do it too.
func (x *Exchange) Unwatch() { x.watch.stop() }

// reasonOf is the reason phrase to write.
func reasonOf(status int, reason string) string {
	if reason == "" {
		return http.StatusText(status)
	}
	return reason
}
