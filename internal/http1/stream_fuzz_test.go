package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A cutConn gives a stream of bytes in pieces, and then its end. It keeps what is written.
type cutConn struct {
	net.Conn
	left    string
	cuts    []byte // length of each piece; behind the last, all the rest
	written strings.Builder
	closed  bool
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left == "" || c.closed {
		return 0, io.EOF
	}
	n := len(c.left)
	if len(c.cuts) > 0 {
		n = min(int(c.cuts[0])+1, n)
		c.cuts = c.cuts[1:]
	}
	n = copy(p, c.left[:n])
	c.left = c.left[n:]
	return n, nil
}

func (c *cutConn) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *cutConn) Close() error                     { c.closed = true; return nil }
func (c *cutConn) CloseWrite() error                { return nil }
func (c *cutConn) SetReadDeadline(time.Time) error  { return nil }
func (c *cutConn) SetWriteDeadline(time.Time) error { return nil }

// next is how a connection comes to its next exchange.
type next func(c *ServerConn, conn *cutConn) (*Exchange, error)

// straight waits for the head.
func straight(c *ServerConn, _ *cutConn) (*Exchange, error) { return c.Next() }

// attended lets something else wait for it.
func attended(c *ServerConn, conn *cutConn) (*Exchange, error) {
	if len(c.Buffered()) > 0 {
		return c.Next()
	}
	var raw []byte
	for {
		p := make([]byte, 100)
		n, err := conn.Read(p)
		if err != nil {
			return nil, err
		}
		raw = append(raw, p[:n]...)
		if _, ok := HeadEnd(raw, 0); ok || len(raw) >= c.options.headLimit() {
			return c.Begin(raw)
		}
	}
}

// exchangesOf serves stream and tells what was asked and answered.
func exchangesOf(t *testing.T, stream string, cuts []byte, n next) string {
	var told strings.Builder
	conn := &cutConn{left: stream, cuts: cuts}
	c := NewServerConn(conn, &ServerOptions{HeadLimit: 1 << 10, MaxUnread: 100})
	for served := 0; ; served++ {
		x, err := n(c, conn)
		if x == nil {
			fmt.Fprintf(&told, "%q\n", conn.written.String())
			return told.String()
		}
		var bad *Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("an exchange with the error %v", err)
		}
		q := &x.Request
		fmt.Fprintf(&told, "%s %s %v %v: ", q.Method, q.Target, q.Fields, err)
		a := Answer{Status: 200, Fields: Fields{{"Date", "today"}}}
		switch style := len(q.Target) % 4; {
		case bad != nil:
			a.Status = bad.Status
			_ = x.Reply(&a, nil)
		case style == 0: // nobody reads the body
			_ = x.Reply(&a, []byte("unread"))
		case style == 1: // piece by piece
			a.Body.Kind = Chunked
			var all []byte
			var err error
			for err == nil {
				var p []byte
				p, err = x.Body().Next()
				all = append(all, p...)
			}
			fmt.Fprintf(&told, "%q %v %v\n", all, err, x.Body().Trailers())
			x.Respond(&a)
			_, _ = x.Write(all)
			_ = x.Finish(x.Body().Trailers())
		default:
			all, whole := x.Body().Whole()
			var err error
			if whole {
				all = []byte(string(all))
			} else {
				x.ContinueOnRead()
				all, err = io.ReadAll(io.LimitReader(x.Body(), 1<<20))
			}
			_ = x.Reply(&a, all)
			fmt.Fprintf(&told, "%q %v %v\n", all, err, x.Body().Trailers())
		}
		if !x.Done() {
			if !conn.closed {
				t.Fatal("a connection that serves no more was left open")
			}
			fmt.Fprintf(&told, "%q\n", conn.written.String())
			return told.String()
		}
	}
}

// What a client asks does not depend on how its bytes are cut, nor on who waits for them.
func FuzzServerStream(f *testing.F) {
	for _, stream := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n",
		"\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: t\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /12 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nh\r\n4\r\nello\r\n0\r\n\r\nHEAD /bcd HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.0\r\n\r\n",
		"POST /123 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /123 HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n" + strings.Repeat("x", 101) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /12 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabcGET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\nHost: h\n\n",
		"GET /" + strings.Repeat("x", 1<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /12 HTTP/1.1\r\nHost: h\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("x", 3000) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		f.Add(stream, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 30, 40, 50})
		f.Add(stream, make([]byte, len(stream)))
	}
	f.Fuzz(func(t *testing.T, stream string, cuts []byte) {
		want := exchangesOf(t, stream, nil, straight)
		for name, got := range map[string]string{
			"cut":           exchangesOf(t, stream, cuts, straight),
			"attended":      exchangesOf(t, stream, nil, attended),
			"cut, attended": exchangesOf(t, stream, cuts, attended),
		} {
			if got = withoutContinue(got); got != withoutContinue(want) {
				t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
			}
		}
	})
}

// withoutContinue leaves out the 100s: whether one is needed depends on what has come.
func withoutContinue(s string) string {
	return strings.ReplaceAll(s, `HTTP/1.1 100 Continue\r\n\r\n`, "")
}
