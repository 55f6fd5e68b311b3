package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A request that takes longer than its rule lets it is answered 504, over both versions of HTTP to both; a session is not
// cut.
func TestRuleTimeouts(t *testing.T) {
	g := startProgrammable(t)
	slow := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	timed := func(r route.Rule, set func(*route.Timeouts)) route.Rule {
		set(&r.Policy.Timeouts)
		return r
	}
	request := func(to *route.Timeouts) { to.Request = 50 * time.Millisecond }
	long := func(to *route.Timeouts) { to.Request = time.Second }
	backend := func(to *route.Timeouts) { to.BackendRequest = 50 * time.Millisecond }
	h1, h2 := g.backend("h1", httpService(t, slow)), g.speaking(upstream.H2C, "h2", h2Service(t, false, slow))
	addr := g.rules(
		timed(below("/1/request", h1), request), timed(below("/1/backend", h1), backend),
		timed(below("/2/request", h2), request), timed(below("/2/backend", h2), backend),
		timed(below("/ws", g.backend("ws", echoSession(t))), long), timed(below("/long", h1), long),
	)
	overBoth(t, func(t *testing.T, c *http.Client) {
		for _, path := range []string{"/1/request", "/1/backend", "/2/request", "/2/backend"} {
			for _, body := range []string{"", "x"} {
				r, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+path, strings.NewReader(body))
				resp, got := do(t, c, r)
				var p problem
				if err := json.Unmarshal([]byte(got), &p); err != nil || resp.StatusCode != 504 || p.Status != 504 {
					t.Errorf("%s: %d %q", path, resp.StatusCode, got)
				}
			}
		}
	})
	for _, path := range []string{"/1/request", "/1/backend"} {
		if _, _, head := talkTo(t, addr, handshake(path, "a")); !strings.HasPrefix(head, "HTTP/1.1 504 ") {
			t.Errorf("%s, as a handshake: %q", path, head)
		}
	}
	conn, br, head := talkTo(t, addr, handshake("/ws", "a"))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatal(head)
	}
	resp, _ := ask(t, httpClient(t, false), "GET", "http://"+addr+"/long") // takes as long as the session's handshake may
	if resp.StatusCode != 504 {
		t.Error(resp.StatusCode)
	}
	_, _ = io.WriteString(conn, masked(websocket.OpText, "x"))
	if _, got := frame(t, br); got != "0" {
		t.Errorf("message %q", got)
	}
}
