package websocket

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCodeValid(t *testing.T) {
	valid := map[Code]bool{}
	for _, r := range [][2]Code{{1000, 1003}, {1007, 1014}, {3000, 4999}} {
		for c := r[0]; c <= r[1]; c++ {
			valid[c] = true
		}
	}
	for c := range Code(65535) {
		if c.Valid() != valid[c] {
			t.Errorf("%d: %v", c, c.Valid())
		}
	}
}

func TestReason(t *testing.T) {
	long := strings.Repeat("a", 124)
	for in, want := range map[string]string{
		"":                             "",
		"idle timeout":                 "idle timeout",
		"a\r\nb\x00c\x7f\u0085":        "a  b c  ",
		"\xff":                         "\uFFFD",
		long[:123]:                     long[:123],
		long:                           long[:120] + "...",
		strings.Repeat("ä", 62):        strings.Repeat("ä", 60) + "...", // 124 bytes
		strings.Repeat("€", 42):        strings.Repeat("€", 40) + "...", // 126 bytes
		"x" + strings.Repeat("€", 42):  "x" + strings.Repeat("€", 39) + "...",
		strings.Repeat("\xff", 42):     strings.Repeat("\uFFFD", 40) + "...",
		strings.Repeat("\u0085", 100):  strings.Repeat(" ", 63) + "...",
		strings.Repeat("a", 1_000_000): long[:120] + "...",
	} {
		if got := Reason(in); got != want {
			t.Errorf("%.20q: %q, want %q", in, got, want)
		}
	}
}

func TestParseClose(t *testing.T) {
	for in, want := range map[string]struct {
		code   Code
		reason string
		err    error
	}{
		"":                 {NoStatus, "", nil},
		"\x03":             {0, "", ErrCloseLength},
		"\x03\xE8":         {Normal, "", nil},
		"\x0F\xA1bye":      {4001, "bye", nil},
		"\x03\xEDx":        {0, "", ErrCloseCode},
		"\x00\x00":         {0, "", ErrCloseCode},
		"\x03\xE8\xC3\x28": {0, "", ErrCloseReason},
	} {
		code, reason, err := ParseClose([]byte(in))
		if code != want.code || reason != want.reason || !errors.Is(err, want.err) {
			t.Errorf("%q: %d %q %v, want %+v", in, code, reason, err, want)
		}
	}
}

// Laws: a reason is always fit for a Close and stays as it is when cut again; what AppendClose writes, ParseClose reads.
func FuzzClose(f *testing.F) {
	f.Add(uint16(1000), "bye", true)
	f.Add(uint16(4999), strings.Repeat("€", 50), false)
	f.Add(uint16(1005), "\xff\x00\n", false)
	f.Fuzz(func(t *testing.T, n uint16, reason string, masked bool) {
		r := Reason(reason)
		if len(r) > MaxReason || !utf8.ValidString(r) || strings.ContainsFunc(r, unicode.IsControl) || Reason(r) != r {
			t.Fatalf("reason %q gives %q", reason, r)
		}
		var mask *[4]byte
		if masked {
			mask = &[4]byte{1, 2, 3, byte(n)}
		}
		frame := AppendClose(nil, mask, Code(n), reason)
		c := NewCursor(masked, false)
		if kind, used, err := c.Next(frame); kind != Control || used != len(frame) || err != nil {
			t.Fatalf("frame %x: %v %d %v", frame, kind, used, err)
		}
		code, got, err := ParseClose(AppendPayload(nil, frame))
		switch {
		case n == 0 || Code(n) == NoStatus:
			if code != NoStatus || got != "" || err != nil {
				t.Fatalf("%d %q %v", code, got, err)
			}
		case !Code(n).Valid():
			if !errors.Is(err, ErrCloseCode) {
				t.Fatalf("%d: %v", n, err)
			}
		case code != Code(n) || got != r || err != nil:
			t.Fatalf("%d %q: %d %q %v", n, r, code, got, err)
		}
	})
}
