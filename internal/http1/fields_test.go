package http1

import (
	"slices"
	"strings"
	"testing"
)

func TestFields(t *testing.T) {
	sample := func() Fields {
		return Fields{{"Host", "a"}, {"X-A", "1"}, {"x-a", "2"}, {"B", ""}, {"X-a", "3"}}
	}
	f := sample()
	if f.Get("HOST") != "a" || f.Get("x-A") != "1" || f.Get("none") != "" || f.Get("B") != "" {
		t.Error("Get")
	}
	if !slices.Equal(f.Values("X-A"), []string{"1", "2", "3"}) || f.Values("none") != nil {
		t.Error("Values")
	}
	if !f.Has("b") || f.Has("none") || f.Count("X-A") != 3 || f.Count("none") != 0 {
		t.Error("Has, Count")
	}
	for v := range f.All("x-a") { // stops when told
		if v != "1" {
			t.Error("All went on")
		}
		break
	}
	for _, tt := range []struct {
		name   string
		change func(f *Fields)
		want   Fields
	}{
		{"Add", func(f *Fields) { f.Add("x-a", "4") }, append(sample(), Field{"x-a", "4"})},
		{"Set in place", func(f *Fields) { f.Set("X-a", "9") }, Fields{{"Host", "a"}, {"X-a", "9"}, {"B", ""}}},
		{"Set the first", func(f *Fields) { f.Set("host", "b") }, append(Fields{{"host", "b"}}, sample()[1:]...)},
		{"Set a new one", func(f *Fields) { f.Set("C", "c") }, append(sample(), Field{"C", "c"})},
		{"Del", func(f *Fields) { f.Del("x-A") }, Fields{{"Host", "a"}, {"B", ""}}},
		{"Del none", func(f *Fields) { f.Del("none") }, sample()},
		{"Keep", func(f *Fields) { f.Keep(func(x Field) bool { return x.Value > "1" }) }, Fields{{"Host", "a"}, {"x-a", "2"}, {"X-a", "3"}}},
	} {
		f := sample()
		if tt.change(&f); !slices.Equal(f, tt.want) {
			t.Errorf("%s: %v", tt.name, f)
		}
	}
	clone := f.Clone()
	clone[0].Value = "other"
	if f[0].Value != "a" || Fields(nil).Clone() != nil {
		t.Error("Clone")
	}
}

func TestTokens(t *testing.T) {
	f := Fields{{"Connection", " keep-alive ,, Upgrade\t"}, {"A", "x"}, {"connection", ""}, {"CONNECTION", "close"}}
	if got := slices.Collect(f.Tokens("connection")); !slices.Equal(got, []string{"keep-alive", "Upgrade", "close"}) {
		t.Errorf("%q", got)
	}
	if !f.HasToken("Connection", "upgrade") || f.HasToken("Connection", "keep") || f.HasToken("none", "x") {
		t.Error("HasToken")
	}
}

// TestAppend: what is written is always the lines that were meant, whatever is in them.
func TestAppend(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"fields", string(Fields{{"a", "b"}, {"A", ""}}.Append([]byte("x"))), "xa: b\r\nA: \r\n"},
		{"value", string(AppendField(nil, "a", "b\r\nX: y\x00\x7f\t\x80z\n")), "a: b  X: y  \t\x80z \r\n"},
		{"names", string(Fields{{"", "b"}, {"a b", "c"}, {"a:", "c"}, {"a\r\nb", "c"}, {"é", "d"}, {"ok", "e"}}.Append(nil)), "ok: e\r\n"},
		{"request line", string(AppendRequestLine(nil, "GET", "/a?b=%20")), "GET /a?b=%20 HTTP/1.1\r\n"},
		{"request line with more", string(AppendRequestLine(nil, "GET\r\n", "/a b\r\n\x00é#\x7f")), "GET /a%20b%0D%0A%00é%23%7F HTTP/1.1\r\n"},
		{"status line", string(AppendStatusLine(nil, 200, "OK")), "HTTP/1.1 200 OK\r\n"},
		{"status line without reason", string(AppendStatusLine(nil, 204, "")), "HTTP/1.1 204 \r\n"},
		{"status line with more", string(AppendStatusLine(nil, 200, "OK\r\nX: y")), "HTTP/1.1 200 OK  X: y\r\n"},
		{"chunk", string(AppendChunkHead(nil, 0xABC)), "abc\r\n"},
		{"last chunk", string(AppendLastChunk(nil, nil)), LastChunk},
		{"trailers", string(AppendLastChunk(nil, Fields{{"A", "b"}})), "0\r\nA: b\r\n\r\n"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, tt.got, tt.want)
		}
	}
	big := strings.Repeat("x", 3000)
	if got := string(AppendField(make([]byte, 1, 2), "n", big)); got != "\x00n: "+big+"\r\n" {
		t.Error("a field that does not fit is cut")
	}
	buf := make([]byte, 0, 1024)
	var r Request
	if err := ParseRequest(browserHandshake, &r); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { r.Fields.Append(AppendRequestLine(buf, r.Method, r.Target)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if got := string(r.Fields.Append(AppendRequestLine(nil, r.Method, r.Target))) + "\r\n"; got != browserHandshake {
		t.Errorf("wrote %q, read %q", got, browserHandshake)
	}
}
