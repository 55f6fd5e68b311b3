package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
	"github.com/fairlead-gateway/fairlead/internal/websocket"
)

// Bounds on what a service may send before its 101 is complete.
const (
	maxAnswerHead     = 64 << 10
	maxAnswerBody     = 1 << 20 // of an answer that is no 101; the rest is cut
	maxInterim        = 8       // 1xx answers before the final one
	answerBodyTimeout = 30 * time.Second
)

// notForwarded are the handshake headers that the gateway makes itself or that concern
// one leg only; everything else of the client's handshake passes (zowe.md, section 1.5).
var notForwarded = []string{
	"Cache-Control", "Pragma", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Protocol",
	"Sec-Websocket-Extensions", "Sec-Websocket-Accept", "Content-Length", "Expect",
}

// upstreamConn is a WebSocket connection to an endpoint after its 101.
type upstreamConn struct {
	conn   net.Conn
	head   []byte // bytes that came glued to the 101
	agreed *websocket.Agreed
	header http.Header // end-to-end headers of the 101
}

// handshakeRequest is what the gateway says to the endpoint.
type handshakeRequest struct {
	target string // path and query, as they go on the wire
	host   string
	key    string
	offer  *websocket.Offer
	header http.Header
}

// handshakeHeader makes the header of the endpoint's handshake from the client's.
func handshakeHeader(x *exchange, m route.Match, client http.Header, checked bool) http.Header {
	h := client.Clone()
	removeHopByHop(h)
	removeReserved(h)
	for _, name := range notForwarded {
		delete(h, name)
	}
	if checked { // a credential that the gateway itself checked is not the service's business
		delete(h, "Authorization")
	}
	x.origin.setForward(h, m.Prefix)
	x.setHops(h)
	h["X-Request-Id"] = []string{x.record.RequestID}
	h["Fairlead-Session-Id"] = []string{x.record.SessionID}
	return h
}

// write sends the request. RFC 6455, section 4.1.
func (q *handshakeRequest) write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("GET " + q.target + " HTTP/1.1\r\nHost: " + q.host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
	b.WriteString("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + q.key + "\r\n")
	if len(q.offer.Protocols) > 0 {
		b.WriteString("Sec-WebSocket-Protocol: " + strings.Join(q.offer.Protocols, ", ") + "\r\n")
	}
	if len(q.offer.Deflate) > 0 {
		b.WriteString("Sec-WebSocket-Extensions: " + strings.Join(q.offer.Deflate, ", ") + "\r\n")
	}
	if err := q.header.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// openUpstream dials ep and shakes hands with it, all within ctx. Any answer but a correct
// 101 is an *answerError; its response body, if any, must be closed by whoever takes it.
func openUpstream(ctx context.Context, d *upstream.Dialer, ep *upstream.Endpoint, q *handshakeRequest) (*upstreamConn, error) {
	conn, err := d.Dial(ctx, ep)
	if err != nil {
		return nil, err
	}
	// The deadline of ctx, and its end before that, end every wait on conn.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	up, err := shake(conn, q)
	if !stop() && err == nil {
		err = ctx.Err() // the deadline fired while the answer came in: conn is spoilt
	}
	if err == nil {
		return up, nil
	}
	var answered *answerError
	if errors.As(err, &answered) && answered.resp != nil {
		_ = conn.SetDeadline(time.Now().Add(answerBodyTimeout))
		answered.resp.Body = &ownedBody{ReadCloser: answered.resp.Body, conn: conn}
		return nil, err
	}
	conn.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, fmt.Errorf("endpoint %s: handshake: %w", ep.Address(), err)
}

// shake writes the request, and reads and judges the answer.
func shake(conn net.Conn, q *handshakeRequest) (*upstreamConn, error) {
	if err := q.write(conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxAnswerHead}
	br := bufio.NewReader(limited)
	req := &http.Request{Method: http.MethodGet}
	for range maxInterim {
		resp, err := http.ReadResponse(br, req)
		if err != nil {
			if limited.N <= 0 {
				return nil, fmt.Errorf("answer: head larger than %d bytes", maxAnswerHead)
			}
			return nil, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			limited.N = maxAnswerBody
			return nil, &answerError{resp: resp}
		}
		length := resp.Header.Get("Content-Length")
		if !resp.ProtoAtLeast(1, 1) || length != "" && length != "0" || len(resp.TransferEncoding) > 0 {
			// RFC 9110, section 7.8, and RFC 9112, section 6: a 101 is HTTP/1.1 and has no body.
			return nil, &answerError{reason: "a 101 of HTTP/1.0, or with a body"}
		}
		agreed, err := websocket.CheckResponse(resp.StatusCode, resp.Header, q.key, websocket.Offered{Protocols: q.offer.Protocols, Deflate: q.offer.Deflate})
		if err != nil {
			return nil, &answerError{reason: err.Error()}
		}
		up := &upstreamConn{conn: conn, agreed: agreed, header: resp.Header}
		if n := br.Buffered(); n > 0 {
			up.head = make([]byte, n)
			_, _ = io.ReadFull(br, up.head) // buffered bytes: cannot fail
		}
		return up, nil
	}
	return nil, fmt.Errorf("answer: more than %d interim answers", maxInterim)
}

// ownedBody closes the connection with the body that came over it.
type ownedBody struct {
	io.ReadCloser
	conn net.Conn
}

func (b *ownedBody) Close() error {
	err := b.ReadCloser.Close()
	b.conn.Close()
	return err
}

// switchHeader makes the client's 101 header: the service's end-to-end headers, what was
// agreed, and the answer to the client's own key.
func switchHeader(up *upstreamConn, requestID string) http.Header {
	h := up.header
	removeHopByHop(h)
	for name := range h {
		if strings.HasPrefix(name, "Sec-Websocket-") || strings.HasPrefix(name, "Fairlead-") {
			delete(h, name)
		}
	}
	delete(h, "Content-Length")
	if up.agreed.Protocol != "" {
		h["Sec-WebSocket-Protocol"] = []string{up.agreed.Protocol}
	}
	if up.agreed.Extensions != "" {
		h["Sec-WebSocket-Extensions"] = []string{up.agreed.Extensions}
	}
	h["X-Request-Id"] = []string{requestID}
	return h
}

// writeSwitch writes the 101 to the client. RFC 6455, section 4.2.2.
func writeSwitch(w io.Writer, key string, h http.Header) error {
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b.WriteString(websocket.AcceptKey(key) + "\r\n")
	if err := h.Write(&b); err != nil {
		return err
	}
	b.WriteString("\r\n")
	_, err := io.WriteString(w, b.String())
	return err
}
