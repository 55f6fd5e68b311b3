package route

import (
	"strings"
	"testing"
)

func TestFiltersInWords(t *testing.T) {
	to := &Backend{Name: "b:80"}
	for _, test := range []struct {
		want    string
		filters *Filters
	}{
		{"", nil},
		{"", &Filters{}},
		{"redirect 302 to https, host a, port 8443, path /x", &Filters{
			Redirect: &Redirect{Status: 302, Scheme: "https", Hostname: "a", Port: 8443, Path: &PathRewrite{Full: true, Value: "/x"}},
		}},
		{"redirect 301", &Filters{Redirect: &Redirect{Status: 301}}},
		{"set X-Key; add B; remove C; rewrite host h; rewrite prefix /; answer: set D", &Filters{
			RequestHeaders: HeaderEdit{Set: []HeaderValue{{"X-Key", "secret"}}, Add: []HeaderValue{{"B", "2"}}, Remove: []string{"C"}},
			Rewrite:        &Rewrite{Hostname: "h", Path: &PathRewrite{Value: "/"}}, ResponseHeaders: HeaderEdit{Set: []HeaderValue{{"D", "4"}}},
		}},
		{"unsupported: why; CORS for * https://a; authorized by b:80; mirror 1/2 to b:80; mirror to b:80", &Filters{
			Unsupported: "why", CORS: &CORS{AllowOrigins: []string{"*", "https://a"}}, ExternalAuth: &ExternalAuth{Backend: to},
			Mirrors: []Mirror{{Backend: to, Numerator: 1, Denominator: 2}, {Backend: to}},
		}},
	} {
		if got := strings.Join(test.filters.Words(), "; "); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
