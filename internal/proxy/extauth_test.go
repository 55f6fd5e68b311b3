package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// guard is an authorization service over HTTP: what it answers is in X-Say, what it was asked comes back in X-Auth.
func guard(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Auth", fmt.Sprintf("%s %s%s %s %q %s", r.Method, r.Host, r.RequestURI, r.Header.Get("Authorization"), body, r.Header.Get("Content-Length")))
		for name := range r.Header {
			if !slices.Contains([]string{"Authorization", "Content-Length", "X-Say", "X-Listed", "X-Request-Id", "Fairlead-Hop", "User-Agent", "Accept-Encoding"}, name) {
				t.Errorf("the authorization was told of %s", name)
			}
		}
		w.Header().Set("X-User", "alice")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Location", "/login")
		status := 200
		_, _ = fmt.Sscan(r.Header.Get("X-Say"), &status)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "says the guard")
	}
}

func TestExternalAuthHTTP(t *testing.T) {
	g := startProgrammable(t)
	var reached atomic.Int64
	rest := httpService(t, func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s|%s|%s|%s|%s", r.Header.Get("X-Auth"), r.Header.Values("X-User"), r.Header.Get("X-Role"), body, r.Header.Get("Location"))
	})
	h1 := g.backend("guard", httpService(t, guard(t)))
	h2 := g.speaking(upstream.H2C, "guard2", h2Service(t, false, guard(t)))
	gone := g.backend("gone", closedPort(t))
	auth := func(prefix string, a route.ExternalAuth, to route.Backend) route.Rule {
		a.AllowedHeaders = []string{"x-say", "X-Listed"}
		return filtered(prefix, route.Filters{ExternalAuth: &a}, to)
	}
	b := g.backend("rest", rest)
	listed := []string{"x-auth", "X-User", "X-Role"}
	own := g.backend("own", rest)
	own.Filters = &route.Filters{ExternalAuth: &route.ExternalAuth{Backend: &gone}}
	addr := g.rules(
		auth("/1", route.ExternalAuth{Backend: &h1, Path: "/check/", AllowedResponseHeaders: listed, ForwardBody: 10}, b),
		auth("/2", route.ExternalAuth{Backend: &h2, AllowedResponseHeaders: listed, ForwardBody: 10}, b),
		auth("/all", route.ExternalAuth{Backend: &h1}, b),
		auth("/gone", route.ExternalAuth{Backend: &gone}, b),
		below("/own", own),
		auth("/ws", route.ExternalAuth{Backend: &h1, AllowedResponseHeaders: []string{"X-Auth"}}, g.backend("ws", echoSession(t))),
	)
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, tt := range []struct {
			path, say, body string
			status          int
			want            string
		}{
			{"/1/x?y=z", "", "", 200, `POST gw.test/check/1/x?y=z Basic x "" 0|[alice]|||`},
			{"/1", "", "0123456789", 200, `POST gw.test/check/1 Basic x "0123456789" 10|[alice]||0123456789|`},
			{"/2", "", "0123456789", 200, `POST gw.test/2 Basic x "0123456789" 10|[alice]||0123456789|`},
			{"/all", "", "body", 200, `POST gw.test/all Basic x "" 0|[alice]|spoofed|body|/login`},
			{"/1", "403", "", 403, "says the guard"},
			{"/2", "401", "", 401, "says the guard"},
			{"/1", "302", "", 302, "says the guard"},
			{"/1", "204", "", 403, "{"},
			{"/1", "500", "", 503, "{"},
			{"/gone", "", "", 503, "{"},
			{"/own", "", "", 503, "{"},
			{"/1", "", "01234567890", 413, "{"},
			{"/2", "", "01234567890", 413, "{"},
		} {
			for _, known := range []bool{true, false} {
				before := reached.Load()
				r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+tt.path, strings.NewReader(tt.body))
				if !known && tt.body != "" {
					r.ContentLength = -1
				}
				r.Host = "gw.test"
				for name, value := range map[string]string{"Authorization": "Basic x", "X-User": "mallory", "X-Role": "spoofed", "X-Secret": "1", "Cookie": "a=b", "X-Listed": "1"} {
					r.Header.Set(name, value)
				}
				if tt.say != "" {
					r.Header.Set("X-Say", tt.say)
				}
				resp, got := do(t, c, r)
				if resp.StatusCode != tt.status || !strings.HasPrefix(got, tt.want) || (reached.Load() > before) != (tt.status == 200) {
					t.Errorf("%s, %s: %d %q, want %d %q", tt.path, tt.say, resp.StatusCode, got, tt.status, tt.want)
				}
				if own := tt.want == "says the guard"; own && (resp.Header.Get("Set-Cookie") != "a=b" || resp.Header.Get("Location") != "/login") ||
					len(resp.Header.Values("X-Request-Id")) != 1 || resp.Header.Get("Content-Type") == "application/problem+json" == own && tt.status != 200 {
					t.Errorf("%s, %s: %v", tt.path, tt.say, resp.Header)
				}
			}
		}
	})
	_, _, head := talkTo(t, addr, handshake("/ws/x", "gw.test", "Authorization: Basic y", "X-Auth: mallory"))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || one(head, "Saw-X-Auth") != `GET gw.test/ws/x Basic y "" 0` {
		t.Errorf("a session: %q", head)
	}
	_, br, head := talkTo(t, addr, handshake("/ws/x", "gw.test", "X-Say: 403"))
	if !strings.HasPrefix(head, "HTTP/1.1 403 ") || readBody(t, br, head) != "says the guard" {
		t.Errorf("a session that may not: %q", head)
	}
}

// checker is an authorization service over gRPC: what is told of the request decides.
func checker(t *testing.T) http.HandlerFunc {
	text := func(number int, s string) []byte { return appendText(nil, number, s) }
	field := func(number int, name, value string, add bool) []byte {
		option := appendBytes(nil, 1, append(text(1, name), text(2, value)...))
		if add {
			option = appendBytes(option, 2, appendNumber(nil, 1, 1))
		}
		return appendBytes(nil, number, option)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || len(b) < 5 || int(binary.BigEndian.Uint32(b[1:])) != len(b)-5 || r.URL.Path != authMethod || r.Header.Get("Te") != "trailers" {
			t.Errorf("the call: %s %q %v", r.URL, b, err)
			return
		}
		told := map[int]string{}
		headers := map[string]string{}
		_ = eachField(b[5:], func(_ int, _ uint64, p []byte) error { // AttributeContext
			return eachField(p, func(number int, _ uint64, p []byte) error {
				if number != 4 {
					return nil
				}
				return eachField(p, func(number int, _ uint64, p []byte) error {
					if number != 2 {
						return nil
					}
					return eachField(p, func(number int, n uint64, p []byte) error { // HttpRequest
						if number == 3 {
							var kv [3]string
							_ = eachField(p, func(number int, _ uint64, p []byte) error { kv[number] = string(p); return nil })
							headers[kv[1]] = kv[2]
						} else if p != nil {
							told[number] = string(p)
						} else {
							told[number] = fmt.Sprint(int64(n))
						}
						return nil
					})
				})
			})
		})
		saw := fmt.Sprintf("%s %s%s %s %s %q %s", told[2], told[5], told[4], told[6], told[9], told[11], headers["cookie"])
		var m []byte
		code := "0"
		switch headers["x-say"] {
		case "":
			m = appendBytes(nil, 1, nil)
			ok := append(field(2, "X-Auth", saw, false), field(2, "X-Add", "auth", true)...)
			ok = append(append(ok, appendText(nil, 5, "x-gone")...), field(6, "X-Set", "auth", false)...)
			m = appendBytes(m, 3, ok)
		case "deny":
			m = appendBytes(nil, 1, appendNumber(nil, 1, 7))
			m = appendBytes(m, 2, append(append(appendBytes(nil, 1, appendNumber(nil, 1, 401)), field(2, "WWW-Authenticate", "Basic", false)...), text(3, "says the checker")...))
		case "bare":
			m = appendBytes(nil, 1, appendNumber(nil, 1, 16))
		case "garbage":
			m = []byte{0xff, 0xff}
		case "error":
			code = "13"
		}
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
	}
}

func TestExternalAuthGRPC(t *testing.T) {
	g := startProgrammable(t)
	check := g.backend("check", h2Service(t, false, checker(t)))
	secure := g.backend("secure", h2Service(t, true, checker(t)))
	rest := g.backend("rest", httpService(t, echoHandler))
	auth := func(prefix string, a route.ExternalAuth, to route.Backend) route.Rule {
		a.GRPC = true
		return filtered(prefix, route.Filters{ExternalAuth: &a}, to)
	}
	grpc := auth("/grpc", route.ExternalAuth{Backend: &check}, rest)
	grpc.GRPC = true
	addr := g.rules(
		auth("/1", route.ExternalAuth{Backend: &check, ForwardBody: 100}, rest), auth("/tls", route.ExternalAuth{Backend: &secure, AllowedHeaders: []string{"X-SAY"}}, rest),
		auth("/ws", route.ExternalAuth{Backend: &check}, g.backend("ws", echoSession(t))), grpc,
	)
	overBoth(t, func(t *testing.T, c *http.Client) {
		for path, want := range map[string]string{"/1/a?b": `POST gw.test/1/a?b http 4 "body" a=b; c=d`, "/tls": `POST gw.test/tls http 4 "" `} {
			r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+path, strings.NewReader("body"))
			r.Host = "gw.test"
			r.Header = http.Header{"Cookie": {"a=b; c=d"}, "X-Auth": {"mallory"}, "X-Add": {"client"}, "X-Gone": {"1"}}
			resp, body := do(t, c, r)
			saw := strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n")
			if got := strings.TrimSpace(one(saw, "X-Auth")); resp.StatusCode != 200 || got != strings.TrimSpace(want) || strings.Join(field(saw, "X-Add"), ",") != "client,auth" ||
				len(field(saw, "X-Gone")) > 0 || resp.Header.Get("X-Set") != "auth" {
				t.Errorf("%s: %d %v %q", path, resp.StatusCode, resp.Header, body)
			}
		}
		for say, status := range map[string]int{"deny": 401, "bare": 403, "garbage": 503, "error": 503} {
			resp, body := ask(t, c, "GET", "http://"+addr+"/1", "X-Say", say)
			if resp.StatusCode != status || say == "deny" && (body != "says the checker" || resp.Header.Get("Www-Authenticate") != "Basic") {
				t.Errorf("%s: %d %v %q", say, resp.StatusCode, resp.Header, body)
			}
		}
	})
	_, _, head := talkTo(t, addr, handshake("/ws", "gw.test", "X-Gone: 1"))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || one(head, "X-Set") != "auth" || len(field(head, "Saw-X-Gone")) > 0 || !strings.HasPrefix(one(head, "Saw-X-Auth"), "GET gw.test/ws http") {
		t.Errorf("a session: %q", head)
	}
	if _, _, head := talkTo(t, addr, handshake("/ws", "a", "X-Say: deny")); !strings.HasPrefix(head, "HTTP/1.1 401 ") {
		t.Errorf("a session that may not: %q", head)
	}
	resp, _ := ask(t, httpClient(t, true), "POST", "http://"+addr+"/grpc", "Content-Type", "application/grpc", "X-Say", "deny")
	if resp.StatusCode != 200 || resp.Header.Get("Grpc-Status") != "16" {
		t.Errorf("a call of gRPC that may not: %d %v", resp.StatusCode, resp.Header)
	}
}
