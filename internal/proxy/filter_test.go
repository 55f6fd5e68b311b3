package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// FuzzEdits: whatever a rule sets, adds and removes, the head that goes to the backend is one head with the gateway's own framing,
// Host and marks, and so is an answer's; what is set is there.
func FuzzEdits(f *testing.F) {
	for _, name := range []string{
		"X-Set", "Host", "content-length", "Transfer-Encoding", "Connection", "Upgrade", "TE", "X-Request-Id", "fairlead-hop", "X_Forwarded_For",
		"X-Forwarded-For", "Forwarded", "Expect", "Cookie", "", "a b", "x:", "Sec-WebSocket-Key",
	} {
		f.Add(name, "v", "X-Add", "b\r\nContent-Length: 7", "Accept")
		f.Add("Accept", "\x00", name, "chunked", name)
	}
	f.Fuzz(func(t *testing.T, setName, setValue, addName, addValue, remove string) {
		e := route.HeaderEdit{
			Set: []route.HeaderValue{{Name: setName, Value: setValue}}, Add: []route.HeaderValue{{Name: addName, Value: addValue}}, Remove: []string{remove},
		}
		x := &exchange{conn: &clientConn{listener: &listener{dynamic: new(dynamic)}}, request: new(http1.Request), hopID: strings.Repeat("a", hopIDSize)}
		x.origin = origin{peer: netip.MustParseAddrPort("192.0.2.1:1"), proto: "http", host: "a", port: "80"}
		x.record.RequestID = "id"
		if err := http1.ParseRequest("POST / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nX-Set: 1\r\nCookie: c\r\nContent-Length: 3\r\n\r\n", x.request); err != nil {
			t.Fatal(err)
		}
		x.survey()
		b := x.appendFields([]byte("POST / HTTP/1.1\r\nHost: a\r\n"), &forwards{edits: edits{&e, {}}})
		var r http1.Request
		if err := http1.ParseRequest(string(b)+"Content-Length: 3\r\n\r\n", &r); err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if r.Body != (http1.Framing{Kind: http1.Length, Length: 3}) || r.Host != "a" || r.Close || r.Expect || r.Fields.Count(hopHeader) != 1 ||
			r.Fields.Get(hopHeader) != x.hopID || r.Fields.Get("X-Request-Id") != "id" || r.Fields.Count("X-Request-Id") != 1 || r.Fields.Has("Upgrade") {
			t.Fatalf("%+v: %q", e, b)
		}
		if editable(remove) && r.Fields.Has(remove) {
			t.Fatalf("%q is there: %q", remove, b)
		}
		clean := setName != "" && strings.Trim(setName, harmless) == "" && strings.Trim(setValue, harmless) == "" && setValue != ""
		if clean && editable(setName) && !strings.EqualFold(setName, remove) && r.Fields.Get(setName) != setValue {
			t.Fatalf("%q is %q: %q", setName, r.Fields.Get(setName), b)
		}
		fields := edits{&e}.apply(http1.Fields{{Name: "Content-Length", Value: "3"}, {Name: "X-Request-Id", Value: "id"}})
		if fields.Get("Content-Length") != "3" || fields.Count("Content-Length") != 1 || fields.Get("X-Request-Id") != "id" || fields.Has("Transfer-Encoding") {
			t.Fatalf("%+v: %q", e, fields)
		}
	})
}
