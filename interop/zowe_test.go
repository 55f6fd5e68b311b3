package interop

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// orders are the two forms of a WebSocket URL, without its last part.
var orders = []string{"/discoverableclient/ws/v1", "/ws/v1/discoverableclient"}

// The cases of the Zowe API Mediation Layer's WebSocketProxyTest, as v1.25 runs them: in both
// URL orders, against its sample service `discoverableclient` with the user `user`. Headers of
// more than 8 KiB succeed, as in v3.
func TestZoweWebSocketProxy(t *testing.T) {
	d := startDemo(t, "--basic", "user:pass")
	valid := basic("user", "pass")
	for _, order := range orders {
		t.Run(strings.Trim(order, "/"), func(t *testing.T) {
			t.Run("1 a text comes back in upper case", func(t *testing.T) {
				d.dial(t, order+"/uppercase", valid).ask("hello world!", "HELLO WORLD!")
			})
			t.Run("2 headers and cookies reach the service", func(t *testing.T) {
				s := d.dial(t, order+"/header", with(valid, "X-Test", "value", "Cookie", "apimlAuthenticationToken=token-of-the-user",
					"X-Test-0", strings.Repeat("0", 3000), "X-Test-1", strings.Repeat("1", 3000)))
				s.wantHeaders("any", `x-test:"value"`, "apimlAuthenticationToken=token-of-the-user", "x-test-0", "x-test-1")
				s.wantHeaders("bye", `x-test:"value"`)
				s.wantClose(1000)
			})
			t.Run("3 the service's 404 is a Close 1003", func(t *testing.T) {
				if reason := d.dial(t, order+"/bad", valid).wantClose(1003); !strings.Contains(reason, "404") {
					t.Errorf("reason %q, want the service's status in it", reason)
				}
			})
			t.Run("6 headers of 9000 bytes succeed", func(t *testing.T) {
				header := with(valid)
				for i := range 3 {
					header.Set(fmt.Sprintf("X-Test-%d", i), strings.Repeat("x", 3000))
				}
				d.dial(t, order+"/header", header).wantHeaders("any", "x-test-2")
			})
			t.Run("7 a wrong password is a Close 1003", func(t *testing.T) {
				s := d.dial(t, order+"/uppercase", basic("user", "invalidPass"))
				s.wantReason(1003, "Invalid login credentials")
			})
			t.Run("8 bye is answered and then closed", func(t *testing.T) {
				s := d.dial(t, order+"/uppercase", valid)
				s.ask("bye", "BYE")
				s.wantReason(1000, "")
			})
		})
	}
	for _, path := range []string{"/wrong-service/ws/v1/uppercase", "/ws/v1/wrong-service/uppercase"} {
		t.Run("4 an unknown service is a Close 1003 "+path, func(t *testing.T) {
			d.dial(t, path, valid).wantReason(1003, "Requested service wrong-service is not known by the gateway")
		})
	}
	t.Run("5 a URL of another form is a Close 1003", func(t *testing.T) {
		d.dial(t, "/ws/wrong", nil).wantReason(1003, "Invalid URL format")
	})
	for _, path := range []string{"/discoverableclient/ws/v9/uppercase", "/ws/v9/discoverableclient/uppercase"} {
		t.Run("an unknown version is a Close 1003 "+path, func(t *testing.T) {
			d.dial(t, path, valid).wantReason(1003, "Requested ws/v9 url is not known by the gateway")
		})
	}
	for _, path := range []string{"/discoverableclient/api/v1/ws", "/api/v1/discoverableclient/ws"} {
		t.Run("9 the REST API answers "+path, func(t *testing.T) {
			status, body, err := d.get("https://"+d.https+path, nil)
			if err != nil || status != http.StatusOK {
				t.Fatalf("status %d, %v: %s", status, err, body)
			}
			var answer struct{ Content string }
			if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Content != "Hello, Web service!" {
				t.Errorf("got %s (%v), want the content %q", body, err, "Hello, Web service!")
			}
		})
	}
}

// Zowe's WebSocketChaoticTest, case 1: a session that is open when an instance is shut down is still answered, also when that instance
// carries it. There is one session at each instance.
func TestZoweSessionOutlivesInstance(t *testing.T) {
	d := startDemo(t, "--basic", "user:pass")
	valid := basic("user", "pass")
	names, err := d.running()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		for _, order := range orders {
			for _, name := range names {
				var sessions []*session
				for range names {
					sessions = append(sessions, d.dial(t, order+"/uppercase", valid))
				}
				d.change(t, name, "stop")
				for _, s := range sessions {
					s.ask("hello world!", "HELLO WORLD!")
					s.ask(fmt.Sprintf("round %d", round), fmt.Sprintf("ROUND %d", round))
				}
				d.change(t, name, "start")
				for _, s := range sessions {
					_ = s.conn.CloseNow()
				}
			}
		}
	}
}

// Zowe's WebSocketChaoticTest, cases 2 and 3: a new session works after an instance was shut
// down, whichever it was, and with none left the client is told why.
func TestZoweInstanceShutDown(t *testing.T) {
	d := startDemo(t, "--basic", "user:pass")
	valid := basic("user", "pass")
	names, err := d.running()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		d.change(t, name, "stop")
		for _, order := range orders {
			s := d.dial(t, order+"/uppercase", valid)
			s.ask("hello world 2!", "HELLO WORLD 2!")
			_ = s.conn.CloseNow()
		}
		d.change(t, name, "start")
	}
	for _, name := range names {
		d.change(t, name, "stop")
	}
	d.dial(t, orders[0]+"/uppercase", valid).
		wantReason(1012, "Requested service discoverableclient does not have available instance")
	d.change(t, names[0], "start")
	d.dial(t, orders[1]+"/uppercase", valid).ask("and back", "AND BACK")
}

// with is h and more headers, given as name, value, name, value…
func with(h http.Header, pairs ...string) http.Header {
	h = h.Clone()
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// wantHeaders sends text and wants all pieces in the answer, a list of headers.
func (s *session) wantHeaders(text string, pieces ...string) {
	s.t.Helper()
	s.send(text)
	answer := s.receive()
	for _, piece := range pieces {
		if !strings.Contains(answer, piece) {
			s.t.Errorf("the service saw %.300s, want %q in it", answer, piece)
		}
	}
}

// wantReason wants a Close with this code and exactly this reason as the next event.
func (s *session) wantReason(code websocket.StatusCode, reason string) {
	s.t.Helper()
	if got := s.wantClose(code); got != reason {
		s.t.Errorf("Close %d has the reason %q, want %q", code, got, reason)
	}
}
