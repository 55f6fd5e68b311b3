package http1

import (
	"fmt"
	"strings"
)

// A maker makes messages of bytes: each byte chooses the next piece of a grammar, mostly a good one. When the bytes are used
// up it chooses the first good piece each time, so that every string of bytes makes a whole message, and small changes of
// the bytes make small changes of the message.
type maker struct{ choices []byte }

func (m *maker) next() byte {
	if len(m.choices) == 0 {
		return 0
	}
	b := m.choices[0]
	m.choices = m.choices[1:]
	return b
}

// pick chooses a good piece, or with few values of its byte a bad one or the choosing bytes themselves.
func (m *maker) pick(good, bad []string) string {
	switch b := m.next(); {
	case b < 0xF8 || len(bad) == 0 && b < 0xFF:
		return good[int(b)%len(good)]
	case b < 0xFF:
		return bad[int(m.next())%len(bad)]
	}
	n := min(int(m.next())%24, len(m.choices))
	literal := string(m.choices[:n])
	m.choices = m.choices[n:]
	return literal
}

// field makes one field line that says nothing about framing.
func (m *maker) field() string {
	name := m.pick(
		[]string{
			"Accept", "accept-encoding", "X-Request-ID", "COOKIE", "Sec-WebSocket-Key", "x_under", "User-Agent", "Via", "X", "Pragma",
			"Upgrade", "TE", "!#$%&'*+-.^_`|~", "Origin", "Referer", "X-Forwarded-For", "If-None-Match", "traceparent", "Connection",
			"Keep-Alive", "Proxy-Connection", "Cache-Control", "Date", "Sec-WebSocket-Protocol",
		},
		[]string{"", " X", "X ", "X\t", "\tX", "(X)", "X\x00", "X:", "Xé", "X\r", "X\n", "Content-Length", "Transfer-Encoding", "Host"},
	)
	colon := m.pick([]string{": ", ":", ":\t", ":  \t "}, []string{" : ", "", ":\r\n ", ":\x0b", ";", "::"})
	value := m.pick(
		[]string{
			"a", "", "*/*", "close", "Upgrade", "keep-alive, Upgrade", "websocket", "text/html; q=0.5, */*", "\x80\xff obs", "a\tb",
			"no-cache", "1", `"quoted, \"pair\""`, "h2c", ":", "close, x-secret", "éàü", strings.Repeat("v", 70), "a  b", "{}[]<>", "100-continue",
		},
		[]string{"a\x00b", "a\rb", "a\nb", "\x1b[0m", "a\x7f", "a\r\n b", "a\r\n\tb", "a\n\tb", "a\x0bb", "a\x0cb", "\x08"},
	)
	return name + colon + value + m.pick([]string{"", " ", "\t", " \t "}, nil) + m.eol()
}

func (m *maker) eol() string {
	return m.pick([]string{"\r\n"}, []string{"\n", "\r", "x\n", "\r\r\n", "\n\r", " \r\n", "\r\n "})
}

// framing makes the framing fields, and tells what they mean if they are good.
func (m *maker) framing() (lines string, kind Kind, length int) {
	switch b := m.next(); {
	case b < 0x60:
		return "", NoBody, 0
	case b < 0xA0:
		return fmt.Sprintf("Content-Length:%s%d\r\n", m.pick([]string{" ", "", "\t"}, nil), b%32), Length, int(b) % 32
	case b < 0xF0:
		return m.pick([]string{"Transfer-Encoding", "transfer-encoding"}, nil) + ": " +
			m.pick([]string{"chunked", "Chunked", "chunked \t", "CHUNKED"}, badCodings) + "\r\n", Chunked, 0
	}
	return m.pick([]string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
		"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 5\r\n",
		"Content-Length: +5\r\n", "Content-Length: -5\r\n", "Content-Length: 0x5\r\n", "Content-Length: 5 5\r\n", "Content-Length:\r\n",
		"Content-Length: 9223372036854775807\r\n", "Content-Length: 9223372036854775808\r\n", "Content-Length: 18446744073709551621\r\n",
		"Content-Length: 00000000000000000005\r\n", "Content-Length: 005\r\n", "Content-Length: ５\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n", "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n",
		"Expect: 100-continue\r\nContent-Length: 3\r\n", "Expect: 200-ok\r\nContent-Length: 3\r\n",
	}, nil), NoBody, 0
}

var badCodings = []string{
	"", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", "chunked;q=1", ", chunked", "chunked,", "xchunked",
	"\"chunked\"", "chunked\x0b", "chu nked", "identity, chunked", "chunkeḍ",
}

// request makes a whole head of a request, or nearly. kind and length are its framing if it is good.
func (m *maker) request() (head string, kind Kind, length int) {
	var b strings.Builder
	b.WriteString(m.pick([]string{"", "", "", "\r\n", "\r\n\r\n"}, []string{"\n", "\r", " ", strings.Repeat("\r\n", 5)}))
	method := m.pick([]string{"GET", "POST", "OPTIONS", "CONNECT", "get", "M-SEARCH", "HEAD", "PUT"}, []string{"", "G(T", "GÉT", "GET\t"})
	host := m.pick(
		[]string{"example.com", "Example.COM:80", "127.0.0.1:8080", "[::1]:443", "a_b.c:", "localhost:65535", "[::ffff:1.2.3.4]", "x"},
		[]string{
			"", "a b", "a,b", "user@host", "a:b", "a:65536", "[::1", "::1", "[fe80::1%25eth0]", "[1.2.3.4]", "a%41", "é", "a/b",
			"a:80:80", "a?b", "a#b", "a\\b", "[::1]x", "[v1.x]",
		},
	)
	target := m.pick(
		[]string{
			"/", "/ws/v1/chat?x=%41&y=%zz", "/%2e%2e/%2F;a=b", "//double//", "/a|b{c}^`\\\"<>", "/?", "/a?b?c", "/'()*", "/..;/a",
		},
		[]string{"", "*", "a", "/a b", "/a#b", "/%", "/%4", "/%zz", "/\x00", "/é", "/\x7f", "/\t", "http:", "urn:a:b", "ftp://a/", "//", "?a"},
	)
	if method == "CONNECT" {
		target = host
	} else if form := m.next(); form >= 0xD0 {
		rest := target
		if form%4 == 0 {
			rest = ""
		}
		scheme := m.pick([]string{"http", "HTTPS", "ws", "wss"}, []string{"", "ftp", "httpx", "http:"})
		target = scheme + "://" + m.pick([]string{host, strings.ToUpper(host)}, []string{"other.example", "u@" + host}) + rest
	} else if form >= 0xC8 {
		method, target = "OPTIONS", "*"
	}
	sp := m.pick([]string{" "}, []string{"  ", "\t", "", " \t"})
	version := m.pick([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"},
		[]string{"HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1", "HTTP/1.1 ", "HTTP/01.1", "HTTP/1.11", "", "HTTP/1,1", "HTTP/3.0"})
	b.WriteString(method + " " + target + sp + version + m.eol())
	if more := m.next(); more < 0xF8 {
		b.WriteString(m.pick([]string{"Host: ", "host:", "HOST:\t"}, nil) + host + "\r\n")
		if more > 0xF4 {
			b.WriteString("Host: " + host + "\r\n")
		}
	}
	lines, kind, length := m.framing()
	if strings.Contains(version, "1.0") && kind == Chunked {
		lines, kind = "", NoBody
	}
	fields := int(m.next()) % 6
	for i := range fields {
		if i == 1 {
			b.WriteString(lines)
			lines = ""
		}
		b.WriteString(m.field())
	}
	b.WriteString(lines + m.pick([]string{"\r\n"}, []string{"\n", "", "\r\n\r\n", "\r\nx"}))
	return b.String(), kind, length
}

// response makes a whole head of a response, or nearly.
func (m *maker) response() string {
	var b strings.Builder
	b.WriteString(m.pick([]string{"HTTP/1.1", "HTTP/1.1", "HTTP/1.0"}, []string{"HTTP/2.0", "HTTP/1.2", "http/1.1", "ICY", "\r\nHTTP/1.1"}))
	b.WriteString(m.pick([]string{" "}, []string{"  ", "\t", ""}))
	b.WriteString(m.pick([]string{"200", "101", "100", "204", "304", "404", "599", "999", "502"}, []string{"099", "20", "2000", "2x0", "+20", "-20", ""}))
	b.WriteString(m.pick([]string{" OK", "", " ", "  two", " R\xe9", " a\tb"}, []string{"OK", "\tOK", " O\x00K", " O\rK", " \x7f"}))
	b.WriteString(m.eol())
	lines, _, _ := m.framing()
	for range int(m.next()) % 6 {
		b.WriteString(m.field())
	}
	b.WriteString(lines + m.pick([]string{"\r\n"}, []string{"\n", "", "\r\nx"}))
	return b.String()
}

// chunks makes a chunked body, or nearly.
func (m *maker) chunks() string {
	var b strings.Builder
	for range int(m.next()) % 6 {
		data := m.pick([]string{"hello", "x", "\r\n", "0\r\n\r\n", strings.Repeat("d", 300)}, nil)
		if data == "" {
			continue // a literal: it would be the last chunk
		}
		size := fmt.Sprintf(m.pick([]string{"%x", "%X", "0%x", "0000%x"}, []string{"0x%x", "+%x", " %x", "-%x", "%x0", "_%x", "f%x"}), len(data))
		b.WriteString(size + m.extension() + m.eol() + data + m.eol())
	}
	b.WriteString(m.pick([]string{"0", "000"}, []string{"", "g", "0x0", strings.Repeat("0", 17), "8000000000000000", "ffffffffffffffff0"}))
	b.WriteString(m.extension() + m.eol())
	for range max(int(m.next())%8-4, 0) {
		b.WriteString(m.field())
	}
	return b.String() + m.pick([]string{"\r\n", "\r\nGET / HTTP/1.1\r\n"}, []string{"\n", "", "\r", "\rx"})
}

func (m *maker) extension() string {
	return m.pick(
		[]string{"", "", ";a", ";a=b", `;a="q;q"`, "; a = b ", ";\t\xff", ";" + strings.Repeat("e", 200)},
		[]string{" ", "\t", " ;a", ";\n", ";\r", ";\x00", ";" + strings.Repeat("e", 1100), ";\x7f"},
	)
}
