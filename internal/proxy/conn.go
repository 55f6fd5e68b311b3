package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// A clientConn is what the gateway knows of one client connection, for all of its requests.
type clientConn struct {
	listener   *listener
	conn       net.Conn       // TCP or TLS. Constant once requests are served
	peer       netip.AddrPort // the client; behind a PROXY protocol the one that it names
	peerText   string
	secure     bool   // the client speaks TLS to the gateway
	tlsVersion uint16 // 0 without TLS
	tlsCipher  uint16
	http2      bool
	admission  *admission        // by TLS, on listeners that tables ask for; nil: on others, and without TLS
	verified   *x509.Certificate // the client's; nil: it has shown none, or none that an authority of the listener vouches for
	early      []byte            // of a connection that is passed through: what has been read of it

	state    atomic.Int32
	requests atomic.Int64
	resets   atomic.Int64 // requests that the client took back before they were answered
	cut      atomic.Bool
}

// States of a clientConn: who wants to end an idle one must not hit a request.
const (
	connIdle int32 = iota // no request is being served
	connBusy
	connEnded // closed while idle, or a session's
)

// newClientConn describes a connection whose peer is known.
func newClientConn(l *listener, c net.Conn, peer netip.AddrPort) *clientConn {
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	return &clientConn{listener: l, conn: c, peer: peer, peerText: peer.String()}
}

// encrypted notes what the TLS handshake has agreed on.
func (c *clientConn) encrypted(state *tls.ConnectionState) {
	c.secure, c.tlsVersion, c.tlsCipher = true, state.Version, state.CipherSuite
	if len(state.VerifiedChains) > 0 {
		c.verified = state.PeerCertificates[0]
	}
}

// tlsNames are the version and the cipher suite, for the log.
func (c *clientConn) tlsNames() (version, cipher string) {
	return tls.VersionName(c.tlsVersion), tls.CipherSuiteName(c.tlsCipher)
}

// protocol is the name of the version for the log.
func (c *clientConn) protocol(minor int) string {
	switch {
	case c.http2:
		return "HTTP/2.0"
	case minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// serveRequests serves one request after the other, in a goroutine of its own.
func (s *Server) serveRequests(c *clientConn) {
	hc := http1.NewServerConn(c.conn, &c.listener.http1)
	for {
		hx, err := hc.Next()
		if hx == nil {
			_ = hc.Close()
			return
		}
		if !c.state.CompareAndSwap(connIdle, connBusy) { // Shutdown has closed it
			_ = hc.Close()
			return
		}
		if isPreface(c, hc, hx, err) {
			conn, early := hx.TakeOver()
			s.replace(c, &prefixedConn{Conn: conn, prefix: append([]byte(prefaceHead), early...)})
			s.serveHTTP2(c)
			return
		}
		if s.ending(c) {
			hc.CloseAfter()
		}
		if !s.serveExchange(c, hx, err, loop.Goroutines) {
			return
		}
		c.state.Store(connIdle)
		if s.ending(c) {
			_ = hc.Close()
			return
		}
	}
}

// serveExchange answers one request of HTTP/1.1. bad is what is wrong with its head; nil: nothing. It tells whether
// the connection may carry another one; if not, it is closed or a session's.
func (s *Server) serveExchange(c *clientConn, hx *http1.Exchange, bad error, run loop.Runner) bool {
	x := exchanges.Get().(*exchange)
	x.client, x.body, x.run, x.conn, x.request, x.h1 = hx, hx.Body(), run, c, &hx.Request, hx
	whole := false
	defer func() {
		if !whole {
			s.wreck(x)
		}
	}()
	s.serve(x, bad)
	whole = true
	taken := x.taken
	x.free()
	return !taken && hx.Done()
}

// prefaceHead is how the preface of HTTP/2 looks to a reader of HTTP/1: a head (RFC 9113, section 3.4).
const prefaceHead = "PRI * HTTP/2.0\r\n\r\n"

// isPreface tells whether a plain connection begins with the preface of HTTP/2: the client knows that
// this is served (RFC 9113, section 3.3).
func isPreface(c *clientConn, hc *http1.ServerConn, hx *http1.Exchange, err error) bool {
	var bad *http1.Error
	return errors.As(err, &bad) && bad.Status == 505 && !c.secure && hc.Served() == 1 && hx.Request.Method == "PRI" && hx.Request.Target == "*"
}

// A prefixedConn gives what has been read already before the rest.
type prefixedConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixedConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// admit tells whether one more connection is served, and counts it if so: release is due for it.
func (s *Server) admit(peer netip.AddrPort) bool {
	if s.takePlace() {
		return true
	}
	s.refusal(peer)
	return false
}

// takePlace is admit without a word.
func (s *Server) takePlace() bool {
	limit := s.settings.Load().limits.Connections
	if n := s.conns.Add(1); limit > 0 && n+int64(s.Sessions.Len()) > int64(limit) {
		s.conns.Add(-1)
		s.refused.Add(1)
		return false
	}
	return true
}

func (s *Server) refusal(peer netip.AddrPort) {
	s.Log.Warn("connection refused", "limit", "limits.connections", "client", peer.String())
}

// release counts a connection that has ended, or has become a session.
func (s *Server) release() {
	s.conns.Add(-1)
	select {
	case s.connGone <- struct{}{}:
	default:
	}
}

// serveConn is the life of an accepted connection in a goroutine: PROXY protocol, TLS, requests.
func (s *Server) serveConn(l *listener, tcp net.Conn) {
	peer, err := peerOf(tcp)
	if err != nil || !s.admit(peer) {
		_ = tcp.Close()
		return
	}
	defer s.release()
	c := newClientConn(l, tcp, peer)
	s.track(c)
	defer s.untrack(c)
	defer s.recovered(c)
	_ = tcp.SetDeadline(time.Now().Add(s.greeting))
	if l.config.ProxyProtocol {
		if peer, err = s.proxied(peer, tcp); err != nil {
			s.connFailed(l, c.peer, err)
			_ = tcp.Close()
			return
		}
		c.peer, c.peerText = peer, peer.String()
	}
	if l.tls == nil {
		_ = tcp.SetDeadline(time.Time{})
		if c.carried() {
			s.carry(c)
			return
		}
		s.serveRequests(c)
		return
	}
	begins := loop.Wrap(tcp)
	if l.dynamic != nil {
		read, name, host, err := l.peek(l.dynamic.find(s.Table()), tcp)
		switch {
		case err != nil:
			s.connFailed(l, c.peer, err)
			_ = tcp.Close()
			return
		case host != nil:
			_ = tcp.SetDeadline(time.Time{})
			c.admission, c.early = &admission{serverName: name, host: host}, read
			s.carry(c)
			return
		case len(read) > 0:
			begins = &prefixedConn{Conn: tcp, prefix: read}
		}
	}
	conn := tls.Server(begins, l.tls)
	ctx, note := loop.Noting()
	if err := conn.HandshakeContext(ctx); err != nil {
		s.connFailed(l, c.peer, err)
		_ = tcp.Close()
		return
	}
	_ = tcp.SetDeadline(time.Time{})
	state := conn.ConnectionState()
	c.encrypted(&state)
	c.admission, _ = (*note).(*admission)
	s.replace(c, conn)
	switch {
	case c.carried():
		s.carry(c)
	case state.NegotiatedProtocol == "h2":
		s.serveHTTP2(c)
	default:
		s.serveRequests(c)
	}
}

// carried tells whether what comes on c is no HTTP to us, and goes to a backend as it is.
func (c *clientConn) carried() bool {
	if c.admission != nil {
		return carries(c.admission.host) || c.admission.host.TLS == nil
	}
	return c.listener.dynamic != nil && c.listener.dynamic.transport == route.TransportTCP
}

// recovered has a panic cost its connection, and no other.
func (s *Server) recovered(c *clientConn) {
	if what := recover(); what != nil {
		s.Log.Error("panic", "client", c.peerText, "what", what, "stack", string(debug.Stack()))
		_ = c.conn.Close()
	}
}

func peerOf(c net.Conn) (netip.AddrPort, error) {
	t, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("not a TCP connection")
	}
	return t.AddrPort(), nil
}

// proxied reads the PROXY header, which is believed from trusted proxies alone, and returns the client's
// address. The caller has set a deadline.
func (s *Server) proxied(peer netip.AddrPort, r io.Reader) (netip.AddrPort, error) {
	if !isTrusted(peer.Addr().Unmap(), s.settings.Load().trusted) {
		return peer, badProxyHeader("the peer is not in gateway.trustedProxies")
	}
	h, err := readProxyHeader(r)
	if err != nil || !h.Source.IsValid() { // LOCAL and UNKNOWN: the load balancer itself asks
		return peer, err
	}
	return h.Source, nil
}

// connFailed logs a connection that comes to no request, and counts it where it was refused.
func (s *Server) connFailed(l *listener, peer netip.AddrPort, why error) {
	var head tls.RecordHeaderError
	switch {
	case errors.Is(why, errProxyHeader):
		s.refused.Add(1)
		s.Log.Warn("connection refused", "listener", l.config.Name, "client", peer.String(), "err", why)
	case errors.As(why, &head) && head.Conn != nil && looksLikeHTTP(head.RecordHeader):
		_, _ = io.WriteString(head.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		fallthrough
	default:
		s.Log.Debug("connection failed", "listener", l.config.Name, "client", peer.String(), "err", why)
	}
}

// looksLikeHTTP tells whether a client spoke HTTP where TLS was due.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}
