package http1

import (
	"strings"
	"testing"
)

// TestResponseRefused has the rules of the status line, and one row of each rule that responses share with requests.
func TestResponseRefused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		section string
		raw     string
		reason  string // part of it
	}{
		{"4", "\r\n" + ok + "\r\n", "version"},
		{"4", "HTTP/2.0 200 OK\r\n\r\n", "version"},
		{"4", "HTTP/1.2 200 OK\r\n\r\n", "version"},
		{"4", "http/1.1 200 OK\r\n\r\n", "version"},
		{"4", "ICY 200 OK\r\n\r\n", "version"},
		{"4", "HTTP/1.1\t200 OK\r\n\r\n", "version"},
		{"4", "HTTP/1.1  200 OK\r\n\r\n", "three digits"},
		{"4", "HTTP/1.1 20 OK\r\n\r\n", "three digits"},
		{"4", "HTTP/1.1 2000 OK\r\n\r\n", "three digits"},
		{"4", "HTTP/1.1 +20 OK\r\n\r\n", "three digits"},
		{"4", "HTTP/1.1 200\tOK\r\n\r\n", "three digits"},
		{"9110 15", "HTTP/1.1 099 OK\r\n\r\n", "below 100"},
		{"4", "HTTP/1.1\r\n\r\n", "too short"},
		{"4", "HTTP/1.1 200 O\x00K\r\n\r\n", "reason phrase: a NUL"},
		{"4", "HTTP/1.1 200 O\x1bK\r\n\r\n", "reason phrase: a control"},
		{"2.2", "HTTP/1.1 200 O\rK\r\n\r\n", "reason phrase: a bare CR"},
		{"2.2", "HTTP/1.1 200\rOK\r\n\r\n", "reason phrase: a bare CR"},
		{"2.2", "HTTP/1.1 200 OK\n\r\n", "bare LF"},
		{"2.2", ok + "A: b\nC: d\r\n\r\n", "bare LF"},
		{"2.2", ok + "A: b\n\n", "bare LF"},
		{"5.1", ok + "A : b\r\n\r\n", "before the colon"},
		{"5.1", ok + ": b\r\n\r\n", "empty"},
		{"5.2", ok + "A: b\r\n c\r\n\r\n", "folding"},
		{"9110 5.5", ok + "A: b\x00\r\n\r\n", "NUL"},
		{"9110 5.4", ok + strings.Repeat("X: a\r\n", MaxFields+1) + "\r\n", "too many"},
		{"6.3", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"},
		{"6.3", "HTTP/1.1 204 No\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"},
		{"6.3", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "more than one"},
		{"6.3", ok + "Content-Length: x\r\n\r\n", "decimal"},
		{"6.1", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", "unknown coding"},
		{"6.1", ok + "Transfer-Encoding: chunked, chunked\r\n\r\n", "once and last"},
		{"6.1", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0"},
	} {
		var r Response
		err := ParseResponse(tt.raw, "GET", &r)
		if got := status(t, err); got != 502 || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("section %s: %q: %d %v, want 502 %s", tt.section, tt.raw, got, err, tt.reason)
		}
	}
}

// TestResponseAccepted: RFC 9112, sections 4, 6.3 and 9.3.
func TestResponseAccepted(t *testing.T) {
	length := func(n int64) Framing { return Framing{Length, n} }
	none, chunked, untilClose := Framing{}, Framing{Kind: Chunked}, Framing{Kind: UntilClose}
	const cl, te = "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"
	for _, tt := range []struct {
		method, raw string
		minor, code int
		reason      string
		body        Framing
		close       bool
	}{
		{"GET", "HTTP/1.1 200 OK\r\n" + cl, 1, 200, "OK", length(5), false},
		{"GET", "HTTP/1.1 200 \r\n" + cl, 1, 200, "", length(5), false},
		{"GET", "HTTP/1.1 200\r\n" + cl, 1, 200, "", length(5), false},
		{"GET", "HTTP/1.1 200  a\tb \xe9 \r\n" + cl, 1, 200, " a\tb \xe9 ", length(5), false},
		{"GET", "HTTP/1.1 999 X\r\n" + cl, 1, 999, "X", length(5), false},
		{"GET", "HTTP/1.1 200 OK\r\n" + te, 1, 200, "OK", chunked, false},
		{"GET", "HTTP/1.1 200 OK\r\n", 1, 200, "OK", untilClose, true},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", 1, 200, "OK", length(0), false},
		{"GET", "HTTP/1.1 200 OK\r\nConnection: close\r\n" + cl, 1, 200, "OK", length(5), true},
		{"GET", "HTTP/1.0 200 OK\r\n" + cl, 0, 200, "OK", length(5), true},
		{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + cl, 0, 200, "OK", length(5), false},
		{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", 0, 200, "OK", untilClose, true},

		{"HEAD", "HTTP/1.1 200 OK\r\n" + cl, 1, 200, "OK", none, false},
		{"HEAD", "HTTP/1.1 200 OK\r\n" + te, 1, 200, "OK", none, false},
		{"HEAD", "HTTP/1.1 200 OK\r\n", 1, 200, "OK", none, false},
		{"GET", "HTTP/1.1 100 Continue\r\n" + cl, 1, 100, "Continue", none, false},
		{"GET", "HTTP/1.1 101 Switching Protocols\r\n" + te, 1, 101, "Switching Protocols", none, false},
		{"GET", "HTTP/1.1 204 No Content\r\n" + te, 1, 204, "No Content", none, false},
		{"GET", "HTTP/1.1 304 Not Modified\r\n" + cl, 1, 304, "Not Modified", none, false},
		{"GET", "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n", 1, 304, "Not Modified", none, true},
		{"GET", "HTTP/1.1 205 Reset Content\r\n", 1, 205, "Reset Content", untilClose, true},
		{"CONNECT", "HTTP/1.1 200 OK\r\n" + cl, 1, 200, "OK", none, false},
		{"CONNECT", "HTTP/1.1 299 OK\r\n" + te, 1, 299, "OK", none, false},
		{"CONNECT", "HTTP/1.1 407 No\r\n" + cl, 1, 407, "No", length(5), false},
	} {
		r := Response{Fields: Fields{{"left", "over"}}, Status: 7}
		if err := ParseResponse(tt.raw+"\r\n", tt.method, &r); err != nil {
			t.Errorf("%s %q: %v", tt.method, tt.raw, err)
			continue
		}
		if r.Minor != tt.minor || r.Status != tt.code || r.Reason != tt.reason || r.Body != tt.body || r.Close != tt.close || r.Fields.Has("left") {
			t.Errorf("%s %q: %+v, want %+v", tt.method, tt.raw, r, tt)
		}
	}
}
