package http1

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestCursorChunked: RFC 9112, section 7.1.
func TestCursorChunked(t *testing.T) {
	for _, tt := range []struct {
		body     string
		content  string
		trailers Fields
	}{
		{"0\r\n\r\n", "", nil},
		{"000\r\n\r\n", "", nil},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", nil},
		{"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", nil},
		{"00000000000000A\r\n0123456789\r\n0\r\n\r\n", "0123456789", nil},
		{"a\r\n0\r\n\r\nabcde\r\n0\r\n\r\n", "0\r\n\r\nabcde", nil},
		{"1;a\r\nx\r\n0;b=c;d=\"e;f\"\r\n\r\n", "x", nil},
		{"1; a = b \t\x80\r\nx\r\n0\r\n\r\n", "x", nil},
		{"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n", "x", Fields{{"X-Sum", "1"}}},
		{"1\r\nx\r\n0\r\nA:1\r\na: 2 \r\nEmpty:\r\n\r\n", "x", Fields{{"A", "1"}, {"a", "2"}, {"Empty", ""}}},
		// RFC 9110, section 6.5.1.
		{"0\r\nContent-Length: 5\r\nContent-length: x\r\ntransfer-encoding: chunked\r\nHOST: b\r\nB: c\r\n\r\n", "", Fields{{"B", "c"}}},
		{"0\r\nAuthorization: x\r\nX-Forwarded-For: y\r\nTrailer: B\r\nCookie: a\r\nSet-Cookie: b\r\n\r\n", "", nil},
	} {
		for name, cut := range map[string]func(int) int{"whole": whole, "bytes": func(left int) int { return min(1, left) }} {
			const behind = "GET / HTTP/1.1\r\n"
			c := NewCursor(Framing{Kind: Chunked})
			content, used, done, err := follow(&c, []byte(tt.body+behind), cut)
			if err != nil || !done || string(content) != tt.content || used != len(tt.body) || !slices.Equal(c.Trailers(), tt.trailers) {
				t.Errorf("%q, %s: %q of %d bytes, %v, %v; %v", tt.body, name, content, used, done, c.Trailers(), err)
			}
			if piece, n, err := c.Next([]byte(behind)); piece != End || n != 0 || err != nil || !c.Done() || c.EOF() != nil || c.Left() != 0 {
				t.Errorf("%q, %s: behind the end: %v, %d, %v", tt.body, name, piece, n, err)
			}
			// Every shorter body waits for more.
			for n := range len(tt.body) {
				c := NewCursor(Framing{Kind: Chunked})
				_, used, done, err := follow(&c, []byte(tt.body[:n]), cut)
				if err != nil || done || used != n || c.Done() || !errors.Is(c.EOF(), io.ErrUnexpectedEOF) {
					t.Errorf("%q, %s: %d bytes, %v, %v", tt.body[:n], name, used, done, err)
				}
			}
		}
	}
}

func TestCursorRefused(t *testing.T) {
	for _, tt := range []struct {
		body   string
		reason string // part of it
	}{
		{"\r\n", "no size"},
		{"g\r\n", "no size"},
		{";a\r\n", "no size"},
		{" 5\r\nhello\r\n", "no size"},
		{"-5\r\n", "no size"},
		{"+5\r\n", "no size"},
		{"0x5\r\nhello\r\n", "not a hexadecimal"},
		{"5_0\r\n", "not a hexadecimal"},
		{"5 \r\nhello\r\n", "not a hexadecimal"},
		{"5\t;a\r\nhello\r\n", "not a hexadecimal"},
		{"5\nhello\r\n", "not a hexadecimal"},
		{"5\r5\r\n", "bare CR"},
		{"5;a\nhello\r\n", "bare LF"},
		{"5;a\x00\r\nhello\r\n", "NUL"},
		{"5;a\rb\r\nhello\r\n", "bare CR"},
		{"00000000000000005\r\nhello\r\n", "too large"},
		{"8000000000000000\r\n", "too large"},
		{"10000000000000005\r\n", "too large"},
		{"fffffffffffffffff\r\n", "too large"},
		{"5;" + strings.Repeat("a", maxChunkLine) + "\r\n", "too long"},
		{"5\r\nhello!\r\n", "no CRLF"},
		{"5\r\nhello!\n0\r\n\r\n", "no CRLF"},
		{"5\r\nhello\n0\r\n\r\n", "no CRLF"},
		{"5\r\nhello\r0\r\n\r\n", "no CRLF"},
		{"5\r\nhello0\r\n\r\n", "no CRLF"},
		{"0\r\n\rx", "bare CR"},
		{"0\r\n\n", "bare LF"},
		{"0\r\nA: b\n\r\n", "bare LF"},
		{"0\r\nA: b\r\n\n", "bare LF"},
		{"0\r\nA : b\r\n\r\n", "before the colon"},
		{"0\r\n A: b\r\n\r\n", "folding"},
		{"0\r\nA: b\r\n c\r\n\r\n", "folding"},
		{"0\r\nA: \x00\r\n\r\n", "NUL"},
		{"0\r\nA: b\rC: d\r\n\r\n", "bare CR"},
		{"0\r\nA\r\n\r\n", "no colon"},
		{"0\r\nA: " + strings.Repeat("b", maxTrailer) + "\r\n\r\n", "too large"},
		{"0\r\n" + strings.Repeat("A: b\r\n", MaxFields+1) + "\r\n", "too many"},
		{strings.Repeat("1;"+strings.Repeat("a", 500)+"\r\nx\r\n", 40), "too much framing"},
	} {
		for name, cut := range map[string]func(int) int{"whole": whole, "bytes": func(left int) int { return min(1, left) }} {
			c := NewCursor(Framing{Kind: Chunked})
			_, _, done, err := follow(&c, []byte(tt.body), cut)
			if got := status(t, err); got != 400 && got != 431 || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%.40q, %s: %v, %d %v, want %s", tt.body, name, done, got, err, tt.reason)
				continue
			}
			if _, n, again := c.Next([]byte("0\r\n\r\n")); n != 0 || !errors.Is(again, err) || c.Done() || c.EOF() == nil {
				t.Errorf("%.40q, %s: after the error: %d, %v", tt.body, name, n, again)
			}
		}
	}
}

// TestCursorOneByteChunks: what streams a byte at a time may do so for ever.
func TestCursorOneByteChunks(t *testing.T) {
	c := NewCursor(Framing{Kind: Chunked})
	if n := testing.AllocsPerRun(100_000, func() {
		if _, _, done, err := follow(&c, nil, whole); done || err != nil {
			t.Fatal(err)
		}
		for p := []byte("1\r\nx\r\n"); len(p) > 0; {
			_, n, err := c.Next(p)
			if err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCursorKinds(t *testing.T) {
	for _, tt := range []struct {
		framing Framing
		content string
		done    bool
		eof     error
	}{
		{Framing{Kind: NoBody}, "", true, nil},
		{Framing{Kind: Length}, "", true, nil},
		{Framing{Length, 3}, "abc", true, nil},
		{Framing{Length, 6}, "abcdef", true, nil},
		{Framing{Length, 7}, "abcdef", false, io.ErrUnexpectedEOF},
		{Framing{Kind: UntilClose}, "abcdef", false, nil},
	} {
		for name, cut := range map[string]func(int) int{"whole": whole, "bytes": func(left int) int { return min(1, left) }} {
			c := NewCursor(tt.framing)
			content, used, done, err := follow(&c, []byte("abcdef"), cut)
			if string(content) != tt.content || used != len(content) || done != tt.done || c.Done() != done || err != nil || !errors.Is(c.EOF(), tt.eof) {
				t.Errorf("%+v, %s: %q, %d, %v, %v, EOF %v", tt.framing, name, content, used, done, err, c.EOF())
			}
		}
	}
}

// TestCursorSkip: content passes without Next.
func TestCursorSkip(t *testing.T) {
	c := NewCursor(Framing{Kind: Chunked})
	next := func(p string, want Piece, n int) {
		t.Helper()
		if piece, got, err := c.Next([]byte(p)); piece != want || got != n || err != nil {
			t.Fatalf("%q: %v, %d, %v", p, piece, got, err)
		}
	}
	next("10\r\nabc", Frame, 4)
	next("abc", Data, 3)
	if c.Left() != 13 {
		t.Fatalf("left %d", c.Left())
	}
	c.Skip(12)
	c.Skip(1)
	if c.Left() != 0 {
		t.Fatalf("left %d", c.Left())
	}
	next("\r\n1\r", Frame, 4)
	if c.Left() != 0 {
		t.Fatalf("left %d before the line is over", c.Left())
	}
	next("\nx\r\n", Frame, 1)
	c.Skip(1)
	next("\r\n0\r\n\r\nmore", End, 7)

	c = NewCursor(Framing{Length, 10})
	c.Skip(c.Left())
	if !c.Done() {
		t.Error("not done")
	}
	c = NewCursor(Framing{Kind: UntilClose})
	if c.Skip(1 << 40); c.Left() != math.MaxInt64 || c.Done() {
		t.Error("UntilClose ended")
	}
}

func TestForbiddenTrailer(t *testing.T) {
	for _, name := range []string{"content-length", "Transfer-Encoding", "HOST", "X-Forwarded-For", "x-forwarded-anything", "TE", "Set-Cookie"} {
		if !ForbiddenTrailer(name) {
			t.Errorf("%s is allowed", name)
		}
	}
	for _, name := range []string{"", "X-Sum", "Grpc-Status", "Server-Timing", "X-Forwarded", "Digest", "ETag"} {
		if ForbiddenTrailer(name) {
			t.Errorf("%s is forbidden", name)
		}
	}
}

// ExampleCursor reads a chunked body of which a part has come.
func ExampleCursor() {
	c := NewCursor(Framing{Kind: Chunked})
	for p := []byte("5\r\nhello\r\n0\r\n\r\nGET"); ; {
		piece, n, err := c.Next(p)
		if err != nil {
			fmt.Println(err)
			return
		}
		if piece == Data {
			fmt.Printf("%s\n", p[:n])
		}
		p = p[n:]
		if piece == End || piece == None {
			fmt.Println(c.Done(), string(p))
			return
		}
	}
	// Output:
	// hello
	// true GET
}
