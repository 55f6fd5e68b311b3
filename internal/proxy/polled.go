package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// serveListener serves l until Shutdown.
func (s *Server) serveListener(l *listener) error {
	polled, err := s.poll(l)
	if err != nil {
		return err
	}
	if !polled {
		return s.accept(l)
	}
	<-s.stopped
	return nil
}

// poll has the loops of the engine serve l: its connections cost no goroutine, and their requests are served in fibers. It
// tells whether they can; else l is as it was.
func (s *Server) poll(l *listener) (bool, error) {
	tcp, ok := l.ln.(*net.TCPListener)
	if !ok {
		return false, nil
	}
	front := &http1.Front{
		Options: l.http1,
		Owner: func(c *loop.Conn) any {
			cc := newClientConn(l, c, c.Peer())
			if t := c.TLS(); t != nil {
				state := t.ConnectionState()
				cc.encrypted(&state)
			}
			cc.admission, _ = c.Noted().(*admission)
			return cc
		},
		Serve: func(r loop.Runner, hx *http1.Exchange, bad error) bool {
			return s.serveExchange(hx.Conn().Owner.(*clientConn), hx, bad, r)
		},
		Closed: s.release,
		Panicked: func(what any, stack []byte) {
			s.Log.Error("panic", "what", what, "stack", string(stack))
		},
		Preface: func(owner any, conn net.Conn, read []byte) {
			s.conns.Add(1)
			s.leaveTo(newClientConn(l, &prefixedConn{Conn: conn, prefix: read}, owner.(*clientConn).peer), "h2")
		},
	}
	o := loop.ListenOptions{
		Accept: front.Accept,
		Admit:  s.admit,
		Failed: func(peer netip.AddrPort, why error) {
			if !peer.IsValid() {
				s.Log.Warn("not accepted", "listener", l.config.Name, "err", why)
				return
			}
			defer s.release()
			s.connFailed(l, peer, why)
		},
		TLS: l.tls, HandshakeTimeout: s.greeting,
		Elsewhere: func(c *tls.Conn, peer netip.AddrPort, note any) {
			cc, state := newClientConn(l, c, peer), c.ConnectionState()
			cc.encrypted(&state)
			cc.admission, _ = note.(*admission)
			s.leaveTo(cc, state.NegotiatedProtocol)
		},
		Control: upstream.BoundUnacked,
	}
	if l.dynamic != nil && l.tls != nil {
		o.Leaves = leavesLoop
		o.Hello = func(c *loop.Conn) ([]byte, bool, error) { return s.hello(l, c) }
	}
	if l.config.ProxyProtocol {
		o.Before = func(c *loop.Conn) error {
			_ = c.SetReadDeadline(time.Now().Add(headTimeout))
			peer, err := s.proxied(c.Peer(), c)
			if err != nil {
				return err
			}
			c.SetPeer(peer)
			return c.SetReadDeadline(time.Time{})
		}
	}
	s.mu.Lock() // Shutdown comes before this, or after
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return true, nil
	}
	p, err := s.engine.Listen(tcp, o)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return false, nil
	case err != nil && s.stopping.Load(): // the socket has been closed meanwhile
		return true, nil
	case err == nil:
		l.front, l.polled = front, p
	}
	return err == nil, err
}

// leaveTo serves a connection that has left its loop, in a goroutine: HTTP/2, but for a client that has negotiated HTTP/1.0.
func (s *Server) leaveTo(c *clientConn, protocol string) {
	go func() {
		defer s.release()
		s.track(c)
		defer s.untrack(c)
		defer s.recovered(c)
		if s.ending(c) { // drain may have looked before it was tracked
			_ = c.conn.Close()
			return
		}
		switch {
		case c.carried():
			s.carry(c)
		case protocol == "h2":
			s.serveHTTP2(c)
		default:
			s.serveRequests(c)
		}
	}()
}

// leavesLoop tells whether a connection of a dynamic listener is served in goroutines.
func leavesLoop(protocol string, note any) bool {
	a, ok := note.(*admission)
	return ok && carries(a.host) || protocol != "" && protocol != "http/1.1"
}

// hello takes connections away from the loop that are to be passed through.
func (s *Server) hello(l *listener, c *loop.Conn) (read []byte, taken bool, err error) {
	read, name, host, err := l.peek(l.dynamic.find(s.Table()), c)
	if err != nil || host == nil {
		return read, false, err
	}
	peer := c.Peer()
	conn, err := c.Leave()
	if err != nil {
		return nil, false, err
	}
	cc := newClientConn(l, conn, peer)
	cc.admission, cc.early = &admission{serverName: name, host: host}, read
	s.leaveTo(cc, "")
	return nil, true, nil
}

// stopPolled stops accepting on the loops, closes connections that wait for a request, and waits for the others until ctx ends.
func (s *Server) stopPolled(ctx context.Context) {
	var polled []*listener
	s.mu.Lock()
	for _, l := range append(s.programmed.all(), s.listeners...) {
		if l.polled != nil {
			polled = append(polled, l)
		}
	}
	s.mu.Unlock()
	s.stopFronts(polled)
	for {
		open := int64(0)
		for _, l := range polled {
			open += l.front.Open()
		}
		if open == 0 {
			return
		}
		select {
		case <-s.connGone:
		case <-ctx.Done():
			return
		}
	}
}

// stopFronts stops accepting for those listeners, and closes their connections that wait for a request.
func (s *Server) stopFronts(polled []*listener) {
	for _, l := range polled {
		l.polled.Close()
	}
	s.engine.Each(func(on *loop.Loop) {
		for _, l := range polled {
			l.front.Stop(on)
		}
	})
}

// on is dial in a fiber of l. Where the endpoint is a name, a goroutine resolves it and dials.
func (d *dialing) on(l *loop.Loop, ep *upstream.Endpoint, deadline time.Time) (net.Conn, error) {
	at, ok := ep.Literal()
	if !ok {
		var conn net.Conn
		var err error
		d.run.Offload(func() { conn, err = d.away(ep, deadline) })
		if err != nil {
			return nil, err
		}
		c, err := l.Adopt(conn)
		if err != nil {
			_ = conn.Close()
			return nil, &upstream.DialError{Op: upstream.OpConnect, Endpoint: ep.Address(), Err: err}
		}
		return c, nil
	}
	until := deadline
	if t := l.Now().Add(d.connect); t.Before(until) {
		until = t
	}
	var held error
	c, err := l.Dial(at, loop.DialOptions{Deadline: until, Begun: func(abandon func()) {
		if held = d.leash.holdDial(abandon); held != nil {
			abandon()
		}
	}})
	if gone := d.leash.letGo(); gone != nil {
		if err == nil {
			_ = c.Close()
		}
		return nil, gone
	}
	if err != nil {
		return nil, &upstream.DialError{Op: upstream.OpConnect, Endpoint: ep.Address(), Err: err}
	}
	if !ep.Secure() {
		return c, nil
	}
	secure, err := l.StartTLS(c, d.dialer.TLSFor(ep), deadline)
	if err != nil {
		return nil, &upstream.DialError{Op: upstream.OpTLS, Endpoint: ep.Address(), Err: err}
	}
	return secure, nil
}
