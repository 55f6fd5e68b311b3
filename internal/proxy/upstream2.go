package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A stream is one attempt of a request over HTTP/2 (RFC 9113). It is the source of the answer's body, and takes the
// request's. Who owns the call owns it; the transport's goroutine reads body.
type stream struct {
	run    loop.Runner
	ctx    context.Context
	cancel context.CancelCauseFunc

	moved  loop.Gate // opens when the request's body is wanted, or the round trip has ended
	done   loop.Gate // opens when it has ended
	resp   *http.Response
	err    error // of the round trip; readable behind done, as reused is
	reused bool  // the connection has served before

	body  *streamBody // nil: the request's body is a part of the request, or there is none
	taker loop.Runner // who calls Write and Finish
	buf   *[]byte     // lent; nil before the first Next
	ended bool        // the answer's body has been read to its end

	wait time.Duration // for the answer's head; 0: no bound

	mu    sync.Mutex  // guards the following
	timer *time.Timer // of wait; nil: none is running
}

// A streamBody is what the transport reads of a request's body.
type streamBody struct {
	*io.PipeReader
	w        *io.PipeWriter
	trailers http.Header // filled before the end; read by the transport behind it
	first    []byte      // comes before what is in the pipe
	once     sync.Once
	want     func()
}

func (b *streamBody) Read(p []byte) (int, error) {
	b.once.Do(b.want)
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	return b.PipeReader.Read(p)
}

// speaksHTTP2 tells whether requests to a service go over HTTP/2.
func speaksHTTP2(s *upstream.Service) bool {
	return s.Protocol == upstream.H2C || s.Protocol == upstream.H2
}

// attemptHTTP2 is attemptHTTP where the service speaks HTTP/2.
func (c *call) attemptHTTP2() error {
	x := c.x
	ctx, cancel := context.WithCancelCause(context.Background())
	st := &stream{run: x.run, ctx: ctx, cancel: cancel, wait: c.response}
	if !c.until.IsZero() {
		st.ctx, st.cancel = withDeadline(ctx, cancel, c.until)
	}
	if err := x.leash.holdDial(func() { st.cancel(errClientGone) }); err != nil {
		st.cancel(err)
		return err
	}
	c.stream = st
	err := c.exchange2(st)
	if err != nil {
		c.drop()
	}
	c.pooled = st.reused
	return err
}

func withDeadline(ctx context.Context, cancel context.CancelCauseFunc, until time.Time) (context.Context, context.CancelCauseFunc) {
	ctx, stop := context.WithDeadlineCause(ctx, until, errResponse)
	return ctx, func(cause error) {
		cancel(cause)
		stop()
	}
}

// exchange2 sends the request and waits for the head of the answer.
func (c *call) exchange2(st *stream) error {
	x := c.x
	r := c.request2(st)
	go st.roundTrip(x.settings.h2, r)
	if st.body != nil {
		if st.moved.Wait(st.run); !st.done.Opened() || st.err == nil {
			if err := x.Interim(http.StatusContinue, nil); err != nil {
				return errClientGone
			}
			c.upload = http1.UploadTo(x.run, st, x.body)
		}
	}
	st.awaiting()
	st.done.Wait(st.run)
	st.answered()
	if st.err != nil {
		return st.why(st.err)
	}
	c.read2(st.resp)
	return nil
}

func (st *stream) roundTrip(t http.RoundTripper, r *http.Request) {
	st.resp, st.err = t.RoundTrip(r) //nolint:bodyclose // end does
	st.done.Open()
	st.moved.Open()
}

// request2 is the request as it goes to the endpoint.
func (c *call) request2(st *stream) *http.Request {
	x := c.x
	x.head = x.appendFields(x.head[:0], &c.forwards)
	host := x.hostFor(c.endpoint)
	if host == "" {
		host = c.endpoint.Address()
	}
	first, rest := x.to.path()
	target := append(append(make([]byte, 0, 256), "//"...), host...) // so written, net/http leaves the path as it is
	for _, part := range [3]string{first, rest, x.query} {
		target = http1.AppendTarget(target, part)
	}
	r := &http.Request{
		Method: x.request.Method, Host: host, Header: headerOf(x.head), Body: http.NoBody,
		URL: &url.URL{Scheme: c.endpoint.Scheme, Host: c.endpoint.Address(), Opaque: string(target)},
	}
	switch {
	case x.kept.whole && len(x.kept.content)+len(x.kept.trailers) > 0:
		content := bytes.Clone(x.kept.content) // the transport may look at it when the exchange has ended
		r.ContentLength = int64(len(content))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		r.Body, _ = r.GetBody()
		if len(x.kept.trailers) > 0 {
			r.ContentLength, r.Trailer = -1, headerFields(x.kept.trailers)
		}
	case !x.kept.whole:
		pr, pw := io.Pipe()
		st.body = &streamBody{PipeReader: pr, w: pw, want: st.moved.Open, first: bytes.Clone(x.kept.content)}
		context.AfterFunc(st.ctx, func() { _ = pr.CloseWithError(context.Cause(st.ctx)) }) // the transport notices it behind a piece only
		r.Body, r.ContentLength = st.body, -1
		if x.request.Body.Kind == http1.Length {
			r.ContentLength = x.request.Body.Length
		} else {
			st.body.trailers = x.announced()
			r.Trailer = st.body.trailers
		}
	}
	d := &h2Dial{key: h2Key{c.endpoint, c.endpoint.TLS()}, dial: x.settings.dial2(x.to.policy, c.endpoint)}
	ctx := httptrace.WithClientTrace(st.ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { st.reused = i.Reused }})
	return r.WithContext(context.WithValue(ctx, h2DialKey{}, d))
}

// isLost tells whether an attempt over HTTP/2 failed because its connection did, and not the stream alone.
func isLost(err error) bool {
	if _, reset := errors.AsType[http2.StreamError](err); reset || errors.Is(err, errResponse) || errors.Is(err, errClientGone) || isSource(err) {
		return false
	}
	return true
}

// announced are the trailers that a request names before its body (RFC 9110, section 6.6.2).
func (x *exchange) announced() http.Header {
	trailers := make(http.Header)
	for name := range x.request.Fields.Tokens("Trailer") {
		trailers[http.CanonicalHeaderKey(name)] = nil
	}
	if b, ok := x.body.(*h2Body); ok {
		for name := range b.r.Trailer {
			trailers[name] = nil
		}
	}
	for name := range trailers {
		if http1.ForbiddenTrailer(name) {
			delete(trailers, name)
		}
	}
	return trailers
}

// headerOf reads field lines as appendFields makes them; what belongs to a connection of HTTP/1.1 is left out (RFC 9113, section
// 8.2.2).
func headerOf(lines []byte) http.Header {
	h := make(http.Header)
	h["User-Agent"] = []string{""} // else net/http names itself
	for line := range strings.SplitSeq(string(lines), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		switch name = http.CanonicalHeaderKey(name); name {
		case "Connection", "Trailer", "Expect":
		case "User-Agent":
			h[name] = []string{value}
		default:
			h[name] = append(h[name], value)
		}
	}
	return h
}

// dial2 connects to ep for HTTP/2, TLS handshake included.
func (set *Settings) dial2(p *route.Policy, ep *upstream.Endpoint) func(context.Context) (net.Conn, error) {
	d := set.dialer(p)
	d.ALPN = []string{"h2"}
	timeout := p.Timeouts.Effective().Handshake
	return func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := d.Dial(ctx, ep)
		if err != nil {
			return nil, err
		}
		if t, ok := conn.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol != "h2" {
			_ = conn.Close()
			return nil, &upstream.DialError{Op: upstream.OpTLS, Endpoint: ep.Address(), Err: errNoH2}
		}
		return conn, nil
	}
}

var errNoH2 = errors.New("it does not speak HTTP/2 (ALPN h2)")

// read2 makes the call's answer of a head.
func (c *call) read2(resp *http.Response) {
	a := &c.answer
	a.Status, a.Reason, a.Minor, a.Fields = resp.StatusCode, "", 1, fieldsOf(resp.Header)
	switch {
	case c.x.request.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified:
		a.Body = http1.Framing{}
	case resp.ContentLength >= 0 && len(resp.Trailer) == 0: // else HTTP/1.1 has no place for the trailers
		a.Body = http1.Framing{Kind: http1.Length, Length: resp.ContentLength}
	default:
		a.Body = http1.Framing{Kind: http1.Chunked}
	}
}

// why is what an error of the stream stands for: the reason why it was cut, if it was.
func (st *stream) why(err error) error {
	if cause := context.Cause(st.ctx); cause != nil {
		return cause
	}
	return err
}

// awaiting begins the wait for the answer's head, or begins it anew.
func (st *stream) awaiting() {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.wait <= 0: // unbounded, or over
	case st.timer == nil:
		st.timer = time.AfterFunc(st.wait, func() { st.cancel(errResponse) })
	default:
		st.timer.Reset(st.wait)
	}
}

// answered ends that wait.
func (st *stream) answered() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.timer != nil {
		st.timer.Stop()
	}
	st.wait = -1
}

// Begin, Write, Finish, Abort and Stop implement http1.Receiver for the request's body.
func (st *stream) Begin(r loop.Runner) { st.taker = r }

func (st *stream) Write(p []byte) (n int, err error) {
	st.taker.Offload(func() { n, err = st.body.w.Write(p) })
	st.awaiting()
	return n, err
}

// Finish ends the request's body.
func (st *stream) Finish(trailers http1.Fields) error {
	if st.body.trailers != nil {
		for _, f := range trailers {
			st.body.trailers.Add(f.Name, f.Value)
		}
	}
	return st.body.w.Close()
}

// Abort ends the stream: the client's body cannot be read.
func (st *stream) Abort(err error) { st.cancel(err) }

// Stop ends Write.
func (st *stream) Stop(err error) { _ = st.body.CloseWithError(err) }

// Next returns the next piece of the answer's body.
func (st *stream) Next() (p []byte, err error) {
	if st.ended {
		return nil, io.EOF
	}
	if st.buf == nil {
		st.buf = h2Buffers.Get().(*[]byte)
	}
	n := 0
	st.run.Offload(func() {
		for n == 0 && err == nil {
			n, err = st.resp.Body.Read(*st.buf)
		}
	})
	switch {
	case n > 0:
		return (*st.buf)[:n], nil
	case errors.Is(err, io.EOF):
		st.ended = true
		return nil, io.EOF
	}
	return nil, fmt.Errorf("body: %w", st.why(err))
}

// Trailers are the fields behind the answer's body.
func (st *stream) Trailers() http1.Fields {
	var fields http1.Fields
	for _, f := range fieldsOf(st.resp.Trailer) {
		if !http1.ForbiddenTrailer(f.Name) {
			fields = append(fields, f)
		}
	}
	return fields
}

// Whole never has the whole body: it comes behind the head.
func (st *stream) Whole() ([]byte, bool) { return nil, false }

// Ready tells that nothing follows the head.
func (st *stream) Ready() bool { return st.resp.ContentLength == 0 && len(st.resp.Trailer) == 0 }

// end gives the stream back. Its request's body is no longer sent.
func (st *stream) end() {
	st.answered()
	st.cancel(nil)
	st.done.Wait(st.run)
	st.free()
}

// free gives back what the answer holds.
func (st *stream) free() {
	if st.resp != nil && !st.ended {
		st.run.Offload(func() { _ = st.resp.Body.Close() }) // it may write
	}
	if st.buf != nil {
		h2Buffers.Put(st.buf)
		st.buf = nil
	}
}
