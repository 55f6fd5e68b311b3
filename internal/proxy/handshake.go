package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/http1"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// Bounds on what a service may send before its 101 is complete.
const (
	maxAnswerBody     = 1 << 20 // of an answer that is no 101; the rest is cut
	maxInterim        = 8       // 1xx answers before the final one
	answerBodyTimeout = 30 * time.Second
)

// upstreamConn is a WebSocket connection to an endpoint after its 101.
type upstreamConn struct {
	conn   net.Conn
	head   []byte // bytes that came glued to the 101
	agreed *websocket.Agreed
	fields http1.Fields // of the 101
}

// handshakeRequest is what the gateway says to the endpoint.
type handshakeRequest struct {
	target   string // path and query, as they go on the wire
	host     string
	key      string
	deflate  []string // permessage-deflate elements that are offered
	forwards forwards
}

// appendHandshake appends the endpoint's handshake: what the gateway says itself, then the client's own fields
// (RFC 6455, section 4.1; zowe.md, section 1.5).
func (x *exchange) appendHandshake(b []byte, q *handshakeRequest) []byte {
	b = http1.AppendRequestLine(b, http.MethodGet, q.target)
	b = http1.AppendField(b, "Host", q.host)
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"...)
	b = http1.AppendField(b, "Sec-WebSocket-Key", q.key)
	if len(x.offer.Protocols) > 0 {
		b = http1.AppendField(b, "Sec-WebSocket-Protocol", strings.Join(x.offer.Protocols, ", "))
	}
	if len(q.deflate) > 0 {
		b = http1.AppendField(b, "Sec-WebSocket-Extensions", strings.Join(q.deflate, ", "))
	}
	b = x.appendFields(b, &q.forwards)
	return append(b, "\r\n"...)
}

// openUpstream shakes hands with ep over conn, until deadline. Any answer but a correct 101 is an
// *answerError; its connection, if any, must be closed by whoever takes it.
func (x *exchange) openUpstream(conn net.Conn, ep *upstream.Endpoint, q *handshakeRequest, deadline time.Time) (*upstreamConn, error) {
	c := &x.shaking
	c.Reset(conn)
	c.SetLimit(deadline)
	if err := x.leash.hold(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	up, err := x.shake(c, q)
	if gone := x.leash.letGo(); gone != nil && err == nil {
		up.conn.Close()
		return nil, gone
	}
	if err == nil {
		return up, nil
	}
	var answered *answerError
	if errors.As(err, &answered) && answered.conn != nil {
		return nil, err
	}
	_ = c.Close()
	if gone := x.leash.ended(); gone != nil {
		return nil, gone
	}
	return nil, fmt.Errorf("endpoint %s: handshake: %w", ep.Address(), err)
}

// shake writes the request, and reads and judges the answer.
func (x *exchange) shake(c *http1.ClientConn, q *handshakeRequest) (*upstreamConn, error) {
	x.head = x.appendHandshake(x.head[:0], q)
	if err := c.Send(x.head, nil, false); err != nil {
		return nil, err
	}
	for range maxInterim {
		resp := &x.call.answer
		if err := c.ReadResponse(http.MethodGet, resp, 0); err != nil {
			return nil, err
		}
		if resp.Status < 200 && resp.Status != http.StatusSwitchingProtocols {
			continue
		}
		if resp.Status != http.StatusSwitchingProtocols {
			return nil, &answerError{head: resp, conn: c}
		}
		if err := plainSwitch(resp); err != nil {
			return nil, err
		}
		agreed, err := websocket.CheckResponse(resp.Status, &resp.Fields, q.key, websocket.Offered{Protocols: x.offer.Protocols, Deflate: q.deflate})
		if err != nil {
			return nil, &answerError{reason: err.Error()}
		}
		up := &x.opened
		*up = upstreamConn{agreed: agreed, fields: resp.Fields}
		up.conn, up.head = c.TakeOver()
		return up, nil
	}
	return nil, errInterim
}

var errInterim = fmt.Errorf("answer: more than %d interim answers", maxInterim)

// plainSwitch tells what is wrong with a 101 (RFC 9110, section 7.8, and RFC 9112, section 6).
func plainSwitch(resp *http1.Response) error {
	length := resp.Fields.Get("Content-Length")
	if resp.Minor == 0 || length != "" && length != "0" || resp.Fields.Has("Transfer-Encoding") {
		return &answerError{reason: "a 101 of HTTP/1.0, or with a body"}
	}
	return nil
}

// switchFields makes the fields of the client's 101: the service's end-to-end fields as they came, then
// what was agreed. The messages of a session that is movable have to stand for themselves.
func (x *exchange) switchFields(up *upstreamConn, movable bool) http1.Fields {
	fields := x.answerFields(up.fields)
	kept := fields[:0]
	for _, f := range fields {
		switch kindOf(f.Name) {
		case fieldContentLength, fieldTrailer, fieldHopChain, fieldReserved:
			continue
		case fieldHandshake:
			if isWebSocketField(f.Name) {
				continue
			}
		}
		kept = append(kept, f)
	}
	kept = x.edited(kept)
	if protocol := x.protocolFor(up.agreed.Protocol); protocol != "" {
		kept.Add("Sec-WebSocket-Protocol", protocol)
	}
	switch {
	case up.agreed.Extensions == "":
	case movable:
		kept.Add("Sec-WebSocket-Extensions", up.agreed.WithoutContext())
	default:
		kept.Add("Sec-WebSocket-Extensions", up.agreed.Extensions)
	}
	return kept
}

func isWebSocketField(name string) bool {
	const prefix = "sec-websocket-"
	return len(name) > len(prefix) && foldEqual(name[:len(prefix)], prefix)
}

// writeSwitch writes the 101 to the client. RFC 6455, section 4.2.2.
func (x *exchange) writeSwitch(w io.Writer, fields http1.Fields) error {
	b := http1.AppendStatusLine(x.head[:0], http.StatusSwitchingProtocols, "Switching Protocols")
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(websocket.AppendAcceptKey(b, x.offer.Key), "\r\n"...)
	x.head = append(fields.Append(b), "\r\n"...)
	_, err := w.Write(x.head)
	return err
}
