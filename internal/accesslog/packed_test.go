package accesslog

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestPackKeepsEveryString sets every string of a Record that a session has at its opening;
// a new field that Pack forgets fails here.
func TestPackKeepsEveryString(t *testing.T) {
	r := Record{Time: time.Now().Round(0), Status: 101, Websocket: true}
	atTheEnd := map[string]bool{"CloseReason": true, "ClosedBy": true, "Cause": true}
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).Kind() == reflect.String && !atTheEnd[name] {
			v.Field(i).SetString(name + strings.Repeat("x", i*17))
		}
	}
	got, more := Pack(&r, "ws://more").Unpack()
	if !got.Time.Equal(r.Time) {
		t.Errorf("time %v, want %v", got.Time, r.Time)
	}
	got.Time = r.Time
	if got != r || more != "ws://more" {
		t.Errorf("have %+v %q\nwant %+v", got, more, r)
	}
	for _, id := range []string{"8f14e45f-ceea-467f-a0e6-1f1f3a1b2c3d", "8F14E45F-CEEA-467F-A0E6-1F1F3A1B2C3D", "8f14e45f-ceea-467f-a0e6-1f1f3a1b2c3x", "8f14e45f0ceea-467f-a0e6-1f1f3a1b2c3d", "8f14e45f-ceea-467f-a0e6-1f1f-a1b2c3d1"} {
		in := Record{Time: r.Time, RequestID: id, SessionID: id, Path: "/ws/v1/chat/rooms?a=b"}
		for _, url := range []string{"ws://10.0.0.7:8080/rooms?a=b", "/ws/v1/chat/rooms?a=b", "x/ws/v1/chat/rooms?a=b", "b", ""} {
			if got, more := Pack(&in, url).Unpack(); got.RequestID != id || got.SessionID != id || got.Path != in.Path || more != url {
				t.Errorf("%q %q: have %q %q %q %q", id, url, got.RequestID, got.SessionID, got.Path, more)
			}
		}
	}
	if zero, more := (Packed{}).Unpack(); zero != (Record{Websocket: true}) || more != "" {
		t.Errorf("zero: %+v %q", zero, more)
	}
	if empty, more := Pack(&Record{Time: r.Time, Websocket: true}, "").Unpack(); empty.Path != "" || more != "" {
		t.Errorf("empty: %+v %q", empty, more)
	}
}

// A session keeps a Packed for hours: what it takes is no accident. Where it goes it shares with all other sessions there.
func TestPackedSize(t *testing.T) {
	p := Pack(&Record{
		Time: time.Now(), RequestID: "8f14e45f-ceea-467f-a0e6-1f1f3a1b2c3d", SessionID: "8f14e45f-ceea-467f-a0e6-1f1f3a1b2c3e",
		Client: "192.168.100.100:65535", Method: "GET", Host: "gateway.example.com:10010", Path: "/ws/v1/discoverableclient/rooms/lobby",
		Protocol: "HTTP/1.1", Status: 101, Route: "discoverableclient/ws/v1", Service: "discoverableclient",
		Instance: "host:discoverableclient:10012", Backend: "10.0.0.7:10012", TLSVersion: "TLS 1.3", TLSCipher: "TLS_AES_128_GCM_SHA256",
	}, "wss://10.0.0.7:10012/discoverableclient/ws/rooms/lobby")
	if n := int(unsafe.Sizeof(p)) + len(p.rest); n > 216 {
		t.Errorf("%d bytes, want 216 at most", n)
	}
}
