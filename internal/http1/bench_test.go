package http1

import (
	"strings"
	"testing"
)

// browserHandshake is what a browser sends to open a WebSocket: ten fields.
const browserHandshake = "GET /ws/v1/chat/room?id=42&lang=en HTTP/1.1\r\n" +
	"Host: gateway.example.com:10010\r\n" +
	"Connection: Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://gateway.example.com:10010\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

const plainGet = "GET /api/v1/echo HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n"

const plainAnswer = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n" +
	"Content-Type: text/plain\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n"

func BenchmarkParseRequest(b *testing.B) {
	for _, bm := range []struct{ name, raw string }{{"handshake", browserHandshake}, {"get", plainGet}} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.raw)))
			var r Request
			for b.Loop() {
				if err := ParseRequest(bm.raw, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseResponse(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(plainAnswer)))
	var r Response
	for b.Loop() {
		if err := ParseResponse(plainAnswer, "GET", &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHeadEnd(b *testing.B) {
	b.ReportAllocs()
	p := []byte(browserHandshake)
	for b.Loop() {
		if n, ok := HeadEnd(p, 0); !ok || n != len(p) {
			b.Fatal(n, ok)
		}
	}
}

func BenchmarkFieldsAppend(b *testing.B) {
	b.ReportAllocs()
	var r Request
	if err := ParseRequest(browserHandshake, &r); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 4096)
	for b.Loop() {
		buf = AppendRequestLine(buf[:0], r.Method, r.PathQuery)
		buf = r.Fields.Append(buf)
	}
}

func BenchmarkCursorChunked(b *testing.B) {
	b.ReportAllocs()
	body := []byte("1000\r\n" + strings.Repeat("x", 0x1000) + "\r\n" + "0\r\n\r\n")
	for b.Loop() {
		c := NewCursor(Framing{Kind: Chunked})
		for p := body; ; {
			piece, n, err := c.Next(p)
			if err != nil {
				b.Fatal(err)
			}
			p = p[n:]
			if piece == End {
				break
			}
		}
	}
}
