package accesslog

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestRedactQuery(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"a=1&b=2", "a=1&b=2"},
		{"token", "token"},
		{"token=", "token="},
		{"token=x", "token=<redacted>"},
		{"a=1&TOKEN=x&b=%2F", "a=1&TOKEN=<redacted>&b=%2F"},
		{"token=x&token=y", "token=<redacted>&token=<redacted>"},
		{"%74oken=x", "%74oken=<redacted>"},
		{"access%5Ftoken=x", "access%5Ftoken=<redacted>"},
		{"tokens=x&mytoken=y", "tokens=x&mytoken=y"},
		{"personal.access.token=x", "personal.access.token=<redacted>"},
		{"personalAccessToken=x", "personalAccessToken=<redacted>"},
		{"secret=1&password=1&pwd=1&passwd=1&key=1&pat=1&accesskey=1&accesstoken=1&credential=1&sas=1", strings.Join([]string{
			"secret", "password", "pwd", "passwd", "key", "pat", "accesskey", "accesstoken", "credential", "sas",
		}, "=<redacted>&") + "=<redacted>"},
		{"token=a=b", "token=<redacted>"},
		{"a=1;token=x;y&b=2", "a=1;token=<redacted>&b=2"},
		{"token=;x", "token=<redacted>"},
		{"&&a=1&=x&token=y&", "&&a=1&=x&token=<redacted>&"},
		{"a=%zz&token=%zz", "a=%zz&token=<redacted>"},
		{"%zztoken=x", "%zztoken=x"},
		{"X-Ticket=x", "X-Ticket=<redacted>"},
	} {
		if got := RedactQuery(c.in, "x-ticket"); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestRedactTarget(t *testing.T) {
	for in, want := range map[string]string{
		"/a/token=x":                        "/a/token=x",
		"/a?token=x":                        "/a?token=<redacted>",
		"/a?b=?&token=x":                    "/a?b=?&token=<redacted>",
		"https://h/p?key=x&q=1":             "https://h/p?key=<redacted>&q=1",
		"/a?":                               "/a?",
		"wss://h:1/p?jwt=eyJ.eyJ.s&token=b": "wss://h:1/p?jwt=<redacted>&token=<redacted>",
	} {
		if got := RedactTarget(in, "jwt"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzRedact holds: redacting twice changes nothing more; a query without a secret stays byte
// for byte; what a reader takes for a secret is gone; what is none reads as before.
func FuzzRedact(f *testing.F) {
	f.Add("a=1&token=abc&b=2")
	f.Add("TOKEN=x;y=1&%6bey=z")
	f.Add("token==&&;key=;=&sas")
	f.Fuzz(func(t *testing.T, query string) {
		got := RedactQuery(query)
		if again := RedactQuery(got); again != got {
			t.Errorf("%q, redacted twice %q", got, again)
		}
		before, err := url.ParseQuery(query)
		if err != nil || strings.Contains(query, ";") {
			return
		}
		after, err := url.ParseQuery(got)
		if err != nil {
			t.Fatal(err)
		}
		secrets := 0
		for key, values := range before {
			if !isSecret(key, nil) {
				if !slices.Equal(after[key], values) {
					t.Errorf("%q of %q became %q", key, query, after[key])
				}
				continue
			}
			secrets++
			for i, v := range after[key] {
				if v != redacted && (v != "" || values[i] != "") {
					t.Errorf("%q of %q shows %q", key, query, v)
				}
			}
		}
		if secrets == 0 && got != query {
			t.Errorf("%q became %q", query, got)
		}
	})
}
