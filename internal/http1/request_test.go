package http1

import (
	"errors"
	"strings"
	"testing"
)

// status returns the status of an error of http1, 0 of none.
func status(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %#v is no *Error", err)
	}
	return e.Status
}

// TestRequestRefused has a row for each rule that a request can break, with its section of RFC 9112 or, where it says so,
// of RFC 9110.
func TestRequestRefused(t *testing.T) {
	const get = "GET / HTTP/1.1\r\n"
	const host = "Host: a\r\n"
	const post = "POST / HTTP/1.1\r\n" + host
	for _, tt := range []struct {
		section string
		raw     string
		status  int
		reason  string // part of it
	}{
		// The head as a whole.
		{"2.2", "GET / HTTP/1.1\nHost: a\n\n", 400, "bare LF"},
		{"2.2", "GET / HTTP/1.1\n" + host + "\r\n", 400, "version"},
		{"2.2", get + "Host: a\nX: b\r\n\r\n", 400, "bare LF"},
		{"2.2", get + host + "\n", 400, "bare LF"},
		{"2.2", get + "Host: a\rX: b\r\n\r\n", 400, "bare CR"},
		{"2.2", get + "Host: a\r\r\n\r\n", 400, "bare CR"},
		{"2.2", "GET\r / HTTP/1.1\r\n" + host + "\r\n", 400, "bare CR"},
		{"2.2", get + "\rHost: a\r\n\r\n", 400, "bare CR"},
		{"2.2", strings.Repeat("\r\n", 5) + get + host + "\r\n", 400, "method: a line ends too early"},
		{"2.2", "\r\n\r\n", 400, "empty lines"},
		{"2.2", "", 400, "not whole"},
		{"2.2", get + host, 400, "not whole"},
		{"2.2", " " + get + host + "\r\n", 400, "method: whitespace"},
		{"2.2", get + " Host: a\r\n\r\n", 400, "folding"},
		{"2.1", get + host + "\r\nX\r\n\r\n", 400, "behind the head"},

		// The request line.
		{"3", "GET  / HTTP/1.1\r\n" + host + "\r\n", 400, "target: whitespace"},
		{"3", "GET\t/ HTTP/1.1\r\n" + host + "\r\n", 400, "method: whitespace"},
		{"3", "GET /  HTTP/1.1\r\n" + host + "\r\n", 400, "version"},
		{"3", "GET / HTTP/1.1 \r\n" + host + "\r\n", 400, "version"},
		{"3", "GET /\tHTTP/1.1\r\n" + host + "\r\n", 400, "target: whitespace"},
		{"3", "GET / a HTTP/1.1\r\n" + host + "\r\n", 400, "version"},
		{"3", "GET /\r\n\r\n", 400, "no HTTP-version"},
		{"3", "GET / \r\n\r\n", 400, "version"},
		{"3", "GET\r\n\r\n", 400, "method"},
		{"3.1", "G@T / HTTP/1.1\r\n" + host + "\r\n", 400, "method"},
		{"3.1", "G\x00T / HTTP/1.1\r\n" + host + "\r\n", 400, "method: a NUL"},
		{"3.1", ": / HTTP/1.1\r\n" + host + "\r\n", 400, "method"},
		{"2.3", "GET / HTTP/2.0\r\n" + host + "\r\n", 505, "version"},
		{"2.3", "GET / HTTP/1.2\r\n" + host + "\r\n", 505, "version"},
		{"2.3", "GET / HTTP/0.9\r\n" + host + "\r\n", 505, "version"},
		{"2.3", "PRI * HTTP/2.0\r\n\r\n", 505, "version"},
		{"2.3", "GET / http/1.1\r\n" + host + "\r\n", 400, "version"},
		{"2.3", "GET / HTTP/1.10\r\n" + host + "\r\n", 400, "version"},
		{"2.3", "GET / HTTP/01.1\r\n" + host + "\r\n", 400, "version"},
		{"2.3", "GET / HTTP/1\r\n" + host + "\r\n", 400, "version"},

		// The target.
		{"3.2", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400, "fragment"},
		{"3.2", "GET /\x00 HTTP/1.1\r\n" + host + "\r\n", 400, "target: a NUL"},
		{"3.2", "GET /\x1b HTTP/1.1\r\n" + host + "\r\n", 400, "target: a control"},
		{"3.2", "GET /\x7f HTTP/1.1\r\n" + host + "\r\n", 400, "target: a control"},
		{"3.2", "GET a HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2", "GET ?a HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2", "GET a:80 HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.1", "GET /%4 HTTP/1.1\r\n" + host + "\r\n", 400, "percent"},
		{"3.2.1", "GET /%zz?a HTTP/1.1\r\n" + host + "\r\n", 400, "percent"},
		{"3.2.1", "GET /a%2/%20 HTTP/1.1\r\n" + host + "\r\n", 400, "percent"},
		{"3.2.2", "GET http://b/ HTTP/1.1\r\n" + host + "\r\n", 400, "not that of the target"},
		{"3.2.2", "GET http://a:81/ HTTP/1.1\r\n" + host + "\r\n", 400, "not that of the target"},
		{"3.2.2", "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "not that of the target"},
		{"3.2.2", "GET http://b/ HTTP/1.0\r\n" + host + "\r\n", 400, "not that of the target"},
		{"3.2.2", "GET http://a/ HTTP/1.1\r\n\r\n", 400, "no Host"},
		{"3.2.2", "GET http:// HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.2", "GET http:///x HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.2", "GET http:/a HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.2", "GET ftp://a/ HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.2", "GET http://a\\b/ HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.2", "GET http://a/%zz HTTP/1.1\r\n" + host + "\r\n", 400, "percent"},
		{"9110 4.2.4", "GET http://u@a/ HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"9110 4.2.4", "GET http://u:p@a/ HTTP/1.1\r\n" + host + "\r\n", 400, "target"},
		{"3.2.3", "CONNECT / HTTP/1.1\r\n" + host + "\r\n", 400, "CONNECT"},
		{"3.2.3", "CONNECT http://a:80/ HTTP/1.1\r\n" + host + "\r\n", 400, "CONNECT"},
		{"9110 9.3.6", "CONNECT a HTTP/1.1\r\n" + host + "\r\n", 400, "CONNECT"},
		{"9110 9.3.6", "CONNECT a: HTTP/1.1\r\n" + host + "\r\n", 400, "CONNECT"},
		{"9110 9.3.6", "CONNECT b:80 HTTP/1.1\r\n" + host + "\r\n", 400, "not that of the target"},
		{"3.2.4", "GET * HTTP/1.1\r\n" + host + "\r\n", 400, "OPTIONS"},
		{"3.2.4", "OPTIONS ** HTTP/1.1\r\n" + host + "\r\n", 400, "target"},

		// Host.
		{"3.2", get + "\r\n", 400, "no Host"},
		{"3.2", get + host + "host: b\r\n\r\n", 400, "more than one Host"},
		{"3.2", get + host + host + "\r\n", 400, "more than one Host"},
		{"3.2", "GET / HTTP/1.0\r\n" + host + host + "\r\n", 400, "more than one Host"},
		{"3.2", get + "Host: u@a\r\n\r\n", 400, "Host: not"},
		{"3.2", get + "Host: a b\r\n\r\n", 400, "Host: not"},
		{"3.2", get + "Host: a,b\r\n\r\n", 400, "Host: not"},
		{"3.2", get + "Host: a/b\r\n\r\n", 400, "Host: not"},
		{"3.2", get + "Host: http://a\r\n\r\n", 400, "Host: not"},
		{"3.2", get + "Host:\r\n\r\n", 400, "Host: not"},
		{"3.2", "GET / HTTP/1.0\r\nHost: é\r\n\r\n", 400, "Host: not"},

		// Field lines.
		{"5.1", get + "Host : a\r\n\r\n", 400, "whitespace before the colon"},
		{"5.1", get + "Host\t: a\r\n\r\n", 400, "whitespace before the colon"},
		{"5.1", get + host + ": b\r\n\r\n", 400, "field name: empty"},
		{"5.1", get + host + "X\r\n\r\n", 400, "no colon"},
		{"5.1", get + host + "X@: b\r\n\r\n", 400, "field name"},
		{"5.1", get + host + "X\x00: b\r\n\r\n", 400, "field name: a NUL"},
		{"5.1", get + host + "X\x0b: b\r\n\r\n", 400, "field name: a control"},
		{"5.1", get + host + "é: b\r\n\r\n", 400, "field name: a byte"},
		{"5.1", get + host + "\"X\": b\r\n\r\n", 400, "field name"},
		{"5.2", get + host + "X: a\r\n b\r\n\r\n", 400, "folding"},
		{"5.2", get + host + "X: a\r\n\tb\r\n\r\n", 400, "folding"},
		{"5.2", get + host + "X:\r\n b\r\n\r\n", 400, "folding"},
		{"5.2", get + host + "X: a\r\n \r\n\r\n", 400, "folding"},
		{"9110 5.5", get + host + "X: a\x00b\r\n\r\n", 400, "field value: a NUL"},
		{"9110 5.5", get + host + "X: \x1b[0m\r\n\r\n", 400, "field value: a control"},
		{"9110 5.5", get + host + "X: a\x7f\r\n\r\n", 400, "field value: a control"},
		{"9110 5.5", get + host + "X: 1234567\x0b1234567\r\n\r\n", 400, "field value: a control"},
		{"9110 5.4", get + host + strings.Repeat("X: a\r\n", MaxFields) + "\r\n", 431, "too many"},

		// Framing.
		{"6.3", post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "more than one Content-Length"},
		{"6.3", post + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 400, "more than one Content-Length"},
		{"6.3", post + "Content-Length: 5, 5\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: +5\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: -5\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: 0x5\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: 5 5\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: 5;\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length: ５\r\n\r\n", 400, "decimal"},
		{"9110 8.6", post + "Content-Length:\r\n\r\n", 400, "empty"},
		{"9110 8.6", post + "Content-Length: 9223372036854775808\r\n\r\n", 400, "too large"},
		{"9110 8.6", post + "Content-Length: 18446744073709551621\r\n\r\n", 400, "too large"},
		{"9110 8.6", post + "Content-Length: 99999999999999999999999\r\n\r\n", 400, "too large"},
		{"6.3", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "beside"},
		{"6.3", post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, "beside"},
		{"6.3", post + "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "beside"},
		{"6.1", post + "Transfer-Encoding: gzip\r\n\r\n", 501, "unknown coding"},
		{"6.1", post + "Transfer-Encoding: identity\r\n\r\n", 501, "unknown coding"},
		{"6.1", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "unknown coding"},
		{"6.1", post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "unknown coding"},
		{"6.1", post + "Transfer-Encoding: xchunked\r\n\r\n", 501, "unknown coding"},
		{"6.1", post + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chunked, gzip\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chunked;q=1\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: , chunked\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chunked,\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding:\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: chu nked\r\n\r\n", 400, "once and last"},
		{"6.1", post + "Transfer-Encoding: \x0bchunked\r\n\r\n", 400, "control"},
		{"6.1", "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0"},
		{"9110 6.5.1", post + "Transfer-Encoding: chunked\r\nTrailer: X-Sum, content-length\r\n\r\n", 400, "Trailer"},

		{"9110 10.1.1", post + "Expect: 200-ok\r\n\r\n", 417, "Expect"},
		{"9110 10.1.1", post + "Expect: 100-continue, more\r\n\r\n", 417, "Expect"},
		{"9110 10.1.1", post + "Expect: 100-continue\r\nExpect: x\r\n\r\n", 417, "Expect"},
	} {
		var r Request
		err := ParseRequest(tt.raw, &r)
		if got := status(t, err); got != tt.status || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("section %s: %q: %d %v, want %d %s", tt.section, tt.raw, got, err, tt.status, tt.reason)
		}
	}
}

// TestRequestAccepted has what a request may be, and what is read from it.
func TestRequestAccepted(t *testing.T) {
	const host = "Host: a\r\n"
	plain := Request{Method: "GET", Target: "/", Minor: 1, Host: "a", PathQuery: "/"}
	with := func(change func(*Request)) Request {
		r := plain
		change(&r)
		return r
	}
	for _, tt := range []struct {
		raw  string
		want Request // without Fields
	}{
		{"GET / HTTP/1.1\r\n" + host + "\r\n", plain},
		{"\r\nGET / HTTP/1.1\r\n" + host + "\r\n", plain},
		{strings.Repeat("\r\n", 4) + "GET / HTTP/1.1\r\n" + host + "\r\n", plain},
		{"GET / HTTP/1.1\r\nhOsT:\t a \t\r\n\r\n", plain},
		{"GET / HTTP/1.1\r\n" + host + "X: \x80\xff\ta\r\nY:\r\n\r\n", plain},
		{"GET / HTTP/1.1\r\n" + host + strings.Repeat("X: a\r\n", MaxFields-1) + "\r\n", plain},
		{"M-SEARCH!1 / HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) { r.Method = "M-SEARCH!1" })},
		{"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", with(func(r *Request) { r.Host = "[::1]:80" })},

		// Targets: raw, as they came.
		{"GET //a/../%2e%2E/;b?c=%zz&d HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) {
			r.Target, r.PathQuery = "//a/../%2e%2E/;b?c=%zz&d", "//a/../%2e%2E/;b?c=%zz&d"
		})},
		{"GET HTTP://A:080/x?y HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) {
			r.Target, r.Scheme, r.Host, r.PathQuery = "HTTP://A:080/x?y", "HTTP", "A:080", "/x?y"
		})},
		{"GET wss://a:443 HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) { r.Target, r.Scheme, r.Host = "wss://a:443", "wss", "a:443" })},
		{"GET http://a?x HTTP/1.0\r\n\r\n", with(func(r *Request) {
			r.Target, r.Scheme, r.PathQuery, r.Minor, r.Close = "http://a?x", "http", "/?x", 0, true
		})},
		{"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) { r.Method, r.Target, r.PathQuery = "OPTIONS", "*", "*" })},
		{"OPTIONS http://a HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) {
			r.Method, r.Target, r.PathQuery, r.Scheme = "OPTIONS", "http://a", "*", "http"
		})},
		{"CONNECT a:443 HTTP/1.1\r\n" + host + "\r\n", with(func(r *Request) {
			r.Method, r.Target, r.PathQuery, r.Host = "CONNECT", "a:443", "", "a:443"
		})},

		// Bodies.
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", with(func(r *Request) { r.Body = Framing{Kind: Length} })},
		{"GET / HTTP/1.1\r\n" + host + "content-length: 0012\t\r\n\r\n", with(func(r *Request) { r.Body = Framing{Length, 12} })},
		{"GET / HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775807\r\n\r\n", with(func(r *Request) { r.Body = Framing{Length, 1<<63 - 1} })},
		{"GET / HTTP/1.1\r\n" + host + "transfer-encoding: CHUNKED \r\n\r\n", with(func(r *Request) { r.Body = Framing{Kind: Chunked} })},
		{"GET / HTTP/1.1\r\n" + host + "Trailer: Content-Length\r\n\r\n", plain},

		// Persistence (section 9.3).
		{"GET / HTTP/1.1\r\n" + host + "Connection: x, Close\r\n\r\n", with(func(r *Request) { r.Close = true })},
		{"GET / HTTP/1.1\r\n" + host + "Connection: x\r\nConnection: keep-alive ,close\r\n\r\n", with(func(r *Request) { r.Close = true })},
		{"GET / HTTP/1.1\r\n" + host + "Connection: closed, xclose\r\n\r\n", plain},
		{"GET / HTTP/1.0\r\n" + host + "\r\n", with(func(r *Request) { r.Minor, r.Close = 0, true })},
		{"GET / HTTP/1.0\r\n" + host + "Connection: Keep-Alive\r\n\r\n", with(func(r *Request) { r.Minor = 0 })},
		{"GET / HTTP/1.0\r\n" + host + "Connection: keep-alive, close\r\n\r\n", with(func(r *Request) { r.Minor, r.Close = 0, true })},
		{"GET / HTTP/1.0\r\n\r\n", with(func(r *Request) { r.Minor, r.Close, r.Host = 0, true, "" })},

		// Expect (RFC 9110, section 10.1.1).
		{"GET / HTTP/1.1\r\n" + host + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", with(func(r *Request) { r.Body, r.Expect = Framing{Length, 1}, true })},
		{"GET / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", with(func(r *Request) { r.Body = Framing{Kind: Length} })},
		{"GET / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n\r\n", plain},
		{"GET / HTTP/1.0\r\n" + host + "Expect: x\r\nContent-Length: 1\r\n\r\n", with(func(r *Request) { r.Minor, r.Close, r.Body = 0, true, Framing{Length, 1} })},

		// Upgrade (RFC 9110, section 7.8).
		{"GET / HTTP/1.1\r\n" + host + "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", with(func(r *Request) { r.Upgrade = true })},
		{"GET / HTTP/1.1\r\n" + host + "Upgrade: websocket\r\n\r\n", plain},
		{"GET / HTTP/1.1\r\n" + host + "Connection: upgrade\r\n\r\n", plain},
		{"GET / HTTP/1.0\r\n" + host + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", with(func(r *Request) { r.Minor, r.Close = 0, true })},
	} {
		var r Request
		if err := ParseRequest(tt.raw, &r); err != nil {
			t.Errorf("%q: %v", tt.raw, err)
			continue
		}
		if end, ok := HeadEnd([]byte(tt.raw), 0); !ok || end != len(tt.raw) {
			t.Errorf("HeadEnd(%q) = %d, %v", tt.raw, end, ok)
		}
		r.Fields = nil
		if got, want := r, tt.want; !sameRequest(got, want) {
			t.Errorf("%q:\n got %+v\nwant %+v", tt.raw, got, want)
		}
	}
}

func sameRequest(a, b Request) bool {
	return a.Method == b.Method && a.Target == b.Target && a.Minor == b.Minor && a.Scheme == b.Scheme && a.Host == b.Host &&
		a.PathQuery == b.PathQuery && a.Body == b.Body && a.Close == b.Close && a.Expect == b.Expect && a.Upgrade == b.Upgrade
}

// TestRequestReuse: a Request is read into again without an allocation, and nothing of the last one stays.
func TestRequestReuse(t *testing.T) {
	r := Request{Fields: make(Fields, 0, 16)}
	if n := testing.AllocsPerRun(100, func() {
		if err := ParseRequest(browserHandshake, &r); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(r.Fields) != 10 || !r.Upgrade || r.Fields[3] != (Field{"Cache-Control", "no-cache"}) {
		t.Errorf("read %+v", r)
	}
	if err := ParseRequest(plainGet, &r); err != nil || len(r.Fields) != 3 || r.Upgrade {
		t.Errorf("read %+v, %v", r, err)
	}
	if err := ParseRequest("GET /x HTTP/1.1\r\nA: b\r\n\r\n", &r); err == nil || r.Target != "/x" || r.Host != "" {
		t.Errorf("read %+v, %v", r, err)
	}
}

func TestValidHost(t *testing.T) {
	for _, s := range []string{
		"a", "A-b.c_d~e", "127.0.0.1", "a:", "a:0", "a:65535", "[::1]", "[::1]:", "[2001:DB8::1]:8080", "[::ffff:1.2.3.4]", "a.", "999.1.1.1",
	} {
		if !ValidHost(s) {
			t.Errorf("%q is refused", s)
		}
	}
	for _, s := range []string{
		"", ":", ":80", "a b", " a", "a@b", "a:b", "a:-1", "a:+1", "a:65536", "a:000080", "a:1:2", "::1", "[::1", "[]", "[::1]80", "[::1]x:80",
		"[1.2.3.4]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[v1.a]", "a[::1]", "a%41", "a,b", "a;b", "a=b", "a!b", "a*", "é", "a\x00", "a\t",
		"a/", "a?", "a#", "a\\", "a\"", "<a>", "a|b",
	} {
		if ValidHost(s) {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestSameAuthority(t *testing.T) {
	for _, tt := range []struct {
		a, b, port string
		want       bool
	}{
		{"a", "A", "80", true},
		{"a:80", "a", "80", true},
		{"a:", "a:0080", "80", true},
		{"[::1]:443", "[::1]", "443", true},
		{"a:81", "a", "80", false},
		{"a", "b", "80", false},
		{"[::1]", "[::2]", "80", false},
	} {
		if got := sameAuthority(tt.a, tt.b, tt.port); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}
