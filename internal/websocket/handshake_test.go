package websocket

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455, section 1.3

const goodHead = "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
	"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n"

func request(t *testing.T, head string) *Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return parsed(r)
}

// parsed is what net/http has read, as the gateway's own parser gives it.
func parsed(r *http.Request) *Request {
	return &Request{
		Method: r.Method, HTTP11: r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1,
		Body: r.ContentLength > 0 || len(r.TransferEncoding) > 0 || r.Header["Transfer-Encoding"] != nil, Fields: r.Header,
	}
}

// answerField is the value of an answer's field.
func answerField(e *HandshakeError, name string) string {
	for _, f := range e.Fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

func TestAcceptKey(t *testing.T) {
	if got := AcceptKey(sampleKey); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
	a, b := NewKey(), NewKey()
	if a == b || !validKey(a) {
		t.Error(a, b)
	}
}

func TestIsUpgrade(t *testing.T) {
	for head, want := range map[string]string{
		goodHead:                        "true",
		"GET / HTTP/1.1\r\nHost: h\r\n": "false",
		"POST / HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n":                                  "true",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n":                  "false",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, websocket\r\n":                              "400",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n":                   "400",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n":             "400",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket, websocket\r\n":                        "400",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websoc\u212Aet\r\n":                              "false",
		"GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n":            "false",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket/13\r\nConnection: Upgrade\r\n":         "false",
		"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, WEBSOCKET , foo\r\nConnection: Upgrade\r\n": "400",
	} {
		ok, err := IsUpgrade(request(t, head))
		got := fmt.Sprint(ok)
		var he *HandshakeError
		if errors.As(err, &he) {
			got = fmt.Sprint(he.Status)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", head, got, want)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	swap := func(old, with string) string {
		if !strings.Contains(goodHead, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(goodHead, old, with, 1)
	}
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"good":                    {goodHead, 0},
		"post":                    {swap("GET", "POST"), 405},
		"http 1.0":                {swap("HTTP/1.1", "HTTP/1.0"), 400},
		"no upgrade":              {swap("Upgrade: websocket\r\n", ""), 400},
		"upper case":              {swap("Upgrade: websocket", "UPGRADE: WEBSOCKET"), 0},
		"no connection":           {swap("Connection: keep-alive, Upgrade\r\n", ""), 400},
		"connection without":      {swap("keep-alive, Upgrade", "keep-alive"), 400},
		"two connections":         {swap("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: upgrade"), 0},
		"body":                    {goodHead + "Content-Length: 5\r\n", 400},
		"empty body":              {goodHead + "Content-Length: 0\r\n", 0},
		"chunked":                 {goodHead + "Transfer-Encoding: chunked\r\n", 400},
		"no key":                  {swap("Sec-WebSocket-Key: "+sampleKey+"\r\n", ""), 400},
		"two keys":                {goodHead + "Sec-WebSocket-Key: " + sampleKey + "\r\n", 400},
		"short key":               {swap(sampleKey, "dGhlIHNhbXBsZQ=="), 400},
		"long key":                {swap(sampleKey, "dGhlIHNhbXBsZSBub25jZTEy"), 400},
		"key that is no base64":   {swap(sampleKey, "dGhlIHNhbXBsZSBub25jZ*=="), 400},
		"no version":              {swap("Sec-WebSocket-Version: 13\r\n", ""), 426},
		"version 8":               {swap("Version: 13", "Version: 8"), 426},
		"two versions":            {swap("Version: 13", "Version: 13, 8"), 426},
		"protocol twice":          {goodHead + "Sec-WebSocket-Protocol: a, b, a\r\n", 400},
		"protocol no token":       {goodHead + "Sec-WebSocket-Protocol: a b\r\n", 400},
		"protocols":               {goodHead + "Sec-WebSocket-Protocol: a,, b\r\nSec-WebSocket-Protocol: v1.json\r\n", 0},
		"extension malformed":     {goodHead + "Sec-WebSocket-Extensions: a;;b\r\n", 400},
		"extension quoted badly":  {goodHead + "Sec-WebSocket-Extensions: a; b=\"c\r\n", 400},
		"extension quoted spaces": {goodHead + "Sec-WebSocket-Extensions: a; b=\"c d\"\r\n", 400},
		"extension empty value":   {goodHead + "Sec-WebSocket-Extensions: a; b=\r\n", 400},
		"extension unknown":       {goodHead + "Sec-WebSocket-Extensions: x-webkit-deflate-frame; a=\"b\"\r\n", 0},
	} {
		o, err := CheckRequest(request(t, c.head))
		status := 0
		var he *HandshakeError
		if errors.As(err, &he) {
			status = he.Status
			if he.Reason == "" {
				t.Errorf("%s: no reason", name)
			}
		}
		if status != c.status || (o == nil) != (status != 0) {
			t.Errorf("%s: %d %v, want %d", name, status, err, c.status)
		}
		switch {
		case status == 405 && answerField(he, "Allow") != "GET":
			t.Errorf("%s: header %v", name, he.Fields)
		case status == 426 && answerField(he, "Sec-WebSocket-Version") != "13":
			t.Errorf("%s: header %v", name, he.Fields)
		}
	}
}

func TestOffer(t *testing.T) {
	o, err := CheckRequest(request(t, goodHead+"Sec-WebSocket-Protocol: chat, v2\r\nSec-WebSocket-Protocol: v1\r\n"+
		"Sec-WebSocket-Extensions: foo; bar=1, permessage-deflate ;client_max_window_bits ; server_max_window_bits=\"10\"\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate; unknown, permessage-deflate; server_max_window_bits=16, permessage-deflate\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if o.Key != sampleKey || !slices.Equal(o.Protocols, []string{"chat", "v2", "v1"}) {
		t.Errorf("%+v", o)
	}
	want := []string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10", "permessage-deflate"}
	if !slices.Equal(o.Deflate, want) {
		t.Errorf("%q", o.Deflate)
	}
}

func TestCheckResponse(t *testing.T) {
	good := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " +
		AcceptKey(sampleKey) + "\r\n"
	swap := func(old, with string) string { return strings.Replace(good, old, with, 1) }
	plain := []string{"permessage-deflate; client_max_window_bits"}
	for name, c := range map[string]struct {
		head    string
		deflate []string
		ok      bool
		want    Agreed
	}{
		"good":               {good, nil, true, Agreed{}},
		"200":                {swap("101 Switching Protocols", "200 OK"), nil, false, Agreed{}},
		"no upgrade":         {swap("Upgrade: WebSocket\r\n", ""), nil, false, Agreed{}},
		"other upgrade":      {swap("WebSocket", "h2c"), nil, false, Agreed{}},
		"two upgrades":       {good + "Upgrade: websocket\r\n", nil, false, Agreed{}},
		"no connection":      {swap("Connection: upgrade\r\n", ""), nil, false, Agreed{}},
		"wrong accept":       {swap("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: x"), nil, false, Agreed{}},
		"no accept":          {swap("Sec-WebSocket-Accept", "X-Accept"), nil, false, Agreed{}},
		"two accepts":        {good + "Sec-WebSocket-Accept: " + AcceptKey(sampleKey) + "\r\n", nil, false, Agreed{}},
		"protocol":           {good + "Sec-WebSocket-Protocol: v2\r\n", nil, true, Agreed{Protocol: "v2"}},
		"protocol not ours":  {good + "Sec-WebSocket-Protocol: V2\r\n", nil, false, Agreed{}},
		"protocol empty":     {good + "Sec-WebSocket-Protocol: \r\n", nil, false, Agreed{}},
		"two protocols":      {good + "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n", nil, false, Agreed{}},
		"protocol list":      {good + "Sec-WebSocket-Protocol: v1, v2\r\n", nil, false, Agreed{}},
		"deflate":            {good + "Sec-WebSocket-Extensions: permessage-deflate\r\n", plain, true, Agreed{Extensions: "permessage-deflate"}},
		"deflate unoffered":  {good + "Sec-WebSocket-Extensions: permessage-deflate\r\n", nil, false, Agreed{}},
		"other extension":    {good + "Sec-WebSocket-Extensions: foo\r\n", plain, false, Agreed{}},
		"deflate twice":      {good + "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n", plain, false, Agreed{}},
		"extension and more": {good + "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: foo\r\n", plain, false, Agreed{}},
		"extension garbage":  {good + "Sec-WebSocket-Extensions: ;\r\n", plain, false, Agreed{}},
		"deflate quoted": {
			good + "Sec-WebSocket-Extensions: permessage-deflate;server_max_window_bits=\"12\"\r\n", plain, true,
			Agreed{Extensions: "permessage-deflate; server_max_window_bits=12"},
		},
	} {
		resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(c.head+"\r\n")), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		a, err := CheckResponse(resp.StatusCode, resp.Header, sampleKey, Offered{Protocols: []string{"v1", "v2"}, Deflate: c.deflate})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var re *ResponseError
		if err != nil && !errors.As(err, &re) {
			t.Errorf("%s: %T", name, err)
		}
		if err == nil && (*a != c.want || a.Deflate() != (c.want.Extensions != "")) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestDeflateAnswer(t *testing.T) {
	for _, c := range []struct {
		offer, answer string
		ok            bool
	}{
		{"", "", true},
		{"", "server_no_context_takeover", true},
		{"", "client_no_context_takeover", true},
		{"", "server_no_context_takeover; server_no_context_takeover", false},
		{"", "server_no_context_takeover=1", false},
		{"", "server_max_window_bits=15", true},
		{"", "server_max_window_bits=8", true},
		{"", "server_max_window_bits=7", false},
		{"", "server_max_window_bits=16", false},
		{"", "server_max_window_bits=09", false},
		{"", "server_max_window_bits=+9", false},
		{"", "server_max_window_bits", false},
		{"", "client_max_window_bits=10", false},
		{"", "unknown", false},
		{"server_no_context_takeover", "", false},
		{"server_no_context_takeover", "server_no_context_takeover", true},
		{"client_no_context_takeover", "", true},
		{"server_max_window_bits=10", "", false},
		{"server_max_window_bits=10", "server_max_window_bits=10", true},
		{"server_max_window_bits=10", "server_max_window_bits=9", true},
		{"server_max_window_bits=10", "server_max_window_bits=11", false},
		{"client_max_window_bits", "client_max_window_bits=10", true},
		{"client_max_window_bits", "client_max_window_bits", false},
		{"client_max_window_bits", "", true},
		{"client_max_window_bits=10", "client_max_window_bits=10", true},
		{"client_max_window_bits=10", "client_max_window_bits=11", false},
		{"client_max_window_bits=10, permessage-deflate; client_max_window_bits", "client_max_window_bits=11", true},
	} {
		element := func(params string) string {
			if params == "" || params[0] == ',' {
				return deflateName + params
			}
			return deflateName + "; " + params
		}
		exts, ok := parseExtensions([]string{element(c.answer)})
		if !ok {
			t.Fatal(c.answer)
		}
		if reason := checkDeflateAnswer(exts[0], []string{element(c.offer)}); (reason == "") != c.ok {
			t.Errorf("offer %q, answer %q: %q", c.offer, c.answer, reason)
		}
	}
}

// Laws: CheckRequest never panics; what it accepts is fit to be sent on, and a server that agrees to it is accepted.
func FuzzHandshake(f *testing.F) {
	f.Add("websocket", "Upgrade", sampleKey, "13", "chat, v2", "permessage-deflate; client_max_window_bits, foo; a=\"b\"")
	f.Add("websocket,h2c", "x", "", "", "\x00", "permessage-deflate; server_max_window_bits=\"1\\0\"")
	f.Fuzz(func(t *testing.T, upgrade, connection, key, version, protocols, extensions string) {
		r := &http.Request{
			Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{
				"Upgrade": {upgrade}, "Connection": {connection}, "Sec-Websocket-Key": {key}, "Sec-Websocket-Version": {version},
				"Sec-Websocket-Protocol": {protocols}, "Sec-Websocket-Extensions": {extensions},
			},
		}
		o, err := CheckRequest(parsed(r))
		if err != nil {
			var he *HandshakeError
			if !errors.As(err, &he) || he.Status < 400 {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, p := range o.Protocols {
			if !isToken(p) {
				t.Fatalf("protocol %q", p)
			}
		}
		for _, d := range o.Deflate {
			exts, ok := parseExtensions([]string{d})
			if !ok || len(exts) != 1 || exts[0].String() != d {
				t.Fatalf("deflate %q", d)
			}
		}
		resp := &http.Response{StatusCode: 101, Header: http.Header{
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Accept": {AcceptKey(o.Key)},
		}}
		if len(o.Protocols) > 0 {
			resp.Header.Set("Sec-WebSocket-Protocol", o.Protocols[len(o.Protocols)-1])
		}
		if len(o.Deflate) > 0 {
			resp.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; server_max_window_bits=8")
		}
		a, err := CheckResponse(resp.StatusCode, resp.Header, o.Key, Offered{Protocols: o.Protocols, Deflate: o.Deflate})
		if err != nil || a.Deflate() != (len(o.Deflate) > 0) {
			t.Fatalf("%+v %v", a, err)
		}
	})
}
