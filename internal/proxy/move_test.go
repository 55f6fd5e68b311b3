package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// An instance of a service that answers each text with its own name before it.
type instance struct {
	name, addr string
	server     *http.Server

	// What it does instead, if set before a handshake.
	refuse atomic.Int32                            // answers with this status
	serve  func(ctx context.Context, c *ws.Conn)   // the session
	accept func(r *http.Request) *ws.AcceptOptions // how it accepts

	mu       sync.Mutex // guards the following
	conns    []net.Conn
	requests []*http.Request
	asked    func() // called at each handshake; nil: nothing is. See onHandshake
}

// onHandshake has f called at each handshake from now on.
func (in *instance) onHandshake(f func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.asked = f
}

// startInstance runs one on any port, or on that of addr.
func startInstance(t *testing.T, name, addr string) *instance {
	t.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return runInstance(t, name, ln)
}

// startInstanceTLS runs one that speaks TLS.
func startInstanceTLS(t *testing.T, name string) *instance {
	t.Helper()
	borrowed := httptest.NewTLSServer(http.NotFoundHandler())
	conf := borrowed.TLS.Clone()
	conf.NextProtos = []string{"http/1.1"}
	borrowed.Close()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	return runInstance(t, name, ln)
}

func runInstance(t *testing.T, name string, ln net.Listener) *instance {
	in := &instance{name: name, addr: ln.Addr().String()}
	in.server = &http.Server{Handler: in, ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			in.mu.Lock()
			in.conns = append(in.conns, c)
			in.mu.Unlock()
		}
	}}
	served := make(chan struct{})
	go func() { defer close(served); _ = in.server.Serve(ln) }()
	t.Cleanup(func() { in.kill(false); <-served })
	return in
}

// kill ends the instance: it listens no more, and its connections are reset, or get FIN.
func (in *instance) kill(reset bool) {
	in.mu.Lock()
	conns := in.conns
	in.conns = nil
	in.mu.Unlock()
	_ = in.server.Close()
	for _, c := range conns {
		if secure, ok := c.(*tls.Conn); ok {
			c = secure.NetConn()
		}
		if tcp, ok := c.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

func (in *instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in.mu.Lock()
	in.requests = append(in.requests, r.Clone(context.Background()))
	asked := in.asked
	in.mu.Unlock()
	if asked != nil {
		asked()
	}
	if status := in.refuse.Load(); status != 0 {
		w.WriteHeader(int(status))
		return
	}
	options := &ws.AcceptOptions{InsecureSkipVerify: true}
	if in.accept != nil {
		options = in.accept(r)
	}
	c, err := ws.Accept(w, r, options)
	if err != nil {
		return
	}
	defer c.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if in.serve != nil {
		in.serve(ctx, c)
		return
	}
	in.echo(ctx, c)
}

func (in *instance) echo(ctx context.Context, c *ws.Conn) {
	for {
		_, text, err := c.Read(ctx)
		if err != nil {
			return
		}
		if c.Write(ctx, ws.MessageText, []byte(in.name+" "+string(text))) != nil {
			return
		}
	}
}

// handshakes are those that it was sent.
func (in *instance) handshakes() []*http.Request {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.requests)
}

// A player is a client of the gateway.
type player struct {
	t *testing.T
	*ws.Conn
	ctx context.Context
}

// play opens a session at path of the gateway's plain listener.
func play(t *testing.T, g *gateway, path string, options *ws.DialOptions) *player {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	t.Cleanup(cancel)
	c, _, err := ws.Dial(ctx, "ws://"+g.http+path, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return &player{t, c, ctx}
}

func (p *player) say(text string) {
	p.t.Helper()
	if err := p.Write(p.ctx, ws.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// hear wants text as the next message.
func (p *player) hear(text string) {
	p.t.Helper()
	_, got, err := p.Read(p.ctx)
	if err != nil || string(got) != text {
		p.t.Fatalf("%q %v, want %q", got, err, text)
	}
}

// end wants a Close as the next event, and returns its reason.
func (p *player) end(code ws.StatusCode) string {
	p.t.Helper()
	_, got, err := p.Read(p.ctx)
	var closed ws.CloseError
	if !asClose(err, &closed) || closed.Code != code {
		p.t.Fatalf("%q %v, want Close %d", got, err, code)
	}
	return closed.Reason
}

// between is a gateway before instances a, b, ...; the session of the first client is at the first instance.
func between(t *testing.T, policy func(*route.Policy), instances ...*instance) *gateway {
	t.Helper()
	s := service{id: "svc", routes: wsRoute, policy: func(p *route.Policy) {
		p.LoadBalancing = upstream.RoundRobin
		if policy != nil {
			policy(p)
		}
	}}
	for _, in := range instances {
		s.endpoints = append(s.endpoints, in.addr)
	}
	return startGateway(t, s)
}

// A session goes on at another instance when its own is lost, however that goes, and its line says so.
// movedOnPumps waits for a session to come to the instance, where pumps carry it: they do not know what has been acknowledged, so a
// message that meets the loss is uncertain there, and not sent again.
func movedOnPumps(t *testing.T, to *instance) {
	t.Helper()
	if os.Getenv("FAIRLEAD_ENGINE") == "pump" {
		eventually(t, "a second handshake", func() bool { return len(to.handshakes()) > 0 })
	}
}

func TestMoveAfterLoss(t *testing.T) {
	for _, failover := range []route.Failover{route.FailoverAuto, route.FailoverReconnect, route.FailoverReplay} {
		for _, reset := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reset %t", failover, reset), func(t *testing.T) {
				a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
				g := between(t, func(p *route.Policy) { p.WebSocket.Failover = failover }, a, b)
				p := play(t, g, "/svc/ws/v1/room?x=1", &ws.DialOptions{HTTPHeader: http.Header{"X-Mine": {"1"}, "User-Agent": {"player/1"}}})
				p.say("one")
				p.hear("a one")
				a.kill(reset)
				if failover != route.FailoverReplay {
					movedOnPumps(t, b)
				}
				p.say("two")
				p.hear("b two")
				first, second := a.handshakes()[0], b.handshakes()[0]
				for _, name := range []string{"X-Mine", "User-Agent", "X-Request-Id", "Fairlead-Session-Id", "X-Forwarded-For", "Forwarded", "Fairlead-Hop"} {
					if first.Header.Get(name) == "" || first.Header.Get(name) != second.Header.Get(name) {
						t.Errorf("%s was %q, then %q", name, first.Header.Get(name), second.Header.Get(name))
					}
				}
				if second.RequestURI != "/svc/ws/room?x=1" || second.Host != b.addr || second.Header.Get("Fairlead-Session-Resumed") != "1" ||
					first.Header.Get("Sec-WebSocket-Key") == second.Header.Get("Sec-WebSocket-Key") {
					t.Errorf("second handshake %s %s %v", second.Host, second.RequestURI, second.Header)
				}
				views, _ := g.Sessions.List(0, 10)
				if len(views) != 1 || views[0].ServiceURL != "ws://"+b.addr+"/svc/ws/room?x=1" || !strings.HasSuffix(views[0].Record.Instance, ":1") ||
					views[0].Record.Moves != 1 {
					t.Errorf("%+v", views)
				}
				if n := views[0].Record.Uncertain; n != 0 {
					t.Errorf("%d messages are uncertain", n)
				}
				m, _ := g.Table().Match("/svc/ws/v1/x")
				if a, b := m.Service.Endpoints[0].Sessions(), m.Service.Endpoints[1].Sessions(); a != 0 || b != 1 {
					t.Errorf("%d and %d sessions, want 0 and 1", a, b)
				}
				_ = p.Close(ws.StatusNormalClosure, "bye")
				rec := g.log.next(t)
				if rec["moves"] != 1.0 || rec["uncertain"] != 0.0 || rec["close_code"] != 1000.0 || !strings.HasSuffix(rec["instance"].(string), ":1") {
					t.Errorf("line %v", rec)
				}
			})
		}
	}
}

func asClose(err error, into *ws.CloseError) bool { return errors.As(err, into) }
