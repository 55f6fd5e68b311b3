package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// stallTimeout bounds one wait for a client that sends its body or takes its answer.
const stallTimeout = 60 * time.Second

// A call is one HTTP request on its way to an endpoint.
type call struct {
	x        *exchange
	match    route.Match
	endpoint *upstream.Endpoint
	dialer   *upstream.Dialer
	log      *slog.Logger
	body     *countedBody
	checked  bool        // the gateway itself took the Authorization header
	timer    *time.Timer // fires when the service has not answered in timeouts.response; nil: no bound
	limit    time.Duration
	answered atomic.Bool // the service's final head has come
}

// progress starts the wait for the answer anew: the client is still sending.
func (c *call) progress() {
	if c.answered.Load() {
		return
	}
	c.timer.Reset(c.limit)
	if c.answered.Load() {
		c.timer.Stop()
	}
}

type callKey struct{}

// serveHTTP serves what is no WebSocket handshake: REST, pages, streams of events.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request, x *exchange) {
	rec := &recorder{ResponseWriter: w, x: x, h2: r.ProtoMajor == 2}
	body := &countedBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
	defer func() {
		x.record.Status, x.record.BytesIn, x.record.BytesOut = rec.status, body.n.Load(), rec.n
		if rec.status == 0 {
			x.record.Status = statusClientGone
			if s.stopping.Load() {
				x.record.Cause = causeShutdown // the gateway's patience ended, not the client's
			}
			s.countReset(r)
		}
		s.log(x)
	}()
	rec.Header().Set("X-Request-Id", x.record.RequestID)
	m, ok := x.table.Match(x.path)
	if !ok {
		s.failHTTP(rec, x, notFound(x.target))
		return
	}
	x.route(m)
	if location, ok := slashRedirect(r, x, m); ok {
		rec.Header().Set("Location", location)
		rec.WriteHeader(http.StatusFound)
		return
	}
	c := &call{x: x, match: m, log: s.Log, body: body}
	var err error
	if c.checked, err = s.authenticate(r, x, m.Policy); err != nil {
		s.failHTTP(rec, x, failed(err, x.target, m.ServiceID))
		return
	}
	if c.endpoint, err = m.Service.Pick(m.Policy.Balance(false)); err != nil {
		s.failHTTP(rec, x, failed(err, x.target, m.ServiceID))
		return
	}
	c.dialer = x.settings.dialer(m.Policy)
	ctx, cancel := context.WithCancelCause(context.WithValue(r.Context(), callKey{}, c))
	defer cancel(nil)
	timeouts := m.Policy.Timeouts.Effective()
	for _, whole := range []time.Duration{timeouts.Request, timeouts.BackendRequest} { // one attempt: both mean the same
		if whole > 0 {
			defer time.AfterFunc(whole, func() { cancel(errResponse) }).Stop()
		}
	}
	if c.limit = timeouts.Response; c.limit > 0 {
		c.timer = time.AfterFunc(c.limit, func() { cancel(errResponse) })
		defer c.timer.Stop()
		body.progress = c.progress
	}
	out := r.WithContext(ctx) // a copy: net/http looks at its own request's Body after the handler
	if r.Body != nil && r.Body != http.NoBody {
		out.Body = body
	}
	keepEndToEnd(r.Header)
	for _, name := range []string{"Upgrade", "Http2-Settings"} { // no upgrade but WebSocket's goes through
		delete(r.Header, name)
	}
	x.settings.reverse.ServeHTTP(rec, out)
}

// failHTTP answers a request that reaches no service.
func (s *Server) failHTTP(w http.ResponseWriter, x *exchange, f *failure) {
	x.record.Cause = f.cause
	for name, values := range f.header {
		w.Header()[name] = values
	}
	if f.status == statusClientGone { // nobody is there to read an answer
		panic(http.ErrAbortHandler)
	}
	f.message.WriteJSON(w, f.status)
}

// unreadable is a request whose body the client broke off or framed wrongly: its own fault,
// not the service's.
func unreadable(err error) *failure {
	f := badRequest("its body could not be read")
	f.cause += ": " + err.Error()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f.status = http.StatusRequestTimeout
	}
	return f
}

// slashRedirect sends /svc/ui/v1 to /svc/ui/v1/, so that a page's relative links work
// (zowe.md, section 5.1).
func slashRedirect(r *http.Request, x *exchange, m route.Match) (string, bool) {
	if m.Rest != "" || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return "", false
	}
	if m.GatewayURL != "ui" && !strings.HasPrefix(m.GatewayURL, "ui/") {
		return "", false
	}
	return m.Prefix + "/" + x.query, true
}

func newReverseProxy(s *Server, transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      transport,
		FlushInterval:  -1, // what the service sends leaves at once: events are not buffered
		ErrorLog:       s.stdLog,
		BufferPool:     &bufferPool{},
		ModifyResponse: modifyResponse,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			c := r.Context().Value(callKey{}).(*call)
			unread := c.body.failed.Load()
			switch {
			case errors.Is(context.Cause(r.Context()), errResponse):
				err = errResponse
			case r.Context().Err() != nil:
				err = errClientGone
			case unread != nil:
				err = unreadable(*unread)
			}
			s.failHTTP(w, c.x, failed(err, c.x.target, c.match.ServiceID))
		},
	}
}

// rewrite makes the request to the endpoint. ReverseProxy has removed hop-by-hop headers
// by then; keepEndToEnd has kept it from removing end-to-end ones that Connection named.
func rewrite(p *httputil.ProxyRequest) {
	c := p.In.Context().Value(callKey{}).(*call)
	out := p.Out
	target := c.match.Upstream()
	out.URL = new(url.URL)
	c.address(out)
	if strings.HasPrefix(target, "//") { // net/http would take an Opaque like this for an authority
		out.URL.RawPath = target
		out.URL.Path, _ = url.PathUnescape(target)
	} else {
		out.URL.Opaque = target // goes on the wire as it is
	}
	if c.x.query != "" {
		out.URL.RawQuery, out.URL.ForceQuery = c.x.query[1:], c.x.query == "?"
	}
	removeReserved(out.Header)
	out.Trailer = p.In.Trailer // the same map: net/http fills it when the body has ended
	if c.checked {
		delete(out.Header, "Authorization")
	}
	c.x.origin.setForward(out.Header, c.match.Prefix)
	c.x.setHops(out.Header)
	out.Header["X-Request-Id"] = []string{c.x.record.RequestID}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else net/http would invent one
	}
}

// address points a request at the call's endpoint.
func (c *call) address(out *http.Request) {
	c.x.record.Instance, c.x.record.Backend = c.endpoint.ID, c.endpoint.Address()
	out.URL.Scheme, out.URL.Host, out.Host = c.endpoint.Scheme, c.endpoint.Address(), c.endpoint.Address()
	if c.match.Policy.HostHeader == route.HostOfClient {
		out.Host = c.x.origin.host
	}
}

// nextEndpoint is a transport that passes over an endpoint that cannot be reached: nothing
// of the request has been sent by then.
type nextEndpoint struct{ *http.Transport }

func (t nextEndpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	c := r.Context().Value(callKey{}).(*call)
	if r.Body != nil {
		keep := *r
		keep.Body = keptOpen{r.Body}
		r = &keep
	}
	var tried []*upstream.Endpoint
	for {
		resp, err := t.Transport.RoundTrip(r)
		if err == nil || !unreached(err) || r.Context().Err() != nil {
			return resp, err
		}
		tried = append(tried, c.endpoint)
		next, none := c.match.Service.Pick(c.match.Policy.Balance(false), tried...)
		if none != nil || len(tried) == maxAttempts {
			return nil, err
		}
		c.log.Warn("endpoint not reached", "service", c.match.ServiceID, "instance", c.endpoint.ID, "err", err)
		c.endpoint = next
		again, to := *r, *r.URL // shallow: the body and the map of trailers stay the client's
		again.URL = &to
		r = &again
		c.address(r)
	}
}

// keptOpen is a body that a transport does not close, also when it could not send it:
// another endpoint may take it. ReverseProxy closes it at the end.
type keptOpen struct{ io.Reader }

func (keptOpen) Close() error { return nil }

func modifyResponse(resp *http.Response) error {
	c := resp.Request.Context().Value(callKey{}).(*call)
	c.answered.Store(true)
	if c.timer != nil {
		c.timer.Stop()
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return errors.New("service answered 101 to a request that asked for no upgrade")
	}
	delete(resp.Header, "X-Request-Id") // the answer has the gateway's already
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		if to, ok := c.relocate(resp.Header.Get("Location")); ok {
			resp.Header.Set("Location", to)
		}
	}
	return nil
}

// relocate maps an absolute Location at the service, or at any other registered instance, to
// the gateway's path for it (zowe.md, section 5.1). Others, and relative ones, stay.
func (c *call) relocate(location string) (string, bool) {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "") {
		return "", false
	}
	_, rest, _ := strings.Cut(location, "//")
	path := ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		path = rest[i:]
	}
	host := u.Host
	if u.Port() == "" {
		host = u.Hostname() + ":" + portOf(u.Host, u.Scheme)
	}
	if to, ok := relocateOn(c.match.Route, c.match.Prefix, host, path); ok {
		return to, true
	}
	for _, rt := range c.x.table.Routes() {
		if to, ok := relocateOn(rt, rt.Prefixes[0], host, path); ok {
			return to, true
		}
	}
	return "", false
}

// relocateOn maps path at host to prefix if an endpoint of rt listens on host and the path
// lies below the route's target.
func relocateOn(rt *route.Route, prefix, host, path string) (string, bool) {
	base := strings.TrimSuffix(rt.Target, "/")
	rest, ok := strings.CutPrefix(path, base)
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
		return "", false
	}
	for _, ep := range rt.Service.Endpoints {
		if strings.EqualFold(ep.Address(), host) {
			return prefix + rest, true
		}
	}
	return "", false
}

// recorder counts what goes to the client, and bounds each wait for it.
type recorder struct {
	http.ResponseWriter
	x      *exchange
	status int
	n      int64
	h2     bool
}

// Unwrap serves http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if status == http.StatusContinue {
		return // net/http sends its own when the service has asked for the body and it is first read
	}
	if status >= 200 && w.status == 0 {
		w.status = status
		w.Header()["X-Request-Id"] = []string{w.x.record.RequestID} // an interim answer may have taken it
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	rc := http.NewResponseController(w.ResponseWriter)
	_ = rc.SetWriteDeadline(time.Now().Add(stallTimeout))
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	if w.h2 && err == nil { // an HTTP/2 stream is reset by a deadline that passes while it is idle
		_ = rc.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// countedBody counts a request's body and bounds each wait for more of it.
type countedBody struct {
	io.ReadCloser
	rc       *http.ResponseController
	n        atomic.Int64
	failed   atomic.Pointer[error] // why it could not be read
	progress func()                // nil unless the response is waited for with a bound
}

func (b *countedBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(stallTimeout))
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	switch {
	case errors.Is(err, io.EOF):
		_ = b.rc.SetReadDeadline(time.Time{})
	case err != nil:
		b.failed.Store(&err)
	}
	if b.progress != nil {
		b.progress()
	}
	return n, err
}

// bufferPool lends ReverseProxy its copy buffers.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
