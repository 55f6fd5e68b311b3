package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// A far is a peer of the gateway, as raw bytes: the client of a session, or its service. It notes what it gets, answers a Close, and
// Pings unless it is deaf.
type far struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
	mask *[4]byte

	mu   sync.Mutex // guards the following
	deaf bool
	got  []string
	part int           // how much it has of a frame that is not whole
	done chan struct{} // closed at the end of the connection
}

// listen reads until the connection ends.
func (f *far) listen() {
	defer close(f.done)
	cur := websocket.NewCursor(f.mask == nil, false)
	var frame []byte
	for b := make([]byte, 1); ; {
		if n, err := f.br.Read(b); n == 0 {
			f.ended(err, cur.AtFrame())
			return
		}
		frame = append(frame, b...)
		kind, _, err := cur.Next(b)
		if err != nil {
			f.note("broken: " + err.Error())
		}
		if kind == websocket.None || cur.Left() > 0 {
			f.has(len(frame))
			continue
		}
		f.has(0)
		f.took(cur.Opcode(), websocket.AppendPayload(nil, frame))
		frame = frame[:0]
	}
}

func (f *far) took(op websocket.Opcode, payload []byte) {
	switch op {
	case websocket.OpClose:
		code, reason, _ := websocket.ParseClose(payload)
		f.note(fmt.Sprintf("%d %s", code, reason))
		_, _ = f.conn.Write(websocket.AppendClose(nil, f.mask, code, reason))
		if f.mask == nil { // RFC 6455, section 7.1.1: the server ends the connection
			_ = f.conn.(*net.TCPConn).CloseWrite()
		}
	case websocket.OpPing:
		if f.hears() {
			_, _ = f.conn.Write(websocket.AppendFrame(nil, websocket.OpPong, true, f.mask, payload))
		}
	case websocket.OpText:
		if len(payload) > 0 {
			f.note(string(payload))
		}
	}
}

func (f *far) hears() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.deaf
}

// deafen has it answer no Ping any more.
func (f *far) deafen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = true
}

// has notes that it has so much of a frame.
func (f *far) has(part int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.part = part
}

func (f *far) ended(err error, atFrame bool) {
	if !atFrame {
		f.note("part of a frame")
	}
	switch {
	case errors.Is(err, io.EOF):
		f.note("FIN")
		if f.mask != nil { // a client is the second to end
			f.fin()
		}
	case errors.Is(err, net.ErrClosed):
	default:
		f.note("RST")
	}
}

func (f *far) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, what)
}

// said is all that it got, without "up", which is what each service says first.
func (f *far) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.TrimPrefix(strings.TrimPrefix(strings.Join(f.got, ", "), "up"), ", ")
}

// heard waits until it got what.
func (f *far) heard(what string) {
	f.t.Helper()
	eventually(f.t, what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Contains(f.got, what)
	})
}

// partly waits until it has a part of a frame.
func (f *far) partly() {
	f.t.Helper()
	eventually(f.t, "a part of a frame", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.part > 2
	})
}

func (f *far) send(b []byte) {
	f.t.Helper()
	if _, err := f.conn.Write(b); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) frame(op websocket.Opcode, payload string) []byte {
	return websocket.AppendFrame(nil, op, true, f.mask, []byte(payload))
}

func (f *far) text(s string) { f.t.Helper(); f.send(f.frame(websocket.OpText, s)) }
func (f *far) bye(code websocket.Code, reason string) {
	f.send(websocket.AppendClose(nil, f.mask, code, reason))
}
func (f *far) fin()   { _ = f.conn.(*net.TCPConn).CloseWrite() }
func (f *far) reset() { _ = f.conn.(*net.TCPConn).SetLinger(0); f.conn.Close() }
func newFar(t *testing.T, c net.Conn, br *bufio.Reader, mask *[4]byte) *far {
	return &far{t: t, conn: c, br: br, mask: mask, done: make(chan struct{})}
}

// An ending is an open session that is about to end.
type ending struct {
	g          *gateway
	client, up *far
}

// openEnding opens a session through a gateway of its own. slow: the client reads nothing.
func openEnding(t *testing.T, policy func(*route.Policy), query string, slow bool) *ending {
	t.Helper()
	e := &ending{}
	ups := make(chan *far, 1)
	addr := rawService(t, func(c net.Conn, br *bufio.Reader, head string) {
		up := newFar(t, c, br, nil)
		_, _ = io.WriteString(c, acceptSwitch(head)+unmasked(websocket.OpText, "up"))
		ups <- up
		up.listen()
		<-t.Context().Done() // it goes when it says so
	})
	e.g = startGateway(t, service{id: "svc", routes: wsRoute, endpoints: []string{addr}, policy: func(p *route.Policy) {
		p.WebSocket.CloseTimeout = wait // both answer a Close
		if slow {
			p.WebSocket.CloseTimeout = 2 * time.Second // the service does
		}
		if policy != nil {
			policy(p)
		}
	}})
	e.g.stall = 100 * time.Millisecond
	c, br, head := talk(t, e.g, handshake("/svc/ws/v1/x"+query, "gw"))
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatal(head)
	}
	e.client, e.up = newFar(t, c, br, &[4]byte{1, 2, 3, 4}), <-ups
	listened := make(chan struct{})
	go func() {
		defer close(listened)
		if slow {
			<-e.up.done // and nobody asks what it got
			return
		}
		e.client.listen()
	}()
	t.Cleanup(func() { c.Close(); <-listened })
	if !slow {
		e.client.heard("up")
	}
	return e
}

// flood has the service say nothing, again and again, until it is told to end. Every byte of it ends a frame, or is held back.
func (e *ending) flood() {
	for frames := bytes.Repeat([]byte("\x81\x00"), 32<<10); ; {
		if _, err := e.up.conn.Write(frames); err != nil {
			return
		}
	}
}

// TestClosing is the design's table "Closing": what each side gets, and what the access log says, for everything that can end a session.
// Where the session moves instead: move_test.go. How one ends that did not begin: TestConnectFailure.
func TestClosing(t *testing.T) {
	type line struct {
		code           int
		reason, by, of string // of: cause
	}
	off := func(p *route.Policy) { p.WebSocket.Failover = route.FailoverOff }
	with := func(set func(w *route.WebSocket)) func(*route.Policy) {
		return func(p *route.Policy) { off(p); set(&p.WebSocket) }
	}
	leaving := func(e *ending) { e.g.endpoint(0).Drain(true) } // and its sessions are left alone
	pings := func(w *route.WebSocket) { w.PingInterval, w.PongTimeout = 20*time.Millisecond, time.Second }
	await := func(*ending) {}
	const cut = "\x81\x84\x00\x00\x00\x00he" // half a frame of a client; of a service it is "\x81\x04he"
	for name, c := range map[string]struct {
		policy     func(*route.Policy)
		query      string
		act        func(e *ending)
		client, up string // what it gets; "-": it is the one that goes without a word
		line       line
	}{
		"both say Close": {
			off, "", func(e *ending) { e.client.bye(4321, "mine") },
			"4321 mine, FIN", "4321 mine, FIN",
			line{4321, "mine", "client", "close handshake"},
		},
		"the service says Close, and nothing else": {
			off, "", func(e *ending) { e.up.bye(1000, "") },
			"1000 , FIN", "1000 , FIN",
			line{1000, "", "upstream", "close handshake"},
		},

		"client FIN": {
			off, "", func(e *ending) { e.client.fin(); e.up.heard("FIN"); e.up.text("the rest"); e.up.fin() },
			"the rest, FIN", "FIN",
			line{0, "", "client", "client fin"},
		},
		"client lost": {
			off, "", func(e *ending) { e.client.reset() },
			"-", "1001 client gone, FIN",
			line{1001, "client gone", "client", "client lost"},
		},
		"client lost within a frame": {
			off, "", func(e *ending) { e.client.send([]byte(cut)); e.up.partly(); e.client.reset() },
			"-", "part of a frame, RST",
			line{0, "", "client", "cut"},
		},
		"client's Pong missing": {
			with(pings), "", func(e *ending) { e.client.deafen() },
			"RST", "1001 client gone, FIN",
			line{1001, "client gone", "client", "pong timeout"},
		},

		"service FIN": {
			off, "", func(e *ending) { e.up.text("last words"); e.up.fin() },
			"last words, 1011 " + reasonLost + ", FIN", "FIN",
			line{1011, reasonLost, "upstream", "upstream lost"},
		},
		"service RST": {
			off, "", func(e *ending) { e.up.reset() },
			"1011 " + reasonLost + ", FIN", "-",
			line{1011, reasonLost, "upstream", "upstream lost"},
		},
		"service FIN, leaving": {
			off, "", func(e *ending) { leaving(e); e.up.fin() },
			"1012 " + reasonLeaving + ", FIN", "FIN",
			line{1012, reasonLeaving, "upstream", "upstream lost"},
		},
		"service RST, nobody else": {
			soon, "", func(e *ending) { e.up.reset() },
			"1012 " + reasonNoOther + ", FIN", "-",
			line{1012, reasonNoOther, "upstream", "upstream lost"},
		},
		"service RST, its state gone with it": {
			nil, "?EIO=4", func(e *ending) { e.up.reset() },
			"1012 " + reasonLost + ", FIN", "-",
			line{1012, reasonLost, "upstream", "upstream lost"},
		},
		"service lost within a frame": {
			off, "", func(e *ending) { e.up.send([]byte("\x81\x04he")); e.client.partly(); e.up.fin() },
			"part of a frame, RST", "FIN",
			line{0, "", "upstream", "cut"},
		},
		"service's Close 1012": {
			off, "", func(e *ending) { e.up.bye(1012, "restart") },
			"1012 restart, FIN", "1012 restart, FIN",
			line{1012, "restart", "upstream", "close handshake"},
		},
		"service's Close 1012, nobody else": {
			soon, "", func(e *ending) { e.up.bye(1012, "restart") },
			"1012 restart, FIN", "1012 restart, FIN",
			line{1012, "restart", "upstream", "upstream closing"},
		},
		"service's Close 1001": {
			off, "", func(e *ending) { e.up.bye(1001, "you are idle") },
			"1001 you are idle, FIN", "1001 you are idle, FIN",
			line{1001, "you are idle", "upstream", "close handshake"},
		},
		"service's Close 1001, and it goes": {
			soon, "", func(e *ending) { leaving(e); e.up.bye(1001, "bye") },
			"1001 bye, FIN", "1001 bye, FIN",
			line{1001, "bye", "upstream", "upstream closing"},
		},
		"service's Pong missing": {
			with(pings), "", func(e *ending) { e.up.deafen() },
			"1011 " + reasonLost + ", FIN", "RST",
			line{1011, reasonLost, "upstream", "pong timeout"},
		},
		"service's Pong missing, close": {
			with(func(w *route.WebSocket) { pings(w); w.OnUnhealthy = route.CloseAll }), "", func(e *ending) { e.up.deafen() },
			"1012 " + reasonUnhealthy + ", FIN", "RST",
			line{1012, reasonUnhealthy, "upstream", "pong timeout"},
		},

		"the gateway stops": {off, "", func(e *ending) {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			e.g.Shutdown(ctx)
		}, "1001 " + shutdownReason + ", FIN", "1001 " + shutdownReason + ", FIN", line{1001, shutdownReason, "gateway", "shutdown"}},
		"an operator": {off, "", func(e *ending) {
			all, _ := e.g.Sessions.List(0, 1)
			e.g.Sessions.Close(all[0].Record.SessionID, 4000, "not you", "closed by an operator")
		}, "4000 not you, FIN", "1001 not you, FIN", line{4000, "not you", "gateway", "closed by an operator"}},
		"drain": {
			with(func(w *route.WebSocket) { w.Drain = route.CloseAll }), "", func(e *ending) { e.g.DrainEndpoint(e.g.endpoint(0)) },
			"1012 " + reasonLeaving + ", FIN", "1001 drain, FIN",
			line{1012, reasonLeaving, "gateway", "drain"},
		},
		"unhealthy": {with(func(w *route.WebSocket) { w.OnUnhealthy = route.CloseAll }), "", func(e *ending) {
			how := func(p *sessionPolicy) route.Wait { return p.moving.OnUnhealthy }
			e.g.depart(e.g.endpoint(0), causeUnhealthy, func() bool { return true }, how)
		}, "1012 " + reasonUnhealthy + ", FIN", "RST", line{1012, reasonUnhealthy, "upstream", "unhealthy"}},

		"message rate": {
			with(func(w *route.WebSocket) { w.MessageRate, w.MessageBurst = unit.Rate(1./3600), 2 }), "", func(e *ending) {
				e.client.text("one")
				e.client.text("two")
				e.client.text("three")
			}, "1008 message rate exceeded, FIN", "one, two, 1001 message rate exceeded, FIN",
			line{1008, "message rate exceeded", "gateway", "message rate exceeded"},
		},
		"slow reader": {
			off, "", (*ending).flood,
			"-", "1001 slow reader, FIN",
			line{1008, "slow reader", "gateway", "slow reader"},
		},
		"idle": {
			with(func(w *route.WebSocket) { w.IdleTimeout = 50 * time.Millisecond }), "", await,
			"1001 idle timeout, FIN", "1001 idle timeout, FIN",
			line{1001, "idle timeout", "gateway", "idle timeout"},
		},
		"maximum duration": {
			with(func(w *route.WebSocket) { w.MaxDuration = 100 * time.Millisecond }), "", await,
			"1001 maximum duration, FIN", "1001 maximum duration, FIN",
			line{1001, "maximum duration", "gateway", "maximum duration"},
		},
		"message too big": {
			with(func(w *route.WebSocket) { w.MaxMessageSize = 3 }), "", func(e *ending) { e.client.text("four") },
			"1009 message too big, FIN", "1001 message too big, FIN",
			line{1009, "message too big", "gateway", "message too big"},
		},
		"frame too big, of the service": {
			with(func(w *route.WebSocket) { w.MaxFrameSize = 3 }), "", func(e *ending) { e.up.text("four") },
			"1009 message too big, FIN", "1001 message too big, FIN",
			line{1009, "message too big", "gateway", "message too big"},
		},
		"frame rule broken by the client": { // its Close is not waited for: it cannot be read
			with(func(w *route.WebSocket) { w.CloseTimeout = time.Second }), "", func(e *ending) { e.client.send([]byte("\x83\x80\x00\x00\x00\x00")) },
			"1002 protocol error: reserved opcode, FIN", "1001 protocol error, FIN",
			line{1002, "protocol error: reserved opcode", "client", "protocol error"},
		},
		"frame rule broken by the service": {
			off, "", func(e *ending) { e.up.send([]byte("\x83\x00")) },
			"1011 protocol error, FIN", "1002 protocol error: reserved opcode, FIN",
			line{1011, "protocol error", "upstream", "protocol error"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openEnding(t, c.policy, c.query, name == "slow reader")
			c.act(e)
			rec := e.g.log.next(t)
			if c.client != "-" {
				<-e.client.done
			}
			<-e.up.done
			if got := e.client.said(); got != c.client && c.client != "-" {
				t.Errorf("the client got   %q\nwant             %q", got, c.client)
			}
			if got := e.up.said(); got != c.up && c.up != "-" {
				t.Errorf("the service got  %q\nwant             %q", got, c.up)
			}
			text := func(key string) string { s, _ := rec[key].(string); return s }
			code, _ := rec["close_code"].(float64)
			if got := (line{int(code), text("close_reason"), text("closed_by"), text("cause")}); got != c.line {
				t.Errorf("the line says    %v\nwant             %v", got, c.line)
			}
		})
	}
}
