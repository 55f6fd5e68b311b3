package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Time limits of connections that carry no session.
const (
	headTimeout = 30 * time.Second // PROXY header and TLS handshake together; and a request's head
	idleTimeout = 2 * time.Minute  // between two requests
)

// defaultHeaderBytes bounds a request's head.
const defaultHeaderBytes = 64 << 10

func (l *Limits) headerBytes() int64 {
	if l.HeaderBytes > 0 {
		return int64(l.HeaderBytes)
	}
	return defaultHeaderBytes
}

// listener is one bound address.
type listener struct {
	config  ListenerConfig
	ln      net.Listener
	tls     *tls.Config // nil: plain
	keypair *Keypair    // nil without tls
	http1   http1.ServerOptions
	dynamic *dynamic   // nil: of gateway.listeners
	udp     *datagrams // nil: TCP, and ln is set

	// Where the loops of the engine serve it, else nil. Guarded by the mutex of the Server.
	front  *http1.Front
	polled *loop.Listener
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
	var err error
	if s.http2, err = newH2Server(int(s.settings.Load().limits.headerBytes()), s.stdLog); err != nil {
		return err
	}
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
	l := &listener{config: c, http1: s.http1Options()}
	var err error
	if c.TLS != nil {
		if c.TLS.CertFile != "" || c.TLS.KeyFile != "" {
			l.keypair, err = LoadKeypair(c.TLS.CertFile, c.TLS.KeyFile)
		} else {
			l.keypair, err = generated()
		}
		if err != nil {
			return nil, &ListenError{i, "tls.certFile", err}
		}
		if l.tls, err = c.TLS.ServerTLS(l.keypair, true); err != nil {
			return nil, &ListenError{i, "tls", err}
		}
	}
	if l.ln, err = upstream.Listen(context.Background(), c.Address); err != nil {
		return nil, &ListenError{i, "address", err}
	}
	return l, nil
}

func (s *Server) http1Options() http1.ServerOptions {
	return http1.ServerOptions{
		HeadLimit:   int(s.settings.Load().limits.headerBytes()),
		IdleTimeout: idleTimeout, HeadTimeout: headTimeout, BodyTimeout: stallTimeout, UnreadTimeout: s.unread,
	}
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

// httpsPort is the port to which redirectToHTTPS sends clients; "" if there is no listener with tls.
func (s *Server) httpsPort() string {
	for _, l := range s.listeners {
		if l.tls != nil {
			_, port, _ := net.SplitHostPort(l.ln.Addr().String())
			return port
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

// Pauses in accepting where the process has run out of descriptors or memory.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// accept gives each connection of l a goroutine, until the listener is closed.
func (s *Server) accept(l *listener) error {
	pause := time.Duration(0)
	for {
		c, err := l.ln.Accept()
		switch {
		case err == nil:
			pause = 0
			go s.serveConn(l, c)
			continue
		case s.stopping.Load() || l.gone():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		}
		pause = min(max(2*pause, leastPause), mostPause)
		s.Log.Warn("not accepted", "listener", l.config.Name, "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.stopped:
			return nil
		}
	}
}

// track keeps a connection that carries no session, for Shutdown.
func (s *Server) track(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
}

// untrack forgets a connection that has ended or has become a session.
func (s *Server) untrack(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 && s.quiet != nil {
		close(s.quiet)
		s.quiet = nil
	}
}

// replace has c use conn, which stands on the connection that it had.
func (s *Server) replace(c *clientConn, conn net.Conn) {
	s.mu.Lock() // Shutdown may look at it
	defer s.mu.Unlock()
	c.conn = conn
}

// drain closes the connections that wait for a request, and waits for the others until ctx ends;
// then it cuts them.
func (s *Server) drain(ctx context.Context) {
	if s.http2 != nil {
		_ = s.http2.base.Shutdown(ctx) // says GOAWAY on all connections, and waits for nothing
	}
	s.sayGoAway(s.programmed.all())
	s.mu.Lock()
	quiet := make(chan struct{})
	if len(s.open) == 0 {
		close(quiet)
	} else {
		s.quiet = quiet
	}
	var idle []net.Conn
	for c := range s.open {
		if c.state.CompareAndSwap(connIdle, connEnded) {
			idle = append(idle, c.conn)
		}
	}
	for t := range s.carried {
		t.finish()
	}
	s.mu.Unlock()
	closeAll(idle)
	select {
	case <-quiet:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := make([]net.Conn, 0, len(s.open))
	for c := range s.open {
		left = append(left, c.conn)
	}
	for t := range s.carried {
		go t.fail(errCut)
	}
	s.mu.Unlock()
	s.Log.Warn("connections cut at shutdown", "connections", len(left))
	closeAll(left)
	select {
	case <-quiet:
	case <-time.After(cutTimeout):
	}
}

// closeAll closes connections beside each other: under TLS each may take seconds to say goodbye to a client that reads nothing.
func closeAll(conns []net.Conn) {
	for _, c := range conns {
		go c.Close()
	}
}
