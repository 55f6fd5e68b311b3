package accesslog

import (
	"strings"
	"testing"
)

func TestRedactText(t *testing.T) {
	for in, want := range map[string]string{
		``:                                      ``,
		`hello: world`:                          `hello: world`,
		`{"token":"abc","n":1}`:                 `{"token":"<redacted>","n":1}`,
		`{ "Password" : "a\"b", "x": "y" }`:     `{ "Password" : "<redacted>", "x": "y" }`,
		`{"token":"abc`:                         `{"token":"<redacted>`,
		`{"token":""}`:                          `{"token":""}`,
		`{"token":123,"n":1}`:                   `{"token":<redacted>,"n":1}`,
		`{"m":"{\"token\":\"abc\",\"n\":1}"}`:   `{"m":"{\"token\":\"<redacted>\",\"n\":1}"}`,
		`{\"token\":\"a\\\"b\",\"n\":1}`:        `{\"token\":\"<redacted>\",\"n\":1}`,
		`a=1&access_token=abc&b=2`:              `a=1&access_token=<redacted>&b=2`,
		"CONNECT\nlogin:me\npasscode:a b\n\n":   "CONNECT\nlogin:me\npasscode:<redacted>\n\n",
		"Authorization: Bearer abc.def\r\nX: y": "Authorization: <redacted>\r\nX: y",
		`{"authorization":"Bearer x","k":"v"}`:  `{"authorization":"<redacted>","k":"v"}`,
		`{'pwd':'x'}`:                           `{'pwd':'<redacted>'}`,
		`tokens: 3, mytoken: 4`:                 `tokens: 3, mytoken: 4`,
		`{"ticket":"x"}`:                        `{"ticket":"<redacted>"}`,
		`token`:                                 `token`,
		`token:`:                                `token:`,
		`{"token":"token=x","a":"b"}`:           `{"token":"<redacted>","a":"b"}`,
	} {
		if got := RedactText(in, "ticket"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Whatever stands before and behind, the value of a secret's name is not shown, and nothing is shown that was not there.
func FuzzRedactText(f *testing.F) {
	f.Add(`{"a":"b",`, `,"c":"d"}`)
	f.Add("x=\\", "\n")
	f.Add(`"token":`, `"`)
	f.Fuzz(func(t *testing.T, before, behind string) {
		const secret = "q7Zq7Z"
		if strings.Contains(before+behind, "q7Z") {
			return
		}
		for _, form := range []string{`"token":"` + secret + `"`, "&token=" + secret + "&", "\ntoken:" + secret + "\n"} {
			got := RedactText(before + form + behind)
			if strings.Contains(got, secret) {
				t.Errorf("%q shows the secret: %q", before+form+behind, got)
			}
		}
		all := before + behind
		if got := RedactText(all); len(strings.ReplaceAll(got, redacted, "")) > len(all) {
			t.Errorf("%q became longer: %q", all, got)
		}
	})
}
