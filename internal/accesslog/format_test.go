package accesslog

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var began = time.Date(2026, 5, 4, 3, 2, 1, 7_654_321, time.FixedZone("CEST", 2*60*60))

// request is a plain HTTP request over plain text, refused.
func request() Record {
	return Record{
		Time: began, Duration: 1_234_567 * time.Nanosecond, RequestID: "r1", Client: "192.0.2.7:51000", Method: "GET",
		Host: "gw:10080", Path: "/nowhere?token=<redacted>", Status: 404, Protocol: "HTTP/1.1", BytesOut: 12, Cause: "no route",
	}
}

// session is a WebSocket session with everything known.
func session() Record {
	return Record{
		Time: began, Duration: 90 * time.Minute, RequestID: "r2", SessionID: "s2", Client: "[2001:db8::1]:443", Method: "GET",
		Host: "gw.example", Path: "/ws/v1/chat/room", Status: 101, Protocol: "HTTP/1.1",
		Route: "chat/ws_v1", Service: "chat", Instance: "h:chat:1", Backend: "10.0.0.5:8080", User: "ann", TLSVersion: "TLS 1.3",
		TLSCipher: "TLS_AES_128_GCM_SHA256", UserAgent: `Mozilla "5.0"`, Referrer: "https://gw.example/", BytesIn: 10, BytesOut: 20,
		Websocket: true, Subprotocol: "chat.v2", MessagesIn: 3, MessagesOut: 4, CloseCode: 1000, CloseReason: "bye",
		ClosedBy: "client", Cause: "close handshake", Moves: 1, Uncertain: 2,
	}
}

// hostile has in every text what might break a line, a field or a terminal.
func hostile() Record {
	r := session()
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.String {
			v.Field(i).SetString("a\r\n\x1b[31m\"\\ \x00\u0085\u2028\u202e\xff\x7fz")
		}
	}
	return r
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		name   string
		append func([]byte, *Record) []byte
		record Record
		want   string
	}{
		{"json request", appendJSON, request(), `{"time":"2026-05-04T01:02:01.007Z","request_id":"r1","client":"192.0.2.7:51000",` +
			`"method":"GET","host":"gw:10080","path":"/nowhere?token=<redacted>","status":404,"duration_ms":1.234,` +
			`"protocol":"HTTP/1.1","bytes_in":0,"bytes_out":12,"cause":"no route"}`},
		{"json session", appendJSON, session(), `{"time":"2026-05-04T01:02:01.007Z","request_id":"r2","session_id":"s2",` +
			`"client":"[2001:db8::1]:443","method":"GET","host":"gw.example","path":"/ws/v1/chat/room","status":101,` +
			`"duration_ms":5400000.000,"route":"chat/ws_v1","service":"chat","instance":"h:chat:1","user":"ann",` +
			`"subprotocol":"chat.v2","protocol":"HTTP/1.1","tls_version":"TLS 1.3","tls_cipher":"TLS_AES_128_GCM_SHA256",` +
			`"bytes_in":10,"bytes_out":20,"messages_in":3,"messages_out":4,"close_code":1000,"close_reason":"bye",` +
			`"closed_by":"client","cause":"close handshake","moves":1,"uncertain":2}`},
		{"agc request", appendAGC, request(), `{"category":"TrafficControllerAccessLog","operationName":"ReqRespLogs",` +
			`"time":"2026-05-04T01:02:01.007Z","properties":{"backendHost":"-","backendIp":"-","backendPort":"-",` +
			`"backendResponseLatency":"-","backendTimeTaken":"-","clientIp":"192.0.2.7:51000","frontendName":"-",` +
			`"frontendPort":"10080","hostName":"gw:10080","httpMethod":"GET","httpStatusCode":"404","httpVersion":"HTTP/1.1",` +
			`"referer":"-","requestBodyBytes":"0","requestHeaderBytes":"-","requestUri":"/nowhere?token=<redacted>",` +
			`"responseBodyBytes":"12","responseHeaderBytes":"-","timeTaken":"1","tlsCipher":"-","tlsProtocol":"-",` +
			`"trackingId":"r1","userAgent":"-"}}`},
		{"agc session", appendAGC, session(), `{"category":"TrafficControllerAccessLog","operationName":"ReqRespLogs",` +
			`"time":"2026-05-04T01:02:01.007Z","properties":{"backendHost":"10.0.0.5:8080","backendIp":"10.0.0.5",` +
			`"backendPort":"8080","backendResponseLatency":"-","backendTimeTaken":"-","clientIp":"[2001:db8::1]:443",` +
			`"frontendName":"-","frontendPort":"-","hostName":"gw.example","httpMethod":"GET","httpStatusCode":"101",` +
			`"httpVersion":"HTTP/1.1","referer":"https://gw.example/","requestBodyBytes":"10","requestHeaderBytes":"-",` +
			`"requestUri":"/ws/v1/chat/room","responseBodyBytes":"20","responseHeaderBytes":"-","timeTaken":"5400000",` +
			`"tlsCipher":"TLS_AES_128_GCM_SHA256","tlsProtocol":"TLS 1.3","trackingId":"r2",` +
			`"userAgent":"Mozilla \"5.0\"","webSocketMessages":"3/4","webSocketCloseCode":"1000"}}`},
		{
			"common request", appendCommon, request(),
			`192.0.2.7 - - [04/May/2026:03:02:01 +0200] "GET /nowhere?token=<redacted> HTTP/1.1" 404 12 "-" "-"`,
		},
		{
			"common session", appendCommon, session(),
			`2001:db8::1 - ann [04/May/2026:03:02:01 +0200] "GET /ws/v1/chat/room HTTP/1.1" 101 20 "https://gw.example/" "Mozilla \"5.0\""`,
		},
		{
			"common without an answer", appendCommon,
			Record{Time: began, Method: "GET", Path: "/", Protocol: "HTTP/1.1", Status: 502},
			`- - - [04/May/2026:03:02:01 +0200] "GET / HTTP/1.1" 502 - "-" "-"`,
		},
	} {
		if got := string(c.append([]byte("before\n"), &c.record)); got != "before\n"+c.want+"\n" {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// A session of which no Close was seen has no close code, and none is made up.
// TestCarried has the line of a connection that was no HTTP.
func TestCarried(t *testing.T) {
	r := Record{
		Time: began, Duration: time.Second, Client: "192.0.2.7:51000", Host: "db.example", Protocol: "TLS", Route: "db", Service: "default/db:443",
		Instance: "10.0.0.5:443", Backend: "10.0.0.5:443", BytesIn: 10, BytesOut: 20,
	}
	for _, c := range []struct {
		append   func([]byte, *Record) []byte
		contains []string
		lacks    string
	}{
		{appendJSON, []string{`"host":"db.example"`, `"protocol":"TLS","bytes_in":10,"bytes_out":20}`}, "status"},
		{appendAGC, []string{`"httpStatusCode":"-"`, `"httpVersion":"TLS"`, `"backendHost":"10.0.0.5:443"`}, `"0"`},
		{appendCommon, []string{`"- - TLS" 0 20 `}, `"  `},
	} {
		line := string(c.append(nil, &r))
		for _, want := range c.contains {
			if !strings.Contains(line, want) {
				t.Errorf("%s lacks %s", line, want)
			}
		}
		if strings.Contains(line, c.lacks) {
			t.Errorf("%s has %s", line, c.lacks)
		}
	}
}

func TestNoCloseCode(t *testing.T) {
	r := session()
	r.CloseCode, r.CloseReason = 0, ""
	if line := string(appendJSON(nil, &r)); strings.Contains(line, "close_code") || strings.Contains(line, "close_reason") {
		t.Error(line)
	}
	if line := string(appendAGC(nil, &r)); !strings.Contains(line, `"webSocketCloseCode":"-"`) {
		t.Error(line)
	}
}

func TestQuoteEscapes(t *testing.T) {
	r := hostile()
	const want = `"a\u000d\u000a\u001b[31m\"\\ \u0000\u0085\u2028\u202e\ufffd\u007fz"`
	if got := string(quote(nil, r.CloseReason)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	r, buf := hostile(), make([]byte, 0, 16<<10)
	if n := testing.AllocsPerRun(100, func() { buf = appendJSON(buf[:0], &r) }); n != 0 {
		t.Errorf("json: %v allocations a line", n)
	}
	r = session()
	if n := testing.AllocsPerRun(100, func() { buf = appendAGC(buf[:0], &r) }); n != 0 {
		t.Errorf("agc: %v allocations a line", n)
	}
}

var commonLine = regexp.MustCompile(`^\S+ - \S+ \[[^]]+\] ("(?:[^"\\]|\\.)*") \d+ (?:-|\d+) ("(?:[^"\\]|\\.)*") ("(?:[^"\\]|\\.)*")\n$`)

// FuzzLine holds of every format, whatever clients and services send: one line, no control
// character, no other field than those meant, and each text as it was sent.
func FuzzLine(f *testing.F) {
	f.Add(hostile().CloseReason, "GET", 101)
	f.Add(`","status":200,"x":"`, `" 200 1 "-" "-"`, 404)
	f.Add("\ufffd\\u0000", "- [", 0)
	f.Fuzz(func(t *testing.T, text, other string, status int) {
		r := Record{
			Time: began, RequestID: other, SessionID: text, Client: text, Method: other, Host: text, Path: other, Status: status,
			Route: text, Service: other, Instance: text, Backend: other, User: text, Subprotocol: other, Protocol: text,
			TLSVersion: other, TLSCipher: text, UserAgent: text, Referrer: other, Websocket: true, CloseReason: text,
			ClosedBy: other, Cause: text,
		}
		members := map[string]any{}
		line := oneLine(t, appendJSON(nil, &r))
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for key, want := range map[string]string{
			"request_id": other, "session_id": text, "client": text, "method": other, "host": text, "path": other, "route": text,
			"service": other, "instance": text, "user": text, "subprotocol": other, "protocol": text, "tls_version": other,
			"tls_cipher": text, "close_reason": text, "closed_by": other, "cause": text,
		} {
			if got, _ := members[key].(string); got != valid(want) {
				t.Errorf("%s is %q, want %q", key, got, valid(want))
			}
			delete(members, key)
		}
		for _, key := range []string{
			"time", "status", "duration_ms", "bytes_in", "bytes_out", "messages_in", "messages_out", "moves", "uncertain",
		} {
			delete(members, key)
		}
		if len(members) != 0 {
			t.Errorf("members that were not meant: %v", members)
		}

		var agc struct{ Properties map[string]string }
		line = oneLine(t, appendAGC(nil, &r))
		if err := json.Unmarshal(line, &agc); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if got := agc.Properties["userAgent"]; got != valid(dash(text)) || len(agc.Properties) != 25 {
			t.Errorf("userAgent %q, %d properties", got, len(agc.Properties))
		}

		line = oneLine(t, appendCommon(nil, &r))
		quoted := commonLine.FindSubmatch(line)
		if quoted == nil && status >= 0 {
			t.Fatalf("not the common format: %s", line)
		}
		var agent string
		if quoted != nil && (json.Unmarshal(quoted[3], &agent) != nil || agent != valid(dash(text))) {
			t.Errorf("user agent %s", quoted[3])
		}
	})
}

// valid is s with each byte that is no UTF-8 replaced.
func valid(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func oneLine(t *testing.T, line []byte) []byte {
	t.Helper()
	if !utf8.Valid(line) || bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("not one line: %q", line)
	}
	for _, r := range string(line[:len(line)-1]) {
		if unicode.IsControl(r) || r == 0x2028 || r == 0x2029 {
			t.Fatalf("%U in the line %q", r, line)
		}
	}
	return line
}

func BenchmarkJSON(b *testing.B) {
	r := session()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendJSON(buf[:0], &r)
	}
}
