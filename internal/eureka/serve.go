package eureka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Deadlines and bounds of the registry's port.
const (
	firstByteTimeout = 5 * time.Second  // for the byte that tells TLS from plain HTTP
	headTimeout      = 10 * time.Second // for the TLS handshake, and for the head of a request
	requestTimeout   = 20 * time.Second // for a request with its body
	answerTimeout    = 30 * time.Second // for the answer to be taken
	idleTimeout      = 2 * time.Minute  // heartbeats come every 30 s: their connection stays
	stopTimeout      = 5 * time.Second  // for requests in flight when the server stops
	headBytes        = 64 << 10
	defaultConns     = 4096
	refusedDrain     = time.Second // for a peer that was refused to stop sending
	tlsRecord        = 0x16        // RFC 8446, section 5.1: a handshake record; no HTTP method begins so
)

// plainRefusal answers plain HTTP where only TLS is served. There is no redirect: the credentials that
// came with the request would already be lost.
const plainRefusal = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 49\r\nConnection: close\r\n\r\n" +
	"this port serves other machines over HTTPS only.\n"

// ServeOptions are the choices of Serve. The zero value serves plain HTTP to loopback peers only.
type ServeOptions struct {
	Plain       bool         // plain HTTP for every peer
	Connections int          // open at once; more are closed. 0: 4096
	Log         *slog.Logger // nil: nothing is logged
}

// Serve answers on ln, which it owns, until ctx ends: TLS where the first byte of a connection begins a TLS
// handshake, plain HTTP otherwise, and plain only for peers on loopback or with Plain. Others get a 403 and are
// closed. HTTP/1.1 only. A nil tlsConf serves no TLS. It returns nil when ctx ended it; requests in flight
// then get 5 s.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, tlsConf *tls.Config, opts ServeOptions) error {
	if opts.Connections <= 0 {
		opts.Connections = defaultConns
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if tlsConf != nil {
		tlsConf = tlsConf.Clone()
		tlsConf.NextProtos = []string{"http/1.1"}
	}
	s := &sniffer{
		Listener: ln, tls: tlsConf, opts: opts, ready: make(chan net.Conn),
		closed: make(chan struct{}), held: map[net.Conn]bool{},
	}
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headBytes,
		ErrorLog:          slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	var wg sync.WaitGroup
	wg.Go(s.acceptAll)
	stopped := make(chan struct{})
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close() // what did not end in time is cut
		}
	})
	err := srv.Serve(s)
	close(stopped)
	_ = s.Close()
	wg.Wait()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// sniffer is a listener whose connections have shown whether they speak TLS.
type sniffer struct {
	net.Listener // accepts; everything else is the sniffer's
	tls          *tls.Config
	opts         ServeOptions
	ready        chan net.Conn
	closed       chan struct{}
	once         sync.Once
	open         atomic.Int64 // connections accepted and not yet closed
	warn         limiter

	mu   sync.Mutex        // guards the following
	held map[net.Conn]bool // connections that have not shown it yet; nil once closed
	err  error             // why the listener ended
}

// Accept gives the next connection: a *tls.Conn, or one that speaks plain HTTP.
func (s *sniffer) Accept() (net.Conn, error) {
	select {
	case c := <-s.ready:
		return c, nil
	case <-s.closed:
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, s.err
	}
}

// Close ends the listener and the connections that have not shown what they speak.
func (s *sniffer) Close() error { return s.end(net.ErrClosed) }

func (s *sniffer) end(why error) error {
	var err error
	s.once.Do(func() {
		s.mu.Lock()
		s.err = why
		for c := range s.held {
			_ = c.Close()
		}
		s.held = nil
		s.mu.Unlock()
		close(s.closed)
		err = s.Listener.Close()
	})
	return err
}

// acceptAll accepts until the listener ends, and looks at every connection on its own goroutine.
func (s *sniffer) acceptAll() {
	var wg sync.WaitGroup
	defer wg.Wait()
	for pause := time.Duration(0); ; {
		c, err := s.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				_ = s.end(err)
				return
			}
			// Out of file descriptors, most likely: wait a little, longer each time.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.warned(err.Error(), "")
			select {
			case <-time.After(pause):
				continue
			case <-s.closed:
				return
			}
		}
		pause = 0
		if s.open.Load() >= int64(s.opts.Connections) {
			s.warned("too many connections", c.RemoteAddr().String())
			_ = c.Close()
			continue
		}
		s.open.Add(1)
		c = &firstConn{Conn: c, open: &s.open}
		if !s.hold(c) {
			_ = c.Close()
			return
		}
		wg.Go(func() { s.look(c) })
	}
}

func (s *sniffer) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		return false
	}
	s.held[c] = true
	return true
}

// look reads the first byte of a connection and hands it on as what it is.
func (s *sniffer) look(c net.Conn) {
	first := c.(*firstConn)
	_ = c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	_, err := io.ReadFull(first.Conn, first.head[:])
	_ = c.SetReadDeadline(time.Time{}) // from here the server's own deadlines hold
	s.mu.Lock()
	delete(s.held, c)
	s.mu.Unlock()
	if err != nil {
		_ = c.Close()
		return
	}
	first.unread = true
	switch {
	case first.head[0] == tlsRecord && s.tls == nil:
		s.warned("no TLS is served", c.RemoteAddr().String())
		_ = c.Close()
		return
	case first.head[0] == tlsRecord:
		c = tls.Server(c, s.tls)
	case !s.opts.Plain && !loopbackPeer(c):
		s.warned("plain HTTP from another machine", c.RemoteAddr().String())
		refusePlain(first)
		return
	}
	select {
	case s.ready <- c:
	case <-s.closed:
		_ = c.Close()
	}
}

func loopbackPeer(c net.Conn) bool {
	peer, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && peer.Addr().Unmap().IsLoopback()
}

// refusePlain answers 403 and closes, so that the peer gets to read it.
func refusePlain(c *firstConn) {
	_ = c.SetDeadline(time.Now().Add(refusedDrain))
	if _, err := io.WriteString(c.Conn, plainRefusal); err == nil {
		if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.CopyN(io.Discard, c.Conn, headBytes) // an unread request would turn the close into a reset
	}
	_ = c.Close()
}

func (s *sniffer) warned(reason, peer string) {
	if ok, missed := s.warn.allow(time.Now()); ok {
		s.opts.Log.Warn("registry connection refused", "reason", reason, "peer", peer, "not_logged", missed)
	}
}

// firstConn is a connection whose first byte was read already.
type firstConn struct {
	net.Conn
	open   *atomic.Int64
	once   sync.Once
	head   [1]byte
	unread bool // owned by the reader, after look
}

func (c *firstConn) Read(p []byte) (int, error) {
	if c.unread && len(p) > 0 {
		c.unread = false
		p[0] = c.head[0]
		return 1, nil
	}
	return c.Conn.Read(p)
}

func (c *firstConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
