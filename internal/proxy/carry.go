package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Protocols of what is carried, for the log.
const (
	protocolTCP = "TCP"
	protocolTLS = "TLS"
	protocolUDP = "UDP"
)

const (
	// piece is how many bytes the kernel copies at once, at most, before their count is looked at.
	piece = 4 << 20
	// splicePause is how long the kernel waits for more of them: it needs a pipe meanwhile.
	splicePause = 50 * time.Millisecond
)

// Causes of the end of what is carried.
var (
	errNoStream  = errors.New("no route")
	errNoBackend = errors.New("no backend that is valid")
	errIdle      = errors.New("idle timeout")
	errCut       = errors.New("cut")
)

// A carriage is a connection whose bytes go to an endpoint as they are, and back (TCPRoute, TLSRoute).
type carriage struct {
	client, service net.Conn
	idle            time.Duration // 0: no bound

	in, out atomic.Int64 // bytes from and to the client
	last    atomic.Int64 // when any moved, in ns
	ending  atomic.Bool  // the gateway has sent FIN both ways
	failed  sync.Once
	why     error // guarded by failed
}

// carry is the life of a connection whose bytes are carried: find, choose, dial, copy, log. Its TLS, if it ends here, has shaken hands.
func (s *Server) carry(c *clientConn) {
	c.state.Store(connBusy)
	rec := accesslog.Record{Time: time.Now(), Client: c.peerText, Protocol: protocolTCP}
	if c.listener.dynamic.transport == route.TransportTLS {
		rec.Protocol = protocolTLS
	}
	if c.tlsVersion != 0 {
		rec.TLSVersion, rec.TLSCipher = c.tlsNames()
	}
	var err error
	if t, ep, failed := s.openCarriage(c, &rec); failed == nil {
		err = s.runCarriage(t)
		ep.Release()
		rec.BytesIn, rec.BytesOut = t.in.Load(), t.out.Load()
	} else {
		err = failed
		reset(c.conn)
	}
	if err != nil {
		rec.Cause = err.Error()
	}
	if s.stopping.Load() && err != nil {
		rec.Cause = causeShutdown
	}
	rec.Duration = time.Since(rec.Time)
	s.tally.carry(&rec)
	s.AccessLog.Log(&rec)
}

// openCarriage finds the endpoint for c and connects to it.
func (s *Server) openCarriage(c *clientConn, rec *accesslog.Record) (*carriage, *upstream.Endpoint, error) {
	var host *route.Host
	if a := c.admission; a != nil {
		host, rec.Host = a.host, a.serverName
	} else if host = c.listener.dynamic.find(s.Table()).host(""); host == nil {
		return nil, nil, errNoStream
	}
	stream := host.Stream(rec.Host)
	if stream == nil {
		return nil, nil, errNoStream
	}
	rec.Route = stream.ID
	to := stream.Choose()
	if to == nil || to.Invalid != "" {
		return nil, nil, errNoBackend
	}
	rec.Service = to.Name
	policy := stream.PolicyFor(to)
	passed := c.admission != nil && host.TLS == nil // what is passed through is encrypted already
	conn, ep, err := s.reach(to.Service, policy, passed, rec)
	if err != nil {
		return nil, nil, err
	}
	t := &carriage{client: c.conn, service: conn, idle: policy.Limits().Idle}
	t.last.Store(time.Now().UnixNano())
	if len(c.early) > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(stallTimeout))
		if _, err := conn.Write(c.early); err != nil {
			_ = conn.Close()
			ep.Release()
			return nil, nil, fmt.Errorf("to the service: %w", err)
		}
		_ = conn.SetWriteDeadline(time.Time{})
		t.in.Store(int64(len(c.early)))
		c.early = nil
	}
	return t, ep, nil
}

// reach connects to an endpoint of the service: to another one where one cannot be reached. The caller releases it. passed: what
// goes there is encrypted already.
func (s *Server) reach(service *upstream.Service, p *route.Policy, passed bool, rec *accesslog.Record) (net.Conn, *upstream.Endpoint, error) {
	dialer := s.settings.Load().dialer(p)
	dialer.Wrap, dialer.ALPN = nil, []string{}
	dial := dialer.Dial
	if passed {
		dial = dialer.DialClear
	}
	var tried []*upstream.Endpoint
	var failed error
	for range maxAttempts {
		ep, err := service.Take(p.Choice(true), tried...)
		if err != nil {
			if failed != nil {
				err = failed
			}
			return nil, nil, err
		}
		rec.Instance, rec.Backend = ep.ID, ep.Address()
		ctx, cancel := context.WithTimeout(context.Background(), p.Timeouts.Effective().Handshake)
		conn, err := dial(ctx, ep)
		cancel()
		noteHandshake(ep, time.Time{}, err)
		if err == nil {
			return conn, ep, nil
		}
		ep.Release()
		if !unreached(err) || s.stopping.Load() {
			return nil, nil, err
		}
		s.Log.Warn("endpoint not reached", "service", service.Name, "instance", ep.ID, "err", err)
		failed, tried = err, append(tried, ep)
	}
	return nil, nil, failed
}

// runCarriage copies both ways until both have ended. An end of one side is passed on to the other (half-close).
func (s *Server) runCarriage(t *carriage) error {
	s.mu.Lock()
	s.carried[t] = struct{}{}
	s.mu.Unlock()
	if s.stopping.Load() { // the stop may have passed its list before this was on it
		t.finish()
	}
	var other sync.WaitGroup
	other.Go(func() { t.move(t.client, t.service, &t.out, "from the service") })
	t.move(t.service, t.client, &t.in, "from the client")
	other.Wait()
	s.mu.Lock()
	delete(s.carried, t)
	s.mu.Unlock()
	_ = t.client.Close()
	_ = t.service.Close()
	t.failed.Do(func() {})
	return t.why
}

// move copies one way until its end. An error ends both ways.
func (t *carriage) move(dst, src net.Conn, count *atomic.Int64, from string) {
	read, done := pieces(src)
	defer done()
	for {
		var until time.Time
		if t.idle > 0 {
			until = time.Now().Add(t.idle / 4)
		}
		_ = src.SetReadDeadline(until)
		n, err := t.copyPiece(dst, src, read)
		if n > 0 {
			count.Add(n)
			t.last.Store(time.Now().UnixNano())
		}
		switch {
		case err == nil && n > 0:
		case err == nil:
			closeWrite(dst)
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && t.idle > 0:
			if time.Now().UnixNano()-t.last.Load() >= int64(t.idle) {
				t.fail(errIdle)
				return
			}
		case t.ending.Load() && !errors.Is(err, net.ErrClosed):
			_ = src.SetReadDeadline(time.Time{})
			_, _ = io.Copy(io.Discard, src) // dst has had its FIN: until src has ended, too, or is cut
			return
		default:
			t.fail(fmt.Errorf("%s: %w", from, err))
			return
		}
	}
}

// pieces is how src is read: plain TCP takes a buffer only when something has come, TLS has one all the time. 0 bytes and
// no error are the end. done gives back what is left.
func pieces(src net.Conn) (read func() (*[]byte, int, error), done func()) {
	if c, ok := src.(*net.TCPConn); ok {
		var err error
		if read, err = whenReady(c); err != nil { // it is closed
			read = func() (*[]byte, int, error) { return nil, 0, err }
		}
		return read, func() {}
	}
	buf := largeBuffers.Get().(*[]byte)
	return func() (*[]byte, int, error) {
		n, err := src.Read(*buf)
		if n > 0 || errors.Is(err, io.EOF) {
			err = nil
		}
		return buf, n, err
	}, func() { largeBuffers.Put(buf) }
}

// copyPiece copies what has come, or waits for it. 0 and nil is the end.
func (t *carriage) copyPiece(dst, src net.Conn, read func() (*[]byte, int, error)) (int64, error) {
	buf, n, err := read()
	if err != nil {
		return 0, err
	}
	if n > 0 {
		_, err = dst.Write((*buf)[:n])
	}
	_, plain := src.(*net.TCPConn)
	if plain {
		largeBuffers.Put(buf)
	}
	to, ok := dst.(*net.TCPConn)
	if err != nil || !plain || !ok || n < len(*buf) {
		return int64(n), err
	}
	// There is more than a little: the kernel copies from socket to socket while it comes.
	_ = src.SetReadDeadline(time.Now().Add(splicePause))
	more, err := to.ReadFrom(&io.LimitedReader{R: src, N: piece})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return int64(n) + more, err
}

// fail ends both ways: with RST, since not all has been delivered.
func (t *carriage) fail(why error) {
	t.failed.Do(func() {
		t.why = why
		reset(t.client)
		reset(t.service)
	})
}

// finish sends FIN both ways. What still comes is lost.
func (t *carriage) finish() {
	t.ending.Store(true)
	for _, c := range []net.Conn{t.client, t.service} {
		go closeWrite(c) // under TLS it may wait behind a write
	}
}

func closeWrite(c net.Conn) {
	if c, ok := c.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
}

// reset closes a connection with RST if it is one of TCP.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
