package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// What a client waits for, at most.
const (
	chaosOpening = wait             // the answer to its handshake
	chaosFinish  = 30 * time.Second // the last answers
	chaosSilence = 5 * time.Second  // an answer, before it sends more although its numbers are all in flight
)

// A chaosClient holds one session open and sends numbers, a few in flight, until it is told to stop. It is one goroutine that
// reads; a drummer sends. So thousands of them are no load of their own.
type chaosClient struct {
	mode, name string
	address    string // of the gateway
	flight     int    // numbers in flight, at most
	pace       time.Duration
	stop       <-chan struct{}

	mu      sync.Mutex // guards the following
	conn    net.Conn   // nil: no session
	due     time.Time  // of the next number
	sent    int
	last    int // the last number that was answered
	base    int // the last number that counts as answered, or as lost
	heard   time.Time
	stopped bool

	// Tallies, of the reader until it has ended.
	from              string // who answered last
	answered, missing int
	moves             []chaosMove
	closes            map[websocket.Code]int
	silent            int      // closes without a reason
	refused           int      // handshakes that were not answered by a session
	lost              []string // ends that should not have been
	wrong             []string // answers out of order, or twice
}

// A chaosMove is the first answer of another instance.
type chaosMove struct {
	from, to string
	at       time.Time
}

// run opens sessions until stop is closed: with `off` each loss ends one.
func (c *chaosClient) run() {
	c.closes = map[websocket.Code]int{}
	for n := 0; c.session(n); n++ {
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		}
	}
}

// session is one; it tells whether another is due.
func (c *chaosClient) session(n int) (again bool) {
	conn, in, err := c.open(n)
	if err != nil {
		if c.refused++; c.mode != "off" {
			c.lost = append(c.lost, "not opened: "+err.Error())
			return false
		}
		return true // another instance may be dying: a client tries again
	}
	defer conn.Close()
	c.mu.Lock()
	c.conn, c.sent, c.last, c.base = conn, 0, 0, 0
	c.heard, c.due = time.Now(), time.Now().Add(rand.N(c.pace))
	c.from = ""
	if c.stopped {
		c.finish()
	}
	c.mu.Unlock()
	err = c.read(in)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = nil
	return c.ended(err)
}

// open shakes hands.
func (c *chaosClient) open(n int) (net.Conn, *bufio.Reader, error) {
	conn, err := net.DialTimeout("tcp", c.address, chaosOpening)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(chaosOpening))
	key := websocket.NewKey()
	fmt.Fprintf(conn, "GET /chaos-%s/ws/v1/x?client=%s&n=%d HTTP/1.1\r\nHost: chaos\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", c.mode, c.name, n, key)
	in := bufio.NewReaderSize(conn, 512)
	resp, err := http.ReadResponse(in, nil)
	if err == nil && resp.Header.Get("Sec-WebSocket-Accept") != websocket.AcceptKey(key) {
		err = errors.New(resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, in, nil
}

var errChaosOrder = errors.New("an answer out of order")

// A chaosClose is a Close of the gateway.
type chaosClose struct {
	code   websocket.Code
	reason string
}

func (c *chaosClose) Error() string { return fmt.Sprintf("Close %d %q", c.code, c.reason) }

// read takes what comes until the session ends.
func (c *chaosClient) read(in *bufio.Reader) error {
	var payload [websocket.MaxControl]byte
	for {
		head, err := in.Peek(2)
		if err != nil {
			return err
		}
		h, n, err := websocket.ParseHeader(head)
		if err != nil || n == 0 || !h.Fin || h.Masked {
			return fmt.Errorf("not a short frame of a server: % x", head)
		}
		_, _ = in.Discard(n)
		p := payload[:h.Length]
		if _, err := io.ReadFull(in, p); err != nil {
			return fmt.Errorf("cut inside a frame: %w", err)
		}
		switch h.Opcode {
		case websocket.OpText:
			err = c.take(string(p))
		case websocket.OpPing:
			c.mu.Lock()
			c.send(websocket.OpPong, p)
			c.mu.Unlock()
		case websocket.OpClose:
			code, reason, _ := websocket.ParseClose(p)
			c.mu.Lock()
			c.send(websocket.OpClose, p[:min(2, len(p))])
			c.mu.Unlock()
			return &chaosClose{code, reason}
		}
		if err != nil {
			return err
		}
	}
}

// take takes an answer: "<number> <instance>".
func (c *chaosClient) take(text string) error {
	number, instance, _ := strings.Cut(text, " ")
	k, err := strconv.Atoi(number)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || k <= c.last || k > c.sent {
		c.wrong = append(c.wrong, fmt.Sprintf("%q behind %d, sent %d", text, c.last, c.sent))
		return errChaosOrder
	}
	c.missing += k - c.last - 1
	c.answered++
	now := time.Now()
	if c.from != "" && instance != c.from {
		c.moves = append(c.moves, chaosMove{c.from, instance, now})
	}
	c.last, c.base, c.from, c.heard = k, max(k, c.base), instance, now
	if c.stopped && c.last == c.sent {
		c.goodbye()
	}
	return nil
}

// beat sends the next number, if it is due.
func (c *chaosClient) beat(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil || c.stopped || now.Before(c.due) {
		return
	}
	if c.sent-c.base >= c.flight {
		if c.mode == "replay" || now.Sub(c.heard) < chaosSilence {
			return
		}
		c.base = c.sent // those were lost, perhaps
	}
	c.sent++
	c.due = now.Add(c.pace)
	c.send(websocket.OpText, strconv.AppendInt(nil, int64(c.sent), 10))
}

// send is called with the lock held. What fails is seen by the reader, too.
func (c *chaosClient) send(op websocket.Opcode, payload []byte) {
	if c.conn == nil {
		return
	}
	var buf [websocket.MaxHeld]byte
	_ = c.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.conn.Write(websocket.AppendFrame(buf[:0], op, true, &[4]byte{1, 2, 3, 4}, payload))
}

// end has the client wait for the answers that are due, and go.
func (c *chaosClient) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.conn != nil {
		c.finish()
	}
}

func (c *chaosClient) finish() {
	_ = c.conn.SetReadDeadline(time.Now().Add(chaosFinish))
	if c.last == c.sent {
		c.goodbye()
	}
}

func (c *chaosClient) goodbye() { c.send(websocket.OpClose, []byte{3, 232}) }

// ended judges the end of a session, with the lock held; it tells whether another is due.
func (c *chaosClient) ended(err error) bool {
	var closed *chaosClose
	switch {
	case errors.Is(err, errChaosOrder):
		return false
	case c.stopped && c.last == c.sent && errors.As(err, &closed) && closed.code == websocket.Normal:
		return false
	case c.stopped && errors.Is(err, os.ErrDeadlineExceeded):
		c.missing += c.sent - c.last
		c.goodbye()
		return false
	case errors.As(err, &closed):
		if c.closes[closed.code]++; closed.reason == "" {
			c.silent++
		}
		if c.mode != "off" {
			c.lost = append(c.lost, err.Error())
		}
	default:
		c.lost = append(c.lost, err.Error())
	}
	return c.mode == "off"
}
