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
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/relay"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// What clients and services are told when the gateway stops.
const (
	shutdownReason = "The gateway is shutting down"
	causeShutdown  = "shutdown"
	causeDrain     = "drain"
	causeUnhealthy = "unhealthy"
	causeMove      = "moved by an operator"
	causeRebalance = "rebalance"
)

// Options are what a Server is made of. All but Admin and Unbound are required.
type Options struct {
	Table     func() *route.Table // the current table; never nil
	AccessLog *accesslog.Logger
	Log       *slog.Logger
	Admin     http.Handler // serves /application/**; nil: no such endpoints
	EurekaOn  bool         // an Eureka source is on: handshakes without a route get Zowe's texts

	// Unbound is told what Program could not bind, by route.Listener.Key, whenever that changes: also when a later try has
	// succeeded. It must not call Program, and not wait. Nil: nobody is told.
	Unbound func(map[string]error)
}

// Settings are what a reload may change: one immutable value, swapped at once.
type Settings struct {
	limits          Limits
	rate            *rateLimiter // nil: no bound
	trusted         []netip.Prefix
	users           *auth.Users
	tokens          *auth.Tokens // nil: there are no issuers
	tokenQueries    []string     // names of parameters in which tokens are
	passCredentials bool
	unroutedPolicy  *route.Policy
	upstream        *upstream.Dialer
	pool            *http1.Pool[poolKey]
	h2              *h2Pool
}

// A Server is the data plane. Listen binds its addresses, Serve runs it until Shutdown.
type Server struct {
	Options
	Sessions Sessions

	applying   sync.Mutex // held by Apply
	settings   atomic.Pointer[Settings]
	engine     *loop.Engine // of all sessions; Shutdown ends it
	stdLog     *log.Logger
	listeners  []*listener  // gateway.listeners; constant after Listen
	http2      *h2Server    // theirs
	conns      atomic.Int64 // open client connections that carry no session
	tally      tally        // of all that has ended
	revoked    auth.Revocations
	licences   licences
	refused    atomic.Int64  // connections, sessions and requests over a limit, since start
	stopping   atomic.Bool   // Shutdown has begun
	stopped    chan struct{} // closed by then
	connGone   chan struct{} // has one when a connection has ended since it was looked at
	hopID      string        // constant
	budgets    budgets
	mirrors    *mirrors
	unread     time.Duration                // constant: unreadTimeout, less in tests
	greeting   time.Duration                // constant: headTimeout for PROXY header and TLS, less in tests
	asking     time.Duration                // constant: authTimeout, less in tests
	stall      time.Duration                // constant: of slow readers; 0: the relay's own, feedStall; less in tests
	lastPolicy atomic.Pointer[sharedPolicy] // of the last session

	living    context.Context // ends with Shutdown
	endLiving context.CancelFunc
	working   sync.WaitGroup // see background
	searching sync.WaitGroup // for other endpoints of sessions, in goroutines
	settling  time.Duration  // constant: joinDelay, less in tests

	programming sync.Mutex // held by Program
	programmed  programmed
	accepting   sync.WaitGroup // goroutines of programmed, and flows of UDP

	mu       sync.Mutex // guards the following
	policies map[sessionPolicy]*sessionPolicy
	movers   map[string]*mover
	suspects map[*upstream.Endpoint][]*search
	joined   map[string]bool          // services that are to be rebalanced soon
	levels   bool                     // there has been a session of a route that rebalances by itself
	feeds    map[*feed]struct{}       // of frames of sessions
	open     map[*clientConn]struct{} // connections that carry no session
	carried  map[*carriage]struct{}   // what some of these carry
	quiet    chan struct{}            // closed when the last of them ends; nil unless somebody waits
}

// New returns a Server that serves nothing yet: Apply gives it its settings.
func New(o Options) *Server {
	s := &Server{
		Options: o, policies: make(map[sessionPolicy]*sessionPolicy), movers: make(map[string]*mover),
		suspects: make(map[*upstream.Endpoint][]*search), joined: make(map[string]bool), settling: joinDelay, open: make(map[*clientConn]struct{}),
		carried: make(map[*carriage]struct{}),
		stopped: make(chan struct{}), connGone: make(chan struct{}, 1), hopID: newHopID(), mirrors: newMirrors(),
		unread: unreadTimeout, greeting: headTimeout, asking: authTimeout,
	}
	s.living, s.endLiving = context.WithCancel(context.Background())
	s.engine = loop.Open(loop.Options{Log: o.Log, Lasting: func(fd int) {
		_ = upstream.KeepAlive(fd) // it fails only on a connection that has ended
	}})
	s.stdLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)
	return s
}

// Reloadable are the sections that may change while the Server runs.
type Reloadable struct {
	TrustedProxies  []string
	Limits          Limits
	Users           *auth.Users  // of auth.basic; nil: none
	Tokens          *auth.Tokens // of auth.jwt; nil: none
	PassCredentials bool         // auth.passCredentials
	Defaults        route.Policy
	Dialer          *upstream.Dialer
}

// Apply swaps the settings. Sessions and requests under way keep theirs. On error nothing changes.
func (s *Server) Apply(c Reloadable) error {
	set := &Settings{limits: c.Limits, users: c.Users, tokens: c.Tokens, passCredentials: c.PassCredentials, unroutedPolicy: &c.Defaults, upstream: c.Dialer}
	for _, text := range c.TrustedProxies {
		p, err := parseNetwork(text)
		if err != nil {
			return fmt.Errorf("gateway.trustedProxies: %w", err)
		}
		set.trusted = append(set.trusted, p)
	}
	for _, p := range c.Tokens.Places() {
		if p.Kind == auth.InQuery {
			set.tokenQueries = append(set.tokenQueries, p.Name)
		}
	}
	set.rate = newRateLimiter(c.Limits.RequestRate, c.Limits.RequestBurst)
	set.pool, set.h2 = new(http1.Pool[poolKey]), newH2Pool()
	s.applying.Lock()
	defer s.applying.Unlock()
	old := s.settings.Load()
	if old != nil && old.limits.RequestRate == c.Limits.RequestRate && old.limits.RequestBurst == c.Limits.RequestBurst {
		set.rate = old.rate // who was held back is held back still
	}
	s.settings.Store(set)
	if old != nil {
		old.pool.Shut()
		old.h2.Shut()
		s.endLicences()
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

// sweepInterval is how often connections to endpoints that have been idle for long are looked for.
const sweepInterval = 5 * time.Second

// Serve accepts until Shutdown, and returns when every listener has ended.
func (s *Server) Serve() error {
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		s.sweepPool()
	}()
	errs := make(chan error, len(s.listeners))
	for _, l := range s.listeners {
		go func() { errs <- s.serveListener(l) }()
	}
	var first error
	for range s.listeners {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	<-swept
	return first
}

// sweepPool closes connections to endpoints that have been idle for long, until Shutdown.
func (s *Server) sweepPool() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.settings.Load().pool.Sweep()
			s.budgets.sweep()
			s.sweepMovers()
		case <-s.stopped:
			return
		}
	}
}

// Stopping tells whether Shutdown has begun: health then answers 503.
func (s *Server) Stopping() bool { return s.stopping.Load() }

// Shutdown stops accepting, ends live sessions with 1001, and waits for them and for
// requests in flight until ctx ends; then it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) {
	if s.stopping.CompareAndSwap(false, true) {
		close(s.stopped)
	}
	for _, l := range s.listeners {
		l.ln.Close()
	}
	s.endProgram()
	s.endBackground()
	var closing sync.WaitGroup
	closing.Go(func() { s.closeSessions(ctx) })
	s.stopPolled(ctx)
	s.drain(ctx) // a handshake under way may still become a session
	closing.Wait()
	select {
	case <-s.Sessions.empty():
	case <-ctx.Done():
		s.cutSessions()
	}
	s.searching.Wait()
	s.endFeeds()
	s.accepting.Wait()
	s.mirrors.stop()
	s.engine.Close()
	if set := s.settings.Load(); set != nil {
		set.pool.Shut()
		set.h2.Shut()
	}
}

// cutTimeout bounds the wait for sessions that have been cut to write their lines.
const cutTimeout = 2 * time.Second

// cutSessions resets the sessions that a stop has no more time for, and waits until each
// has had its last word in the access log.
func (s *Server) cutSessions() {
	left := s.Sessions.Len()
	if left == 0 {
		return
	}
	s.Log.Warn("sessions cut at shutdown", "sessions", left)
	s.Sessions.Each(context.Background(), nil, 0, func(r *relay.Session) { r.Cut(causeShutdown) })
	select {
	case <-s.Sessions.empty():
	case <-time.After(cutTimeout):
	}
}

// serve is where every request begins. bad is what the parser says of its head; nil: nothing.
func (s *Server) serve(x *exchange, bad error) {
	x.conn.requests.Add(1)
	s.begin(x)
	if f := s.unacceptable(x, bad); f != nil {
		s.reject(x, f)
		return
	}
	upgrade, err := x.wantsSession()
	if err != nil {
		s.reject(x, failed(err, x.target, ""))
		return
	}
	if wait := x.settings.rate.allow(x.origin.addr, x.record.Time); wait > 0 {
		s.refused.Add(1)
		s.reject(x, tooMany(wait))
		return
	}
	switch {
	case x.conn.listener.dynamic != nil:
		s.serveProgrammed(x, upgrade)
	case x.conn.listener.config.RedirectToHTTPS && x.origin.proto != "https":
		s.redirectToHTTPS(x, upgrade)
	case s.isOwn(x.path):
		if upgrade { // it is not switched: what follows it is no request (RFC 9931)
			x.closeAfter()
		}
		s.serveAdmin(x)
	case upgrade:
		s.startSession(x)
	default:
		s.serveHTTP(x)
	}
}

// unacceptable judges what holds for every request, wherever it goes.
func (s *Server) unacceptable(x *exchange, bad error) *failure {
	if bad != nil {
		var e *http1.Error
		if !errors.As(bad, &e) {
			e = &http1.Error{Status: http.StatusBadRequest, Reason: bad.Error()}
		}
		return malformed(e)
	}
	r, limit := x.request, int64(x.settings.limits.RequestBody)
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return &failure{
			status: http.StatusMethodNotAllowed, cause: r.Method + " refused",
			message: methodNotAllowed(),
		}
	case limit > 0 && r.Body.Kind == http1.Length && r.Body.Length > limit:
		return tooLarge()
	}
	if err := route.CheckPath(x.path); err != nil {
		return failed(err, x.target, "")
	}
	x.body.Limit(limit)
	return s.looped(x)
}

// reject answers what is no acceptable request, and ends its connection.
func (s *Server) reject(x *exchange, f *failure) {
	x.closeAfter()
	s.fail(x, f)
	x.record.BytesOut = x.Sent()
	s.log(x)
}

// withoutPort is a Host without its port, with the brackets of an IPv6 address.
func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
		if strings.Contains(h, ":") {
			host = "[" + h + "]"
		}
	}
	return host
}

// redirectToHTTPS sends a client from a plain listener to the one with tls. A WebSocket client follows no
// redirect: it is told in words.
func (s *Server) redirectToHTTPS(x *exchange, upgrade bool) {
	host := withoutPort(x.origin.host)
	if host == "" { // HTTP/1.0
		s.reject(x, badRequest("no Host, which the redirect needs"))
		return
	}
	if port := s.httpsPort(); port != "443" {
		host += ":" + port
	}
	if upgrade {
		s.reject(x, &failure{
			status: http.StatusForbidden, cause: "plain text refused: redirectToHTTPS",
			message: ErrorMessage("ZWEAT403E", "org.zowe.apiml.security.forbidden", "This address takes no WebSocket in plain text: connect to %s", "wss://"+host+x.target),
		})
		return
	}
	s.redirect(x, http.StatusPermanentRedirect, "https://"+host+x.request.PathQuery)
	x.record.BytesOut = x.Sent()
	s.log(x)
}
