package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Dead peers are noticed in about a minute: an idle connection by keep-alive probes (15 s
// apart, 3 unanswered), one with unacknowledged data by TCP_USER_TIMEOUT (Linux). The latter
// also ends a connection whose peer has kept its receive window shut for that long.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 3
	userTimeout       = 60 * time.Second
)

// Dialer connects to endpoints. Its zero value works, with the system's resolver and authorities.
// It holds no state but what its fields point to: copy it to change one for a route.
type Dialer struct {
	// TLS judges https endpoints of services without TLSSettings; see TLSConfig.Load. The server name is added per endpoint.
	// Nil: the system's authorities, TLS 1.2 or newer.
	TLS *tls.Config

	// ALPN are the protocols offered to https endpoints, in order of preference. Nil: those of TLS, else http/1.1.
	ALPN []string

	// Resolver turns names into addresses, at each dial. Nil: the system's.
	Resolver *net.Resolver

	// Timeout bounds resolving and connecting together, over all addresses. Zero means 5s. The
	// TLS handshake is bounded by Dial's context alone.
	Timeout time.Duration

	// Wrap is given each connection to an https endpoint before TLS begins, and returns what TLS
	// is to use. Nil: the connection as it is.
	Wrap func(net.Conn) net.Conn

	// named has names lead to no address at which no service can be: nobody has asked for the connection but the gateway itself.
	named bool
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return 5 * time.Second
}

// Dial connects to e: its name is resolved now, every address is tried (RFC 8305 between the
// families), and for https the TLS handshake is done and the certificate verified as TLSFor says.
// The result is a *net.TCPConn or a *tls.Conn. Every error is a *DialError.
func (d *Dialer) Dial(ctx context.Context, e *Endpoint) (net.Conn, error) {
	return d.dial(ctx, e, e.Address(), e.Secure())
}

// DialClear is Dial without TLS, whatever e's scheme: what goes there is encrypted already.
func (d *Dialer) DialClear(ctx context.Context, e *Endpoint) (net.Conn, error) {
	return d.dial(ctx, e, e.Address(), false)
}

// dial is Dial to another address of e's host, with or without TLS.
func (d *Dialer) dial(ctx context.Context, e *Endpoint, address string, secure bool) (net.Conn, error) {
	nd := net.Dialer{
		Timeout:  d.timeout(),
		Resolver: d.Resolver,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     keepAliveIdle,
			Interval: keepAliveInterval,
			Count:    keepAliveCount,
		},
		Control: setUserTimeout,
	}
	if _, literal := e.Literal(); d.named && !literal {
		nd.Control = func(network, address string, c syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || noService(at.Addr().Unmap()) {
				return fmt.Errorf("the name leads to %s, where no service is probed", address)
			}
			return setUserTimeout(network, address, c)
		}
	}
	conn, err := nd.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialError(ctx, connectOp(err), address, err)
	}
	if !secure {
		return conn, nil
	}
	if d.Wrap != nil {
		conn = d.Wrap(conn)
	}
	tc := tls.Client(conn, d.TLSFor(e))
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close() //nolint:errcheck // the handshake's error is the one to tell
		return nil, dialError(ctx, OpTLS, address, err)
	}
	return tc, nil
}

// noService tells whether no service is at an address: those of instance metadata among them.
func noService(a netip.Addr) bool {
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified()
}

// TLSFor is how a handshake with e is done and its certificate judged: as the service's newest TLSSettings say, else d's.
func (d *Dialer) TLSFor(e *Endpoint) *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if d.TLS != nil {
		conf = d.TLS.Clone()
	}
	if conf.ServerName == "" {
		conf.ServerName = e.Host
	}
	if d.ALPN != nil {
		conf.NextProtos = d.ALPN
	}
	if s := e.security.Load(); s != nil {
		s.apply(conf, e.Host)
	}
	return conf
}

// Op says how far a dial came.
type Op string

const (
	OpResolve Op = "resolve" // the name has no address, or no resolver answered
	OpConnect Op = "connect" // no address took the connection
	OpTLS     Op = "tls"     // connected, but the TLS handshake or the verification failed
)

// DialError says why an endpoint could not be reached.
type DialError struct {
	Op       Op
	Endpoint string // host:port
	Err      error  // never nil
}

// Error is "endpoint host:port: op: cause".
func (e *DialError) Error() string {
	return fmt.Sprintf("endpoint %s: %s: %v", e.Endpoint, e.Op, e.Err)
}

// Unwrap gives the cause: net.DNSError, syscall.Errno, x509 errors, context.Canceled and the
// like can be asked for with errors.Is and errors.As.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout tells that the time ran out, of the dialer, its context, or the operating system.
func (e *DialError) Timeout() bool {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return true
	}
	var ne net.Error
	return errors.As(e.Err, &ne) && ne.Timeout()
}

// Refused tells that the endpoint's host answered and nothing listens there.
func (e *DialError) Refused() bool { return errors.Is(e.Err, syscall.ECONNREFUSED) }

func dialError(ctx context.Context, op Op, address string, err error) *DialError {
	// The operation that was cut short says "i/o timeout" or "operation was canceled"; why the
	// context ended is the better answer, and the one that callers compare with.
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return &DialError{Op: op, Endpoint: address, Err: err}
}

func connectOp(err error) Op {
	var dns *net.DNSError
	var addr *net.AddrError
	if errors.As(err, &dns) || errors.As(err, &addr) {
		return OpResolve
	}
	return OpConnect
}
