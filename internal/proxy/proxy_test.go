package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/auth"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // whatever the machine has: tests that are parallel wait for timers
	if !oneEngine() && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.bench").Value.String() == "" {
		go overPumps() // beside the others: these tests wait more than they work
	}
	goleak.VerifyTestMain(m)
}

func oneEngine() bool {
	return os.Getenv("FAIRLEAD_ENGINE") != "" || runtime.GOOS != "linux" || testing.Short()
}

// overPumps runs the whole suite over goroutine pumps. It has almost all the time that go test gives a package.
var overPumps = sync.OnceValue(func() error {
	ctx, cancel := context.WithTimeout(context.Background(), 590*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.timeout=580s")
	cmd.Env = append(os.Environ(), "FAIRLEAD_ENGINE=pump")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

func TestOverPumps(t *testing.T) {
	if oneEngine() {
		t.Skip("one engine only")
	}
	if err := overPumps(); err != nil {
		t.Fatal(err)
	}
}

// wait bounds every wait of these tests.
const wait = 30 * time.Second

// lines is an access log that a test can wait on.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
	got chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	for range bytes.Count(p, []byte("\n")) {
		select {
		case l.got <- struct{}{}:
		default: // nobody waits for so many
		}
	}
	return len(p), nil
}

// next returns the next line as a JSON object.
func (l *lines) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case <-l.got:
	case <-time.After(wait):
		t.Fatal("no access-log line came")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := l.buf.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(line, &m); err != nil {
		t.Fatalf("access log %q: %v", line, err)
	}
	return m
}

// gateway is a Server on loopback with one plain and one TLS listener.
type gateway struct {
	*Server
	http, https string
	log         *lines
	dir         string
	pool        *upstream.Pool
	table       func(*route.Table)
}

// service is one Eureka-like service: its routes lead to endpoints.
type service struct {
	id        string
	routes    map[string]string // gatewayUrl -> serviceUrl
	endpoints []string          // host:port; "https://host:port" for TLS
	policy    func(*route.Policy)
	cors      bool
	same      bool // Route.SameOrigin
	options   upstream.Options
}

func startGateway(t *testing.T, services ...service) *gateway {
	t.Helper()
	return startGatewayOn(t, []ListenerConfig{
		{Name: "http", Address: "127.0.0.1:0"},
		{Name: "https", Address: "127.0.0.1:0", TLS: &TLSConfig{}},
	}, services...)
}

// startGatewayOn starts a Server on those listeners, called http and https.
func startGatewayOn(t *testing.T, listeners []ListenerConfig, services ...service) *gateway {
	t.Helper()
	return startLingering(t, 300*time.Millisecond, listeners, services...)
}

// startLingering is startGatewayOn for a Server that reads so long what nobody wants.
func startLingering(t *testing.T, unread time.Duration, listeners []ListenerConfig, services ...service) *gateway {
	t.Helper()
	g := &gateway{log: &lines{got: make(chan struct{}, 1000)}, dir: t.TempDir(), pool: upstream.NewPool()}
	log := slog.New(slog.DiscardHandler)
	al, err := accesslog.Open(accesslog.Config{}, g.log, log)
	if err != nil {
		t.Fatal(err)
	}
	var table atomic.Pointer[route.Table]
	table.Store(buildTableOn(g.pool, services))
	g.Server = New(Options{Table: table.Load, AccessLog: al, Log: log, EurekaOn: true})
	g.pool.OnLeave, g.pool.OnJoin = g.EndpointLeft, g.EndpointJoined
	g.unread = unread
	g.table = table.Store
	tls, err := upstream.TLSConfig{InsecureSkipVerify: true}.Load(log)
	if err != nil {
		t.Fatal(err)
	}
	g.apply(t, Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{TLS: tls}})
	err = g.Listen(listeners, func() (*Keypair, error) { return GeneratedKeypair(g.dir) })
	if err != nil {
		t.Fatal(err)
	}
	g.http, g.https = g.Address("http"), g.Address("https")
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

func (g *gateway) apply(t *testing.T, r Reloadable) {
	t.Helper()
	if err := g.Apply(r); err != nil {
		t.Fatal(err)
	}
}

func buildTable(services []service) *route.Table { return buildTableOn(upstream.NewPool(), services) }

// specs are where the service runs.
func (s *service) specs() (specs []upstream.Spec) {
	for i, e := range s.endpoints {
		scheme := "http"
		if rest, ok := strings.CutPrefix(e, "https://"); ok {
			scheme, e = "https", rest
		}
		host, port, _ := net.SplitHostPort(e)
		n, _ := strconv.Atoi(port)
		specs = append(specs, upstream.Spec{ID: fmt.Sprintf("%s:%s:%d", host, s.id, i), Scheme: scheme, Host: host, Port: n})
	}
	return specs
}

func buildTableOn(pool *upstream.Pool, services []service) *route.Table {
	return route.Build(route.Set{Routes: eurekaRoutes(pool, services)}, nil)
}

// eurekaRoutes are the routes of services.
func eurekaRoutes(pool *upstream.Pool, services []service) []route.Route {
	var routes []route.Route
	for _, s := range services {
		specs := s.specs()
		p := route.DefaultEureka()
		p.WebSocket.CloseTimeout = 200 * time.Millisecond // raw services never hang up by themselves
		if s.policy != nil {
			s.policy(&p)
		}
		for gw, target := range s.routes {
			routes = append(routes, route.Route{
				ID: s.id + ":" + gw, Source: "eureka", ServiceID: s.id, GatewayURL: gw, Target: target,
				Prefixes: []string{"/" + s.id + "/" + gw, "/" + gw + "/" + s.id},
				Service:  pool.ServiceWith(s.id, specs, s.options), Policy: &p, Retry: p.Retry(), Persistence: p.Kept(s.id), CORS: s.cors, CORSAnyone: s.cors && s.policy == nil, SameOrigin: s.same,
			})
		}
	}
	return routes
}

// rawService accepts connections and hands each to serve with the request's head as it came.
func rawService(t *testing.T, serve func(c net.Conn, br *bufio.Reader, head string)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(wait))
				br := bufio.NewReader(c)
				if head, err := readHead(br); err == nil {
					serve(c, br, head)
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

func readHead(br *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String(), err
		}
	}
}

// field returns the values of a header in a raw head.
func field(head, name string) []string {
	var values []string
	for line := range strings.SplitSeq(head, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

func one(head, name string) string {
	v := field(head, name)
	if len(v) != 1 {
		return fmt.Sprintf("%d values %q", len(v), v)
	}
	return v[0]
}

// acceptSwitch is a service's 101 to head, with extra header lines.
func acceptSwitch(head string, extra ...string) string {
	s := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		websocket.AcceptKey(one(head, "Sec-WebSocket-Key")) + "\r\n"
	for _, e := range extra {
		s += e + "\r\n"
	}
	return s + "\r\n"
}

const clientKey = "dGhlIHNhbXBsZSBub25jZQ=="

// handshake is a client's opening handshake.
func handshake(target, host string, extra ...string) string {
	s := "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " +
		clientKey + "\r\nSec-WebSocket-Version: 13\r\n"
	for _, e := range extra {
		s += e + "\r\n"
	}
	return s + "\r\n"
}

// talk sends bytes to the gateway's plain listener and returns the connection and the answer's head.
func talk(t *testing.T, g *gateway, send string) (net.Conn, *bufio.Reader, string) {
	t.Helper()
	c, err := net.Dial("tcp", g.http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	head, err := readHead(br)
	if err != nil {
		t.Fatalf("answer to %q: %v", send, err)
	}
	return c, br, head
}

// frame reads one unmasked frame.
func frame(t *testing.T, br *bufio.Reader) (websocket.Opcode, string) {
	t.Helper()
	var h [2]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		t.Fatalf("frame: %v", err)
	}
	if h[1] > 125 {
		t.Fatalf("frame header % x: not a short server frame", h)
	}
	p := make([]byte, h[1])
	if _, err := io.ReadFull(br, p); err != nil {
		t.Fatalf("frame: %v", err)
	}
	return websocket.Opcode(h[0] & 15), string(p)
}

func closing(t *testing.T, br *bufio.Reader) (websocket.Code, string) {
	t.Helper()
	op, p := frame(t, br)
	if op != websocket.OpClose {
		t.Fatalf("opcode %d %q, want a Close", op, p)
	}
	code, reason, err := websocket.ParseClose([]byte(p))
	if err != nil {
		t.Fatal(err)
	}
	return code, reason
}

func masked(op websocket.Opcode, payload string) string {
	return string(websocket.AppendFrame(nil, op, true, &[4]byte{1, 2, 3, 4}, []byte(payload)))
}

func maskedClose(code websocket.Code, reason string) string {
	return string(websocket.AppendClose(nil, &[4]byte{1, 2, 3, 4}, code, reason))
}

func unmasked(op websocket.Opcode, payload string) string {
	return string(websocket.AppendFrame(nil, op, true, nil, []byte(payload)))
}

func httpService(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func users(t *testing.T, name, password string) *auth.Users {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	u, err := auth.ParseHtpasswd(strings.NewReader(name+":"+string(hash)), "test")
	if err != nil {
		t.Fatal(err)
	}
	return u
}
