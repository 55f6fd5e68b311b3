// Package proxy serves clients: listeners, TLS, HTTP/1.1 and HTTP/2, the life of a
// WebSocket session (session.go) and plain requests (http.go). It decides on one snapshot
// of the route table per request and knows nothing of where routes come from.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log" //nolint:depguard // net/http wants one for its own messages
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// Time limits of connections that carry no session.
const (
	headTimeout = 30 * time.Second // TLS handshake, and a request's head
	idleTimeout = 2 * time.Minute  // between two requests
)

// What clients and services are told when the gateway stops.
const (
	shutdownReason = "The gateway is shutting down"
	causeShutdown  = "shutdown"
)

// Options are what a Server is made of. All but Admin are required.
type Options struct {
	Table     func() *route.Table // the current table; never nil
	AccessLog *accesslog.Logger
	Log       *slog.Logger
	Admin     http.Handler // serves /application/**; nil: no such endpoints
	EurekaOn  bool         // an Eureka source is on: handshakes without a route get Zowe's texts
}

// Settings are what a reload may change: one immutable value, swapped at once.
type Settings struct {
	limits         Limits
	trusted        []netip.Prefix
	users          *auth.Users
	unroutedPolicy *route.Policy
	upstream       *upstream.Dialer
	reverse        *httputil.ReverseProxy
	transport      *http.Transport
}

// A Server is the data plane. Listen binds its addresses, Serve runs it until Shutdown.
type Server struct {
	Options
	Sessions Sessions

	settings  atomic.Pointer[Settings]
	engine    *loop.Engine // of all sessions; Shutdown ends it
	stdLog    *log.Logger
	listeners []*listener
	fresh     sync.Map     // net.Conn: accepted, and nothing has come yet
	conns     atomic.Int64 // open client connections that carry no session
	started   atomic.Int64 // sessions since start
	refused   atomic.Int64 // connections and sessions over a limit, since start
	stopping  atomic.Bool
	hopID     string        // constant
	unread    time.Duration // constant: unreadTimeout, less in tests

	mu       sync.Mutex // guards the following
	policies map[relay.Policy]*relay.Policy
}

// listener is one bound address.
type listener struct {
	config  ListenerConfig
	ln      net.Listener
	server  *http.Server
	keypair *Keypair
}

// New returns a Server that serves nothing yet: Apply gives it its settings.
func New(o Options) *Server {
	s := &Server{Options: o, policies: make(map[relay.Policy]*relay.Policy), hopID: newHopID(), unread: unreadTimeout}
	s.engine = loop.Open(loop.Options{Log: o.Log})
	s.stdLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	return s
}

// Reloadable are the sections that may change while the Server runs.
type Reloadable struct {
	TrustedProxies []string
	Limits         Limits
	Users          *auth.Users // of auth.basic; nil: none
	Defaults       route.Policy
	Dialer         *upstream.Dialer
}

// Apply swaps the settings. Sessions and requests under way keep theirs. On error nothing changes.
func (s *Server) Apply(c Reloadable) error {
	set := &Settings{limits: c.Limits, users: c.Users, unroutedPolicy: &c.Defaults, upstream: c.Dialer}
	for _, text := range c.TrustedProxies {
		p, err := parseNetwork(text)
		if err != nil {
			return fmt.Errorf("gateway.trustedProxies: %w", err)
		}
		set.trusted = append(set.trusted, p)
	}
	set.transport = newTransport()
	set.reverse = newReverseProxy(s, nextEndpoint{set.transport})
	if old := s.settings.Swap(set); old != nil {
		old.transport.CloseIdleConnections()
	}
	return nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// ListenError is a listener that cannot be bound or set up.
type ListenError struct {
	Index int    // in gateway.listeners
	Key   string // of the listener's section: address, or tls.…
	Err   error
}

func (e *ListenError) Error() string {
	return fmt.Sprintf("gateway.listeners[%d].%s: %v", e.Index, e.Key, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }

// Listen binds every listener, or none. generated gives the certificate of listeners that
// name no files; it is called only if one is needed.
func (s *Server) Listen(configs []ListenerConfig, generated func() (*Keypair, error)) error {
	for i, c := range configs {
		l, err := s.bind(i, c, generated)
		if err != nil {
			for _, l := range s.listeners {
				l.ln.Close()
			}
			s.listeners = nil
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func (s *Server) bind(i int, c ListenerConfig, generated func() (*Keypair, error)) (*listener, error) {
	l := &listener{config: c, server: &http.Server{
		Handler: s, ReadHeaderTimeout: headTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: int(s.settings.Load().limits.headerBytes()), ErrorLog: s.stdLog,
		ConnState: s.connState, ConnContext: withClientConn,
	}}
	if c.TLS != nil {
		var err error
		if c.TLS.CertFile != "" || c.TLS.KeyFile != "" {
			l.keypair, err = LoadKeypair(c.TLS.CertFile, c.TLS.KeyFile)
		} else {
			l.keypair, err = generated()
		}
		if err != nil {
			return nil, &ListenError{i, "tls.certFile", err}
		}
		if l.server.TLSConfig, err = c.TLS.ServerTLS(l.keypair, true); err != nil {
			return nil, &ListenError{i, "tls", err}
		}
		// The toolchain's bundled HTTP/2 has known holes; this one replaces it.
		h2 := &http2.Server{MaxConcurrentStreams: 250, IdleTimeout: idleTimeout} //nolint:staticcheck // Server.Protocols takes the bundled one
		err = http2.ConfigureServer(l.server, h2)                                //nolint:staticcheck // likewise
		if err != nil {
			return nil, &ListenError{i, "tls", err}
		}
	}
	ln, err := upstream.Listen(context.Background(), c.Address)
	if err != nil {
		return nil, &ListenError{i, "address", err}
	}
	l.ln = ln
	return l, nil
}

// Bound is a listener's name and the address that it has got.
type Bound struct{ Name, Address string }

// Bound are the listeners in the order of their configuration.
func (s *Server) Bound() []Bound {
	all := make([]Bound, len(s.listeners))
	for i, l := range s.listeners {
		all[i] = Bound{l.config.Name, l.ln.Addr().String()}
	}
	return all
}

// Address is the address of the listener of that name, "" if there is none.
func (s *Server) Address(name string) string {
	for _, b := range s.Bound() {
		if b.Name == name {
			return b.Address
		}
	}
	return ""
}

// ReloadCertificates reads certificate files again; open connections keep theirs.
func (s *Server) ReloadCertificates() error {
	var errs []error
	for i, l := range s.listeners {
		if l.keypair != nil {
			if err := l.keypair.Reload(); err != nil {
				errs = append(errs, &ListenError{i, "tls.certFile", err})
			}
		}
	}
	return errors.Join(errs...)
}

// Serve accepts until Shutdown, and returns when every listener has ended.
func (s *Server) Serve() error {
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go s.serve(l, errs)
	}
	var first error
	for range s.listeners {
		if err := <-errs; err != nil && !errors.Is(err, http.ErrServerClosed) && first == nil {
			first = err
		}
	}
	return first
}

func (s *Server) serve(l *listener, errs chan<- error) {
	ln := &limitedListener{Listener: l.ln, s: s, wrap: l.config.TLS != nil}
	if l.config.TLS != nil {
		errs <- l.server.ServeTLS(ln, "", "")
		return
	}
	errs <- l.server.Serve(ln)
}

// Stopping tells whether Shutdown has begun: health then answers 503.
func (s *Server) Stopping() bool { return s.stopping.Load() }

// Shutdown stops accepting, ends live sessions with 1001, and waits for them and for
// requests in flight until ctx ends; then it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) {
	s.stopping.Store(true)
	var wg sync.WaitGroup
	for _, l := range s.listeners {
		wg.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				l.server.Close()
			}
		})
	}
	for _, ss := range s.Sessions.snapshot(0) {
		if r := ss.relay.Load(); r != nil {
			r.Close(websocket.GoingAway, shutdownReason, causeShutdown)
		}
	}
	s.fresh.Range(func(c, _ any) bool { // connections that have not asked for anything yet
		c.(net.Conn).Close()
		return true
	})
	wg.Wait() // a handshake under way may still become a session
	select {
	case <-s.Sessions.empty():
	case <-ctx.Done():
		s.cutSessions()
	}
	s.engine.Close()
	if set := s.settings.Load(); set != nil {
		set.transport.CloseIdleConnections()
	}
}

// cutTimeout bounds the wait for sessions that have been cut to write their lines.
const cutTimeout = 2 * time.Second

// cutSessions resets the sessions that a stop has no more time for, and waits until each
// has had its last word in the access log.
func (s *Server) cutSessions() {
	left := s.Sessions.snapshot(0)
	if len(left) == 0 {
		return
	}
	s.Log.Warn("sessions cut at shutdown", "sessions", len(left))
	for _, ss := range left {
		if r := ss.relay.Load(); r != nil {
			r.Cut(causeShutdown)
		}
	}
	select {
	case <-s.Sessions.empty():
	case <-time.After(cutTimeout):
	}
}

// ServeHTTP is where every request begins.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.boundBody(w, r)
	if c, ok := r.Context().Value(clientConnKey{}).(*clientConn); ok {
		c.requests.Add(1)
	}
	x := s.newExchange(r)
	if f := s.unacceptable(r, x); f != nil {
		s.reject(w, x, f)
		return
	}
	upgrade, err := websocket.IsUpgrade(opening(r))
	if err != nil {
		s.reject(w, x, failed(err, x.target, ""))
		return
	}
	switch {
	case x.path == "/application" || strings.HasPrefix(x.path, "/application/"):
		if upgrade { // it is not switched: what follows it is no request (RFC 9931)
			w.Header().Set("Connection", "close")
		}
		s.serveAdmin(w, r, x)
	case upgrade:
		s.startSession(w, r, x)
	default:
		s.serveHTTP(w, r, x)
	}
}

// opening is what a handshake is judged by.
func opening(r *http.Request) *websocket.Request {
	return &websocket.Request{
		Method: r.Method, HTTP11: r.ProtoMajor == 1 && r.ProtoMinor >= 1, Fields: r.Header,
		Body: r.ContentLength > 0 || len(r.TransferEncoding) > 0 || r.Header["Transfer-Encoding"] != nil,
	}
}

// unacceptable judges what holds for every request, wherever it goes.
func (s *Server) unacceptable(r *http.Request, x *exchange) *failure {
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return &failure{
			status: http.StatusMethodNotAllowed, cause: r.Method + " refused",
			message: methodNotAllowed(),
		}
	case !r.ProtoAtLeast(1, 1) && len(r.TransferEncoding) > 0:
		return badRequest("HTTP/1.0 knows no Transfer-Encoding") // RFC 9112, section 6.1
	case strings.Contains(x.query, "#"):
		return badRequest("the request target contains '#'")
	}
	if err := route.CheckPath(x.path); err != nil {
		return failed(err, x.target, "")
	}
	return s.looped(x)
}

// reject answers what is no acceptable request, and ends its connection.
func (s *Server) reject(w http.ResponseWriter, x *exchange, f *failure) {
	x.record.Cause = f.cause
	s.refuseStatus(w, x, f)
}

func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request, x *exchange) {
	rec := &recorder{ResponseWriter: w, x: x, h2: r.ProtoMajor == 2}
	rec.Header().Set("X-Request-Id", x.record.RequestID)
	x.record.Route = "application"
	defer func() {
		x.record.Status, x.record.BytesOut = rec.status, rec.n
		s.log(x)
	}()
	if s.Admin == nil {
		s.failHTTP(rec, x, notFound(x.target))
		return
	}
	s.Admin.ServeHTTP(rec, r)
}

// authenticate checks what the route asks for. checked tells that the gateway itself took
// the Authorization header.
func (s *Server) authenticate(r *http.Request, x *exchange, p *route.Policy) (checked bool, err error) {
	if p.Auth != route.AuthBasic {
		return false, nil
	}
	if x.settings.users == nil {
		return false, &auth.Error{Status: http.StatusServiceUnavailable, Reason: "the route asks for basic credentials, but auth.basic has no users"}
	}
	id, err := x.settings.users.Authenticate(r)
	if err != nil {
		return false, err
	}
	x.record.User = id.User
	return true, nil
}

// relayPolicy returns the one relay.Policy with p's values: sessions share it.
func (s *Server) relayPolicy(p *route.Policy) *relay.Policy {
	l := p.Limits()
	v := relay.Policy{
		MaxMessage: l.MaxMessage, MaxFrame: l.MaxFrame, Idle: l.Idle, IdleMessages: l.IdleMessages, MaxAge: l.MaxAge,
		Ping: l.Ping, Pong: l.Pong, CloseTimeout: l.CloseTimeout,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.policies[v]
	if shared == nil {
		shared = &v
		s.policies[v] = shared
	}
	return shared
}
