package proxy

import (
	"context"
	"errors"
	"io"
	"log" //nolint:depguard // net/http wants one for its own messages
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// Bounds of an HTTP/2 connection.
const (
	maxStreams = 250      // requests under way
	maxFrame   = 16 << 10 // bytes of one frame: the least that may be asked for (RFC 9113, section 6.5.2)
)

// An h2Server serves HTTP/2 on connections that others have accepted. The toolchain's bundled HTTP/2
// has known holes: this is that of golang.org/x/net.
type h2Server struct {
	base   *http.Server  // has the limits, and is told of a shutdown; it serves nothing
	server *http2.Server //nolint:staticcheck // http.Server takes the bundled one
}

func newH2Server(headerBytes int, errorLog *log.Logger) (*h2Server, error) {
	h := &h2Server{
		base:   &http.Server{MaxHeaderBytes: headerBytes, ErrorLog: errorLog, IdleTimeout: idleTimeout, ReadHeaderTimeout: headTimeout},
		server: &http2.Server{MaxConcurrentStreams: maxStreams, IdleTimeout: idleTimeout, MaxReadFrameSize: maxFrame}, //nolint:staticcheck // likewise
	}
	return h, http2.ConfigureServer(h.base, h.server) //nolint:staticcheck // likewise
}

// serveHTTP2 serves a connection until it ends.
func (s *Server) serveHTTP2(c *clientConn) {
	c.state.Store(connBusy) // a shutdown says GOAWAY
	c.http2 = true
	defer c.conn.Close()
	h2 := s.http2
	if d := c.listener.dynamic; d != nil {
		h2 = d.http2
	}
	h2.server.ServeConn(c.conn, &http2.ServeConnOpts{ //nolint:staticcheck // likewise
		BaseConfig: h2.base,
		Handler:    http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serveStream(c, w, r) }),
	})
}

// serveStream answers one request of HTTP/2. Those with fields that concern a connection of HTTP/1.1 do not come here: they have
// been answered 400 (RFC 9113, section 8.2.2).
func (s *Server) serveStream(c *clientConn, w http.ResponseWriter, r *http.Request) {
	h := &h2Client{w: w, r: r, rc: http.NewResponseController(w)}
	h.in = h2Body{r: r, rc: h.rc}
	x := exchanges.Get().(*exchange)
	x.client, x.body, x.run, x.conn, x.request, x.h1 = h, &h.in, loop.Goroutines, c, requestOf(r), nil
	whole := false
	defer func() {
		if !whole {
			s.wreck(x)
		}
	}()
	s.serve(x, checkStream(r))
	whole = true
	complete := h.finished
	x.free()
	h.in.free()
	if !complete {
		panic(http.ErrAbortHandler) // RST_STREAM: the client must not take what it has got for all
	}
}

// checkStream says what is wrong with a request whose parts become the request line and the Host of HTTP/1.1 on its way to a
// service, and that net/http has let through; nil: nothing.
func checkStream(r *http.Request) error {
	hosts, lengths := r.Header["Host"], r.Header["Content-Length"]
	switch {
	case strings.Trim(r.Method, harmless+"!#$%&'*+^`|~") != "":
		return &http1.Error{Status: http.StatusBadRequest, Reason: "method: no token"}
	case !http1.ValidHost(r.Host):
		return &http1.Error{Status: http.StatusBadRequest, Reason: "authority: not a host with a port or without"}
	case len(hosts) > 1 || len(hosts) == 1 && !strings.EqualFold(hosts[0], r.Host):
		return &http1.Error{Status: http.StatusBadRequest, Reason: "Host: not that of the authority"}
	case len(lengths) > 1 || len(lengths) == 1 && !isLength(lengths[0]):
		// RFC 9113, section 8.1.1. The server below takes most of them for no length at all.
		return &http1.Error{Status: http.StatusBadRequest, Reason: "Content-Length: not one number"}
	}
	return nil
}

// isLength tells whether s is a Content-Length: digits alone, and no more than an int64 holds.
func isLength(s string) bool {
	if s == "" || s[0] == '+' || s[0] == '-' {
		return false
	}
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil
}

// requestOf is r as the pipeline wants it. The order of names is lost in net/http's map: it is that of the alphabet.
func requestOf(r *http.Request) *http1.Request {
	q := &http1.Request{
		Method: r.Method, Target: r.RequestURI, Minor: 1, Host: r.Host, PathQuery: r.RequestURI,
		Fields: fieldsOf(r.Header),
	}
	switch {
	case r.ContentLength > 0:
		q.Body = http1.Framing{Kind: http1.Length, Length: r.ContentLength}
	case r.ContentLength < 0:
		q.Body.Kind = http1.Chunked
	case r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch:
		q.Body.Kind = http1.Length // RFC 9110, section 8.6: a length of 0 is said where a body is usual
	}
	return q
}

func fieldsOf(h http.Header) http1.Fields {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make(http1.Fields, 0, len(names))
	for _, name := range names {
		for _, value := range h[name] {
			fields.Add(name, value)
		}
	}
	return fields
}

// An h2Client is the client's side of an exchange over HTTP/2.
type h2Client struct {
	w  http.ResponseWriter
	r  *http.Request
	rc *http.ResponseController
	in h2Body

	bare     bool // no content goes to the client: HEAD, 204, 304
	waiting  bool // the head has not been flushed
	finished bool
	sent     int64
	limit    time.Time
	stop     func() bool   // of Watch; nil: nobody watches
	told     chan struct{} // closed when the function of Watch has run
}

func (h *h2Client) Interim(status int, fields http1.Fields) error {
	if status == http.StatusContinue || h.waiting {
		return nil // the server says 100 itself when the body is first read
	}
	head := h.w.Header()
	clear(head)
	addFields(head, fields)
	h.w.WriteHeader(status)
	clear(head)
	return nil
}

// addFields adds what may go over HTTP/2: nothing that concerns a connection (RFC 9113, section 8.2.2).
func addFields(h http.Header, fields http1.Fields) {
	for _, f := range fields {
		switch kindOf(f.Name) {
		case fieldConnection, fieldHop, fieldUpgrade, fieldTransferEncoding, fieldTE:
		default:
			h.Add(f.Name, f.Value)
		}
	}
}

func (h *h2Client) Respond(a *http1.Answer) {
	head := h.w.Header()
	clear(head)
	addFields(head, a.Fields)
	h.bare = h.r.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	switch {
	case a.Status == http.StatusNoContent:
		head.Del("Content-Length")
	case h.bare && a.Body.Kind == http1.NoBody:
	case a.Body.Kind == http1.Length || a.Body.Kind == http1.NoBody:
		head["Content-Length"] = []string{strconv.FormatInt(a.Body.Length, 10)}
	default:
		head.Del("Content-Length")
	}
	if _, ok := head["Content-Type"]; !ok {
		head["Content-Type"] = nil // else net/http guesses one
	}
	h.bound()
	h.w.WriteHeader(a.Status)
	h.waiting = true
}

// bound limits the wait for the client that follows. An HTTP/2 stream is reset by a deadline that passes
// while it is idle: unbound takes it off.
func (h *h2Client) bound() {
	until := time.Now().Add(stallTimeout)
	if !h.limit.IsZero() && h.limit.Before(until) {
		until = h.limit
	}
	_ = h.rc.SetWriteDeadline(until)
}

func (h *h2Client) unbound() { _ = h.rc.SetWriteDeadline(h.limit) }

func (h *h2Client) Write(p []byte) (int, error) {
	if h.bare {
		return len(p), h.Flush()
	}
	h.bound()
	n, err := h.w.Write(p)
	h.sent += int64(n)
	if err != nil {
		return n, err
	}
	return n, h.Flush()
}

func (h *h2Client) Flush() error {
	h.waiting = false
	err := h.rc.Flush()
	if err == nil {
		h.unbound()
	}
	return err
}

func (h *h2Client) Finish(trailers http1.Fields) error {
	head := h.w.Header()
	for _, f := range trailers {
		head.Add(http.TrailerPrefix+f.Name, f.Value)
	}
	h.waiting, h.finished = false, true // what is left leaves when the handler returns
	return nil
}

func (h *h2Client) Reply(a *http1.Answer, content []byte) error {
	a.Body = http1.Framing{Kind: http1.Length, Length: int64(len(content))}
	h.Respond(a)
	if !h.bare {
		n, err := h.w.Write(content)
		if h.sent += int64(n); err != nil {
			return err
		}
	}
	return h.Finish(nil)
}

func (h *h2Client) Sent() int64 { return h.sent }

func (h *h2Client) SetLimit(t time.Time) {
	h.limit, h.in.limit = t, t
	h.unbound()
}

func (h *h2Client) Watch(_ loop.Runner, gone func(error)) {
	told := make(chan struct{})
	h.told = told
	h.stop = context.AfterFunc(h.r.Context(), func() {
		defer close(told)
		gone(h.r.Context().Err())
	})
}

func (h *h2Client) Unwatch() {
	if h.stop != nil && !h.stop() {
		<-h.told
	}
	h.stop = nil
}

// An h2Body is the body of a request over HTTP/2.
type h2Body struct {
	r     *http.Request
	rc    *http.ResponseController
	limit time.Time
	most  int64 // content at most; 0: no bound

	buf   *[]byte // lent; nil before the first Next
	count atomic.Int64
	ended atomic.Bool

	mu      sync.Mutex // guards the following
	stopped error
}

var h2Buffers = sync.Pool{New: func() any {
	b := make([]byte, 32<<10)
	return &b
}}

func (b *h2Body) Next() ([]byte, error) {
	if b.buf == nil {
		b.buf = h2Buffers.Get().(*[]byte)
	}
	for {
		if err := b.arm(time.Now().Add(stallTimeout)); err != nil {
			return nil, err
		}
		n, err := b.r.Body.Read(*b.buf)
		if b.count.Add(int64(n)) > b.most && b.most > 0 {
			return nil, &http1.Error{Status: http.StatusRequestEntityTooLarge, Reason: "body: larger than the limit"}
		}
		switch {
		case n > 0:
			_ = b.arm(time.Time{}) // its passing would end the stream while nobody reads
			return (*b.buf)[:n], nil
		case errors.Is(err, io.EOF):
			_ = b.arm(time.Time{})
			b.ended.Store(true)
			return nil, io.EOF
		case err != nil:
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.stopped != nil {
				err = b.stopped
			}
			return nil, err
		}
	}
}

// arm sets the deadline of the next wait; the error is why there is to be none.
func (b *h2Body) arm(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped != nil {
		return b.stopped
	}
	if !b.limit.IsZero() && (t.IsZero() || b.limit.Before(t)) {
		t = b.limit
	}
	return b.rc.SetReadDeadline(t)
}

// Stop ends Next, now and later, with err. Anybody may call it.
func (b *h2Body) Stop(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped == nil {
		b.stopped = err
		_ = b.r.Body.Close()
	}
}

func (b *h2Body) Trailers() http1.Fields {
	var fields http1.Fields
	for _, f := range fieldsOf(b.r.Trailer) {
		if !http1.ForbiddenTrailer(f.Name) {
			fields = append(fields, f)
		}
	}
	return fields
}

// Limit has Next fail when there is more content.
func (b *h2Body) Limit(most int64) { b.most = most }

// Count is the content read so far, in bytes.
func (b *h2Body) Count() int64 { return b.count.Load() }

// Whole is for bodies that have come with their head: over HTTP/2 they come behind it.
func (b *h2Body) Whole() ([]byte, bool) { return nil, b.r.ContentLength == 0 }

func (b *h2Body) free() {
	if b.buf != nil {
		h2Buffers.Put(b.buf)
		b.buf = nil
	}
}
