package http1

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A fedConn gives the same bytes to each first Read after a Write, and takes everything.
type fedConn struct {
	net.Conn
	in    string
	given bool
	reads int
}

func (c *fedConn) Read(p []byte) (int, error) {
	if c.given {
		return 0, io.EOF
	}
	c.given = true
	c.reads++
	return copy(p, c.in), nil
}

func (c *fedConn) Write(p []byte) (int, error)      { c.given = false; return len(p), nil }
func (c *fedConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fedConn) SetWriteDeadline(time.Time) error { return nil }

var (
	benchRequest = "GET /svc/api/v1/things?id=1 HTTP/1.1\r\nHost: gateway:10010\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip\r\nX-Request-Id: 7f1c\r\n\r\n"
	benchAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 128\r\n\r\n" +
		strings.Repeat("x", 128)
)

// One exchange with a client: head, answer of 128 bytes.
func BenchmarkExchange(b *testing.B) {
	conn := &fedConn{in: benchRequest}
	c := NewServerConn(conn, &ServerOptions{})
	a := Answer{Status: 200, Fields: Fields{{"Content-Type", "application/json"}}}
	content := []byte(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		x, err := c.Next()
		if err != nil {
			b.Fatal(err)
		}
		_ = x.Reply(&a, content)
		if !x.Done() {
			b.Fatal("the connection ended")
		}
	}
}

// One exchange passed on to a service, without policy: what the engine itself costs.
func BenchmarkForward(b *testing.B) {
	front, back := &fedConn{in: benchRequest}, &fedConn{in: benchAnswer}
	s := NewServerConn(front, &ServerOptions{})
	var pool Pool[int]
	pool.Alive = func(net.Conn) bool { return true }
	var head []byte
	var resp Response
	b.ReportAllocs()
	for b.Loop() {
		x, err := s.Next()
		if err != nil {
			b.Fatal(err)
		}
		c := pool.Get(1)
		if c == nil {
			c = NewClientConn(back)
		}
		head = AppendRequestLine(head[:0], x.Request.Method, x.Request.PathQuery)
		head = append(x.Request.Fields.Append(head), "\r\n"...)
		if err := c.Send(head, nil, false); err != nil {
			b.Fatal(err)
		}
		if err := c.ReadResponse(x.Request.Method, &resp, time.Minute); err != nil {
			b.Fatal(err)
		}
		x.Respond(&Answer{Status: resp.Status, Reason: resp.Reason, Fields: resp.Fields, Body: resp.Body})
		if err := Copy(x, c.Body()); err != nil {
			b.Fatal(err)
		}
		pool.Put(1, c)
		if !x.Done() {
			b.Fatal("the connection ended")
		}
	}
}
