package upstream

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// farewellTimeout bounds the wait for the answer to a probe's Close: the verdict does not depend on it.
const farewellTimeout = time.Second

// checkWebSocket wants a good 101, and a Pong if the probe sends a Ping. Then it says goodbye.
func checkWebSocket(conn net.Conn, p *Probe) error {
	req, err := p.request()
	if err != nil {
		return err
	}
	key := websocket.NewKey()
	offered := websocket.Offered{}
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": websocket.Version, "Sec-WebSocket-Key": key,
	} {
		req.Header.Set(name, value)
	}
	if p.Subprotocol != "" {
		req.Header.Set("Sec-WebSocket-Protocol", p.Subprotocol)
		offered.Protocols = []string{p.Subprotocol}
	}
	if err := req.Write(conn); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	resp, err := readResponse(r, req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("status %d in place of 101", resp.StatusCode)
	}
	if _, err := websocket.CheckResponse(resp.StatusCode, resp.Header, key, offered); err != nil {
		return err
	}
	frames := probeFrames{r: r, cursor: websocket.NewCursor(false, false)}
	if p.Ping {
		var mark [8]byte
		_, _ = rand.Read(mark[:]) // never fails
		if _, err := conn.Write(websocket.AppendFrame(nil, websocket.OpPing, true, newMask(), mark[:])); err != nil {
			return err
		}
		if err := frames.until(websocket.OpPong, mark[:]); err != nil {
			return fmt.Errorf("waiting for the Pong: %w", err)
		}
	}
	_ = conn.SetDeadline(time.Now().Add(farewellTimeout))
	if _, err := conn.Write(websocket.AppendClose(nil, newMask(), websocket.Normal, "")); err == nil {
		_ = frames.until(websocket.OpClose, nil)
	}
	return nil
}

// probeFrames are what the endpoint sends after its 101.
type probeFrames struct {
	r      *bufio.Reader
	cursor websocket.Cursor
}

var errProbeClosed = errors.New("the endpoint sent a Close")

// until reads frames up to a control frame of that kind, with that payload unless it is nil. Others are passed over, but for
// a Close.
func (f *probeFrames) until(op websocket.Opcode, payload []byte) error {
	for {
		if _, err := f.r.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the connection ended")
			}
			return err
		}
		p, _ := f.r.Peek(f.r.Buffered())
		unit := bytes.Clone(f.cursor.Held())
		kind, n, err := f.cursor.Next(p)
		if err != nil {
			return err
		}
		unit = append(unit, p[:n]...)
		_, _ = f.r.Discard(n)
		if kind != websocket.Control {
			continue
		}
		switch f.cursor.Opcode() {
		case op:
			if payload == nil || bytes.Equal(websocket.AppendPayload(nil, unit), payload) {
				return nil
			}
		case websocket.OpClose:
			return errProbeClosed
		}
	}
}

func newMask() *[4]byte {
	mask := new([4]byte)
	_, _ = rand.Read(mask[:]) // never fails
	return mask
}
