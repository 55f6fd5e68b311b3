package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// answerer is a UDP service that answers each datagram with its name and the datagram.
func answerer(t *testing.T, network, name string) string {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "udp6" {
		address = "[::1]:0"
	}
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Skip(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, maxDatagram)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(name+":"), buf[:n]...), from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().String()
}

func overUDP(at netip.AddrPort, streams []route.Stream) *route.Listener {
	return &route.Listener{Name: "gw/udp", Address: at, Transport: route.TransportUDP, Port: at.Port(), Hosts: []*route.Host{{Name: "gw/udp", Streams: streams}}}
}

func dialUDP(t *testing.T, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(wait))
	return c
}

// asked sends a datagram and returns the answer.
func asked(t *testing.T, c *net.UDPConn, send string) string {
	t.Helper()
	if _, err := c.Write([]byte(send)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxDatagram)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("answer to %.20q: %v", send, err)
	}
	return string(buf[:n])
}

func TestUDP(t *testing.T) {
	g := startProgrammable(t)
	first, second := freeAddress(t), freeAddress(t)
	svc := g.backend("svc", answerer(t, "udp4", "one"), answerer(t, "udp4", "two"))
	if u := g.program(overUDP(first, streamTo("a", svc)), overUDP(second, streamTo("b", g.backend("b", answerer(t, "udp4", "b"))))); len(u) > 0 {
		t.Fatal(u)
	}
	clients := []*net.UDPConn{dialUDP(t, first), dialUDP(t, first)}
	names := map[string]bool{}
	for i, c := range clients {
		name, _, _ := strings.Cut(asked(t, c, "x"), ":")
		names[name] = true
		for _, send := range []string{"", "hello", strings.Repeat("y", 9000)} { // a flow stays where it is
			if got := asked(t, c, send); got != name+":"+send {
				t.Errorf("client %d: %.40q, want %s", i, got, name)
			}
		}
	}
	if len(names) != 2 {
		t.Errorf("endpoints %v, want both", names)
	}
	if got := asked(t, dialUDP(t, second), "x"); got != "b:x" {
		t.Errorf("the other listener: %q", got)
	}
	g.program(overUDP(second, streamTo("b", g.backend("b"))))
	for range 2 {
		if rec := g.log.next(t); rec["protocol"] != "UDP" || rec["route"] != "a" || rec["bytes_in"] != 9006.0 || rec["bytes_out"] != 9006.0+16 || rec["cause"] != nil || rec["service"] != "svc" {
			t.Errorf("line %v", rec)
		}
	}
	if _, err := clients[0].Write([]byte("x")); err == nil {
		if _, err := clients[0].Read(make([]byte, 10)); err == nil {
			t.Error("a closed listener answers")
		}
	}
}

// TestUDPEndpoints has endpoints that refuse, and none at all.
func TestUDPEndpoints(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	refusing := func() string { return freeAddress(t).String() }
	one := answerer(t, "udp4", "one")
	g.program(overUDP(at, streamTo("a", g.backend("svc", refusing(), one, refusing()))))
	for range 4 { // what was sent to those that refuse is sent again
		if got := asked(t, dialUDP(t, at), "x"); got != "one:x" {
			t.Errorf("%q", got)
		}
	}
	g.program()
	for range 4 { // each has its line when the listener goes
		if rec := g.log.next(t); rec["cause"] != nil || rec["bytes_out"] != 5.0 {
			t.Errorf("line %v", rec)
		}
	}
	for cause, streams := range map[string][]route.Stream{
		"no route": nil, "no backend that is valid": streamTo("a", route.Backend{Weight: 1, Invalid: "no such Service"}),
		"no endpoint available": streamTo("a", g.backend("none")), "connection refused": streamTo("a", g.backend("refusing", refusing())),
	} {
		at := freeAddress(t)
		g.program(overUDP(at, streams))
		l := g.programmed.open["udp/"+at.String()].udp
		l.mu.Lock()
		l.penance = time.Hour // it ends with the listener
		l.mu.Unlock()
		c := dialUDP(t, at)
		for range 10 { // one line, not ten
			_, _ = c.Write([]byte("x"))
		}
		eventually(t, "a flow that nothing can be done for has them all", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, f := range l.flows {
				return f.in.Load() == 10 && f.cause() != nil
			}
			return false
		})
		g.program()
		if rec := g.log.next(t); !strings.Contains(fmt.Sprint(rec["cause"]), cause) {
			t.Errorf("line %v, want %s", rec, cause)
		}
		if len(g.log.got) > 0 {
			t.Errorf("%s: another line: %v", cause, g.log.next(t))
		}
	}
}

func TestUDPIdle(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	streams := streamTo("a", g.backend("svc", answerer(t, "udp4", "one")))
	streams[0].Policy.WebSocket.IdleTimeout = 300 * time.Millisecond
	g.program(overUDP(at, streams))
	c := dialUDP(t, at)
	for range 3 { // each time another flow
		if got := asked(t, c, "x"); got != "one:x" {
			t.Errorf("%q", got)
		}
		if rec := g.log.next(t); rec["cause"] != nil || rec["bytes_in"] != 1.0 {
			t.Errorf("line %v", rec)
		}
	}
	eventually(t, "no flow is counted", func() bool { return g.conns.Load() == 0 })
}

// TestUDPWildcard asks a listener of every interface at addresses that the kernel would not answer from by itself.
func TestUDPWildcard(t *testing.T) {
	g := startProgrammable(t)
	port := freeAddress(t).Port()
	service := g.backend("svc", answerer(t, "udp4", "one"))
	for name, c := range map[string]struct {
		bind netip.Addr
		ask  []string
	}{
		"both families": {netip.Addr{}, []string{"127.0.0.1", "127.0.0.9", "::1"}},
		"IPv4":          {netip.IPv4Unspecified(), []string{"127.0.0.1", "127.0.0.9"}},
	} {
		l := overUDP(netip.AddrPortFrom(c.bind, port), streamTo("a", service))
		if u := g.program(l); len(u) > 0 {
			t.Fatal(name, u)
		}
		for _, ask := range c.ask {
			at := netip.AddrPortFrom(netip.MustParseAddr(ask), port)
			if at.Addr().Is6() && answerer(t, "udp6", "x") == "" {
				continue
			}
			if got := asked(t, dialUDP(t, at), "x"); got != "one:x" { // a connected socket takes answers from that address alone
				t.Errorf("%s, %s: %q", name, ask, got)
			}
		}
		g.program()
	}
}

// TestUDPv6 carries from IPv6 to IPv6.
func TestUDPv6(t *testing.T) {
	g := startProgrammable(t)
	at := netip.AddrPortFrom(netip.IPv6Loopback(), freeAddress(t).Port())
	g.program(overUDP(at, streamTo("a", g.backend("svc", answerer(t, "udp6", "six")))))
	if got := asked(t, dialUDP(t, at), "x"); got != "six:x" {
		t.Errorf("%q", got)
	}
}

// TestUDPFlood has more clients than there may be flows.
func TestUDPFlood(t *testing.T) {
	g := startProgrammable(t)
	at := freeAddress(t)
	g.program(overUDP(at, streamTo("a", g.backend("svc", answerer(t, "udp4", "one")))))
	asked(t, dialUDP(t, at), "first")
	l := g.programmed.open["udp/"+at.String()].udp
	l.mu.Lock()
	l.most = 3
	l.mu.Unlock()
	for i := range 20 {
		if got := asked(t, dialUDP(t, at), fmt.Sprint(i)); got != fmt.Sprint("one:", i) {
			t.Errorf("%q", got)
		}
		l.mu.Lock()
		if n := len(l.flows); n > 3 || n != l.silent.Len() {
			t.Errorf("%d flows, %d in order", n, l.silent.Len())
		}
		l.mu.Unlock()
	}
	for rec := g.log.next(t); ; rec = g.log.next(t) { // flows end beside each other: in any order
		if !strings.HasPrefix(fmt.Sprint(rec["cause"]), "too many flows") {
			t.Errorf("line %v", rec)
		}
		if rec["bytes_in"] == 5.0 {
			break // the first's
		}
	}
}
