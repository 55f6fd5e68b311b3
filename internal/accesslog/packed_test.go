package accesslog

import (
	"reflect"
	"strings"
	"testing"
	"time"
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
	if empty, more := Pack(&Record{Time: r.Time, Websocket: true}, "").Unpack(); empty.Path != "" || more != "" {
		t.Errorf("empty: %+v %q", empty, more)
	}
}
