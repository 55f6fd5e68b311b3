package proxy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// framesAdmin answers every request with the frames of the session that its path ends with.
func framesAdmin(payload int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(FramesWriter).ServeFrames(FramesRequest{ID: strings.TrimPrefix(r.URL.Path, "/application/"), User: "test", Payload: payload})
	})
}

// only is the id of the one session that is open.
func (g *gateway) only(t *testing.T) string {
	t.Helper()
	all := g.listed(t, 1)
	return all[0].SessionID
}

// line reads the next line of a feed, without its time and size.
func (p *player) line() string {
	p.t.Helper()
	_, text, err := p.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var v frameView
	if err := json.Unmarshal(text, &v); err != nil {
		p.t.Fatalf("%s: %v", text, err)
	}
	if v.Event == "" && (v.Time == nil || v.Size == nil) {
		p.t.Errorf("line %s", text)
	}
	payload := v.Payload + string(v.PayloadBase64) + v.Reason
	return strings.TrimSpace(fmt.Sprintf("%s%s %s %s %v %d %s", v.Event, v.From, v.To, v.Opcode, v.Fin, v.Code, payload))
}

func TestFramesOfSession(t *testing.T) {
	a, b := startInstance(t, "a", ""), startInstance(t, "b", "")
	g := between(t, func(p *route.Policy) { p.WebSocket.Failover = route.FailoverReconnect }, a, b)
	g.Admin = framesAdmin(12)
	p := play(t, g, "/svc/ws/v1/room", nil)
	p.say("before")
	p.hear("a before")
	w := play(t, g, "/application/"+g.only(t), nil)
	shown, talked := make(chan struct{}), make(chan struct{})
	go func() { // until the feed is seen to have begun
		defer close(talked)
		for {
			p.say("?")
			p.hear("a ?")
			select {
			case <-shown:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	w.line()
	close(shown)
	<-talked
	eventually(t, "a request, and no handshake that was refused", func() bool {
		all := g.Counts().Routes
		return len(all) > 0 && all[0].Route == "application" && all[0].Requests[1] == 1 && len(all[0].Refused) == 0
	})
	want := func(lines ...string) {
		t.Helper()
		for _, line := range lines {
			got := w.line()
			for strings.HasSuffix(got, "?") || strings.HasPrefix(got, "dropped") { // of before
				got = w.line()
			}
			if got != line {
				t.Errorf("got %q, want %q", got, line)
			}
		}
	}
	p.say("token=abcdefghijkl")
	p.hear("a token=abcdefghijkl")
	want("client upstream text true 0 token=<redacted>", "upstream client text true 0 a token=<redacted>")
	a.kill(true)
	want("moved   false 0")
	p.say("é")
	p.hear("b é")
	want("client upstream text true 0 é", "upstream client text true 0 b é")
	if err := w.Ping(w.CloseRead(p.ctx)); err != nil {
		t.Error(err)
	}
	_ = p.Close(ws.StatusNormalClosure, "done")
}

// A feed ends with its session, and says so.
func TestFramesEnd(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, nil, a)
	g.Admin = framesAdmin(0)
	p := play(t, g, "/svc/ws/v1/room", nil)
	w := play(t, g, "/application/"+g.only(t), nil)
	g.Sessions.Close(g.only(t), 4000, "enough", "test")
	p.end(4000)
	last := ""
	for {
		_, text, err := w.Read(w.ctx)
		if err != nil {
			if ws.CloseStatus(err) != ws.StatusNormalClosure {
				t.Error(err)
			}
			break
		}
		if last = string(text); strings.Contains(last, "enough") {
			t.Errorf("shown without being asked for: %s", last)
		}
	}
	if last != `{"event":"ended"}` {
		t.Errorf("the last line is %s", last)
	}
	eventually(t, "the end of the feed", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.feeds) == 0
	})
}

// A watcher that does not read gives its place up, also when nothing more is said in the session.
func TestFramesNotRead(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, nil, a)
	g.stall = 50 * time.Millisecond
	g.Admin = framesAdmin(MaxFramesPayload)
	p := play(t, g, "/svc/ws/v1/room", nil)
	c, _, _ := talk(t, g, handshake("/application/"+g.only(t), "gw"))
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	feeds := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.feeds)
	}
	long := strings.Repeat("x", MaxFramesPayload)
	for range 20_000 {
		if feeds() == 0 {
			break
		}
		p.say(long)
		p.hear("a " + long)
	}
	eventually(t, "the end of the feed", func() bool { return feeds() == 0 })
	p.say("still")
	p.hear("a still")
}

// Who may not see frames is told so, and there are so many feeds at most. Those that are open end with the gateway.
func TestFramesRefused(t *testing.T) {
	a := startInstance(t, "a", "")
	g := between(t, nil, a)
	g.Admin = framesAdmin(0)
	play(t, g, "/svc/ws/v1/room", nil)
	path := "/application/" + g.only(t)
	for name, c := range map[string]struct{ request, status string }{
		"foreign page": {handshake(path, "gw", "Origin: https://evil.example"), "403"},
		"no handshake": {"GET " + path + " HTTP/1.1\r\nHost: gw\r\n\r\n", "426"},
		"bad version":  {strings.Replace(handshake(path, "gw"), "Version: 13", "Version: 12", 1), "426"},
		"no session":   {handshake("/application/123", "gw"), "404"},
		"own page":     {handshake(path, "gw", "Origin: http://gw"), "101"},
	} {
		if _, _, head := talk(t, g, c.request); !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%s: %.60q, want %s", name, head, c.status)
		}
	}
	for range maxFeeds - 1 {
		play(t, g, path, nil)
	}
	if _, _, head := talk(t, g, handshake(path, "gw")); !strings.HasPrefix(head, "HTTP/1.1 503 ") {
		t.Errorf("one feed too many: %.60q", head)
	}
	g.log.next(t)
}

func TestWholeRunes(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "é": "é", "a\xc3": "a", "\xe2\x82": "", "\xe2\x82\xac": "€", "\xff\xfe": "\uFFFD", "a\x80": "a\uFFFD",
	} {
		if got := wholeRunes([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
