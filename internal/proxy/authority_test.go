package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// authority is a service that is asked whether requests may pass: the header Ask says what it answers. It ends with the connections
// that the gateway keeps to it, so the gateway has to be started behind it.
func authority(t *testing.T, saw chan<- string) string {
	return rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		for {
			body := make([]byte, number(one(head, "Content-Length")))
			if _, err := io.ReadFull(br, body); err != nil {
				return
			}
			saw <- head + string(body)
			status, answer := one(head, "Ask"), "no"
			extra := "WWW-Authenticate: Custom\r\nX-Why: because\r\nKeep-Alive: 1\r\nContent-Type: text/x-no\r\nFairlead-Evil: 1\r\n"
			switch status {
			case "hang":
				_, _ = br.ReadByte()
				return
			case "200":
				extra = "X-User: ann\r\nX-User: bob\r\nX-Unnamed: 1\r\nContent-Type: text/x-yes\r\nHost: evil\r\nX-Request-Id: evil\r\n"
			case "302":
				extra += "Location: https://login.test/\r\n"
			case "413":
				answer = strings.Repeat("x", maxAuthAnswer+1)
			case "204":
				answer = ""
			}
			if strings.HasPrefix(head, "HEAD ") {
				answer = ""
			}
			fmt.Fprintf(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 %s Said\r\n%sContent-Length: %d\r\n\r\n%s", status, extra, len(answer), answer)
			var err error
			if head, err = readHead(br); err != nil {
				return
			}
		}
	})
}

func number(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// guarded is a rule that asks an authority.
func guarded(prefix string, a route.ExternalAuth, by route.Backend, backends ...route.Backend) route.Rule {
	a.Backend = &by
	return filtered(prefix, route.Filters{ExternalAuth: &a}, backends...)
}

func TestExternalAuthFields(t *testing.T) {
	saw := make(chan string, 100)
	at := authority(t, saw)
	g := startProgrammable(t)
	by, to := g.backend("ns/authority:1", at), g.backend("to", httpService(t, echoHandler))
	named := route.ExternalAuth{Path: "/check/", AllowedHeaders: []string{"ask", "X-Forwarded-For", "X-Request-Id", "Connection"}, AllowedResponseHeaders: []string{"x-user", "X-Role"}}
	all := route.ExternalAuth{AllowedHeaders: []string{"Ask"}}
	addr := g.rules(guarded("/named", named, by, to), guarded("/all", all, by, to))
	overBoth(t, func(t *testing.T, c *http.Client) {
		resp, body := ask(t, c, "DELETE", "http://"+addr+"/named//a%2Fb?x=%20&&", "Host", "gw.test:99", "Ask", "200", "Authorization", "Custom 1", "Secret", "1",
			"X-Forwarded-For", "6.6.6.6", "X-User", "client", "X_User", "client", "X-Role", "client", "x.role", "client", "X-Kept", "1", "X-Unnamed", "client")
		if resp.StatusCode != 200 {
			t.Fatalf("%d %q", resp.StatusCode, body)
		}
		asked := <-saw
		if line, _, _ := strings.Cut(asked, "\r\n"); line != "DELETE /check/named//a%2Fb?x=%20&& HTTP/1.1" {
			t.Errorf("the authority was asked %q", line)
		}
		for name, want := range map[string]string{
			"Host": "gw.test:99", "Authorization": "Custom 1", "Content-Length": "0", "Ask": "200", "X-Forwarded-For": "127.0.0.1", "Secret": "", "X-User": "",
			"X-Request-Id": resp.Header.Get("X-Request-Id"), "Connection": "", "X-Forwarded-Host": "", "User-Agent": "", "Accept-Encoding": "",
		} {
			if got := strings.Join(field(asked, name), ","); got != want {
				t.Errorf("the authority saw %s: %q, want %q", name, got, want)
			}
		}
		lines := strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n")
		for name, want := range map[string]string{
			"X-User": "ann,bob", "X_user": "", "X_User": "", "X-Role": "", "x.role": "", "X-Kept": "1", "X-Unnamed": "client", "Content-Type": "", "Authorization": "Custom 1",
		} {
			if got := strings.Join(field(lines, name), ","); got != want {
				t.Errorf("the service saw %s: %q, want %q in %q", name, got, want, body)
			}
		}
		_, body = ask(t, c, "GET", "http://"+addr+"/all", "Ask", "200", "X-User", "client", "X-Request-Id", "mine", "Content-Type", "text/x-mine")
		lines = strings.ReplaceAll(strings.ReplaceAll(body, "\r", ""), "\n", "\r\n")
		for name, want := range map[string]string{"X-User": "ann,bob", "X-Unnamed": "1", "X-Request-Id": "mine", "Content-Type": "text/x-mine"} {
			if got := strings.Join(field(lines, name), ","); got != want {
				t.Errorf("the service saw %s: %q, want %q", name, got, want)
			}
		}
		<-saw
		g.log.next(t)
		g.log.next(t)

		for status, want := range map[string]int{"401": 401, "302": 302, "413": 413, "499": 403, "204": 403, "304": 403, "500": 503, "101": 503} {
			resp, body := ask(t, c, "GET", "http://"+addr+"/named", "Ask", status)
			<-saw
			passed := status[0] == '4' || status == "302"
			if resp.StatusCode != want || (resp.Header.Get("Www-Authenticate") != "") != passed || (resp.Header.Get("X-Why") != "") != passed ||
				resp.Header.Get("Keep-Alive") != "" || resp.Header.Get("Fairlead-Evil") != "" || len(resp.Header.Values("X-Request-Id")) != 1 {
				t.Errorf("%s: %d %v", status, resp.StatusCode, resp.Header)
			}
			kind := "text/x-no"
			if !passed || status == "413" {
				kind = "application/problem+json"
			}
			if resp.Header.Get("Content-Type") != kind || kind == "text/x-no" && body != "no" {
				t.Errorf("%s: %q %q", status, resp.Header.Get("Content-Type"), body)
			}
			if rec := g.log.next(t); !strings.Contains(fmt.Sprint(rec["cause"]), "ns/authority:1") || fmt.Sprint(rec["status"]) != fmt.Sprint(want) || rec["backend"] != "" && rec["backend"] != nil {
				t.Errorf("%s: line %v", status, rec)
			}
		}
		if resp, _ := ask(t, c, "HEAD", "http://"+addr+"/named", "Ask", "401"); resp.StatusCode != 401 {
			t.Errorf("HEAD: %d", resp.StatusCode)
		}
		<-saw
		g.log.next(t)
	})
}

// Whatever becomes of the authority, nothing passes without its yes.
func TestExternalAuthFailsClosed(t *testing.T) {
	g := startProgrammable(t)
	var reached atomic.Int64
	to := g.backend("to", httpService(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	garbage := rawService(t, func(c net.Conn, _ *bufio.Reader, _ string) { _, _ = io.WriteString(c, "SMTP 200 OK\r\n\r\n") })
	begun, ended := make(chan struct{}), make(chan struct{})
	mute := rawService(t, func(_ net.Conn, br *bufio.Reader, _ string) {
		begun <- struct{}{}
		_, _ = br.ReadByte()
		ended <- struct{}{}
	})
	silent := rawService(t, func(_ net.Conn, br *bufio.Reader, _ string) { _, _ = br.ReadByte() })
	g.asking = wait
	slow := guarded("/slow", route.ExternalAuth{}, g.backend("slow", silent), to)
	slow.Policy.Timeouts.Request = time.Millisecond
	rules := []route.Rule{
		slow,
		guarded("/gone", route.ExternalAuth{}, g.backend("gone", closedPort(t)), to),
		guarded("/none", route.ExternalAuth{}, g.backend("none"), to),
		guarded("/invalid", route.ExternalAuth{}, route.Backend{Name: "x", Invalid: "no such Service"}, to),
		guarded("/garbage", route.ExternalAuth{}, g.backend("garbage", garbage), to),
		guarded("/garbage2", route.ExternalAuth{GRPC: true}, g.backend("garbage", garbage), to),
		guarded("/plain2", route.ExternalAuth{GRPC: true}, g.speaking(upstream.H2C, "plain", h2Service(t, false, echoHandler)), to),
		filtered("/nobody", route.Filters{ExternalAuth: &route.ExternalAuth{}}, to),
		guarded("/mute", route.ExternalAuth{}, g.backend("mute", mute), to),
	}
	addr := g.rules(rules...)
	for path, status := range map[string]int{
		"/gone": 503, "/none": 503, "/invalid": 500, "/garbage": 503, "/garbage2": 503, "/plain2": 503, "/nobody": 500, "/slow": 504,
	} {
		overBoth(t, func(t *testing.T, c *http.Client) {
			if resp, body := ask(t, c, "GET", "http://"+addr+path); resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %q", path, resp.StatusCode, body)
			}
		})
		if _, _, head := talkTo(t, addr, handshake(path, "a")); !strings.HasPrefix(head, fmt.Sprintf("HTTP/1.1 %d ", status)) {
			t.Errorf("%s, as a handshake: %q", path, head)
		}
	}
	c, _ := net.Dial("tcp", addr)
	_, _ = io.WriteString(c, get("a", "/mute"))
	<-begun
	c.Close()
	<-ended // the question ends with its client
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests have passed", n)
	}
}

func TestExternalAuthInTime(t *testing.T) {
	g := startProgrammable(t)
	g.asking = 10 * time.Millisecond
	mute := rawService(t, func(_ net.Conn, br *bufio.Reader, _ string) { _, _ = br.ReadByte() })
	addr := g.rules(guarded("/", route.ExternalAuth{}, g.backend("mute", mute), g.backend("to", naming(t, "to"))))
	resp, _ := ask(t, httpClient(t, false), "GET", "http://"+addr+"/")
	if rec := g.log.next(t); resp.StatusCode != 503 || rec["cause"] != "refused: external authorization by mute: no answer in time" {
		t.Errorf("%d, line %v", resp.StatusCode, rec)
	}
}

func TestExternalAuthBody(t *testing.T) {
	saw := make(chan string, 10)
	at := authority(t, saw)
	g := startProgrammable(t)
	by := g.backend("by", at)
	to := g.backend("to", httpService(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	addr := g.rules(guarded("/", route.ExternalAuth{ForwardBody: 10, AllowedHeaders: []string{"Ask"}}, by, to))
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, known := range []bool{true, false} {
			for body, status := range map[string]int{"": 200, "0123456789": 200, "0123456789a": 413, strings.Repeat("x", 1<<17): 413} {
				r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", strings.NewReader(body))
				r.Header.Set("Ask", "200")
				if !known {
					r.ContentLength, r.Body = -1, io.NopCloser(strings.NewReader(body))
				}
				resp, got := do(t, c, r)
				if resp.StatusCode != status || status == 200 && got != body {
					t.Errorf("%d bytes, known %v: %d %.100q", len(body), known, resp.StatusCode, got)
				}
				if status == 200 {
					head, shown, _ := strings.Cut(<-saw, "\r\n\r\n")
					if shown != body || one(head, "Content-Length") != fmt.Sprint(len(body)) {
						t.Errorf("the authority saw %q %q", head, shown)
					}
				}
			}
		}
	})
}

// A handshake is judged before anything is dialled, and is refused with a status.
func TestExternalAuthOfHandshake(t *testing.T) {
	saw := make(chan string, 10)
	at := authority(t, saw)
	g := startProgrammable(t)
	by := g.backend("by", at)
	a := route.ExternalAuth{AllowedHeaders: []string{"Ask", "Upgrade", "Connection"}, AllowedResponseHeaders: []string{"X-User", "X-Set"}}
	rule := guarded("/ws", a, by, g.backend("ws", echoSession(t)))
	rule.Policy.WebSocket.ConnectFailure = route.CloseOnFailure
	onBackend := g.backend("own", echoSession(t))
	onBackend.Filters = &route.Filters{ExternalAuth: &route.ExternalAuth{Backend: &by, AllowedHeaders: a.AllowedHeaders, AllowedResponseHeaders: []string{"X-User"}}}
	addr := g.rules(rule, below("/own", onBackend))
	for _, path := range []string{"/ws", "/own"} {
		c, br, head := talkTo(t, addr, handshake(path, "gw.test", "Ask: 200", "X-Set: client", "X-User: client"))
		asked := <-saw
		if !strings.HasPrefix(head, "HTTP/1.1 101 ") || len(field(head, "Saw-X-Set")) != map[string]int{"/ws": 0, "/own": 1}[path] {
			t.Fatalf("%s: %q", path, head)
		}
		if !strings.HasPrefix(asked, "GET "+path+" ") || len(field(asked, "Upgrade"))+len(field(asked, "Connection"))+len(field(asked, "Sec-Websocket-Key")) != 0 {
			t.Errorf("the authority was asked %q", asked)
		}
		_, _ = io.WriteString(c, masked(1, "1"))
		if _, text := frame(t, br); text != "0" {
			t.Errorf("the session says %q", text)
		}
		c.Close()
		_, _, head = talkTo(t, addr, handshake(path, "gw.test", "Ask: 401"))
		<-saw
		if !strings.HasPrefix(head, "HTTP/1.1 401 ") || one(head, "WWW-Authenticate") != "Custom" || one(head, "Connection") != "close" {
			t.Errorf("%s: %q", path, head)
		}
	}
}

// A rule's redirect, and its own changes, come behind the authority; a preflight before it.
func TestExternalAuthBesideOtherFilters(t *testing.T) {
	saw := make(chan string, 10)
	at := authority(t, saw)
	g := startProgrammable(t)
	by := g.backend("by", at)
	a := &route.ExternalAuth{Backend: &by, AllowedHeaders: []string{"Ask"}}
	share := &route.CORS{AllowOrigins: []string{"https://page.test"}, AllowMethods: []string{"GET"}, AllowHeaders: []string{"Ask"}}
	addr := g.rules(
		filtered("/away", route.Filters{ExternalAuth: a, Redirect: &route.Redirect{Hostname: "there.test", Status: 302}}),
		filtered("/shared", route.Filters{ExternalAuth: a, CORS: share, RequestHeaders: route.HeaderEdit{Set: []route.HeaderValue{{Name: "X-User", Value: "rule"}}}},
			g.backend("to", httpService(t, echoHandler))),
	)
	c := httpClient(t, false)
	if resp, _ := ask(t, c, "GET", "http://"+addr+"/away", "Ask", "401"); resp.StatusCode != 401 || resp.Header.Get("Location") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := ask(t, c, "GET", "http://"+addr+"/away", "Ask", "200"); resp.StatusCode != 302 || !strings.HasPrefix(resp.Header.Get("Location"), "http://there.test") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	<-saw
	<-saw
	resp, _ := ask(t, c, "OPTIONS", "http://"+addr+"/shared", "Origin", "https://page.test", "Access-Control-Request-Method", "GET")
	if resp.StatusCode != 204 || len(saw) != 0 {
		t.Errorf("preflight: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, c, "GET", "http://"+addr+"/shared", "Ask", "401", "Origin", "https://page.test"); resp.StatusCode != 401 ||
		resp.Header.Get("Access-Control-Allow-Origin") != "https://page.test" {
		t.Errorf("a page could not read the refusal: %d %v", resp.StatusCode, resp.Header)
	}
	if _, body := ask(t, c, "GET", "http://"+addr+"/shared", "Ask", "200"); !strings.Contains(body, "X-User: rule") || strings.Contains(body, "ann") {
		t.Errorf("the service saw %q", body)
	}
}
