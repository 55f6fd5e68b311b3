package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// programmable is a Server without gateway.listeners, whose table a test changes.
type programmable struct {
	*Server
	t       *testing.T
	log     *lines
	pool    *upstream.Pool
	current atomic.Pointer[route.Table]
	unbound chan map[string]error
}

func startProgrammable(t *testing.T, static ...ListenerConfig) *programmable {
	t.Helper()
	g := &programmable{t: t, log: &lines{got: make(chan struct{}, 1000)}, pool: upstream.NewPool(), unbound: make(chan map[string]error, 100)}
	g.current.Store(route.Build(route.Set{}, nil))
	log := slog.New(slog.DiscardHandler)
	al, err := accesslog.Open(accesslog.Config{}, g.log, log)
	if err != nil {
		t.Fatal(err)
	}
	g.Server = New(Options{Table: g.current.Load, AccessLog: al, Log: log, Unbound: func(m map[string]error) { g.unbound <- m }})
	conf, err := upstream.TLSConfig{InsecureSkipVerify: true}.Load(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Apply(Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{TLS: conf}}); err != nil {
		t.Fatal(err)
	}
	if err := g.Listen(static, func() (*Keypair, error) { return GeneratedKeypair(t.TempDir()) }); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		g.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := al.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

// program makes those the listeners of the table.
func (g *programmable) program(listeners ...*route.Listener) map[string]error {
	table := route.Build(route.Set{Listeners: listeners}, nil)
	g.current.Store(table)
	return g.Program(table)
}

// backend is a service at those endpoints, of weight 1.
func (g *programmable) backend(name string, endpoints ...string) route.Backend {
	specs := make([]upstream.Spec, 0, len(endpoints))
	for _, e := range endpoints {
		scheme := "http"
		if rest, ok := strings.CutPrefix(e, "https://"); ok {
			scheme, e = "https", rest
		}
		a := netip.MustParseAddrPort(e)
		specs = append(specs, upstream.Spec{ID: e, Scheme: scheme, Host: a.Addr().String(), Port: int(a.Port())})
	}
	return route.Backend{Name: name, Weight: 1, Service: g.pool.Service(name, specs)}
}

// leadsTo is a route to backends.
func leadsTo(id string, backends ...route.Backend) *route.Route {
	p := route.DefaultGatewayAPI()
	return &route.Route{ID: id, Source: "gateway-api", Backends: backends, Policy: &p, ProblemJSON: true}
}

// ruleTo takes every path to backends.
func ruleTo(id string, backends ...route.Backend) []route.Rule {
	return []route.Rule{{Route: leadsTo(id, backends...)}}
}

// nextPort is below the ports that the kernel chooses from, so that nobody else in this process gets one, nor the process of overPumps,
// which has a range of its own.
var nextPort = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(10000 + rand.Uint32N(8000))
	if os.Getenv("FAIRLEAD_ENGINE") != "" {
		p.Add(10000)
	}
	return &p
}()

// closedPort is an address that refuses connections until the test ends: that of the client of a connection, so nobody else gets it.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); ln.Close() })
	return c.LocalAddr().String()
}

// freeAddress is one on loopback that nobody listens on.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	for {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(nextPort.Add(1)))
		if ln, err := net.Listen("tcp", at.String()); err == nil {
			ln.Close()
			return at
		}
	}
}

func plain(at netip.AddrPort, hosts ...*route.Host) *route.Listener {
	return &route.Listener{Name: "default/gw:" + fmt.Sprint(at.Port()), Address: at, Transport: route.TransportHTTP, Port: at.Port(), Hosts: hosts}
}

// naming answers with a name and what it was asked.
func naming(t *testing.T, name string) string {
	return httpService(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", name, r.Host, r.URL.Path, r.Header.Get("X-Forwarded-Port"))
	})
}

func talkTo(t *testing.T, addr, send string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	return talk(t, &gateway{http: addr}, send)
}

func get(host, path string) string { return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }

// TestHostsAreIsolated is the Gateway API's listener isolation: only the rules of the most specific host count.
func TestHostsAreIsolated(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	host := func(hostname, path string) *route.Host {
		rules := ruleTo(path, g.backend(path, naming(t, path)))
		rules[0].Matches = []route.RuleMatch{{Path: route.PathMatch{Value: "/" + path}}}
		return &route.Host{Name: "gw/" + path, Hostname: hostname, Rules: rules}
	}
	l := plain(at, host("", "any"), host("*.example.com", "wild"), host("abc.example.com", "exact"))
	if unbound := g.program(l); len(unbound) > 0 {
		t.Fatal(unbound)
	}
	for _, c := range []struct{ host, path, want string }{
		{"bar.com", "any", "200"},
		{"bar.com", "wild", "404"},
		{"bar.com", "exact", "404"},
		{"x.example.com", "any", "404"},
		{"x.example.com", "wild", "200"},
		{"x.y.example.com:80", "wild", "200"},
		{"x.example.com", "exact", "404"},
		{"abc.example.com", "exact", "200"},
		{"ABC.example.com.:99", "exact", "200"},
		{"abc.example.com", "wild", "404"},
		{"[::1]:80", "any", "200"},
		{"example.com", "any", "200"},
	} {
		_, br, head := talkTo(t, at.String(), get(c.host, "/"+c.path))
		if !strings.HasPrefix(head, "HTTP/1.1 "+c.want+" ") {
			t.Errorf("%s/%s: %q, want %s", c.host, c.path, head, c.want)
		}
		if body := readBody(t, br, head); c.want == "200" && !strings.HasPrefix(body, c.path+" "+c.host+" /"+c.path) {
			t.Errorf("%s/%s: %q", c.host, c.path, body)
		}
		if rec := g.log.next(t); fmt.Sprint(rec["status"]) != c.want {
			t.Errorf("line %v", rec)
		}
	}
	_, _, head := talkTo(t, at.String(), get("bar.com", "/application/health"))
	if !strings.HasPrefix(head, "HTTP/1.1 404 ") {
		t.Errorf("the admin's endpoints are there: %q", head)
	}
	_, br, head := talkTo(t, at.String(), get("bar.com", "/any"))
	if body := readBody(t, br, head); !strings.HasSuffix(body, " "+fmt.Sprint(at.Port())) {
		t.Errorf("X-Forwarded-Port: %q, want that of the listener", body)
	}
}

// TestSessionsOutliveTheirListener closes a listener, and moves another, with a session and a connection that waits on each.
func TestSessionsOutliveTheirListener(t *testing.T) {
	g := startProgrammable(t)
	first, second := freeAddress(t), freeAddress(t)
	ws := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head))
		for i := 0; ; i++ {
			b := make([]byte, 7)
			if _, err := io.ReadFull(br, b); err != nil || b[0]&15 == byte(websocket.OpClose) {
				return
			}
			_, _ = io.WriteString(c, unmasked(websocket.OpText, fmt.Sprint(i)))
		}
	})
	rules := func() []route.Rule {
		to := ruleTo("ws", g.backend("ws", ws))
		to[0].Matches = []route.RuleMatch{{Path: route.PathMatch{Value: "/ws"}}}
		return append(to, ruleTo("rest", g.backend("rest", naming(t, "rest")))...)
	}()
	listener := func(at netip.AddrPort) *route.Listener { return plain(at, &route.Host{Name: "gw/http", Rules: rules}) }
	if unbound := g.program(listener(first), listener(second)); len(unbound) > 0 {
		t.Fatal(unbound)
	}
	type client struct {
		idle, session net.Conn
		idleR, wsR    *bufio.Reader
	}
	open := func(at netip.AddrPort) (c client) {
		var head string
		c.idle, c.idleR, head = talkTo(t, at.String(), get("a", "/x"))
		if body := readBody(t, c.idleR, head); !strings.HasPrefix(body, "rest a /x") {
			t.Fatalf("%q %q", head, body)
		}
		c.session, c.wsR, head = talkTo(t, at.String(), handshake("/ws", "a"))
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatalf("%q", head)
		}
		return c
	}
	says := func(c client, want string) {
		t.Helper()
		_, _ = io.WriteString(c.session, masked(websocket.OpText, "x"))
		if _, got := frame(t, c.wsR); got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	}
	a, b := open(first), open(second)
	says(a, "0")
	g.program(listener(first)) // a new table, and the second listener is not in it
	says(a, "1")
	says(b, "0")
	if _, err := b.idleR.ReadByte(); err != io.EOF {
		t.Errorf("a connection that waits on a closed listener: %v", err)
	}
	if c, err := net.Dial("tcp", second.String()); err == nil {
		c.Close()
		t.Error("the second listener still accepts")
	}
	_, _ = io.WriteString(a.idle, get("a", "/y"))
	head, err := readHead(a.idleR)
	if err != nil || !strings.HasPrefix(readBody(t, a.idleR, head), "rest a /y") {
		t.Errorf("a connection that waits on a listener that stays: %q %v", head, err)
	}
	g.program(listener(second)) // comes back, and the first goes
	says(a, "2")
	says(b, "1")
	if _, err := a.idleR.ReadByte(); err != io.EOF {
		t.Errorf("a connection that waits on a closed listener: %v", err)
	}
	open(second)
}

// TestHTTP2OutlivesItsListener closes a listener while a request is under way over HTTP/2.
func TestHTTP2OutlivesItsListener(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	slow := httpService(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		fmt.Fprint(w, "done")
	})
	g.program(plain(at, &route.Host{Name: "gw/http", Rules: ruleTo("slow", g.backend("slow", slow))}))
	c := dialTCP(t, at)
	conn, err := new(http2.Transport).NewClientConn(c) //nolint:staticcheck // a connection of our own
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, "http://gw/", nil)
		resp, err := conn.RoundTrip(req)
		if err != nil {
			got <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(body), err)
	}()
	<-arrived
	g.program()
	close(goOn)
	if s := <-got; s != "done<nil>" {
		t.Errorf("a request under way: %s", s)
	}
	eventually(t, "the connection is closed", func() bool { return g.conns.Load() == 0 })
}

// TestTransportChanges has an address speak something else.
func TestTransportChanges(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	ca := newIssuer(t)
	rules := ruleTo("a", g.backend("a", naming(t, "a")))
	tcp := overTCP(at, streamTo("tcp", g.backend("svc", carrier(t, "one", nil))))
	cert := &route.HostTLS{Certificates: []*tls.Certificate{ca.issue(t, nil, 2, "a.example")}}
	for range 2 {
		if u := g.program(plain(at, &route.Host{Rules: rules})); len(u) > 0 {
			t.Fatal(u)
		}
		if _, _, head := talkTo(t, at.String(), get("a", "/")); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
			t.Errorf("%q", head)
		}
		if u := g.program(tcp); len(u) > 0 {
			t.Fatal(u)
		}
		if got := exchanged(t, dialTCP(t, at), "x"); got != "one:x" {
			t.Errorf("%q", got)
		}
		if u := g.program(secure(at, &route.Host{TLS: cert, Rules: rules})); len(u) > 0 {
			t.Fatal(u)
		}
		tc, err := dialTLS(t, at, &tls.Config{RootCAs: ca.pool, ServerName: "a.example"})
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := over(t, tc, "a.example", "/"); status != http.StatusOK {
			t.Errorf("%d", status)
		}
	}
}

// TestUnboundIsTriedAgain has somebody else hold the port for a while.
func TestUnboundIsTriedAgain(t *testing.T) {
	g := startProgrammable(t, ListenerConfig{Name: "static", Address: "127.0.0.1:0"})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	busy := other.Addr().(*net.TCPAddr).AddrPort()
	static := netip.MustParseAddrPort(g.Address("static"))
	rules := ruleTo("a", g.backend("a", naming(t, "a")))
	host := &route.Host{Name: "gw/http", Rules: rules}
	own := freeAddress(t)
	everywhere := plain(netip.AddrPortFrom(netip.Addr{}, own.Port()), host)
	unbound := g.program(plain(busy, host), plain(static, host), plain(own, host), everywhere)
	for key, want := range map[string]string{
		"tcp/" + busy.String(): "address already in use", "tcp/" + static.String(): `"static" of gateway.listeners`,
		fmt.Sprintf("tcp/:%d", own.Port()): "default/gw",
	} {
		if unbound[key] == nil || !strings.Contains(unbound[key].Error(), want) {
			t.Errorf("%s: %v, want %s", key, unbound[key], want)
		}
	}
	if told := <-g.unbound; len(unbound) != 3 || len(told) != 3 {
		t.Errorf("unbound %v, told %v", unbound, told)
	}
	other.Close()
	if told := <-g.unbound; len(told) != 2 || told["tcp/"+busy.String()] != nil {
		t.Errorf("told %v", told)
	}
	if _, _, head := talkTo(t, busy.String(), get("a", "/")); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Errorf("%q", head)
	}
	g.program(plain(busy, host))
	if told := <-g.unbound; len(told) != 0 {
		t.Errorf("told %v", told)
	}
}

// TestTablesChangeUnderTraffic has tables come one after the other, with and without a listener, while clients ask on another.
func TestTablesChangeUnderTraffic(t *testing.T) {
	g := startProgrammable(t)
	ca := newIssuer(t)
	web, tcp, sometimes := freeAddress(t), freeAddress(t), freeAddress(t)
	rules := ruleTo("a", g.backend("a", naming(t, "a")))
	cert := ca.issue(t, nil, 2, "a.example")
	backend := g.backend("tcp", carrier(t, "one", nil))
	swap := func(i int) {
		host := &route.Host{Hostname: "a.example", TLS: &route.HostTLS{Certificates: []*tls.Certificate{cert}}, Rules: rules}
		all := []*route.Listener{secure(web, host), overTCP(tcp, streamTo("tcp", backend))}
		if i%2 == 0 {
			all = append(all, plain(sometimes, &route.Host{Rules: rules}))
		}
		if u := g.program(all...); len(u) > 0 {
			t.Error(u)
		}
	}
	swap(0)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: "a.example"}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", web.String())
		},
	}}
	defer client.CloseIdleConnections()
	each := func(ask func() error) {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := ask(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		each(func() error {
			resp, err := client.Get("https://a.example/")
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s", resp.Status)
				}
			}
			return err
		})
		each(func() error {
			c, err := net.Dial("tcp", tcp.String())
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(wait))
			_, _ = io.WriteString(c, "x")
			closeWrite(c)
			if got, err := io.ReadAll(c); string(got) != "one:x" {
				return fmt.Errorf("%q, %w", got, err)
			}
			return nil
		})
		each(func() error { // here and gone: whatever comes of it must come to an end
			if c, err := net.Dial("tcp", sometimes.String()); err == nil {
				_ = c.SetDeadline(time.Now().Add(wait))
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
					return err
				}
				c.Close()
			}
			return nil
		})
	}
	for i := range 100 {
		swap(i)
	}
	close(stop)
	clients.Wait()
}
