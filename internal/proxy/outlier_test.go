package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// ejectAfter has so many failures in a row eject an endpoint, for as long as a test lasts.
func ejectAfter(n int) upstream.Options {
	return upstream.Options{Outliers: upstream.Outliers{Failures: n, Time: time.Hour, MaxTime: time.Hour}}
}

// TestHandshakesTellOfEndpoints has one of two endpoints answer handshakes in each way.
func TestHandshakesTellOfEndpoints(t *testing.T) {
	raw := func(serve func(net.Conn, string)) func(*testing.T, *atomic.Int32) string {
		return func(t *testing.T, n *atomic.Int32) string { return rawService(t, counted(n, serve)) }
	}
	for name, tt := range map[string]struct {
		endpoint func(t *testing.T, n *atomic.Int32) string
		ejected  bool
		why      string
	}{
		"refused":      {func(t *testing.T, _ *atomic.Int32) string { return closedPort(t) }, true, "refused"},
		"reset":        {raw(resets), true, "handshake"},
		"silent":       {raw(func(c net.Conn, _ string) { _, _ = io.Copy(io.Discard, c) }), true, "handshake"},
		"500":          {raw(answers("500 Broken")), false, ""},
		"502":          {raw(answers("502 Bad Gateway")), true, "502"},
		"503":          {raw(answers("503 Busy")), true, "503"},
		"bad 101":      {raw(answers("101 Switching Protocols")), true, "101"},
		"no HTTP":      {raw(func(c net.Conn, _ string) { _, _ = io.WriteString(c, "SSH-2.0-x\r\n\r\n") }), true, "handshake"},
		"no TLS":       {func(t *testing.T, n *atomic.Int32) string { return "https://" + rawService(t, counted(n, resets)) }, true, "tls"},
		"not found":    {raw(answers("404 Not Found")), false, ""},
		"unauthorized": {raw(answers("401 Unauthorized")), false, ""},
		"too many":     {raw(answers("429 Later")), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			g := startGateway(t, service{
				id: "svc", routes: wsRoute, endpoints: []string{tt.endpoint(t, &n), rawService(t, switches("good"))}, options: ejectAfter(3),
				policy: func(p *route.Policy) {
					p.LoadBalancing, p.WebSocket.ConnectFailure = "round-robin", route.StatusOnFailure
					if name == "silent" || name == "no TLS" {
						p.Timeouts.Handshake = 200 * time.Millisecond
					}
				},
			})
			bad := g.pool.Services()[0].Endpoints[0]
			for range 8 {
				talk(t, g, handshake("/svc/ws/v1/x", "gw"))
			}
			j := bad.Ejection()
			if j.Ejected != tt.ejected || !strings.Contains(j.Why, tt.why) {
				t.Fatalf("ejection %+v, want %t with %q", j, tt.ejected, tt.why)
			}
			if n.Load() > 3 && tt.ejected {
				t.Errorf("asked %d times, want 3 at most", n.Load())
			}
			if other := g.pool.Services()[0].Endpoints[1]; other.Ejected() {
				t.Errorf("the other one is ejected, too: %+v", other.Ejection())
			}
		})
	}
}

// TestRequestsTellOfEndpoints is that for plain requests, on an Eureka route and on one of the Gateway API.
func TestRequestsTellOfEndpoints(t *testing.T) {
	status := func(code int) func(*testing.T) string {
		return func(t *testing.T) string {
			return httpService(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		}
	}
	good := func(t *testing.T) string { return httpService(t, func(http.ResponseWriter, *http.Request) {}) }
	for name, tt := range map[string]struct {
		endpoint func(*testing.T) string
		ejected  bool
	}{
		"refused": {closedPort, true},
		"reset": {func(t *testing.T) string {
			return rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) { reset(c) })
		}, true},
		"silent": {func(t *testing.T) string {
			return rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) { _, _ = io.Copy(io.Discard, c) })
		}, true},
		"502": {status(502), true}, "503": {status(503), true}, "504": {status(504), true},
		"500": {status(500), false}, "501": {status(501), false}, "404": {status(404), false}, "429": {status(429), false},
	} {
		t.Run(name, func(t *testing.T) {
			var short route.Timeouts
			if name == "silent" {
				short.Response = 200 * time.Millisecond
			}
			g := startGateway(t, service{
				id: "svc", routes: map[string]string{"api/v1": "/"}, endpoints: []string{tt.endpoint(t), good(t)}, options: ejectAfter(2),
				policy: func(p *route.Policy) { p.Timeouts = short },
			})
			for range 6 {
				ask(t, g.client(t, false), http.MethodPost, "http://"+g.http+"/svc/api/v1/x")
			}
			if e := g.pool.Services()[0].Endpoints; e[0].Ejected() != tt.ejected || e[1].Ejected() {
				t.Errorf("Eureka route: ejections %+v %+v", e[0].Ejection(), e[1].Ejection())
			}
			p := startProgrammable(t)
			b := p.backend("b", tt.endpoint(t), good(t))
			b.Service = p.pool.ServiceWith("b", specsOf(b.Service), ejectAfter(2))
			rule := below("/", b)
			rule.Policy.Timeouts = short
			at := p.rules(rule)
			for range 6 {
				ask(t, httpClient(t, false), http.MethodPost, "http://"+at+"/x")
			}
			if e := b.Service.Endpoints; e[0].Ejected() != tt.ejected || e[1].Ejected() {
				t.Errorf("Gateway API route: ejections %+v %+v", e[0].Ejection(), e[1].Ejection())
			}
		})
	}
}

func specsOf(s *upstream.Service) (specs []upstream.Spec) {
	for _, e := range s.Endpoints {
		specs = append(specs, e.Spec)
	}
	return specs
}

// TestClientsThatGoAreNoFailure: it is not the endpoint's fault.
func TestClientsThatGoAreNoFailure(t *testing.T) {
	asked := make(chan struct{}, 2)
	silent := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) {
		asked <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
	})
	g := startGateway(t, service{
		id: "svc", routes: map[string]string{"api/v1": "/", "ws/v1": "/"}, endpoints: []string{silent, closedPort(t)}, options: ejectAfter(3),
		policy: func(p *route.Policy) { p.LoadBalancing = "round-robin" },
	})
	g.pool.Services()[0].Endpoints[1].Drain(true)
	for _, request := range []string{get("gw", "/svc/api/v1/x"), handshake("/svc/ws/v1/x", "gw")} {
		c, err := net.Dial("tcp", g.http)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, request)
		<-asked
		_ = c.Close()
		if rec := g.log.next(t); rec["status"] != 499.0 {
			t.Errorf("access log %v", rec)
		}
	}
	g.pool.Services()[0].Endpoints[1].Drain(false)
	e := g.pool.Services()[0].Endpoints[0]
	e.Failed(io.EOF)
	if e.Failed(io.EOF); e.Ejected() {
		t.Errorf("a client that went counts: %+v", e.Ejection())
	}
	if e.Failed(io.EOF); !e.Ejected() {
		t.Error("three failures do not eject: the test shows nothing")
	}
}

// TestSessionsStayOnAnEjectedEndpoint: it takes nothing new, whatever the sessions' policy says of unhealthy ones.
func TestSessionsStayOnAnEjectedEndpoint(t *testing.T) {
	echo := func(name string) string {
		return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
			_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, name))
			for b := make([]byte, 7); ; {
				if _, err := io.ReadFull(br, b); err != nil {
					return
				}
				_, _ = io.WriteString(c, unmasked(websocket.OpText, name))
			}
		})
	}
	g := startGateway(t, service{
		id: "svc", routes: wsRoute, endpoints: []string{echo("a"), echo("b")}, options: ejectAfter(1),
		policy: func(p *route.Policy) {
			p.LoadBalancing, p.WebSocket.OnUnhealthy, p.WebSocket.DrainWindow = "round-robin", route.MoveAway, -1
		},
	})
	a := g.pool.Services()[0].Endpoints[0]
	var conns []net.Conn
	var readers []*bufio.Reader
	for _, want := range []string{"a", "b"} {
		c, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		if _, p := frame(t, br); p != want {
			t.Fatalf("session at %q, want %q", p, want)
		}
		conns, readers = append(conns, c), append(readers, br)
	}
	a.Failed(io.EOF)
	for range 4 {
		_, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
		if _, p := frame(t, br); p != "b" {
			t.Errorf("a new session is at %q", p)
		}
	}
	for i, want := range []string{"a", "b"} {
		_, _ = io.WriteString(conns[i], masked(websocket.OpText, "x"))
		if _, p := frame(t, readers[i]); p != want {
			t.Errorf("the session at %q was answered by %q", want, p)
		}
	}
	if a.Sessions() != 1 {
		t.Errorf("%d sessions on the ejected one, want 1", a.Sessions())
	}
}

// TestLatencyEjectsTheSlowTwin adds latency to one of two endpoints, before the 101 and before the head of answers.
func TestLatencyEjectsTheSlowTwin(t *testing.T) {
	const added = 50 * time.Millisecond
	slow := func(serve func(net.Conn, *bufio.Reader, string)) func(net.Conn, *bufio.Reader, string) {
		return func(c net.Conn, br *bufio.Reader, head string) {
			time.Sleep(added)
			serve(c, br, head)
		}
	}
	answer := func(c net.Conn, _ *bufio.Reader, head string) {
		if strings.Contains(head, "Upgrade") {
			_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpClose, ""))
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}
	for name, request := range map[string]string{"handshakes": handshake("/svc/ws/v1/x", "gw"), "requests": get("gw", "/svc/api/v1/x")} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, service{
				id: "svc", routes: map[string]string{"api/v1": "/", "ws/v1": "/"}, endpoints: []string{rawService(t, slow(answer)), rawService(t, answer)},
				options: upstream.Options{Outliers: upstream.Outliers{
					Latency: 3, LatencyFloor: added / 5, Samples: 5, Interval: 200 * time.Millisecond, Time: time.Hour, MaxTime: time.Hour,
				}},
				policy: func(p *route.Policy) { p.LoadBalancing, p.WebSocket.Failover = "round-robin", route.FailoverOff },
			})
			e := g.pool.Services()[0].Endpoints
			for i := 0; i < 900 && !e[0].Ejected(); i++ {
				c, _, _ := talk(t, g, request)
				c.Close()
			}
			if j := e[0].Ejection(); !j.Ejected || !strings.HasPrefix(j.Why, "slow: ") || e[1].Ejected() {
				t.Errorf("%+v %+v, want the slow one", j, e[1].Ejection())
			}
		})
	}
}

// TestMissingPongsEject: a process that is stopped still takes connections, but answers no Ping.
func TestMissingPongsEject(t *testing.T) {
	deaf := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "deaf"))
		_, _ = io.Copy(io.Discard, br)
	})
	g := startGateway(t, service{
		id: "svc", routes: wsRoute, endpoints: []string{deaf, rawService(t, switches("good"))}, options: ejectAfter(1),
		policy: func(p *route.Policy) {
			p.LoadBalancing, p.WebSocket.Failover = "round-robin", route.FailoverOff
			p.WebSocket.PingInterval, p.WebSocket.PongTimeout = 50*time.Millisecond, time.Second
		},
	})
	c, br, _ := talk(t, g, handshake("/svc/ws/v1/x", "gw"))
	frame(t, br)
	for { // the client answers its own Pings
		op, p := frame(t, br)
		if op == websocket.OpClose {
			break
		}
		_, _ = io.WriteString(c, masked(websocket.OpPong, p))
	}
	if j := g.pool.Services()[0].Endpoints[0].Ejection(); !j.Ejected || !strings.Contains(j.Why, "pong timeout") {
		t.Errorf("%+v", j)
	}
}

// TestPanic has probes find both endpoints ill, although they serve: by default nobody gets through, with panic everybody does. Then
// one of them is gone for good.
func TestPanic(t *testing.T) {
	for _, panics := range []bool{false, true} {
		t.Run(fmt.Sprint(panics), func(t *testing.T) {
			g, p := startGateway(t), startProgrammable(t)
			var specs []upstream.Spec
			for _, addr := range []string{closedPort(t), servesIll(t)} {
				at := strings.Split(addr, ":")
				var port int
				_, _ = fmt.Sscan(at[1], &port)
				specs = append(specs, upstream.Spec{ID: addr, Scheme: "http", Host: at[0], Port: port})
			}
			options := upstream.Options{Panic: panics, Probe: upstream.Probe{Kind: upstream.HTTPProbe, Path: "/health", Interval: 100 * time.Millisecond, UnhealthyThreshold: 1}}
			policy := route.DefaultEureka()
			policy.WebSocket.CloseTimeout, policy.LoadBalancing = 200*time.Millisecond, "round-robin"
			sv := g.pool.ServiceWith("svc", specs, options)
			g.table(route.Build(route.Set{Routes: []route.Route{{
				ID: "svc", Source: "eureka", ServiceID: "svc", Prefixes: []string{"/svc/ws/v1"}, Target: "/ws", Service: sv, Policy: &policy,
			}}}, nil))
			backend := route.Backend{Name: "svc", Weight: 1, Service: p.pool.ServiceWith("svc", specs, options)}
			at := p.rules(below("/", backend))
			untilIll(t, g.pool, len(specs))
			untilIll(t, p.pool, len(specs))

			eureka := &gateway{http: g.http}
			rule := &gateway{http: at}
			for range 2 { // both endpoints have their turn to be the first
				wantPanic(t, panics, eureka, "/svc/ws/v1/x", "HTTP/1.1 101 ")
				wantPanic(t, panics, rule, "/x", "HTTP/1.1 503 ")
			}
		})
	}
}

// wantPanic opens a session and sends a request. closed is the answer to a handshake that is refused.
func wantPanic(t *testing.T, panics bool, g *gateway, path, closed string) {
	t.Helper()
	_, br, head := talk(t, g, handshake(path, "gw"))
	_, _, plain := talk(t, g, get("gw", path))
	switch {
	case panics:
		if _, p := frame(t, br); p != "served" {
			t.Errorf("%s: session %q", path, p)
		}
		if !strings.HasPrefix(plain, "HTTP/1.1 204 ") {
			t.Errorf("%s: request %q", path, plain)
		}
		return
	case !strings.HasPrefix(head, closed):
		t.Errorf("%s: handshake %q, want %q", path, head, closed)
	case strings.HasPrefix(head, "HTTP/1.1 101 "):
		const said = "Requested service svc does not have available instance: all 2 endpoints are unhealthy"
		if code, reason := closing(t, br); code != websocket.ServiceRestart || reason != said {
			t.Errorf("%s: Close %d %q, want 1012 %q", path, code, reason, said)
		}
	}
	if !strings.HasPrefix(plain, "HTTP/1.1 503 ") {
		t.Errorf("%s: request %q, want 503", path, plain)
	}
}

// servesIll is a service that serves, and says that it is not well.
func servesIll(t *testing.T) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		switch {
		case strings.HasPrefix(head, "GET /health "):
			_, _ = io.WriteString(c, "HTTP/1.1 500 Ill\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		case strings.Contains(head, "Upgrade: websocket"):
			_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "served"))
			_, _ = io.Copy(io.Discard, br)
		default:
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		}
	})
}

// untilIll probes the pool until so many endpoints are unhealthy, and goes on with it.
func untilIll(t *testing.T, pool *upstream.Pool, n int) {
	t.Helper()
	changed := make(chan upstream.HealthState, 10)
	prober := &upstream.Prober{
		Pool: pool, Dialer: func() *upstream.Dialer { return new(upstream.Dialer) },
		OnChange: func(e *upstream.Endpoint) { changed <- e.Health().State },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- prober.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	for range n {
		select {
		case state := <-changed:
			if state != upstream.Unhealthy {
				t.Fatalf("an endpoint turned %s", state)
			}
		case <-time.After(wait):
			t.Fatal("the endpoints are not found ill")
		}
	}
}
