package interop

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// What services speak: WebSocket with a word and without, HTTP/2 in clear text.
func TestGatewayProtocols(t *testing.T) {
	m := newManifests(t)
	for name, protocol := range map[string]string{"h2c": "kubernetes.io/h2c", "ws": "kubernetes.io/ws", "unsaid": ""} {
		m.service(name, protocol, startEcho(t, name, nil).address)
	}
	m.object(m.ca.issue(t, "any.example").secret("site"))
	m.file("protocols.yaml")
	m.start("80", "443")

	t.Run("HTTPRouteBackendProtocolH2C", func(t *testing.T) {
		h2 := m.newClient(priorKnowledge)
		for _, c := range []*http.Client{m.client, h2} {
			a := askWith(t, c, http.MethodPost, "http://any.example/h2c", "a body", "X-Any", "1")
			saw := a.saw
			if saw.Proto != "HTTP/2.0" || saw.Body != "a body" || saw.Header.Get("X-Any") != "1" || saw.Host != "any.example" {
				t.Errorf("over %s: %d %+v", a.Proto, a.StatusCode, saw)
			}
		}
		if a := askWith(t, h2, http.MethodGet, "http://any.example/unsaid", ""); a.ProtoMajor != 2 || a.saw.Proto != "HTTP/1.1" {
			t.Errorf("a service without appProtocol: %s in, %s out", a.Proto, a.saw.Proto)
		}
	})
	t.Run("HTTPRouteBackendProtocolWebSocket", func(t *testing.T) {
		for _, service := range []string{"ws", "unsaid"} {
			s := m.open(t, "ws://any.example/"+service+"?x", "Origin", "http://any.example", "Sec-WebSocket-Protocol", "chat.v1")
			if s.saw.Service != service || s.saw.URI != "/"+service+"?x" || s.saw.Host != "any.example" || s.conn.Subprotocol() != "chat.v1" {
				t.Errorf("%+v, subprotocol %q", s.saw, s.conn.Subprotocol())
			}
			big := strings.Repeat("0123456789abcdef", 1<<12)
			s.ask(big, big)
			if err := s.conn.Write(t.Context(), websocket.MessageBinary, []byte{0, 1, 2, 255}); err != nil {
				t.Fatal(err)
			}
			if got := s.receive(); got != "\x00\x01\x02\xff" {
				t.Errorf("%q comes back", got)
			}
			if err := s.conn.Ping(s.conn.CloseRead(t.Context())); err != nil {
				t.Errorf("ping: %v", err)
			}
			_ = s.conn.Close(4001, "the end")
			m.logged(t, `"service":"default/`+service+`:8080"`, `"status":101`, `"close_code":4001`)
		}
	})
}
