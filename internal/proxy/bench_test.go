package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// benchService answers every head with answer.
func benchService(b *testing.B, answer string) (address string) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 8<<10)
				for n := 0; ; {
					m, err := c.Read(buf[n:])
					if err != nil {
						return
					}
					if n += m; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
						_, _ = io.WriteString(c, answer)
						n = 0
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// benchGateway serves a route of Eureka's to a service, and by a listener of the table a rule, which changes fields if edited.
func benchGateway(b *testing.B, answer string, edited bool) (eureka, rule string) {
	b.Helper()
	behind := benchService(b, answer)
	al, err := accesslog.Open(accesslog.Config{}, io.Discard, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	set := route.Set{Routes: eurekaRoutes(upstream.NewPool(), []service{{id: "svc", routes: restRoutes, endpoints: []string{behind}}})}
	at := netip.MustParseAddrPort(behind)
	to := upstream.NewPool().Service("ns/svc", []upstream.Spec{{ID: behind, Scheme: "http", Host: at.Addr().String(), Port: int(at.Port())}})
	r := below("/svc", route.Backend{Name: "ns/svc:80", Weight: 1, Service: to})
	r.Matches[0].Headers = []route.ValueMatch{{Name: "User-Agent", Value: "bench/1"}, {Name: "accept", Value: "*/*"}}
	if edited {
		e := route.HeaderEdit{Set: []route.HeaderValue{{Name: "Accept", Value: "text/plain"}}, Add: []route.HeaderValue{{Name: "X-Add", Value: "1"}}, Remove: []string{"Cookie"}}
		r.Filters = &route.Filters{RequestHeaders: e, ResponseHeaders: e}
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	_ = listen.Close()
	rule = listen.Addr().String()
	set.Listeners = []*route.Listener{plain(netip.MustParseAddrPort(rule), &route.Host{Name: "gw/http", Rules: []route.Rule{r}})}
	table := route.Build(set, nil)
	s := New(Options{Table: func() *route.Table { return table }, AccessLog: al, Log: slog.New(slog.DiscardHandler)})
	if err := s.Apply(Reloadable{Defaults: route.DefaultEureka(), Dialer: &upstream.Dialer{}}); err != nil {
		b.Fatal(err)
	}
	if err := s.Listen([]ListenerConfig{{Name: "http", Address: "127.0.0.1:0"}}, nil); err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	b.Cleanup(func() {
		s.Shutdown(b.Context())
		<-served
		_ = al.Close(b.Context())
	})
	if unbound := s.Program(table); len(unbound) > 0 {
		b.Fatal(unbound)
	}
	return s.Address("http"), rule
}

const benchAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 16\r\n\r\n0123456789abcdef"

// BenchmarkGet is one keep-alive GET through the gateway, by a route of Eureka's; what is allocated is the gateway's.
func BenchmarkGet(b *testing.B) {
	eureka, _ := benchGateway(b, benchAnswer, false)
	benchGet(b, eureka)
}

// BenchmarkRuleGet is that by a rule of the Gateway API that asks for two fields.
func BenchmarkRuleGet(b *testing.B) {
	for _, edited := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "edited"}[edited], func(b *testing.B) {
			_, rule := benchGateway(b, benchAnswer, edited)
			benchGet(b, rule)
		})
	}
}

func benchGet(b *testing.B, address string) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	request := []byte("GET /svc/api/v1/x?a=b HTTP/1.1\r\nHost: gw:10080\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n")
	buf := make([]byte, 8<<10)
	ask := func() {
		_, _ = c.Write(request)
		for n := 0; !bytes.HasSuffix(buf[:n], []byte("abcdef")); {
			m, err := c.Read(buf[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += m
		}
	}
	ask()
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}
