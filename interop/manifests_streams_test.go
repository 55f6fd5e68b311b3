package interop

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// lines is a TCP service that sends each line back behind its name, and says how it ends.
func lines(t *testing.T, name string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // Close
			}
			go func() {
				defer conn.Close()
				br := bufio.NewReader(conn)
				for {
					line, err := br.ReadString('\n')
					if err != nil {
						_, _ = io.WriteString(conn, name+" end\n") // after the client's FIN
						return
					}
					_, _ = io.WriteString(conn, name+" "+line)
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// says writes lines on conn and gives what comes back until its end.
func says(conn net.Conn, text string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return "", err
		}
	}
	got, err := io.ReadAll(conn)
	return string(got), err
}

// What is carried without a look at it.
func TestGatewayStreams(t *testing.T) {
	m := newManifests(t)
	m.echo("one")
	conf := &tls.Config{Certificates: []tls.Certificate{m.ca.issue(t, "*.pass.example").tls}}
	m.service("tls", "", startEcho(t, "tls", conf).address)
	m.service("again", "", startEcho(t, "again", conf).address)
	m.object(m.ca.configMap("services"))
	m.service("lines", "", lines(t, "first"))
	m.service("other-lines", "", lines(t, "second"))
	m.object(m.ca.issue(t, "end.example", "again.example").secret("end"))
	m.object(m.ca.issue(t, "web.example").secret("web"))
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return // Close
			}
			_, _ = udp.WriteTo(append([]byte("udp "), b[:n]...), from)
		}
	}()
	m.values["UDP_PORT"] = portOf(udp.LocalAddr().String())
	m.file("streams.yaml")
	m.start("443", "9000", "9001", "9002", "9003", "udp/9000")

	dial := func(t *testing.T, port string) net.Conn {
		t.Helper()
		conn, err := net.DialTimeout("tcp", m.at(port), wait)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	t.Run("TLSRoute", func(t *testing.T) { // TLS goes on to the service
		m.serves(t, "https://a.pass.example/", "tls")
		saw := m.get(t, "https://a.pass.example/", http.StatusOK).saw
		if saw.ServerName != "a.pass.example" || saw.Header.Get("X-Forwarded-For") != "" {
			t.Errorf("the service saw %+v", saw)
		}
		if _, err := m.tlsDial("443", "b.pass.example", nil); err == nil {
			t.Error("a name without a route is answered")
		}
	})
	t.Run("TLSRouteModeTerminate", func(t *testing.T) {
		conn, err := m.tlsDial("443", "end.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := says(conn, "a\nb\n"); got != "first a\nfirst b\nfirst end\n" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("TLSRoute ended and begun anew", func(t *testing.T) {
		m.serves(t, "https://again.example/", "again")
		if saw := m.get(t, "https://again.example/", http.StatusOK).saw; saw.ServerName != "inner.pass.example" {
			t.Errorf("the service is called %q", saw.ServerName)
		}
	})
	t.Run("TLSRouteModeMixed", func(t *testing.T) { // on one port, beside HTTPS
		m.serves(t, "https://a.pass.example/", "tls")
		conn, err := m.tlsDial("443", "end.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := says(conn, "x\n"); got != "first x\nfirst end\n" {
			t.Errorf("%q, %v", got, err)
		}
		m.serves(t, "https://web.example/", "one")
	})
	t.Run("TCPRoute", func(t *testing.T) {
		if got, err := says(dial(t, "9000"), "a\nb\n"); got != "first a\nfirst b\nfirst end\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		count := map[string]int{}
		for range 40 {
			got, err := says(dial(t, "9001"), "x\n")
			if err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(got, " ")
			count[name]++
		}
		if count["first"] < 25 || count["first"] > 35 || count["first"]+count["second"] != 40 {
			t.Errorf("shares of 40 connections: %v, want about 30 and 10", count)
		}
		for _, port := range []string{"9002", "9003"} { // no backend, no route
			conn, err := net.DialTimeout("tcp", m.at(port), wait)
			if err != nil {
				continue // reset before it was looked at
			}
			if got, _ := says(conn, "x\n"); got != "" {
				t.Errorf("port %s: %q", port, got)
			}
			conn.Close()
		}
	})
	t.Run("UDPRoute", func(t *testing.T) {
		for client := range 3 {
			conn, err := net.Dial("udp", m.at("9000"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for i := range 3 {
				question := fmt.Sprintf("%d of client %d", i, client)
				if got, err := datagram(conn, question); err != nil || got != "udp "+question {
					t.Errorf("asked %q, got %q, %v", question, got, err)
				}
			}
		}
	})
}

// datagram asks until an answer comes, since datagrams may be lost.
func datagram(conn net.Conn, question string) (string, error) {
	b := make([]byte, 1<<16)
	for range 5 {
		if _, err := io.WriteString(conn, question); err != nil {
			return "", err
		}
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		n, err := conn.Read(b)
		if err == nil {
			return string(b[:n]), nil
		}
	}
	return "", errors.New("no answer to 5 datagrams")
}
