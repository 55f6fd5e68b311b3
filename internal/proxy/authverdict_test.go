package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// checkParts are the fields of a CheckRequest that are messages; the others are numbers and strings.
var checkParts = []string{"1", "1.1", "1.1.1", "1.1.1.1", "1.2", "1.2.1", "1.2.1.1", "1.4", "1.4.1", "1.4.2"}

// readParts reads a CheckRequest into values by the path of their numbers; the entries of the map of headers stand under their name.
func readParts(t *testing.T, b []byte, at string, into map[string]string) {
	err := eachField(b, func(number int, value uint64, part []byte) error {
		path := strings.TrimPrefix(fmt.Sprintf("%s.%d", at, number), ".")
		switch {
		case part == nil:
			into[path] = fmt.Sprint(int64(value))
		case path == "1.4.2.3":
			var pair headerOption
			err := pair.readPair(part)
			if _, ok := into[pair.name]; ok {
				t.Errorf("two entries %s", pair.name)
			}
			into[pair.name] = pair.value
			return err
		case slices.Contains(checkParts, path):
			readParts(t, part, path, into)
		default:
			into[path] = string(part)
			if path != "1.4.2.12" && !utf8.Valid(part) {
				t.Errorf("%s is no UTF-8: %q", path, part)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v in %q", at, err, b)
	}
}

// appendField is appendText, which says a field that is empty, too.
func appendField[T string | []byte](b []byte, number int, part T) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// option is a HeaderValueOption; how: "append", "no append", a number of an action, or "".
func option(name, value, how string) []byte {
	b := appendField(nil, 1, appendField(appendField(nil, 1, name), 2, value))
	switch how {
	case "append":
		b = appendField(b, 2, appendNumber(nil, 1, 1))
	case "no append":
		b = appendField(b, 2, "")
	case "1", "2", "3":
		b = appendNumber(b, 3, uint64(how[0]-'0'))
	}
	return b
}

var (
	checkOK = slices.Clip(appendField(nil, 1, "")) // a status, 0

	checkGrants = appendField(checkOK, 3, slices.Concat(
		appendField(nil, 2, option("x-user", "ann", "")), appendField(nil, 2, option("X-User", "bob", "no append")), appendField(nil, 2, option("X-Group", "b", "append")),
		appendField(nil, 2, option("X-Absent", "new", "1")), appendField(nil, 2, option("X-There", "new", "1")), appendField(nil, 2, option("X-Over", "new", "2")),
		appendField(nil, 2, option("X-Nowhere", "new", "3")), appendField(nil, 2, option("Host", "evil", "")), appendField(nil, 2, option(":path", "/evil", "")),
		appendField(nil, 5, "authorization"), appendField(nil, 5, "host"),
		appendField(nil, 6, option("X-Told", "1", "")),
		appendField(nil, 7, appendField(appendField(nil, 1, "set"), 2, "a b")), appendField(nil, 8, "token"),
		appendNumber(nil, 99, 7), []byte{100<<3&0x7f | 5 | 0x80, 100 << 3 >> 7, 1, 2, 3, 4}, // fields that nobody knows
	))

	checkDenies = appendField(appendField(nil, 1, appendNumber(nil, 1, 7)), 2, slices.Concat(
		appendField(nil, 1, appendNumber(nil, 1, 401)), appendField(nil, 2, option("WWW-Authenticate", "Custom", "")),
		appendField(nil, 2, option("Set-Cookie", "a=1", "append")), appendField(nil, 2, option("Set-Cookie", "b=2", "append")),
		appendField(nil, 2, option("Content-Length", "999", "")), appendField(nil, 3, "denied: no"),
	))
)

func TestExternalAuthVerdicts(t *testing.T) {
	g := startProgrammable(t)
	saw := make(chan []byte, 10)
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		saw <- body
		w.Header().Set("Content-Type", "application/grpc")
		code := "0"
		switch r.Header.Get("Grpc-Timeout") + r.URL.Path + r.Header.Get("Te") {
		case "5000m" + authMethod + "trailers":
		default:
			code = "12"
		}
		var message []byte
		switch what := map[string]string{}; {
		case len(body) > 5:
			readParts(t, body[5:], "", what)
			message = map[string][]byte{
				"ok": checkOK, "grants": checkGrants, "denies": checkDenies, "no": appendField(nil, 1, appendNumber(nil, 1, 16)),
				"lies": appendField(checkOK, 2, ""), "odd": appendField(checkOK, 2, appendField(nil, 1, appendNumber(nil, 1, 99))),
				"large": appendField(checkOK, 4, strings.Repeat("x", maxAuthAnswer)), "broken": {1, 2, 3}, "wrong": appendNumber(nil, 1, 7),
				"wrong2": appendField(nil, 1, appendField(nil, 1, "7")),
			}[what["ask"]]
			if what["ask"] == "error" {
				code = "7"
			}
		}
		_, _ = w.Write(framed(message))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
	}
	by := g.speaking(upstream.H2C, "ns/authority", h2Service(t, false, answer))
	secure := g.speaking(upstream.H2, "ns/authority tls", h2Service(t, true, answer))
	to := g.backend("to", httpService(t, echoHandler))
	addr := g.rules(
		guarded("/all", route.ExternalAuth{GRPC: true, ForwardBody: 100}, by, to),
		guarded("/some", route.ExternalAuth{GRPC: true, AllowedHeaders: []string{"Ask"}}, secure, to),
		guarded("/ws", route.ExternalAuth{GRPC: true}, by, g.backend("ws", echoSession(t))),
	)
	overBoth(t, func(t *testing.T, c *http.Client) {
		r, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+addr+"/all/a%2Fb?token=1&x=%20&&set=2&t%6fken=2", strings.NewReader("caf\xe9"))
		r.Host = "gw.test:99"
		for _, f := range [][2]string{
			{"Ask", "grants"},
			{"Authorization", "Custom 1"},
			{"X-Group", "a"},
			{"X-There", "client"},
			{"X-Over", "client"},
			{"X-User", "client"},
			{"X_User", "client"},
			{"X-Forwarded-For", "6.6.6.6"},
			{"X-Twice", "1"},
			{"X-Twice", "2"},
			{"X-Odd", "\xff"},
			{"X-Nowhere-Else", "1"},
		} {
			r.Header[f[0]] = append(r.Header[f[0]], f[1])
		}
		resp, body := do(t, c, r)
		asked := <-saw
		what := map[string]string{}
		readParts(t, asked[5:], "", what)
		for path, want := range map[string]string{
			"1.1.1.1.2": "127.0.0.1", "1.2.1.1.2": "127.0.0.1", "1.2.1.1.3": addr[strings.LastIndexByte(addr, ':')+1:],
			"1.4.2.1": resp.Header.Get("X-Request-Id"), "1.4.2.2": "PUT", "1.4.2.4": "/all/a%2Fb?token=1&x=%20&&set=2&t%6fken=2", "1.4.2.5": "gw.test:99",
			"1.4.2.6": "http", "1.4.2.9": "4", "1.4.2.10": map[bool]string{true: "HTTP/1.1", false: "HTTP/2"}[resp.ProtoMajor == 1], "1.4.2.12": "caf\xe9", "1.4.2.11": "",
			"authorization": "Custom 1", "x-forwarded-for": "127.0.0.1", "x-twice": "1,2", "x-odd": "\uFFFD", "x-request-id": resp.Header.Get("X-Request-Id"),
		} {
			if what[path] != want {
				t.Errorf("the authority saw %s: %q, want %q", path, what[path], want)
			}
		}
		if what["1.1.1.1.3"] == "" || what["1.1.1.1.3"] == "0" || what["1.4.1.1"] == "" {
			t.Errorf("the authority saw %v", what)
		}
		line, fields, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n"), "\r\n")
		if resp.StatusCode != 200 || !strings.Contains(line, "/all/a%2Fb?x=%20&&set=a+b") || resp.Header.Get("X-Told") != "1" {
			t.Errorf("%d %v %q", resp.StatusCode, resp.Header, line)
		}
		for name, want := range map[string]string{
			"X-User": "bob", "X_user": "", "X_User": "", "X-Group": "a,b", "X-Absent": "new", "X-There": "client", "X-Over": "new", "X-Nowhere": "", "Authorization": "",
			"Host": "gw.test:99",
		} {
			if got := strings.Join(field(fields, name), ","); got != want {
				t.Errorf("the service saw %s: %q, want %q", name, got, want)
			}
		}
		g.log.next(t)

		resp, body = ask(t, c, "GET", "http://"+addr+"/some", "Ask", "denies", "Secret", "1")
		what = map[string]string{}
		readParts(t, (<-saw)[5:], "", what)
		if what["ask"] == "" || what["secret"] != "" || what["x-forwarded-for"] != "" || what["1.4.2.9"] != "" {
			t.Errorf("the authority saw %v", what)
		}
		if resp.StatusCode != 401 || body != "denied: no" || resp.Header.Get("Www-Authenticate") != "Custom" || resp.Header.Get("Content-Type") != "text/plain" ||
			strings.Join(resp.Header.Values("Set-Cookie"), ",") != "a=1,b=2" {
			t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
		}
		if rec := g.log.next(t); rec["cause"] != "refused: external authorization by ns/authority tls: answer 401" {
			t.Errorf("line %v", rec)
		}
		for how, status := range map[string]int{
			"ok": 200, "no": 403, "lies": 403, "odd": 403, "large": 503, "broken": 503, "wrong": 503, "wrong2": 503, "": 503, "error": 503,
		} {
			resp, body := ask(t, c, "GET", "http://"+addr+"/all", "Ask", how)
			<-saw
			if resp.StatusCode != status || status == 503 && resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %v %q", how, resp.StatusCode, resp.Header, body)
			}
			g.log.next(t)
		}
	})
	_, _, head := talkTo(t, addr, handshake("/ws", "gw.test", "Ask: grants", "X-Set: client"))
	what := map[string]string{}
	readParts(t, (<-saw)[5:], "", what)
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || one(head, "X-Told") != "1" || what["upgrade"] != "websocket" || what["sec-websocket-key"] != clientKey {
		t.Errorf("%q after %v", head, what)
	}
	_, _, head = talkTo(t, addr, handshake("/ws", "gw.test", "Ask: denies"))
	if <-saw; !strings.HasPrefix(head, "HTTP/1.1 401 ") || one(head, "WWW-Authenticate") != "Custom" {
		t.Errorf("%q", head)
	}
}

func TestEditQuery(t *testing.T) {
	for _, c := range []struct{ query, set, remove, want string }{
		{"", "", "a", ""},
		{"", "a", "", "?a=%26"},
		{"?a=1", "", "a", ""},
		{"?a=1&b&c=%zz", "b", "x", "?a=1&c=%zz&b=%26"},
		{"?%61=1&b", "", "a", "?b"},
		{"?%zz=1&b", "", "%zz", "?b"},
		{"?", "", "a", ""},
	} {
		var set []headerOption
		if c.set != "" {
			set = []headerOption{{name: c.set, value: "&"}}
		}
		if got := editQuery(c.query, set, []string{c.remove}); got != c.want {
			t.Errorf("%q, set %q, remove %q: %q, want %q", c.query, c.set, c.remove, got, c.want)
		}
	}
}

// The law: what parseCheck reads, written again, reads the same, and the bytes stay as they are.
func FuzzCheckResponse(f *testing.F) {
	for _, m := range [][]byte{checkOK, checkGrants, checkDenies, {}, {1, 2, 3}, appendNumber(nil, 1, 7)} {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		v, err := parseCheck(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the message has been changed")
		}
		if err != nil {
			return
		}
		again, err := parseCheck(v.message())
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%+v, then %+v %v", v, again, err)
		}
	})
}

// message is the CheckResponse that says the same.
func (v *verdict) message() []byte {
	options := func(b []byte, number int, list []headerOption) []byte {
		for _, o := range list {
			one := appendNumber(option(o.name, o.value, ""), 3, o.action)
			if o.add {
				one = appendField(one, 2, appendNumber(nil, 1, 1))
			}
			b = appendField(b, number, one)
		}
		return b
	}
	var b, inner []byte
	if v.said {
		b = appendField(b, 1, appendNumber(nil, 1, v.code))
	}
	inner = options(inner, 2, v.headers)
	if v.refuses {
		inner = appendField(inner, 1, appendNumber(nil, 1, uint64(v.status)))
		if v.body != nil {
			inner = appendField(inner, 3, v.body)
		}
		return appendField(b, 2, inner)
	}
	for _, n := range v.remove {
		inner = appendField(inner, 5, n)
	}
	inner = options(inner, 6, v.answer)
	for _, o := range v.setQuery {
		inner = appendField(inner, 7, appendField(appendField(nil, 1, o.name), 2, o.value))
	}
	for _, n := range v.removeQuery {
		inner = appendField(inner, 8, n)
	}
	return appendField(b, 3, inner)
}
