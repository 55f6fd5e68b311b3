package proxy

import (
	"net"
	"sync"
	"testing"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// A doom is what becomes of the next connections of an instance: they end behind so many bytes that they read, or wrote (-1: they do not),
// by FIN or by a reset.
type doom struct {
	in, out int
	fin     bool
}

// A doomedListener gives every connection the doom of its time.
type doomedListener struct {
	net.Listener

	mu    sync.Mutex // guards the following
	doom  doom
	wrote int // most that a connection has written by its first write
}

func (l *doomedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &doomedConn{Conn: c, l: l, doom: l.doom}, nil
}

func (l *doomedListener) next(d doom) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doom = d
}

// A doomedConn dies where its doom says.
type doomedConn struct {
	net.Conn
	l    *doomedListener
	doom doom
}

func (c *doomedConn) die() error {
	if !c.doom.fin {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
	}
	return c.Close()
}

func (c *doomedConn) Read(p []byte) (int, error) {
	if c.doom.in < 0 {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.doom.in)])
	if c.doom.in -= n; c.doom.in == 0 {
		_ = c.die()
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *doomedConn) Write(p []byte) (int, error) {
	c.l.mu.Lock()
	c.l.wrote = max(c.l.wrote, len(p))
	c.l.mu.Unlock()
	if c.doom.out < 0 {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:min(len(p), c.doom.out)])
	if c.doom.out -= n; c.doom.out == 0 && err == nil {
		err = net.ErrClosed
		_ = c.die()
	}
	return n, err
}

// cut resets every connection of the instance, which goes on listening.
func (in *instance) cut() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range in.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	in.conns = nil
}

// Whatever byte an instance dies at in the handshake, the one of a move or a session's first, the session is had by the next instance.
func TestDeathInHandshake(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	doomed := &doomedListener{Listener: ln, doom: doom{in: -1, out: -1}}
	a, b, c := startInstance(t, "a", ""), runInstance(t, "b", doomed), startInstance(t, "c", "")
	g := between(t, func(p *route.Policy) { p.LoadBalancing = upstream.LeastSessions }, a, b, c)
	at := func(i int) *upstream.Endpoint { return g.endpoint(i) }

	at(0).Drain(true)
	at(1).Drain(true)
	play(t, g, "/svc/ws/v1/room", nil).say("so that b is asked before c")
	eventually(t, "a session at c", func() bool { return at(2).Sessions() == 1 })
	moves := func(d doom, to string) {
		at(0).Drain(false)
		p := play(t, g, "/svc/ws/v1/room", nil)
		p.say("one")
		p.hear("a one")
		at(0).Drain(true) // for what comes after
		at(1).Drain(false)
		doomed.next(d)
		a.cut()
		eventually(t, "no session at a", func() bool { return at(0).Sessions() == 0 && at(1).Sessions()+at(2).Sessions() == 2 })
		p.say("two")
		p.hear(to + " two")
		at(1).Drain(true) // not before: it would have the session go on
		_ = p.Close(ws.StatusNormalClosure, "")
		eventually(t, "one session", func() bool { return at(1).Sessions() == 0 && at(2).Sessions() == 1 })
	}
	opens := func(d doom, to string) {
		at(1).Drain(false)
		doomed.next(d)
		p := play(t, g, "/svc/ws/v1/room", nil)
		p.say("one")
		p.hear(to + " one")
		at(1).Drain(true) // not before: it would have the session go on
		_ = p.Close(ws.StatusNormalClosure, "")
		eventually(t, "one session", func() bool { return at(1).Sessions() == 0 && at(2).Sessions() == 1 })
	}
	for name, try := range map[string]func(d doom, to string){"a move's": moves, "the first": opens} {
		t.Run(name, func(t *testing.T) {
			try(doom{in: -1, out: -1}, "b")
			for n := range doomed.wrote { // not behind the last byte: that is no handshake any more
				try(doom{-1, n, n%2 == 0}, "c")
			}
			for n := 1; n < 200; n += 11 {
				try(doom{n, -1, n%2 == 0}, "c")
			}
		})
	}
}
