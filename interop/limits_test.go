package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A limited is a service for the tests of what bounds a session. It answers each text with itself, and tells how each session ended.
type limited struct {
	deaf  bool // it reads nothing, and so answers no Ping
	pings atomic.Int32
	ended chan error
}

func (s *limited) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { s.pings.Add(1); return true },
	})
	if err != nil {
		return
	}
	defer c.CloseNow()
	if s.deaf {
		<-r.Context().Done()
		return
	}
	for {
		kind, text, err := c.Read(context.Background())
		if err == nil {
			err = c.Write(context.Background(), kind, text)
		}
		if err != nil {
			s.ended <- err
			return
		}
	}
}

// What bounds a session in time and number ends it with a code and a reason of its own, which the client, the service and the access log
// are told. Metadata says the bounds.
func TestSessionLimits(t *testing.T) {
	g := startGateway(t, newPKI(t))
	pinged := func(timeout string) map[string]string {
		return map[string]string{"pingInterval": "100ms", "pongTimeout": timeout, "failover": "off"}
	}
	mute := pinged("4s") // also what the side that answers may be late: this machine is busy
	type told struct {
		code   websocket.StatusCode
		reason string
	}
	for _, c := range []struct {
		name            string
		policy          map[string]string // websocket.*
		deaf            bool              // the service
		act             func(s *session)  // nil: the client only reads
		client, service told              // code 0: it is told nothing
		by, cause       string
	}{
		{
			"idle",
			map[string]string{"idleTimeout": "300ms"},
			false, nil,
			told{1001, "idle timeout"},
			told{1001, "idle timeout"},
			"gateway", "idle timeout",
		},
		{
			"idle-but-pings",
			map[string]string{"idleTimeout": "500ms", "idleCounts": "messages"},
			false, (*session).keepPinging,
			told{1001, "idle timeout"},
			told{1001, "idle timeout"},
			"gateway", "idle timeout",
		},
		{
			"duration",
			map[string]string{"maxDuration": "1s"},
			false, (*session).keepTalking,
			told{1001, "maximum duration"},
			told{1001, "maximum duration"},
			"gateway", "maximum duration",
		},
		{"silent-client", mute, false, nil, told{}, told{1001, "client gone"}, "client", "pong timeout"},
		{"silent-service", mute, true, nil, told{1011, "Connection to the service was lost"}, told{}, "upstream", "pong timeout"},
		{
			"rate",
			map[string]string{"messageRate": "6/m", "messageBurst": "5"},
			false, (*session).keepTalking,
			told{1008, "message rate exceeded"},
			told{1001, "message rate exceeded"},
			"gateway", "message rate exceeded",
		},
		{
			"size",
			map[string]string{"maxMessageSize": "3"},
			false, func(s *session) { s.send("four") },
			told{1009, "message too big"},
			told{1001, "message too big"},
			"gateway", "message too big",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			service := &limited{deaf: c.deaf, ended: make(chan error, 1)}
			app := "limit-" + c.name
			g.serveWith(t, app, service, c.policy)
			s := g.dial(t, "/"+app+"/ws/v1/x", nil)
			if c.act != nil {
				c.act(s)
			}
			if c.client.code != 0 { // else it reads nothing
				if closed := s.lastWord(); (told{closed.Code, closed.Reason}) != c.client {
					t.Errorf("the client ended with %v, want %v", closed, c.client)
				}
			}
			if c.service.code != 0 {
				var closed websocket.CloseError
				if err := <-service.ended; !errors.As(err, &closed) || (told{closed.Code, closed.Reason}) != c.service {
					t.Errorf("the service ended with %v, want %v", err, c.service)
				}
			}
			want := c.client
			if want.code == 0 {
				want = c.service
			}
			line := g.logged(t, `"service":"`+app+`"`, `"session_id"`)
			if line["close_code"] != float64(want.code) || line["close_reason"] != want.reason ||
				line["closed_by"] != c.by || line["cause"] != c.cause {
				t.Errorf("the access log has %v", line)
			}
			if lasted := line["duration_ms"].(float64); c.name == "duration" && lasted < 500 { // well below the nine tenths
				t.Errorf("it lasted %v ms of 1 s", lasted)
			}
		})
	}
	t.Run("pings", func(t *testing.T) { // both sides answer, and stay
		t.Parallel()
		service := &limited{ended: make(chan error, 1)}
		g.serveWith(t, "limit-pings", service, pinged("1m"))
		var pings atomic.Int32
		s := g.dialWith(t, "/limit-pings/ws/v1/x", &websocket.DialOptions{
			OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return true },
		})
		for service.pings.Load() < 8 || pings.Load() < 8 {
			s.ask("still", "still")
		}
	})
	t.Run("timeouts", func(t *testing.T) { // of requests: none of them cuts an open session
		t.Parallel()
		metadata := map[string]string{}
		for _, name := range []string{"connect", "handshake", "response", "request", "backendRequest"} {
			metadata["fairlead.timeouts."+name] = "400ms"
		}
		address := g.serve(t, "limit-timeouts", &limited{ended: make(chan error, 1)})
		g.register(t, "limit-timeouts", address, metadata)
		s := g.dialPatiently(t, "/limit-timeouts/ws/v1/x")
		for open := time.Now(); time.Since(open) < time.Second; time.Sleep(50 * time.Millisecond) { // longer than each of them
			s.ask("still", "still")
		}
		s.ask("after", "after")
	})
}

// serveWith is serve under a policy for WebSocket sessions.
func (g *gateway) serveWith(t *testing.T, app string, handler http.Handler, policy map[string]string) {
	t.Helper()
	metadata := map[string]string{}
	for name, value := range policy {
		metadata["fairlead.websocket."+name] = value
	}
	g.register(t, app, g.serve(t, app, handler), metadata)
}

// dialPatiently opens a session whose handshake has little time, so that it may be refused a few times.
func (g *gateway) dialPatiently(t *testing.T, path string) (s *session) {
	t.Helper()
	waitFor(t, "a session", 3*wait, []*process{g.process}, func() error {
		s = g.dial(t, path, nil) // a refusal is a Close
		if err := s.conn.Write(t.Context(), websocket.MessageText, []byte("open")); err != nil {
			return err
		}
		_, err := s.read()
		return err
	})
	return s
}

// keepTalking sends texts until the session ends.
func (s *session) keepTalking() {
	go func() {
		for n := 0; s.conn.Write(s.t.Context(), websocket.MessageText, fmt.Append(nil, n)) == nil; n++ {
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// keepPinging sends Pings until the session ends.
func (s *session) keepPinging() {
	go func() {
		for s.conn.Ping(s.t.Context()) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// lastWord reads until the session ends.
func (s *session) lastWord() (closed websocket.CloseError) {
	for {
		if _, err := s.read(); err != nil {
			if !errors.As(err, &closed) {
				s.t.Errorf("the session ended with %v", err)
			}
			return closed
		}
	}
}
