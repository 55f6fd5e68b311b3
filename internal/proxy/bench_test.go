package proxy

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// benchGateway serves one route to a service that answers every head with answer.
func benchGateway(b *testing.B, answer string) (address string) {
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
	al, err := accesslog.Open(accesslog.Config{}, io.Discard, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	table := buildTable([]service{{id: "svc", routes: restRoutes, endpoints: []string{ln.Addr().String()}}})
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
	return s.Address("http")
}

// BenchmarkGet is one keep-alive GET through the gateway; what is allocated is the gateway's.
func BenchmarkGet(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 128\r\n\r\n" + string(make([]byte, 128))
	c, err := net.Dial("tcp", benchGateway(b, answer))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	request := []byte("GET /svc/api/v1/x?a=b HTTP/1.1\r\nHost: gw:10080\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n")
	buf := make([]byte, 8<<10)
	ask := func() {
		_, _ = c.Write(request)
		for n := 0; !bytes.HasSuffix(buf[:n], []byte(answer[len(answer)-128:])); {
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
