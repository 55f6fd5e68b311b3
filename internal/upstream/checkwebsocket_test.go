package upstream

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

func TestWebSocketProbe(t *testing.T) {
	ended := make(chan error, 1)
	port := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" || r.Host != "a.test" {
			http.NotFound(w, r)
			return
		}
		c, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"chat"}})
		if err != nil {
			return
		}
		_ = c.Write(r.Context(), coder.MessageText, []byte("welcome")) // before the Pong
		_, _, err = c.Read(r.Context())
		ended <- err
	}, nil, "http/1.1")
	e := endpoint("http", "127.0.0.1", port)
	for _, tt := range []struct {
		probe Probe
		want  string
	}{
		{Probe{Path: "/ws", Host: "a.test"}, ""},
		{Probe{Path: "/ws", Host: "a.test", Ping: true}, ""},
		{Probe{Path: "/ws", Host: "a.test", Ping: true, Subprotocol: "chat"}, ""},
		{Probe{Path: "/ws", Host: "b.test"}, "status 404 in place of 101"},
	} {
		tt.probe.Kind = WebSocketProbe
		wantError(t, ask(t, e, asking{probe: tt.probe}), tt.want)
		if tt.want != "" {
			continue
		}
		if err := <-ended; coder.CloseStatus(err) != coder.StatusNormalClosure {
			t.Errorf("%+v: the server saw %v, want a Close 1000", tt.probe, err)
		}
	}
}

// switching answers the handshake, then with frames, then it is silent until the probe ends.
func switching(t *testing.T, accept func(key string) string, frames []byte) int {
	return listen(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			accept(req.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
		_, _ = c.Write(frames)
		_, _ = io.Copy(io.Discard, c)
	})
}

func TestWebSocketProbeIsNotFooled(t *testing.T) {
	closing := websocket.AppendClose(nil, nil, websocket.GoingAway, "bye")
	stale := websocket.AppendFrame(nil, websocket.OpPong, true, nil, []byte("12345678"))
	for _, tt := range []struct {
		name   string
		accept func(string) string
		frames []byte
		want   string
	}{
		{"no Pong", websocket.AcceptKey, nil, "no answer within"},
		{"another Pong", websocket.AcceptKey, stale, "no answer within"},
		{"Close", websocket.AcceptKey, closing, "sent a Close"},
		{"masked", websocket.AcceptKey, websocket.AppendFrame(nil, websocket.OpPong, true, newMask(), nil), "masked"},
		{"wrong accept", func(string) string { return websocket.AcceptKey("x") }, nil, "does not answer the key"},
		{
			"too much", websocket.AcceptKey,
			websocket.AppendFrame(nil, websocket.OpText, true, nil, []byte(strings.Repeat("x", maxProbed))), "too long",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := endpoint("http", "127.0.0.1", switching(t, tt.accept, tt.frames))
			wantError(t, ask(t, e, asking{probe: Probe{Kind: WebSocketProbe, Ping: true, Timeout: 200 * time.Millisecond}}), tt.want)
		})
	}
}

// TestWebSocketProbeFindsItsPong hides it behind other frames.
func TestWebSocketProbeFindsItsPong(t *testing.T) {
	port := listen(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Error(err)
			return
		}
		head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
			websocket.AcceptKey(req.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
		ping := make([]byte, 2+4+8)
		out := append([]byte(head), websocket.AppendFrame(nil, websocket.OpText, false, nil, []byte("half a message"))...)
		out = append(out, websocket.AppendFrame(nil, websocket.OpPing, true, nil, []byte("a ping of its own"))...)
		_, _ = c.Write(out)
		if _, err := io.ReadFull(r, ping); err != nil {
			t.Error(err)
			return
		}
		pong := websocket.AppendFrame(nil, websocket.OpPong, true, nil, websocket.AppendPayload(nil, ping))
		for _, b := range pong {
			_, _ = c.Write([]byte{b})
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(r, 6)) // its Close, an empty one
	})
	wantError(t, ask(t, endpoint("http", "127.0.0.1", port), asking{probe: Probe{Kind: WebSocketProbe, Ping: true}}), "")
}
