package sample

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	headTimeout  = 10 * time.Second // to send a request's head
	keepAlive    = 2 * time.Minute  // between two requests of one connection
	writeTimeout = 10 * time.Second // for one message or event to be taken by the peer
	headBytes    = 64 << 10         // of one request: /header answers with it
)

// server is one run of an instance: its listener, its connections and its sessions.
// It ends with stop or kill.
type server struct {
	http http.Server
	ln   *trackedListener
	done chan struct{} // closed when Serve has returned
	end  context.CancelFunc

	mu       sync.Mutex // guards the following
	closing  bool
	sessions map[*websocket.Conn]struct{}
	running  sync.WaitGroup // handlers of sessions
}

// newServer serves what build returns on ln, with TLS if conf is not nil. It owns ln.
func newServer(ln net.Listener, conf *tls.Config, log *slog.Logger, build func(*server) http.Handler) *server {
	base, end := context.WithCancel(context.Background())
	s := &server{
		ln:       &trackedListener{Listener: ln, conns: make(map[*trackedConn]struct{})},
		done:     make(chan struct{}),
		end:      end,
		sessions: make(map[*websocket.Conn]struct{}),
	}
	s.http = http.Server{
		Handler:           build(s),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       keepAlive,
		MaxHeaderBytes:    headBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
	}
	// A WebSocket handshake needs HTTP/1.1, so nothing else is offered.
	s.http.Protocols.SetHTTP1(true)
	go s.serve(conf, log)
	return s
}

func (s *server) serve(conf *tls.Config, log *slog.Logger) {
	defer close(s.done)
	var ln net.Listener = s.ln
	if conf != nil {
		conf = conf.Clone()
		conf.NextProtos = []string{"http/1.1"}
		ln = tls.NewListener(ln, conf)
	}
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		log.Error("sample listener ended", "err", err)
	}
}

// join counts c among the sessions that stop closes. It reports false when the server is already stopping:
// then c is closed here. After true the caller calls leave, once, as its last act.
func (s *server) join(c *websocket.Conn) bool {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		c.Close(websocket.StatusGoingAway, "instance is stopping")
		return false
	}
	s.sessions[c] = struct{}{}
	s.running.Add(1)
	s.mu.Unlock()
	return true
}

func (s *server) leave(c *websocket.Conn) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
	_ = c.CloseNow()
	s.running.Done()
}

func (s *server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// leaving takes no new session and returns those that are open.
func (s *server) leaving() []*websocket.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	open := make([]*websocket.Conn, 0, len(s.sessions))
	for c := range s.sessions {
		open = append(open, c)
	}
	return open
}

// stop says goodbye to every session with 1001 and reason, ends the event streams, lets requests finish,
// and closes the listener. What has not ended when ctx does is cut, and that is the error.
func (s *server) stop(ctx context.Context, reason string) error {
	defer s.kill()
	open := s.leaving()
	s.end()
	cut := context.AfterFunc(ctx, s.ln.reset)
	defer cut()
	var goodbyes sync.WaitGroup
	for _, c := range open {
		goodbyes.Go(func() { c.Close(websocket.StatusGoingAway, reason) })
	}
	goodbyes.Wait()
	s.running.Wait()
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("sample stop: %w", err)
	}
	return nil
}

// kill resets every connection and returns when every handler has.
func (s *server) kill() {
	s.leaving()
	s.end()
	s.ln.reset()
	s.http.Close() // before the listener, so that Serve knows why it ends
	s.ln.Close()
	s.ln.reset() // what was accepted meanwhile
	<-s.done
	s.running.Wait()
}

// trackedListener knows its connections, hijacked ones too, so that they can be reset.
type trackedListener struct {
	net.Listener

	mu    sync.Mutex // guards the following
	conns map[*trackedConn]struct{}
}

type trackedConn struct {
	net.Conn
	ln *trackedListener
}

// Accept waits for the next connection.
func (l *trackedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t := &trackedConn{Conn: c, ln: l}
	l.mu.Lock()
	l.conns[t] = struct{}{}
	l.mu.Unlock()
	return t, nil
}

// Close closes the connection and forgets it.
func (c *trackedConn) Close() error {
	c.ln.mu.Lock()
	delete(c.ln.conns, c)
	c.ln.mu.Unlock()
	return c.Conn.Close()
}

// reset ends every open connection with a TCP reset.
func (l *trackedListener) reset() {
	l.mu.Lock()
	open := make([]*trackedConn, 0, len(l.conns))
	for c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		if t, ok := c.Conn.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		c.Close()
	}
}
