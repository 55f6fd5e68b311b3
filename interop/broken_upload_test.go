package interop

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestHTTPBrokenUploads: a request whose body breaks off never becomes whole at the service, and nobody else's request
// becomes its rest.
func TestHTTPBrokenUploads(t *testing.T) {
	a := newAttacker(t, nil)
	n := 0
	for range 10 {
		for _, tc := range []struct{ name, head, part string }{
			{"a length", "Content-Length: 100\r\n", "hello"},
			{"a long one", "Content-Length: 10000000\r\n", strings.Repeat("x", 1<<20)},
			{"chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"},
			{"within a chunk", "Transfer-Encoding: chunked\r\n", "50\r\nhello"},
			{"before the end of the trailers", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\r\n"},
			{"nothing of it", "Content-Length: 5\r\n", ""},
			{"nothing of it, waiting", "Content-Length: 5\r\nExpect: 100-continue\r\n", ""},
		} {
			for _, reset := range []bool{false, true} {
				n++
				id := fmt.Sprintf("broken%dx", n)
				conn, err := net.Dial("tcp", a.plain)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(wait))
				_, _ = io.WriteString(conn, strings.ReplaceAll(post(tc.head, tc.part), "~", "/raw/api/v1/"+id))
				if reset {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
				conn.Close()
				path := fmt.Sprintf("next%d", n)
				if got, want := a.ask(t, n%2 == 0, "GET", "/raw/api/v1/"+path), "200 GET /api/"+path; got != want {
					t.Errorf("%s, reset %v: then another client gets %.200q, want %q", tc.name, reset, got, want)
				}
			}
		}
	}
	list, broken := a.service.requests("broken")
	for _, h := range list {
		if h.whole {
			t.Errorf("the service got a whole request: %.200s", h)
		}
	}
	if len(broken) > 0 {
		t.Errorf("no gateway may send %q", broken)
	}
}
