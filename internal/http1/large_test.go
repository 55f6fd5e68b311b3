package http1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// A gigabyte passes in both directions, framed by length and in chunks, and memory stays as it was.
func TestLargeBodies(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() || raceEnabled {
		size = 64 << 20
	}
	inWorlds(t, func(t *testing.T, w world) {
		for _, chunked := range []bool{false, true} {
			size, chunk := size, 0
			framing := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
			if chunked { // less of it, for time
				size, chunk = size/4, 1<<20
				framing = "Transfer-Encoding: chunked\r\n\r\n"
			}
			t.Run(fmt.Sprintf("up/chunked=%v", chunked), func(t *testing.T) {
				flat(t, func() {
					through(t, w, ServerOptions{}, func(p *peer) {
						p.send("PUT /a HTTP/1.1\r\nHost: h\r\n" + framing)
						p.zeros(size, chunk)
						p.want(ok0, "")
					}, func(p *peer) {
						p.head()
						p.drain(size, chunk > 0)
						p.send(ok0)
					})
				})
			})
			t.Run(fmt.Sprintf("down/chunked=%v", chunked), func(t *testing.T) {
				flat(t, func() {
					through(t, w, ServerOptions{}, func(p *peer) {
						p.send(getA)
						p.head()
						p.drain(size, chunk > 0)
						p.wantAlive(ok0)
					}, func(p *peer) {
						p.head()
						p.send("HTTP/1.1 200 OK\r\n" + framing)
						p.zeros(size, chunk)
						p.head()
						p.send(ok0)
					})
				})
			})
		}
	})
}

// flat wants f to leave the heap as it was, and never to have had much of it.
func flat(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if total := after.TotalAlloc - before.TotalAlloc; total > 16<<20 && !raceEnabled { // under race a sync.Pool forgets
		t.Errorf("%d MiB were allocated", total>>20)
	}
}

var zeros = make([]byte, 1<<20)

// zeros sends size bytes, in chunks of chunk bytes if that is not 0.
func (p *peer) zeros(size int64, chunk int) {
	p.t.Helper()
	for size > 0 {
		if chunk == 0 {
			n, err := p.Write(zeros)
			if err != nil {
				p.t.Fatalf("send: %v", err)
				return
			}
			size -= int64(n)
			continue
		}
		line := fmt.Sprintf("%x\r\n", chunk)
		if _, err := (&net.Buffers{[]byte(line), zeros[:chunk], []byte("\r\n")}).WriteTo(p.Conn); err != nil {
			p.t.Fatalf("send: %v", err)
			return
		}
		size -= int64(chunk)
	}
	if chunk > 0 {
		p.send("0\r\n\r\n")
	}
}

// drain reads size bytes of content.
func (p *peer) drain(size int64, chunked bool) {
	p.t.Helper()
	var l link
	l.conn = p.Conn
	first := &buffer{p: make([]byte, bodyBuffer)}
	first.w, _ = p.r.Read(first.p[:p.r.Buffered()])
	var b Body
	f := Framing{Length, size}
	if chunked {
		f = Framing{Kind: Chunked}
	}
	b.start(&l, &first, f, longest)
	for {
		_, err := b.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.t.Fatalf("%d bytes, then %v", b.Count(), err)
			return
		}
	}
	if rest := string(first.bytes()); b.Count() != size || strings.TrimSpace(rest) != "" {
		p.t.Fatalf("%d bytes, want %d; %q behind them", b.Count(), size, rest)
	}
}
