package interop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An h2Attack is one request of HTTP/2, in the fields of its head: a gateway that writes them as lines of HTTP/1.1 without
// a look says something else. In fields and sees, ~ stands for the path of the case.
type h2Attack struct {
	name   string
	fields []string // "name value"
	body   string
	want   string   // a status, "reset", or several of them: "400|reset"
	sees   []string // by the service, if it is answered with 200
	early  bool     // the service may get that even if it is not: the head is right, and the body not yet known
}

const h2Inner = "GET ~/smuggled HTTP/1.1\r\nHost: gw.test\r\n\r\n"

// h2Head is a head with a method and more fields. A field whose name it has already takes its place.
func h2Head(method string, more ...string) []string {
	list := []string{":method " + method, ":scheme https", ":authority gw.test", ":path ~"}
	for _, field := range more {
		name, _, _ := strings.Cut(field, " ")
		at := slices.IndexFunc(list, func(f string) bool { return strings.HasPrefix(name, ":") && strings.HasPrefix(f, name+" ") })
		if at >= 0 {
			list[at] = field
		} else {
			list = append(list, field)
		}
	}
	return list
}

func h2Attacks() []h2Attack {
	list := []h2Attack{
		{"a harmless one", h2Head("GET", "x-a b"), "", "200", []string{"GET ~"}, false},
		{"a body", h2Head("POST"), "hello", "200", []string{"POST ~ hello"}, false},
		{"a body of its length", h2Head("POST", "content-length 5"), "hello", "200", []string{"POST ~ hello"}, false},
		{"a body that is a request", h2Head("POST"), h2Inner, "200", nil, false},
		{"a GET with a body that is a request", h2Head("GET"), h2Inner, "200", nil, false},
		{"a length that is less", h2Head("POST", "content-length 0"), h2Inner, "400|reset", []string{"POST ~"}, true},
		{"a length that is more", h2Head("POST", "content-length 500"), "hello", "400|reset", nil, false},
		{"two lengths", h2Head("POST", "content-length 5", "content-length 0"), "hello", "400|reset", nil, false},
		{"a list of lengths", h2Head("POST", "content-length 5, 5"), "hello", "400|reset|200", []string{"POST ~ hello"}, false},
		{"a bad length", h2Head("POST", "content-length +5"), "hello", "400|reset", nil, false},
		{"a long length", h2Head("POST", "content-length 18446744073709551621"), "hello", "400|413|reset", nil, false},
		{"chunked", h2Head("POST", "transfer-encoding chunked"), "0\r\n\r\n" + h2Inner, "400|reset", nil, false},
		{"chunked, in its value's case", h2Head("POST", "transfer-encoding CHUNKED"), "0\r\n\r\n" + h2Inner, "400|reset", nil, false},
		{"connection", h2Head("GET", "connection close"), "", "400|reset", nil, false},
		{"te", h2Head("GET", "te gzip"), "", "400|reset", nil, false},
		{"an upgrade", h2Head("GET", "upgrade h2c"), "", "400|reset", nil, false},
		{"a websocket upgrade", h2Head("GET", "connection upgrade", "upgrade websocket", "sec-websocket-version 13", "sec-websocket-key dGhlIHNhbXBsZSBub25jZQ=="), "", "400|reset", nil, false},
		{"two paths", append(h2Head("GET"), ":path ~/x"), "", "400|reset", nil, false},
		{"two methods", append(h2Head("GET"), ":method POST"), "", "400|reset", nil, false},
		{"a pseudo field behind a field", append(h2Head("GET", "x-a b"), ":status 200"), "", "400|reset", nil, false},
		{"an unknown pseudo field", append([]string{":x y"}, h2Head("GET")...), "", "400|reset", nil, false},
		{"no authority", []string{":method GET", ":scheme https", ":path ~"}, "", "400|reset", nil, false},
		{"host instead of authority", []string{":method GET", ":scheme https", ":path ~", "host gw.test"}, "", "400|reset|200", []string{"GET ~"}, false},
		{"host and authority", h2Head("GET", "host other.test"), "", "400|reset|200", []string{"GET ~"}, false},
		{"two hosts", h2Head("GET", "host other.test", "host third.test"), "", "400|reset|200", []string{"GET ~"}, false},
		{"CONNECT", []string{":method CONNECT", ":authority gw.test:443"}, "hello", "400|405|501|reset", nil, false},
		{"CONNECT to a path", h2Head("CONNECT"), "", "400|405|501|reset", nil, false},
		{"CONNECT for a websocket", h2Head("CONNECT", ":protocol websocket"), "", "400|405|501|reset", nil, false},
		{"TRACE", h2Head("TRACE"), "", "405|501|reset", nil, false},
		{"cookies in crumbs", h2Head("GET", "cookie a=1", "cookie b=2"), "", "200", []string{"GET ~"}, false},
		{"a name in upper case", h2Head("GET", "X-A b"), "", "400|reset", nil, false},
		{"an empty name", h2Head("GET", " b"), "", "400|reset", nil, false},
		{"forwarded under another spelling", h2Head("GET", "x_forwarded_for 6.6.6.6"), "", "200|400", []string{"GET ~"}, false},
		{"an expectation", h2Head("POST", "expect 100-continue"), "hello", "200", []string{"POST ~ hello"}, false},
		{"an unknown expectation", h2Head("POST", "expect x"), "hello", "200|417|400", []string{"POST ~ hello"}, false},
	}
	for name, value := range map[string]string{
		"CR LF": "b\r\nTransfer-Encoding: chunked", "LF": "b\nTransfer-Encoding: chunked", "CR": "b\rTransfer-Encoding: chunked", "NUL": "b\x00", "two CR LF": "b\r\n\r\n" + h2Inner, "ESC": "\x1b[2J",
	} {
		list = append(list,
			h2Attack{"a value with " + name, h2Head("GET", "x-a "+value), "", "400|reset", nil, false},
			h2Attack{"a path with " + name, h2Head("GET", ":path ~/"+value), "", "400|reset", nil, false},
			h2Attack{"a method with " + name, h2Head("GET" + strings.ReplaceAll(value, " ", "")), "", "400|405|501|reset", nil, false},
			h2Attack{"an authority with " + name, h2Head("GET", ":authority gw.test"+value), "", "400|reset", nil, false},
			h2Attack{"a name with " + name, h2Head("GET", "x-"+strings.ReplaceAll(strings.ToLower(value), " ", "")+" b"), "", "400|reset", nil, false},
			h2Attack{"a cookie with " + name, h2Head("GET", "cookie a="+value), "", "400|reset", nil, false},
		)
	}
	for _, path := range []string{"~/a b", "~ HTTP/1.1", "raw", "", "*", "//gw.test~", "http://gw.test~", "http://other.test~", "~/../../x", "~/%2e%2e/x", "~/%00", "~/%5c", "~#x", "~/\x7f", "~/%zz"} {
		list = append(list, h2Attack{"the path " + path, h2Head("GET", ":path "+path), "", "400|404|reset", nil, false})
	}
	for _, authority := range []string{"me@gw.test", "gw.test/x", "gw.test:x", "a b", "a,b", "gw.test:80:81", "[::1"} {
		list = append(list, h2Attack{"the authority " + authority, h2Head("GET", ":authority "+authority), "", "400|reset", nil, false})
	}
	for _, method := range []string{"GET /x HTTP/1.1", "GE(T", "G\tT", ""} {
		list = append(list, h2Attack{"the method " + method, append([]string{":method " + method}, h2Head("GET")[1:]...), "", "400|405|501|reset", nil, false})
	}
	for _, name := range []string{"x:y", "x y", "x(y", "x\xc3\xa4", "transfer-encoding ", "transfer-encoding\t"} {
		list = append(list, h2Attack{"the name " + name, append(h2Head("GET"), name+"\x00chunked"), "", "400|reset", nil, false})
	}
	return list
}

// TestHTTP2Attacks holds the gateway to the law of TestHTTPAttacks, for clients that speak HTTP/2: with TLS, and with
// prior knowledge.
func TestHTTP2Attacks(t *testing.T) {
	a := newAttacker(t, nil)
	for _, secure := range []bool{true, false} {
		for i, tc := range h2Attacks() {
			t.Run(fmt.Sprintf("TLS %v %s", secure, tc.name), func(t *testing.T) {
				id := fmt.Sprintf("stream%d%vx", i, secure)
				got, err := a.stream(tc, id, secure)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(strings.Split(tc.want, "|"), got) {
					t.Errorf("answered %s, want %s", got, tc.want)
				}
				if method := strings.TrimPrefix(tc.fields[0], ":method "); tc.body == h2Inner && got == "200" {
					tc.sees = []string{method + " ~ " + strings.TrimSpace(strings.ReplaceAll(tc.body, "~", "/raw/api/v1/"+id))}
				}
				if got != "200" && !tc.early {
					tc.sees = nil
				}
				why := ""
				if tc.early { // nothing yet, or what is looked for next: it may come in between
					why = a.judge(attack{}, id, 0)
				}
				if !tc.early || strings.HasPrefix(why, "the service got") {
					why = a.judge(attack{sees: tc.sees}, id, len(tc.sees))
				}
				if why != "" {
					t.Error(why)
				}
			})
		}
	}
}

// stream makes the request of tc on a connection of its own and gives its status, or "reset".
func (a *attacker) stream(tc h2Attack, id string, secure bool) (string, error) {
	conn, err := net.Dial("tcp", a.plain)
	if secure && err == nil {
		conn.Close()
		conf := a.trust.Clone()
		conf.NextProtos = []string{"h2"}
		conn, err = tls.Dial("tcp", a.https, conf)
	}
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range tc.fields {
		name, value, found := strings.Cut(field, "\x00") // of names that have spaces
		if !found || !strings.HasSuffix(field, "\x00chunked") {
			name, value, _ = strings.Cut(field, " ")
		}
		_ = encoder.WriteField(hpack.HeaderField{Name: name, Value: strings.ReplaceAll(value, "~", "/raw/api/v1/"+id)})
	}
	body := strings.ReplaceAll(tc.body, "~", "/raw/api/v1/"+id)
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: body == "", EndHeaders: true})
	if body != "" {
		_ = framer.WriteData(1, true, []byte(body))
	}
	return readStream(framer)
}

// readStream reads frames until stream 1 has its answer.
func readStream(framer *http2.Framer) (string, error) {
	decoder := hpack.NewDecoder(4096, nil)
	status := ""
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			if errors.Is(err, io.EOF) || status == "" && !isTimeout(err) {
				return "reset", nil
			}
			return status, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(frame.HeaderBlockFragment())
			if err != nil {
				return "", err
			}
			for _, f := range fields {
				if f.Name == ":status" {
					status = f.Value
				}
			}
			if n, _ := strconv.Atoi(status); frame.StreamEnded() && n >= 200 {
				return status, nil
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return status, nil
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			if reset, is := frame.(*http2.RSTStreamFrame); is && reset.ErrCode == http2.ErrCodeNo && status != "" {
				return status, nil
			}
			return "reset", nil
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
