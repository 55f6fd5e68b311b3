package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
)

// proxyV2 is a header of version 2 with that command, family and rest.
func proxyV2(command, family byte, rest string) string {
	return proxyV2Signature + string([]byte{command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(rest)))) + rest
}

const (
	v4Pair = "\xc0\x00\x02\x01\xc6\x33\x64\x07\x04\xd2\x01\xbb"
	v6Pair = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x01\xbb"
)

func TestProxyHeader(t *testing.T) {
	for name, c := range map[string]struct{ in, source, destination string }{
		"v1 IPv4":              {"PROXY TCP4 192.0.2.1 198.51.100.7 1234 443\r\n", "192.0.2.1:1234", "198.51.100.7:443"},
		"v1 IPv6":              {"PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "[2001:db8::1]:1234", "[2001:db8::2]:443"},
		"v1 unknown":           {"PROXY UNKNOWN\r\n", "", ""},
		"v1 unknown with more": {"PROXY UNKNOWN ffff::1 x y z\r\n", "", ""},
		"v2 IPv4":              {proxyV2(0x21, 0x11, v4Pair), "192.0.2.1:1234", "198.51.100.7:443"},
		"v2 IPv6":              {proxyV2(0x21, 0x21, v6Pair), "[2001:db8::1]:1234", "[2001:db8::2]:443"},
		"v2 with additions":    {proxyV2(0x21, 0x11, v4Pair+strings.Repeat("\x04\x00\x01x", 1000)), "192.0.2.1:1234", "198.51.100.7:443"},
		"v2 local":             {proxyV2(0x20, 0x11, v4Pair), "", ""},
		"v2 local, empty":      {proxyV2(0x20, 0, ""), "", ""},
		"v2 unix":              {proxyV2(0x21, 0x31, strings.Repeat("x", 216)), "", ""},
	} {
		for cut := range c.in {
			if h, n, more, err := parseProxyHeader([]byte(c.in[:cut])); err != nil || n != 0 || more <= 0 || more > len(c.in)-cut || h != (proxyHeader{}) {
				t.Fatalf("%s, cut at %d: %v %d more %d, %v", name, cut, h, n, more, err)
			}
		}
		r := strings.NewReader(c.in + "GET /")
		h, err := readProxyHeader(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if rest, _ := io.ReadAll(r); string(rest) != "GET /" {
			t.Errorf("%s: what follows is %q", name, rest)
		}
		if !h.Source.IsValid() && c.source == "" {
			continue
		}
		if h.Source.String() != c.source || h.Destination.String() != c.destination {
			t.Errorf("%s: %v, want %s and %s", name, h, c.source, c.destination)
		}
	}
}

func TestProxyHeaderIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"http": "GET / HTTP/1.1\r\n\r\n", "tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "lower case": "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"bare LF": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "long": "PROXY UNKNOWN " + strings.Repeat("x", 200), "other family": "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
		"udp": "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "few words": "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "two spaces": "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
		"port": "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "port with zero": "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", "zone": "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
		"v2 version": proxyV2(0x31, 0x11, v4Pair), "v2 command": proxyV2(0x22, 0x11, v4Pair), "v2 cut": proxyV2(0x21, 0x11, v4Pair[:11]),
		"v2 long": proxyV2(0x21, 0x11, v4Pair+strings.Repeat("x", 5000)), "v2 signature": "\r\n\r\n\x00\r\nQUIT\r!\x11",
	} {
		h, err := readProxyHeader(strings.NewReader(in))
		if !errors.Is(err, errProxyHeader) || h != (proxyHeader{}) {
			t.Errorf("%s: %v, %v", name, h, err)
		}
	}
}

// FuzzProxyHeader. Laws: it never panics; a header is found whole or not at all, however it was
// cut; who reads what is missing and no more never reads beyond the header.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.7 1234 443\r\nGET /"))
	f.Add([]byte(proxyV2(0x21, 0x21, v6Pair) + "x"))
	f.Add([]byte(proxyV2(0x20, 0, "")))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, n, more, err := parseProxyHeader(p)
		if err != nil || more > 0 {
			if n != 0 || h != (proxyHeader{}) {
				t.Fatalf("%v %d with %d more, %v", h, n, more, err)
			}
			return
		}
		have := 0
		for have < n {
			_, _, more, err := parseProxyHeader(p[:have])
			if err != nil || more <= 0 || have+more > n {
				t.Fatalf("at %d of %d: %d more, %v", have, n, more, err)
			}
			have += more
		}
		if again, m, more, err := parseProxyHeader(p[:n]); again != h || m != n || more != 0 || err != nil {
			t.Fatalf("alone: %v %d %d %v, with what follows: %v %d", again, m, more, err, h, n)
		}
	})
}
