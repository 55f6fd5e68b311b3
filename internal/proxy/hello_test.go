package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// seen is what crypto/tls finds: the server name, and whether there was a hello.
func seen(p []byte) (name string, ok bool) {
	found := errors.New("found")
	conf := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name, ok = hello.ServerName, true
		return nil, found
	}}
	_ = tls.Server(&deaf{r: bytes.NewReader(p)}, conf).Handshake()
	return name, ok
}

// A deaf connection has been sent all that it will ever be sent.
type deaf struct {
	net.Conn
	r io.Reader
}

func (c *deaf) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *deaf) Write(p []byte) (int, error)      { return len(p), nil }
func (c *deaf) SetWriteDeadline(time.Time) error { return nil }
func (c *deaf) Close() error                     { return nil }

// inRecords cuts a hello into records of so many bytes.
func inRecords(hello string, size int) string {
	head, message := hello[:3], hello[5:]
	var b []byte
	for len(message) > 0 {
		n := min(size, len(message))
		b = append(append(b, head...), byte(n>>8), byte(n))
		b = append(b, message[:n]...)
		message = message[n:]
	}
	return string(b)
}

func TestServerName(t *testing.T) {
	hello := capturedHello(t, "Some.Example")
	for _, p := range []string{hello, hello + "more", inRecords(hello, 1), inRecords(hello, 100), inRecords(hello, 3) + "x"} {
		name, more, err := serverName([]byte(p))
		if name != "some.example" || more || err != nil {
			t.Errorf("%q, %v, %v", name, more, err)
		}
	}
	nameless := capturedHello(t, "127.0.0.1")
	if name, more, err := serverName([]byte(nameless)); name != "" || more || err != nil {
		t.Errorf("no name: %q, %v, %v", name, more, err)
	}
}

// FuzzServerName has one law: where crypto/tls finds a hello, we find its name; and however a hello is cut, its beginnings say
// that there is more, or what the whole says.
func FuzzServerName(f *testing.F) {
	hello := capturedHello(f, "some.example")
	for _, p := range []string{hello, inRecords(hello, 7), capturedHello(f, "127.0.0.1"), "\x16\x03\x01\x00\x00", "GET / HTTP/1.1\r\n\r\n", hello[:100]} {
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		name, more, err := serverName(p)
		if want, ok := seen(p); ok && len(p) <= maxHello {
			if more || err != nil || name != strings.ToLower(want) {
				t.Fatalf("%q, %v, %v; crypto/tls: %q", name, more, err, want)
			}
		}
		for _, cut := range []int{1, 5, 9, 43, len(p) / 2, len(p) - 1} {
			if cut < 0 || cut > len(p) {
				continue
			}
			part, partMore, partErr := serverName(p[:cut])
			if !partMore && (more || part != name || (partErr == nil) != (err == nil)) {
				t.Fatalf("cut at %d: %q, %v; whole: %q, %v, %v", cut, part, partErr, name, more, err)
			}
		}
	})
}
