package http1

import (
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// A Pool keeps idle connections to services, each under a key: the endpoint, and whatever else makes connections differ. Of
// a key, the one used last goes out first. Its zero value works; any number of goroutines may use it. A connection of a loop
// is got and put on that loop, so the loop is a part of its key. It starts nothing:
// connections that have been idle for too long are closed when their key is used, and by Sweep.
type Pool[K comparable] struct {
	// PerKey bounds the idle connections of one key, Total those of all; the one that has been idle longest is closed
	// for a new one. Zero means 128 and 2048.
	PerKey, Total int

	// IdleTimeout bounds how long a connection is kept. Zero means 55s: less than the 60s and 75s after which common
	// servers close theirs.
	IdleTimeout time.Duration

	// Alive tells whether an idle connection can still be used: its peer has neither closed it nor sent anything. It must
	// not wait. Nil: the connection's own method Alive() bool; without one the socket is asked (TCP, and TLS over it, on
	// Unix); what is none of these counts as alive.
	Alive func(net.Conn) bool

	mu    sync.Mutex // guards the following
	idle  map[K]*idleConns
	n     int // in idle
	stale int64
	shut  bool
}

// idleConns are those of one key, the one that has been idle longest first.
type idleConns struct{ conns []*ClientConn }

// take removes conns[i].
func (s *idleConns) take(i int) *ClientConn {
	c := s.conns[i]
	last := len(s.conns) - 1
	copy(s.conns[i:], s.conns[i+1:])
	s.conns[last] = nil
	s.conns = s.conns[:last]
	return c
}

func (p *Pool[K]) perKey() int                { return orDefault(p.PerKey, 128) }
func (p *Pool[K]) total() int                 { return orDefault(p.Total, 2048) }
func (p *Pool[K]) idleTimeout() time.Duration { return orDefault(p.IdleTimeout, 55*time.Second) }

// Get takes an idle connection of key that is alive, nil if there is none. It closes those that are not.
func (p *Pool[K]) Get(key K) *ClientConn {
	for {
		c := p.pop(key)
		if c == nil {
			return nil
		}
		if c.now().Sub(c.idleSince) < p.idleTimeout() && p.alive(c) {
			if h := hangupOf(c.conn); h != nil {
				h.OnHangup(nil)
			}
			return c
		}
		p.mu.Lock()
		p.stale++
		p.mu.Unlock()
		_ = c.Close()
	}
}

func (p *Pool[K]) pop(key K) *ClientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle[key]
	if s == nil || len(s.conns) == 0 {
		return nil
	}
	p.n--
	return s.take(len(s.conns) - 1)
}

func (p *Pool[K]) alive(c *ClientConn) bool {
	if p.Alive != nil {
		return p.Alive(c.conn)
	}
	return c.alive()
}

// Put gives a connection back after an exchange, if it is Reusable; if not, or if the Pool has been closed, it is closed.
// Its buffers go back: nothing of its answer's body may be in use.
func (p *Pool[K]) Put(key K, c *ClientConn) {
	if !c.Reusable() {
		_ = c.Close()
		return
	}
	c.rest()
	if h := hangupOf(c.conn); h != nil {
		if c.onHangup == nil {
			c.onHangup = func() { _ = c.conn.Close() } // Get and Sweep find it dead
		}
		h.OnHangup(c.onHangup)
	}
	if out := p.push(key, c); out != nil {
		out.retire()
	}
}

// retire closes an idle connection, which may belong to another loop than the caller's.
func (c *ClientConn) retire() {
	if lc, ok := c.conn.(*loop.Conn); ok {
		lc.Loop().Post(func() { _ = c.Close() })
		return
	}
	_ = c.Close()
}

// push adds c and returns the connection to close for it, nil if there is room.
func (p *Pool[K]) push(key K, c *ClientConn) *ClientConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return c
	}
	s := p.idle[key]
	if s == nil {
		if p.idle == nil {
			p.idle = make(map[K]*idleConns)
		}
		s = new(idleConns)
		p.idle[key] = s
	}
	var out *ClientConn
	switch {
	case len(s.conns) >= p.perKey():
		out = s.take(0)
		p.n--
	case p.n >= p.total():
		out = p.oldest().take(0)
		p.n--
	}
	s.conns = append(s.conns, c)
	p.n++
	return out
}

// oldest is the key's whose first connection has been idle longest. There is one.
func (p *Pool[K]) oldest() *idleConns {
	var found *idleConns
	for _, s := range p.idle {
		if len(s.conns) > 0 && (found == nil || s.conns[0].idleSince.Before(found.conns[0].idleSince)) {
			found = s
		}
	}
	return found
}

// Sweep closes the connections that have been idle for too long. The Pool's owner calls it every few seconds.
func (p *Pool[K]) Sweep() {
	p.closeAll(time.Now().Add(-p.idleTimeout()), false)
}

// CloseIdle closes every idle connection.
func (p *Pool[K]) CloseIdle() { p.closeAll(time.Now(), false) }

// Shut closes every idle connection, and those that are put back later.
func (p *Pool[K]) Shut() { p.closeAll(time.Now(), true) }

// closeAll closes what has been idle since before or longer.
func (p *Pool[K]) closeAll(before time.Time, shut bool) {
	var out []*ClientConn
	p.mu.Lock()
	p.shut = p.shut || shut
	for key, s := range p.idle {
		for len(s.conns) > 0 && !s.conns[0].idleSince.After(before) {
			out = append(out, s.take(0))
			p.n--
		}
		if len(s.conns) == 0 {
			delete(p.idle, key)
		}
	}
	p.mu.Unlock()
	for _, c := range out {
		c.retire()
	}
}

// Len is the number of idle connections.
func (p *Pool[K]) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// Stale is how many connections were found dead or too old when they were to be used, since start.
func (p *Pool[K]) Stale() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stale
}

// alive asks the connection, or its socket.
func (c *ClientConn) alive() bool {
	conn := c.conn
	if a, ok := conn.(interface{ Alive() bool }); ok {
		return a.Alive()
	}
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
		if a, ok := conn.(interface{ Alive() bool }); ok {
			return a.Alive()
		}
	}
	return quiet(conn)
}
