package http1

import (
	"io"
	"net"
	"testing"
	"time"
)

// idleConn is a connection that has served an exchange, and its other end.
func idleConn(t *testing.T) (*ClientConn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); far.Close() })
	c := NewClientConn(conn)
	serveOne(t, c, far, ok0)
	return c, far
}

// serveOne carries one exchange over c.
func serveOne(t *testing.T, c *ClientConn, far net.Conn, answer string) {
	t.Helper()
	_ = far.SetDeadline(time.Now().Add(longest))
	if err := c.Send([]byte(getA), nil, false); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(far, make([]byte, len(getA))); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(far, answer); err != nil {
		t.Fatal(err)
	}
	var r Response
	if err := c.ReadResponse("GET", &r, longest); err != nil {
		t.Fatal(err)
	}
}

// wantClosed wants c to have been closed.
func wantClosed(t *testing.T, c *ClientConn, closed bool) {
	t.Helper()
	if _, err := c.Conn().Write(nil); (err != nil) != closed {
		t.Errorf("closed: %v, want %v", err != nil, closed)
	}
}

func TestPoolOrder(t *testing.T) {
	p := Pool[string]{PerKey: 2, Total: 3}
	var all []*ClientConn
	for range 4 {
		c, _ := idleConn(t)
		all = append(all, c)
	}
	for _, c := range all[:3] {
		p.Put("a", c)
	}
	wantClosed(t, all[0], true) // the third of a key: the oldest goes
	if p.Len() != 2 {
		t.Errorf("%d connections, want 2", p.Len())
	}
	if c := p.Get("b"); c != nil {
		t.Error("got a connection of another key")
	}
	if c := p.Get("a"); c != all[2] {
		t.Error("not the one that was used last")
	}
	p.Put("a", reused(t, all[2]))
	p.Put("b", all[3])
	more, _ := idleConn(t)
	p.Put("c", more) // the fourth of all
	wantClosed(t, all[1], true)
	wantClosed(t, all[2], false)
	p.CloseIdle()
	if wantClosed(t, more, true); p.Len() != 0 {
		t.Errorf("%d connections, want none", p.Len())
	}
	c, _ := idleConn(t)
	p.Shut()
	p.Put("a", c)
	wantClosed(t, c, true)
}

// reused makes what Get has returned fit to be put back.
func reused(t *testing.T, c *ClientConn) *ClientConn {
	c.final, c.persist = true, true
	c.body.done.Store(true)
	return c
}

func TestPoolIdleTimeout(t *testing.T) {
	p := Pool[string]{IdleTimeout: time.Hour}
	a, _ := idleConn(t)
	b, _ := idleConn(t)
	p.Put("a", a)
	p.Put("b", b)
	p.Sweep()
	if p.Len() != 2 {
		t.Fatalf("%d connections, want 2", p.Len())
	}
	a.idleSince = a.idleSince.Add(-2 * time.Hour)
	b.idleSince = b.idleSince.Add(-2 * time.Hour)
	if p.Get("a") != nil {
		t.Error("got a connection that has been idle for too long")
	}
	p.Sweep()
	wantClosed(t, a, true)
	wantClosed(t, b, true)
	if p.Stale() != 1 {
		t.Errorf("%d stale, want 1", p.Stale())
	}
}

func TestPoolLiveness(t *testing.T) {
	for name, kill := range map[string]func(net.Conn){
		"FIN":   func(c net.Conn) { c.Close() },
		"RST":   func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"bytes": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			var p Pool[int]
			c, far := idleConn(t)
			p.Put(1, c)
			if p.Get(1) != c {
				t.Fatal("a connection that is alive was not returned")
			}
			p.Put(1, reused(t, c))
			kill(far)
			for end := time.Now().Add(longest); quiet(c.Conn()); { // until it has arrived
				if time.Now().After(end) {
					t.Fatal("the other end's doing did not arrive")
				}
			}
			if p.Get(1) != nil {
				t.Error("a dead connection was returned")
			}
			wantClosed(t, c, true)
		})
	}
}

// Only a connection whose exchange has ended well goes into the Pool.
func TestReusable(t *testing.T) {
	for name, row := range map[string]struct {
		answer string
		want   bool
	}{
		"empty":       {ok0, true},
		"204":         {"HTTP/1.1 204 No Content\r\n\r\n", true},
		"1.0":         {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
		"close":       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false},
		"unread body": {ok5 + "hello", false},
		"bytes after": {ok0 + "x", false},
		"interim":     {"HTTP/1.1 103 Early Hints\r\n\r\n", false},
		"until close": {"HTTP/1.1 200 OK\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, far := idleConn(t)
			if !c.Reusable() {
				t.Fatal("not reusable from the start")
			}
			serveOne(t, c, far, row.answer)
			if c.Reusable() != row.want {
				t.Errorf("reusable: %v, want %v", !row.want, row.want)
			}
		})
	}
}
