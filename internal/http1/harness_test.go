package http1

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// longest bounds every wait of a test for what must happen.
const longest = 30 * time.Second

// A world is where the code under test runs.
type world struct {
	name string
	// serve has f serve each connection to the address that it returns, until the test ends.
	serve func(t testing.TB, f func(loop.Runner, net.Conn)) string
	dial  func(r loop.Runner, addr string) (net.Conn, error)
}

// goroutines is the world of ordinary goroutines. secure: its clients come with TLS.
func goroutines(secure bool) world {
	return world{
		"goroutines",
		func(t testing.TB, f func(loop.Runner, net.Conn)) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var mu sync.Mutex
			var open []net.Conn
			all.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
					if secure {
						c = tls.Server(c, certificate(t))
					}
					all.Go(func() { f(loop.Goroutines, c) })
				}
			})
			t.Cleanup(func() {
				ln.Close()
				mu.Lock()
				for _, c := range open {
					c.Close()
				}
				mu.Unlock()
				all.Wait()
			})
			return address(ln, secure)
		},
		func(_ loop.Runner, addr string) (net.Conn, error) { return net.Dial("tcp", addr) },
	}
}

// inWorlds runs f in every world that this system has.
func inWorlds(t *testing.T, f func(t *testing.T, w world)) {
	t.Run("goroutines", func(t *testing.T) { f(t, goroutines(false)) })
	t.Run("goroutines,TLS", func(t *testing.T) { f(t, goroutines(true)) })
	if fibers != nil {
		t.Run("fibers", func(t *testing.T) { f(t, fibers(t, false)) })
		t.Run("fibers,TLS", func(t *testing.T) { f(t, fibers(t, true)) })
	}
}

// fibers is the world of polled loops; nil where there are none.
var fibers func(t testing.TB, secure bool) world

// address is where to reach ln; connect knows by it that TLS is wanted.
func address(ln net.Listener, secure bool) string {
	if secure {
		return "tls://" + ln.Addr().String()
	}
	return ln.Addr().String()
}

var madeCertificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// certificate is a server's configuration with a certificate that nobody vouches for.
func certificate(t testing.TB) *tls.Config {
	cert, err := madeCertificate()
	if err != nil {
		t.Error(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}
}

// serveHTTP serves each request with f, which gives the answer; what it does not do, Done does.
func (w world) serveHTTP(t testing.TB, o *ServerOptions, f func(loop.Runner, *Exchange)) string {
	return w.serve(t, func(r loop.Runner, conn net.Conn) {
		c := NewServerConn(conn, o)
		for {
			x, err := c.Next()
			var bad *Error
			switch {
			case errors.As(err, &bad):
				_ = x.Reply(&Answer{Status: bad.Status}, []byte(bad.Reason))
			case err != nil:
				c.Close()
				return
			default:
				f(r, x)
			}
			if !x.Done() {
				return
			}
		}
	})
}

// A gateway is the shortest proxy that the package can make. It shows how the parts go together.
type gateway struct {
	w       world
	options ServerOptions
	service string // address
	answer  time.Duration
	pool    Pool[string]

	mu    sync.Mutex // guards the following
	notes []string   // what went wrong
}

func (g *gateway) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}

func (g *gateway) noted() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.notes, "; ")
}

func (g *gateway) start(t testing.TB) string {
	t.Cleanup(func() {
		if g.w.name == "goroutines" {
			g.pool.Shut()
		}
	})
	return g.w.serveHTTP(t, &g.options, g.forward)
}

func (g *gateway) forward(r loop.Runner, x *Exchange) {
	q := &x.Request
	if q.Expect && q.Body.Kind == Length && q.Body.Length == 13 { // a number that a test sends
		_ = x.Reply(&Answer{Status: 413}, nil)
		return
	}
	head := AppendRequestLine(nil, q.Method, q.PathQuery)
	for _, f := range q.Fields {
		switch http.CanonicalHeaderKey(f.Name) {
		case "Connection", "Content-Length", "Transfer-Encoding", "Keep-Alive":
		default:
			head = AppendField(head, f.Name, f.Value)
		}
	}
	body := x.Body()
	content, whole := body.Whole()
	framing, trailers := q.Body, body.Trailers()
	if whole && framing.Kind == Chunked && trailers == nil {
		framing = Framing{Length, int64(len(content))}
	}
	switch framing.Kind {
	case Length:
		head = AppendField(head, "Content-Length", strconv.FormatInt(framing.Length, 10))
	case Chunked:
		head = AppendField(head, "Transfer-Encoding", "chunked")
	}
	head = append(head, "\r\n"...)
	for {
		c := g.pool.Get("service")
		if c == nil {
			conn, err := g.w.dial(r, g.service)
			if err != nil {
				g.fail(x, err)
				return
			}
			c = NewClientConn(conn)
		}
		err := g.exchange(r, x, c, head, content, whole, framing, trailers)
		if err != nil && whole && c.Repeatable(err) {
			c.Close()
			continue
		}
		if err != nil {
			g.fail(x, err)
		}
		g.pool.Put("service", c)
		return
	}
}

func (g *gateway) fail(x *Exchange, err error) {
	g.note("%v", err)
	if x.Status() == 0 {
		_ = x.Reply(&Answer{Status: http.StatusBadGateway}, []byte(err.Error()))
	}
}

var errGone = errors.New("client gone")

// exchange sends the request over c, and passes the answer on.
func (g *gateway) exchange(r loop.Runner, x *Exchange, c *ClientConn, head, content []byte, whole bool, f Framing, trailers Fields) error {
	x.Watch(r, func(error) { c.Abort(errGone) })
	defer x.Unwatch()
	switch {
	case whole && f.Kind != Chunked:
		if err := c.Send(head, content, false); err != nil {
			return err
		}
	case whole:
		if err := c.Send(head, nil, true); err != nil {
			return err
		}
		w := c.Writer(f)
		if _, err := w.Write(content); err != nil {
			return err
		}
		if err := w.Finish(trailers); err != nil {
			return err
		}
	default:
		if err := c.Send(head, nil, true); err != nil {
			return err
		}
		u := c.Upload(r, x.Body(), f)
		defer func() {
			if err := u.Stop(r); err != nil {
				g.note("upload: %v", err)
			}
		}()
	}
	var resp Response
	for {
		if err := c.ReadResponse(x.Request.Method, &resp, g.answer); err != nil {
			return err
		}
		if resp.Status >= 200 {
			break
		}
		if err := x.Interim(resp.Status, resp.Fields); err != nil {
			return err
		}
	}
	x.Respond(&Answer{Status: resp.Status, Reason: resp.Reason, Fields: resp.Fields, Body: resp.Body})
	return Copy(x, c.Body())
}

// A peer is the other end of a connection under test, in plain bytes.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func connect(t testing.TB, addr string) *peer {
	t.Helper()
	addr, secure := strings.CutPrefix(addr, "tls://")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(longest))
	t.Cleanup(func() { c.Close() })
	if secure {
		tc := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		if err := tc.Handshake(); err != nil {
			t.Fatal(err)
		}
		c = tc
	}
	return &peer{t, c, bufio.NewReader(c)}
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Fatalf("send %.40q: %v", s, err)
	}
}

// head reads a head and returns it without its Date, which is always there.
func (p *peer) head() string {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("head %q: %v", b.String(), err)
		}
		if !strings.HasPrefix(line, "Date: ") {
			b.WriteString(line)
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

// want reads a head and content and compares both.
func (p *peer) want(head, content string) {
	p.t.Helper()
	if got := p.head(); got != head {
		p.t.Fatalf("head %q, want %q", got, head)
	}
	p.wantBytes(content)
}

func (p *peer) wantBytes(content string) {
	p.t.Helper()
	b := make([]byte, len(content))
	if n, err := io.ReadFull(p.r, b); err != nil || string(b) != content {
		p.t.Fatalf("content %q, want %q: %v", b[:n], content, err)
	}
}

// wantEnd wants the connection to be closed, by FIN, with nothing before it.
func (p *peer) wantEnd() {
	p.t.Helper()
	if b, err := io.ReadAll(p.r); err != nil || len(b) > 0 {
		p.t.Fatalf("%q, %v: want the end", b, err)
	}
}

// wantQuiet wants the connection to serve another request, for which the service gives an empty answer.
func (p *peer) wantAlive(answer string) {
	p.t.Helper()
	p.send("GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
	p.want(answer, "")
}

// A service is a script: each connection is given to the next function, as it is.
func script(t testing.TB, steps ...func(p *peer)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, step := range steps {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(longest))
			step(&peer{softly{t}, c, bufio.NewReader(c)})
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// softly lets a helper goroutine fail its test.
type softly struct{ testing.TB }

func (s softly) Fatalf(format string, args ...any) {
	s.Errorf("service: "+format, args...)
	runtime.Goexit()
}
