package http1

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// through runs one row: what the client sends and gets, and what the service sees and says.
func through(t *testing.T, w world, o ServerOptions, client func(p *peer), services ...func(p *peer)) *gateway {
	t.Helper()
	g := &gateway{w: w, options: o, service: script(t, services...), answer: longest}
	addr := g.start(t)
	client(connect(t, addr))
	return g
}

const (
	getA   = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	post5  = "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
	postCh = "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	ok5    = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
	ok0    = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	okCh   = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
)

func TestGateway(t *testing.T) {
	for name, row := range map[string]struct{ client, service func(p *peer) }{
		"get": {
			func(p *peer) { p.send(getA); p.want(ok5, "hello"); p.send(getA); p.want(ok5, "again") },
			func(p *peer) { p.want(getA, ""); p.send(ok5 + "hello"); p.want(getA, ""); p.send(ok5 + "again") },
		},
		"body with its head": {
			func(p *peer) { p.send(post5 + "hello"); p.want(ok0, "") },
			func(p *peer) { p.want(post5, "hello"); p.send(ok0) },
		},
		"body behind its head": {
			func(p *peer) { p.send(post5); p.send("hel"); p.send("lo"); p.want(ok0, "") },
			func(p *peer) { p.want(post5, "hello"); p.send(ok0) },
		},
		"trailers both ways": {
			func(p *peer) {
				p.send(postCh + "5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n")
				p.want(okCh, "1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n")
			},
			func(p *peer) {
				p.want(postCh, "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
				p.send(okCh + "1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n")
			},
		},
		"trailers behind a body that comes late": {
			func(p *peer) {
				p.send(postCh)
				p.send("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
				p.want(ok0, "")
			},
			func(p *peer) { p.want(postCh, "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"); p.send(ok0) },
		},
		"100-continue": {
			func(p *peer) {
				p.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
				p.want("HTTP/1.1 100 Continue\r\n\r\n", "")
				p.send("hello")
				p.want(ok0, "")
				p.wantAlive(ok0)
			},
			func(p *peer) {
				p.want("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", "")
				p.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
				p.wantBytes("hello")
				p.send(ok0)
				p.head()
				p.send(ok0)
			},
		},
		"100-continue that nobody waited for": {
			func(p *peer) {
				p.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
				p.want(ok0, "")
				p.wantAlive(ok0)
			},
			func(p *peer) { p.head(); p.wantBytes("hello"); p.send(ok0); p.head(); p.send(ok0) },
		},
		"100-continue refused by the service": {
			func(p *peer) {
				p.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
				p.want("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "")
				p.wantEnd()
			},
			func(p *peer) {
				p.head()
				p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
				p.wantEnd()
			},
		},
		"100-continue refused by the gateway": {
			func(p *peer) {
				p.send("POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 13\r\n\r\n")
				p.want("HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "")
				p.wantEnd()
			},
			nil,
		},
		"early hints": {
			func(p *peer) {
				p.send(getA)
				p.want("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "")
				p.want(ok5, "hello")
			},
			func(p *peer) { p.head(); p.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok5 + "hello") },
		},
		"HEAD": {
			func(p *peer) {
				p.send("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n")
				p.want(ok5, "")
				p.wantAlive(ok0)
			},
			func(p *peer) { p.head(); p.send(ok5); p.head(); p.send(ok0) },
		},
		"until close": {
			func(p *peer) { p.send(getA); p.want(okCh, "5\r\nhello\r\n0\r\n\r\n") },
			func(p *peer) { p.head(); p.send("HTTP/1.0 200 OK\r\n\r\nhello") },
		},
		"until close, to 1.0": {
			func(p *peer) {
				p.send("GET /a HTTP/1.0\r\nHost: h\r\n\r\n")
				p.want("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", "hello")
				p.wantEnd()
			},
			func(p *peer) { p.head(); p.send("HTTP/1.0 200 OK\r\n\r\nhello") },
		},
		"early answer to a body that goes on": {
			func(p *peer) {
				p.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 50000))
				p.want("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n", "no")
				p.wantEnd()
			},
			func(p *peer) {
				p.head()
				p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
				_, _ = io.Copy(io.Discard, p.r)
			},
		},
		"early answer and close": { // the service has not read a byte: its end is a RST
			func(p *peer) {
				p.send(postCh + "5\r\nhello\r\n")
				if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 413") && !strings.HasPrefix(head, "HTTP/1.1 502") {
					p.t.Fatalf("%q", head)
				}
				p.Close()
			},
			func(p *peer) { p.head(); p.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno") },
		},
		"answer while the body is under way": {
			func(p *peer) {
				p.send(postCh + "5\r\nhello\r\n")
				p.want("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", "5\r\nhello\r\n")
				p.send("5\r\nworld\r\n0\r\n\r\n")
				p.wantBytes("5\r\nworld\r\n0\r\n\r\n")
			},
			func(p *peer) {
				p.want(postCh, "5\r\nhello\r\n")
				p.send(okCh + "5\r\nhello\r\n")
				p.wantBytes("5\r\nworld\r\n0\r\n\r\n")
				p.send("5\r\nworld\r\n0\r\n\r\n")
			},
		},
		"short answer": {
			func(p *peer) { p.send(getA); p.want(ok5, "he"); p.wantEnd() },
			func(p *peer) { p.head(); p.send(ok5 + "he") },
		},
		"short chunked answer": {
			func(p *peer) { p.send(getA); p.want(okCh, "2\r\nhe\r\n"); p.wantEnd() },
			func(p *peer) { p.head(); p.send(okCh + "5\r\nhe") },
		},
		"bytes behind the answer": { // they are nobody's: the connection is not used again
			func(p *peer) { p.send(getA); p.want(ok5, "hello"); p.wantAlive(ok0) },
			func(p *peer) { p.head(); p.send(ok5 + "hello" + ok5); p.wantEnd() },
		},
		"no answer": {
			func(p *peer) {
				p.send(getA)
				p.want(answerOf("502 Bad Gateway", "answer: EOF", ""), "answer: EOF")
			},
			func(p *peer) { p.head() },
		},
		"half a head": {
			func(p *peer) {
				p.send(getA)
				p.want(answerOf("502 Bad Gateway", "answer: unexpected EOF", ""), "answer: unexpected EOF")
			},
			func(p *peer) { p.head(); p.send("HTTP/1.1 200") },
		},
		"bad head": {
			func(p *peer) {
				p.send(getA)
				if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
					p.t.Fatalf("%q", head)
				}
			},
			func(p *peer) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello")
			},
		},
		"large head": {
			func(p *peer) {
				p.send(getA)
				if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
					p.t.Fatalf("%q", head)
				}
			},
			func(p *peer) {
				p.head()
				_, _ = io.WriteString(p.Conn, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", maxAnswerHead))
			},
		},
		"40 KiB of head": {
			func(p *peer) {
				p.send(getA)
				if head := p.head(); len(head) < 40000 || !strings.HasPrefix(head, "HTTP/1.1 200 ") {
					p.t.Fatalf("%.40q", head)
				}
				p.wantBytes("hello")
			},
			func(p *peer) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: " + strings.Repeat("x", 40000) + "\r\n\r\nhello")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorlds(t, func(t *testing.T, w world) {
				services := []func(*peer){}
				if row.service != nil {
					services = append(services, row.service)
				}
				if name == "bytes behind the answer" {
					services = append(services, func(p *peer) { p.head(); p.send(ok0) })
				}
				through(t, w, ServerOptions{UnreadTimeout: time.Second}, row.client, services...)
			})
		})
	}
}

// The lines of a peer's chunks are not passed on, only what is in them.
func TestChunksAreFramedAnew(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		asked := make(chan struct{})
		through(t, w, ServerOptions{}, func(p *peer) {
			p.send(postCh + "3;evil=\"x\"\r\nhel\r\n")
			<-asked
			p.send("002\r\nlo\r\n1\r\n!\r\n0;evil\r\n\r\n")
			p.want(okCh, "5\r\nhello\r\n0\r\n\r\n")
		}, func(p *peer) {
			p.want(postCh, "3\r\nhel\r\n")
			close(asked)
			p.wantBytes("3\r\nlo!\r\n0\r\n\r\n") // one segment, so one chunk
			p.send(okCh + "0002;x\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")
		})
	})
}

// An answer that ends with its connection and does not come whole must not look whole to an HTTP/1.0 client.
func TestTruncatedUntilClose(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		through(t, w, ServerOptions{}, func(p *peer) {
			p.send("GET /a HTTP/1.0\r\nHost: h\r\n\r\n")
			if b, err := io.ReadAll(p.r); err == nil {
				t.Errorf("%q and a clean end", b)
			}
		}, func(p *peer) { p.head(); p.send(okCh + "5\r\nhe") })
	})
}

// A connection that the service has closed while it was idle is not used; one that it closes when the next request comes has
// that request repeated on another, if it may be.
func TestDeadConnection(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		closed := make(chan struct{})
		g := through(t, w, ServerOptions{}, func(p *peer) {
			p.send(getA)
			p.want(ok0, "")
			<-closed
			p.send(getA)
			p.want(ok5, "hello")
		}, func(p *peer) { p.head(); p.send(ok0); p.Close(); close(closed) },
			func(p *peer) { p.head(); p.send(ok5 + "hello") })
		if w.name == "goroutines" && g.pool.Stale() != 1 { // a loop may hear of the next request first: it is repeated then
			t.Errorf("%d stale connections, want 1", g.pool.Stale())
		}
		through(t, w, ServerOptions{}, func(p *peer) {
			p.send(getA)
			p.want(ok0, "")
			p.send(getA)
			p.want(ok5, "hello")
		}, func(p *peer) {
			p.head()
			p.send(ok0)
			p.head() // the second request gets no answer
		}, func(p *peer) { p.head(); p.send(ok5 + "hello") })
	})
}

// A client that goes away while the service thinks ends the wait, and so the service's connection.
func TestWatch(t *testing.T) {
	for name, send := range map[string]string{"no body": getA, "body": post5 + "hello"} {
		t.Run(name, func(t *testing.T) {
			inWorlds(t, func(t *testing.T, w world) {
				asked, ended := make(chan struct{}), make(chan struct{})
				through(t, w, ServerOptions{}, func(p *peer) {
					p.send(send)
					<-asked
					p.Close()
					select {
					case <-ended:
					case <-time.After(longest):
						t.Error("the service's connection is still open")
					}
				}, func(p *peer) {
					p.head()
					if strings.HasPrefix(send, "POST") {
						p.wantBytes("hello")
					}
					close(asked)
					p.wantEnd()
					close(ended)
				})
			})
		})
	}
}

// A client that goes in the middle of its body does so too.
func TestGoneInBody(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		ended := make(chan struct{})
		through(t, w, ServerOptions{}, func(p *peer) {
			p.send(post5 + "he")
			p.Close()
			<-ended
		}, func(p *peer) {
			p.want(post5, "he")
			p.wantEnd()
			close(ended)
		})
	})
}

// A client that breaks the framing of its body gets its answer.
func TestBadBody(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		through(t, w, ServerOptions{UnreadTimeout: 100 * time.Millisecond}, func(p *peer) {
			p.send(postCh + "2\r\nhe\r\n")
			p.send("x\r\n")
			if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") || !strings.Contains(head, "Connection: close") {
				t.Errorf("%q", head)
			}
		}, func(p *peer) { p.want(postCh, ""); _, _ = io.Copy(io.Discard, p.r) })
	})
}

// Pipelined requests pass one after the other, also those that come while the service thinks.
func TestGatewayPipelining(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		go1 := make(chan struct{})
		through(t, w, ServerOptions{}, func(p *peer) {
			p.send(getA + post5 + "first" + getA)
			<-go1
			p.send(post5 + "later")
			for range 4 {
				p.want(ok5, "hello")
			}
		}, func(p *peer) {
			p.want(getA, "")
			close(go1)
			p.send(ok5 + "hello")
			p.want(post5, "first")
			p.send(ok5 + "hello")
			p.want(getA, "")
			p.send(ok5 + "hello")
			p.want(post5, "later")
			p.send(ok5 + "hello")
		})
	})
}

func TestAnswerTimeout(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		g := &gateway{w: w, service: script(t, func(p *peer) { p.head(); _, _ = io.Copy(io.Discard, p.r) }), answer: 50 * time.Millisecond}
		p := connect(t, g.start(t))
		p.send(getA)
		if head := p.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
			t.Errorf("%q", head)
		}
		if !strings.Contains(g.noted(), "timeout") {
			t.Errorf("noted %q", g.noted())
		}
	})
}

// A client that sends its body slowly does not use up the service's time.
func TestUploadRenewsTimeout(t *testing.T) {
	inWorlds(t, func(t *testing.T, w world) {
		g := &gateway{w: w, service: script(t, func(p *peer) {
			p.want("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n", "")
			for range 6 {
				p.wantBytes("x")
			}
			p.send(ok0)
		}), answer: time.Second}
		p := connect(t, g.start(t))
		p.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n")
		for range 6 { // 1.2 s in all
			<-time.After(200 * time.Millisecond)
			p.send("x")
		}
		p.want(ok0, "")
	})
}

// One read and one write on each side for a plain GET.
func TestSystemCalls(t *testing.T) {
	clientSide, serverSide := &countedConn{}, &countedConn{}
	service := script(t, func(p *peer) {
		for range 3 {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128))
		}
	})
	w := goroutines(false)
	g := &gateway{service: service, answer: longest, w: w}
	g.w.dial = func(_ loop.Runner, addr string) (net.Conn, error) {
		c, err := net.Dial("tcp", addr)
		clientSide.Conn = c
		return clientSide, err
	}
	t.Cleanup(g.pool.Shut)
	done := make(chan struct{})
	addr := w.serve(t, func(r loop.Runner, c net.Conn) {
		defer close(done)
		serverSide.Conn = c
		sc := NewServerConn(serverSide, &ServerOptions{})
		for {
			x, err := sc.Next()
			if err != nil {
				sc.Close()
				return
			}
			g.forward(r, x)
			if !x.Done() {
				return
			}
		}
	})
	p := connect(t, addr)
	for range 3 {
		p.send(getA)
		p.want("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n", strings.Repeat("x", 128))
	}
	p.Close()
	<-done
	if clientSide.reads != 3 || clientSide.writes != 3 || serverSide.writes != 3 {
		t.Errorf("%d reads and %d writes at the service, %d writes at the client; want 3 each", clientSide.reads, clientSide.writes, serverSide.writes)
	}
}

// A countedConn counts the calls of one connection; the read of a watch makes it useless for reads of a client.
type countedConn struct {
	net.Conn
	reads, writes int
}

func (c *countedConn) Read(p []byte) (int, error) {
	c.reads++
	return c.Conn.Read(p)
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}
