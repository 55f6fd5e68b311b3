package route

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

func TestCheckPath(t *testing.T) {
	accepted := []string{
		"/", "//", "/svc/ws/v1", "/svc//x/", "/a=b;c/x;y=1", "/a%2Fb", "/a%20b", "/...", "/.a", "/a.", "/..a",
		"/%2e%2e%2e", "/%252e%252e", "/.%41", "/a;..", "/ä/%C3%A4", "/a%23b%3Fc", "/*", "/%7E~",
	}
	refused := map[string][]string{
		"it does not begin with a slash": {"", "*", "a/b", "%2Fa"},
		"dot segment": {
			"/.", "/..", "/./", "/../", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2e/", "/.%2e", "/%2e./x",
			"/..;x", "/.;x=1/y", "/%2e%2E;x", "/..;", "/..%3bx", "/..%3B", "/a/..;a;b/c", "/;x/..;y;",
			"/a%2F..%2Fb", "/a/..%2fb", "/a%2f..", "/a%2F%2e%2e", "/a%2F..;x/b", "/..//",
			"/%2F..",
		},
		"backslash":                {"/\\", "/a%5cb", "/a%5C..", "/..\\x"},
		"control byte":             {"/\x00", "/a%00", "/%0d%0A", "/%1f", "/\x7f", "/%7F", "/\t", "/..%00"},
		"'#' or '?' in it":         {"/#", "/a#/../b", "/a?b"},
		"space in it":              {"/a b"},
		"malformed percent-escape": {"/%", "/%2", "/%zz", "/%2g", "/a%2%66"},
	}
	for _, p := range accepted {
		if err := CheckPath(p); err != nil {
			t.Errorf("%q: %v, want it accepted", p, err)
		}
	}
	for reason, paths := range refused {
		for _, p := range paths {
			var pe *PathError
			if err := CheckPath(p); !errors.As(err, &pe) || pe.Reason != reason {
				t.Errorf("%q: %v, want %q", p, err, reason)
			}
		}
	}
}

// FuzzCheckPath holds it to its promise: whoever decodes an accepted path once, whole or piece by
// piece, and cuts parameters off or not, finds no dot segment and no byte that ends a line or a path.
func FuzzCheckPath(f *testing.F) {
	for _, p := range []string{"/a/..%2f;x", "/%2e%2e;/x", "/.%2F.", "/a;b=c/%41", "/%2%65", "/%c3%a4", "/a/;/..", "//."} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if CheckPath(path) != nil {
			return
		}
		decoded, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q accepted: %v", path, err)
		}
		if i := strings.IndexFunc(decoded, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }); i >= 0 {
			t.Fatalf("%q accepted: byte %q", path, decoded[i])
		}
		if strings.ContainsAny(path, "#? ") || path[0] != '/' {
			t.Fatalf("%q accepted", path)
		}
		for seg := range strings.SplitSeq(decoded, "/") {
			name, _, _ := strings.Cut(seg, ";")
			if name == "." || name == ".." {
				t.Fatalf("%q accepted: segment %q", path, seg)
			}
		}
	})
}

func TestCheckPathAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if CheckPath("/discoverableclient/ws/v1/a%2Fb/uppercase;x") != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestOtherReading(t *testing.T) {
	for path, want := range map[string]string{
		"/": "", "/a/b": "", "/a%20b/%61": "", "//a": "/a", "/a//b///c/": "/a/b/c/", "/a;x/b": "/a/b", "/a;x;y=1": "/a", "/;/a": "/a", "/a%3Bx/b": "/a/b",
		"/a%2Fb": "/a/b", "/%2fa": "/a", "/a;%2Fb": "/a/b", "/a%2": "", "/a;%41/b": "/a/b",
	} {
		got, other := OtherReading(path)
		if want == "" && (got != path || other) || want != "" && (got != want || !other) {
			t.Errorf("%s: %q %t, want %q", path, got, other, want)
		}
	}
}

// FuzzOtherReading: what it makes has no other reading, and is as good a path as it was.
func FuzzOtherReading(f *testing.F) {
	f.Add("/a//b;c%2Fd%3be")
	f.Fuzz(func(t *testing.T, path string) {
		if CheckPath(path) != nil {
			return
		}
		once, other := OtherReading(path)
		twice, again := OtherReading(once)
		if again || twice != once || !other && once != path || CheckPath(once) != nil {
			t.Errorf("%q: %q, then %q", path, once, twice)
		}
	})
}
