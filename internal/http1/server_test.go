package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// echo answers with method, target, the body and its trailers.
func echo(_ loop.Runner, x *Exchange) {
	body, err := io.ReadAll(x.Body())
	if err != nil {
		_ = x.Reply(&Answer{Status: 400}, []byte(err.Error()))
		return
	}
	text := fmt.Sprintf("%s %s %s %v", x.Request.Method, x.Request.Target, body, x.Body().Trailers())
	_ = x.Reply(&Answer{Status: 200}, []byte(text))
}

// ask is one request and what must come back.
type ask struct {
	name, send, head, content string
	end                       bool // the connection ends behind it
}

func answerOf(status, content, more string) (head string) {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n", status, len(content), more)
}

func TestEcho(t *testing.T) {
	ok := func(name, send, content, more string, end bool) ask {
		return ask{name, send, answerOf("200 OK", content, more), content, end}
	}
	bad := func(name, send, status, why string) ask {
		return ask{name, send, answerOf(status, why, "Connection: close\r\n"), why, true}
	}
	const closed = "Connection: close\r\n"
	rows := []ask{
		ok("get", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a  []", "", false),
		ok("empty lines before", "\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a  []", "", false),
		ok("close", "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "GET /a  []", closed, true),
		ok("1.0", "GET /a HTTP/1.0\r\n\r\n", "GET /a  []", closed, true),
		ok("1.0 keep-alive", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /a  []", "Connection: keep-alive\r\n", false),
		ok("length", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", "POST /a hello []", "", false),
		ok("length 0", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST /a  []", "", false),
		ok("chunked", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST /a hello []", "", false),
		ok("chunks", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n002;x=y\r\nel\r\n2\r\nlo\r\n000\r\n\r\n", "POST /a hello []", "", false),
		ok("no chunk", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST /a  []", "", false),
		ok("trailers", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", "POST /a x [{X-Sum 1}]", "", false),
		bad("chunk size", "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", "400 Bad Request", "chunk: no size"),
		bad("no host", "GET /a HTTP/1.1\r\n\r\n", "400 Bad Request", "no Host"),
		bad("bare LF", "GET /a HTTP/1.1\nHost: h\n\n", "400 Bad Request", "a line ends with a bare LF, or the head is not whole"),
		bad("large", "GET /a HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 8<<10), "431 Request Header Fields Too Large", "head too large"),
		bad("large and whole", "GET /a HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("x", 8<<10)+"\r\n\r\n", "431 Request Header Fields Too Large", "head too large"),
	}
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{HeadLimit: 8 << 10}, echo)
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				p := connect(t, addr)
				p.send(row.send)
				p.want(row.head, row.content)
				if row.end {
					p.wantEnd()
					return
				}
				p.send(row.send)
				p.want(row.head, row.content)
			})
		}
	})
}

// Ten requests, with bodies and without, in one segment, and cut in two at every byte.
func TestPipelining(t *testing.T) {
	var stream, answers strings.Builder
	for i := range 10 {
		content := ""
		switch i % 3 {
		case 0:
			fmt.Fprintf(&stream, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i)
			content = fmt.Sprintf("GET /%d  []", i)
		case 1:
			fmt.Fprintf(&stream, "POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", i)
			content = fmt.Sprintf("POST /%d abc []", i)
		case 2:
			fmt.Fprintf(&stream, "POST /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nT: %d\r\n\r\n", i, i)
			content = fmt.Sprintf("POST /%d abc [{T %d}]", i, i)
		}
		answers.WriteString(answerOf("200 OK", content, "") + content)
	}
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{}, echo)
		p := connect(t, addr)
		wantAll := func() {
			t.Helper()
			for i := range 10 {
				head := p.head()
				var n int
				fmt.Sscanf(head, "HTTP/1.1 200 OK\r\nContent-Length: %d", &n)
				content := make([]byte, n)
				if _, err := io.ReadFull(p.r, content); err != nil || !strings.Contains(answers.String(), head+string(content)) ||
					!strings.Contains(string(content), fmt.Sprintf("/%d ", i)) {
					t.Fatalf("answer %d: %q %q %v", i, head, content, err)
				}
			}
		}
		p.send(stream.String())
		wantAll()
		s := stream.String()
		for cut := 1; cut < len(s); cut++ {
			p.send(s[:cut])
			p.send(s[cut:])
			wantAll()
		}
	})
}

func TestAnswers(t *testing.T) {
	fields := Fields{{"x-One", "1"}, {"Connection", "keep-alive"}, {"content-length", "7"}, {"Transfer-Encoding", "chunked"}, {"Date", "now"}, {"X-Two", "2"}}
	type row struct {
		name, line string
		a          Answer
		write      []string
		trailers   Fields
		wire       string // behind the status line
		end        bool
	}
	const kept = "x-One: 1\r\nX-Two: 2\r\n"
	rows := []row{
		{"length", "GET / HTTP/1.1", Answer{Status: 200, Body: Framing{Length, 4}}, []string{"ab", "cd"}, nil, kept + "Content-Length: 4\r\n\r\nabcd", false},
		{"none", "GET / HTTP/1.1", Answer{Status: 302}, nil, nil, kept + "Content-Length: 0\r\n\r\n", false},
		{"chunked", "GET / HTTP/1.1", Answer{Status: 200, Body: Framing{Kind: UntilClose}}, []string{"ab", "", "cd"}, nil, kept + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", false},
		{"trailers", "GET / HTTP/1.1", Answer{Status: 200, Body: Framing{Kind: Chunked}}, []string{"ab"}, Fields{{"T", "t"}}, kept + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nT: t\r\n\r\n", false},
		{"chunked 1.0", "GET / HTTP/1.0", Answer{Status: 200, Body: Framing{Kind: Chunked}}, []string{"ab"}, Fields{{"T", "t"}}, kept + "Connection: close\r\n\r\nab", true},
		{"chunked 1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive", Answer{Status: 200, Body: Framing{Kind: Chunked}}, []string{"ab"}, nil, kept + "Connection: close\r\n\r\nab", true},
		{"HEAD length", "HEAD / HTTP/1.1", Answer{Status: 200, Body: Framing{Length, 4}}, []string{"abcd"}, nil, kept + "Content-Length: 4\r\n\r\n", false},
		{"HEAD passed on", "HEAD / HTTP/1.1", Answer{Status: 200}, nil, nil, "x-One: 1\r\ncontent-length: 7\r\nX-Two: 2\r\n\r\n", false},
		{"HEAD chunked", "HEAD / HTTP/1.1", Answer{Status: 200, Body: Framing{Kind: Chunked}}, []string{"abcd"}, nil, kept + "\r\n", false},
		{"204", "GET / HTTP/1.1", Answer{Status: 204, Body: Framing{Length, 4}}, []string{"abcd"}, nil, kept + "\r\n", false},
		{"304", "GET / HTTP/1.1", Answer{Status: 304}, nil, nil, "x-One: 1\r\ncontent-length: 7\r\nX-Two: 2\r\n\r\n", false},
		{"short", "GET / HTTP/1.1", Answer{Status: 200, Body: Framing{Length, 4}}, []string{"ab"}, nil, kept + "Content-Length: 4\r\n\r\nab", true},
		{"long", "GET / HTTP/1.1", Answer{Status: 200, Body: Framing{Length, 1}}, []string{"a", "b"}, nil, kept + "Content-Length: 1\r\n\r\na", true},
	}
	inWorlds(t, func(t *testing.T, w world) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				addr := w.serveHTTP(t, &ServerOptions{}, func(_ loop.Runner, x *Exchange) {
					a := row.a
					a.Fields = fields.Clone()
					x.Respond(&a)
					for _, s := range row.write {
						if _, err := x.Write([]byte(s)); err != nil {
							break
						}
					}
					_ = x.Finish(row.trailers)
				})
				p := connect(t, addr)
				p.send(row.line + "\r\nHost: h\r\n\r\n")
				line, _ := p.r.ReadString('\n')
				if !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", row.a.Status)) {
					t.Fatalf("status line %q", line)
				}
				want := strings.Replace(row.wire, "X-Two", "Date: now\r\nX-Two", 1)
				p.wantBytes(want)
				if row.end {
					p.wantEnd()
					return
				}
				p.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
				if line, err := p.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
					t.Fatalf("behind it %q, %v", line, err)
				}
			})
		}
	})
}

func TestHeadTimeouts(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		ended := make(chan error, 1)
		serve := func(o *ServerOptions) (addr string) {
			return w.serve(t, func(_ loop.Runner, conn net.Conn) {
				c := NewServerConn(conn, o)
				for {
					x, err := c.Next()
					if x == nil {
						c.Close()
						ended <- err
						return
					}
					var bad *Error
					if errors.As(err, &bad) {
						_ = x.Reply(&Answer{Status: bad.Status}, nil)
					} else {
						echo(nil, x)
					}
					if !x.Done() {
						ended <- err
						return
					}
				}
			})
		}
		addr := serve(&ServerOptions{HeadTimeout: 300 * time.Millisecond, IdleTimeout: 150 * time.Millisecond})
		p := connect(t, addr) // nothing comes
		p.wantEnd()
		if err := <-ended; !errors.Is(err, ErrIdle) {
			t.Errorf("new connection: %v", err)
		}
		p = connect(t, addr) // empty lines are nothing
		p.send("\r\n\r\n")
		p.wantEnd()
		if err := <-ended; !errors.Is(err, ErrIdle) {
			t.Errorf("empty lines: %v", err)
		}
		p = connect(t, addr) // a head begins
		p.send("GET / HTTP/1.1\r\n")
		p.want("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "")
		p.wantEnd()
		var bad *Error
		if err := <-ended; !errors.As(err, &bad) || bad.Status != 408 {
			t.Errorf("slow head: %v", err)
		}
		p = connect(t, addr) // it is idle behind a request
		p.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p.want(answerOf("200 OK", "GET /  []", ""), "GET /  []")
		p.wantEnd()
		if err := <-ended; !errors.Is(err, ErrIdle) {
			t.Errorf("idle: %v", err)
		}
		addr = serve(&ServerOptions{HeadTimeout: longest, IdleTimeout: longest})
		p = connect(t, addr) // the client goes
		p.Close()
		if err := <-ended; !errors.Is(err, io.EOF) {
			t.Errorf("closed: %v", err)
		}
		p = connect(t, addr)
		p.send("GET / H")
		p.Close()
		if err := <-ended; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("closed in a head: %v", err)
		}
	})
}

// A slow head that keeps coming is cut as well.
func TestDrippingHead(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{HeadTimeout: 500 * time.Millisecond}, echo)
		p := connect(t, addr)
		p.send("G") // who says nothing at all is not answered
		stop := make(chan struct{})
		dripping := make(chan struct{})
		go func() {
			defer close(dripping)
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					if _, err := p.Write([]byte("G")); err != nil {
						return
					}
				}
			}
		}()
		defer func() { close(stop); <-dripping }()
		p.want(answerOf("408 Request Timeout", "head not complete in time", "Connection: close\r\n"), "head not complete in time")
	})
}

func TestBodyTimeout(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{BodyTimeout: 50 * time.Millisecond}, echo)
		p := connect(t, addr)
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab")
		if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 400 ") || !strings.Contains(head, "Connection: close") {
			t.Fatalf("%q", head)
		}
	})
}

// What becomes of a body that is not read.
func TestUnreadBody(t *testing.T) {
	answer := func(_ loop.Runner, x *Exchange) { _ = x.Reply(&Answer{Status: 403}, nil) }
	keep, end := "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{UnreadTimeout: 400 * time.Millisecond, MaxUnread: 64 << 10}, answer)
		p := connect(t, addr)
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello") // there already
		p.want(keep, "")
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n\r\n") // comes in time
		p.want(keep, "")
		p.send(strings.Repeat("x", 65536))
		p.wantAlive(keep)
		p.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n") // nobody knows how much
		p.want(end, "")
		p.wantEnd()
		p = connect(t, addr) // too much: the answer arrives although the client keeps sending
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 60<<10))
		p.want(end, "")
		p.wantEnd()
		p = connect(t, addr) // it does not come
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
		p.want(keep, "")
		p.wantEnd()
		p = connect(t, addr) // the client waits for a 100 that does not come
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		p.want(end, "")
		p.wantEnd()
	})
}

func TestContinueOnRead(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{}, func(r loop.Runner, x *Exchange) {
			x.ContinueOnRead()
			echo(r, x)
		})
		p := connect(t, addr)
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		p.want("HTTP/1.1 100 Continue\r\n\r\n", "")
		p.send("hello")
		p.want(answerOf("200 OK", "POST / hello []", ""), "POST / hello []")
		p.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello") // did not wait
		p.want(answerOf("200 OK", "POST / hello []", ""), "POST / hello []")
		p.send("POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n") // RFC 9110, section 10.1.1
		p.send("hello")
		p.want(answerOf("200 OK", "POST / hello []", "Connection: close\r\n"), "POST / hello []")
	})
}

func TestInterim(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{}, func(_ loop.Runner, x *Exchange) {
			_ = x.Interim(100, nil) // the client has not asked for it
			_ = x.Interim(103, Fields{{"Link", "</s.css>"}, {"Connection", "close"}})
			_ = x.Interim(101, nil)
			_ = x.Reply(&Answer{Status: 200}, []byte("x"))
		})
		p := connect(t, addr)
		p.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		p.want("HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n", "")
		p.want(answerOf("200 OK", "x", ""), "x")
		p.send("GET / HTTP/1.0\r\n\r\n")
		p.want(answerOf("200 OK", "x", "Connection: close\r\n"), "x")
	})
}

func TestTakeOver(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serve(t, func(_ loop.Runner, conn net.Conn) {
			defer conn.Close()
			x, err := NewServerConn(conn, &ServerOptions{}).Next()
			if err != nil || !x.Request.Upgrade {
				t.Errorf("%+v, %v", x, err)
				return
			}
			c, early := x.TakeOver()
			b := make([]byte, len("earlylate")-len(early))
			_, _ = io.ReadFull(c, b)
			_, _ = c.Write(append(early, b...))
		})
		p := connect(t, addr)
		p.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nearly")
		p.send("late")
		p.wantBytes("earlylate")
		p.wantEnd()
	})
}

// CloseAfter ends a connection behind the next answer, also with requests behind it; the answer arrives.
func TestCloseAfter(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		addr := w.serveHTTP(t, &ServerOptions{}, func(r loop.Runner, x *Exchange) {
			if x.Request.Target == "/last" {
				x.Conn().CloseAfter()
			}
			echo(r, x)
		})
		p := connect(t, addr)
		p.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /last HTTP/1.1\r\nHost: h\r\n\r\nGET /more HTTP/1.1\r\nHost: h\r\n\r\n")
		p.want(answerOf("200 OK", "GET /  []", ""), "GET /  []")
		p.want(answerOf("200 OK", "GET /last  []", "Connection: close\r\n"), "GET /last  []")
		p.wantEnd()
	})
}
