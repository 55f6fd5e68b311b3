package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// built compiles the C programs, or skips where that is not possible.
func built(t *testing.T) *bench {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc")
	}
	if _, err := os.Stat("/usr/include/openssl/ssl.h"); err != nil {
		t.Skip("no OpenSSL headers")
	}
	b := &bench{dir: t.TempDir(), cores: 1, log: io.Discard, out: io.Discard}
	if err := b.compile(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stopAll)
	return b
}

// masked is a client's frame.
func masked(op byte, payload string) []byte {
	key := [4]byte{1, 2, 3, 250}
	p := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		p = append(p, 0x80|byte(n))
	case n < 1<<16:
		p = binary.BigEndian.AppendUint16(append(p, 0x80|126), uint16(n))
	default:
		p = binary.BigEndian.AppendUint64(append(p, 0x80|127), uint64(n))
	}
	p = append(p, key[:]...)
	for i := range len(payload) {
		p = append(p, payload[i]^key[i%4])
	}
	return p
}

// plain is a server's frame.
func plain(op byte, payload string) []byte {
	p := masked(op, payload)
	head := len(p) - len(payload) - 4
	p[1] &^= 0x80
	return append(p[:head:head], payload...)
}

const hello = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// TestService holds the echo service to its bytes, however the request is cut.
func TestService(t *testing.T) {
	b := built(t)
	if err := b.startService(t.Context()); err != nil {
		t.Fatal(err)
	}
	in := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + hello)
	var want []byte
	for _, m := range []string{"", "a", strings.Repeat("b", 125), strings.Repeat("c", 126), strings.Repeat("defg", 20_000)} {
		in = append(in, masked(2, m)...)
		want = append(want, plain(2, m)...)
	}
	in = append(append(in, masked(9, "ping")...), masked(8, "\x03\xe8")...)
	want = append(append(want, plain(10, "ping")...), plain(8, "\x03\xe8")...)
	for _, step := range []int{len(in), 1, 7, 4096} {
		conn, err := net.Dial("tcp", b.service[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		go func() {
			for rest := in; len(rest) > 0; {
				n := min(step, len(rest))
				if len(in)-len(rest) > 2000 {
					n = min(max(step, 997), len(rest)) // small steps for the heads are enough
				}
				if _, err := conn.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 128 {
			t.Errorf("step %d: body of %d bytes, %v", step, len(body), err)
		}
		resp, err = http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("step %d: %v, %v", step, resp, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("step %d: %d bytes, want %d, %v", step, len(got), len(want), err)
		}
		conn.Close()
	}
}

// generated runs the generator and returns its one sample.
func generated(t *testing.T, b *bench, args ...string) sample {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, b.path("wslg"), args...).Output() // its verdict is in the JSON
	var s sample
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	return s
}

// TestPace: a paced session sends no more often than it is told to.
func TestPace(t *testing.T) {
	b := built(t)
	if err := b.startService(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := generated(t, b, append(strings.Fields("echo -n 10 -r 20 -w 0.1 -t 0.5"), b.service...)...)
	if s.Errors != 0 || s.Ops == 0 || s.Ops > 110 { // 10 sessions, 20 a second each, half a second
		t.Errorf("%v operations, want about 100; %d errors: %s", s.Ops, s.Errors, s.Error)
	}
}

// TestKeep: every connection makes its one request and stays.
func TestKeep(t *testing.T) {
	b := built(t)
	if err := b.startService(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path("wslg"), append(strings.Fields("keep -n 200 -j 2"), b.service...)...)
	cmd.Stdin = strings.NewReader("\n\n")
	out, err := cmd.Output()
	want := "{\"event\":\"open\",\"sessions\":200}\n{\"event\":\"echoed\",\"sessions\":200,\"errors\":0,\"error\":\"\"}\n"
	if err != nil || string(out) != want {
		t.Errorf("%v, %s, want %s", err, out, want)
	}
}

func TestGenerator(t *testing.T) {
	b := built(t)
	if err := b.startService(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"echo -n 3 -s 128", "echo -n 3 -d 4 -s 126 -j 2", "echo -n 1 -s 70000", "echo -n 1 -s 0", "echo -n 3 -r 100",
		"http -n 3", "http -n 3 -B 16384", "http -n 3 -p /x/1048576", "http -n 2 -B 100000 -p /x/300000",
		"setup -n 3", "broadcast -n 9 -j 2 -b " + b.service[0],
	} {
		s := generated(t, b, append(strings.Fields(args+" -w 0 -t 0.1"), b.service...)...)
		if s.Ops == 0 || s.Errors != 0 {
			t.Errorf("%s: %v operations, %d errors: %s", args, s.Ops, s.Errors, s.Error)
		}
	}
}

const accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// TestGeneratorNotices: an answer that is not exactly right is an error.
func TestGeneratorNotices(t *testing.T) {
	b := built(t)
	for _, tc := range []struct{ name, mode, upgrade, answer, want string }{
		{"refused", "echo", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "", "status: HTTP/1.1 502 Bad Gateway, want 101"},
		{"accept", "echo", strings.Replace(accept, "s3p", "S3p", 1), "", "wrong Sec-WebSocket-Accept"},
		{"payload", "echo", accept, "\x82\x04abcd", "wrong echo"},
		{"length", "echo", accept, "\x82\x05aholv", "wrong echo"},
		{"text", "echo", accept, "\x81\x04ahov", "wrong echo"},
		{"too soon", "echo", accept + "\x82\x04ahov", "", "bytes before the first message"},
		{"closed", "echo", accept, "\x82\x04ah", "closed by the peer"},
		{"status", "http", "", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status: HTTP/1.1 503 Service Unavailable, want 200"},
		{"no length", "http", "", "HTTP/1.1 200 OK\r\n\r\n", "answer without Content-Length"},
		{"close", "setup", accept, "\x88\x02\x03\xe9", "wrong answer to a Close"},
		{"no close", "setup", accept, "\x88", "closed by the peer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address := answerer(t, tc.upgrade, tc.answer)
			s := generated(t, b, tc.mode, "-n", "1", "-s", "4", "-w", "0", "-t", "0.2", address)
			if s.Errors == 0 || s.Error != tc.want {
				t.Errorf("%d errors: %q, want %q", s.Errors, s.Error, tc.want)
			}
		})
	}
}

// answerer says upgrade to the first bytes of a connection and answer to the next, and closes.
func answerer(t *testing.T, upgrade, answer string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // on failure the test fails by its answer
			buf := make([]byte, 4096)
			for _, p := range []string{upgrade, answer} {
				if p == "" {
					continue
				}
				if _, err := conn.Read(buf); err == nil {
					_, _ = io.WriteString(conn, p) // the generator may have gone
				}
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

// TestBroadcast: the service's threads reach all sessions, and the generator takes no wrong frame and none twice.
func TestBroadcast(t *testing.T) {
	b := built(t)
	b.cores = 8 // so that the service has two threads
	if err := b.startService(t.Context()); err != nil {
		t.Fatal(err)
	}
	args := []string{"broadcast", "-n", "9", "-s", "4", "-w", "0", "-t", "0.2", "-b"}
	s := generated(t, b, append(append(args, b.service[0]), b.service...)...)
	if s.Ops < 9 || s.Errors != 0 {
		t.Errorf("%v operations, %d errors: %s", s.Ops, s.Errors, s.Error)
	}
	for _, answer := range []string{"\x82\x04ahow", "\x82\x04ahov\x82\x04ahov"} {
		address := broadcaster(t, answer)
		args[2] = "1"
		if s := generated(t, b, append(args, address, address)...); s.Errors == 0 || s.Error != "wrong echo" {
			t.Errorf("%q: %d errors: %q", answer, s.Errors, s.Error)
		}
	}
}

// broadcaster takes a first session for its commands, and answers the first of them to the second session.
func broadcaster(t *testing.T, answer string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns [2]net.Conn
		buf := make([]byte, 4096)
		for i := range conns {
			if conns[i], err = ln.Accept(); err != nil {
				return
			}
			defer conns[i].Close()
			_ = conns[i].SetDeadline(time.Now().Add(2 * time.Second)) // on failure the test fails by its answer
			if _, err := conns[i].Read(buf); err == nil {
				_, _ = io.WriteString(conns[i], accept)
			}
		}
		if _, err := conns[0].Read(buf); err == nil {
			_, _ = io.WriteString(conns[1], answer)
		}
		_, _ = conns[1].Read(buf) // until the generator goes
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}
