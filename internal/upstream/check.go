package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// probeAgent is the User-Agent of every probe.
const probeAgent = "Fairlead-Probe"

// Bounds on what one probe reads.
const (
	maxProbed      = 256 << 10 // bytes off the connection
	maxProbedBody  = 64 << 10  // bytes of an answer's body
	maxProbedWords = 200       // bytes of an endpoint's own words in an error
	maxInterim     = 8         // 1xx answers before the final one
)

var errProbedTooMuch = errors.New("the answer is too long")

// check asks e once, within ctx. The error says in words why e is not well.
func check(ctx context.Context, d *Dialer, e *Endpoint, a asking) error {
	if err := a.probe.Check(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	if a.probe.OwnHost && a.probe.Host == "" {
		a.probe.Host = e.Address()
	}
	conn, err := d.dialProbe(ctx, e, a)
	if err != nil {
		return late(ctx, a, err)
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	switch a.probe.Kind {
	case HTTPProbe:
		err = checkHTTP(ctx, conn, e, a)
	case GRPCProbe:
		err = checkGRPC(ctx, conn, e, &a.probe)
	case WebSocketProbe:
		err = checkWebSocket(conn, &a.probe)
	}
	return late(ctx, a, err)
}

// late says a timeout as such, whatever it interrupted.
func late(ctx context.Context, a asking, err error) error {
	var dial *DialError
	if err == nil || errors.As(err, &dial) && ctx.Err() == nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer within %s", a.probe.timeout())
	}
	return err
}

// dialProbe connects to where the probe is for.
func (d *Dialer) dialProbe(ctx context.Context, e *Endpoint, a asking) (*probeConn, error) {
	probing := Dialer{TLS: d.TLS, Resolver: d.Resolver, Timeout: d.Timeout, ALPN: []string{"http/1.1"}, named: true}
	switch {
	case a.probe.Kind == GRPCProbe:
		probing.ALPN = []string{http2.NextProtoTLS}
	case a.probe.Kind == HTTPProbe && a.protocol == H2 && a.probe.samePort(e):
		probing.ALPN = []string{http2.NextProtoTLS, "http/1.1"}
	}
	address := e.Address()
	if a.probe.Port != 0 {
		address = net.JoinHostPort(e.Host, strconv.Itoa(a.probe.Port))
	}
	conn, err := probing.dial(ctx, e, address, a.probe.secure(e))
	if err != nil {
		return nil, err
	}
	return &probeConn{Conn: conn, left: maxProbed}, nil
}

// A probeConn gives no more than so many bytes of what an endpoint sends.
type probeConn struct {
	net.Conn
	left int
}

func (c *probeConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errProbedTooMuch
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

// agreed is the protocol that TLS has settled on; "" in clear text, or if it settled on none.
func (c *probeConn) agreed() string {
	if t, ok := c.Conn.(*tls.Conn); ok {
		return t.ConnectionState().NegotiatedProtocol
	}
	return ""
}

// request is the head of an HTTP probe, and of a WebSocket probe before its own fields.
func (p *Probe) request() (*http.Request, error) {
	path := p.Path
	if path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("path %q: it must begin with /", path)
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, fmt.Errorf("path %q: it is no path of a URL", path)
	}
	host := p.Host
	if host == "" {
		host = "localhost"
	}
	if !httpguts.ValidHostHeader(host) {
		return nil, fmt.Errorf("host %q: it is no host name", host)
	}
	if p.Subprotocol != "" && !httpguts.ValidHeaderFieldName(p.Subprotocol) { // both are tokens
		return nil, fmt.Errorf("subprotocol %q: it is no token", p.Subprotocol)
	}
	u.Scheme, u.Host = "http", host
	return &http.Request{
		Method: http.MethodGet, URL: u, Host: host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"User-Agent": {probeAgent}},
	}, nil
}

// checkHTTP wants an answer with the right status, and in its body the right words.
func checkHTTP(ctx context.Context, conn *probeConn, e *Endpoint, a asking) error {
	p := &a.probe
	req, err := p.request()
	if err != nil {
		return err
	}
	if p.secure(e) {
		req.URL.Scheme = "https"
	}
	trip := roundTrip1
	if conn.agreed() == http2.NextProtoTLS || a.protocol == H2C && p.samePort(e) && !p.secure(e) {
		trip = roundTrip2
	}
	resp, err := trip(req.WithContext(ctx), conn) // its body is never closed: that would read it to its end
	if err != nil {
		return err
	}
	if !p.wants(resp.StatusCode) {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if p.Body == "" {
		return nil
	}
	return find(resp.Body, []byte(p.Body))
}

// find reads until want has come. An answer that never ends is fine if it is in it.
func find(body io.Reader, want []byte) error {
	seen := make([]byte, 0, 4<<10)
	for {
		if cap(seen)-len(seen) < 1<<10 {
			seen = append(seen, make([]byte, len(seen))...)[:len(seen)]
		}
		from := max(0, len(seen)-len(want))
		n, err := body.Read(seen[len(seen):min(cap(seen), maxProbedBody)])
		seen = seen[:len(seen)+n]
		switch {
		case bytes.Contains(seen[from:], want):
			return nil
		case err == io.EOF: //nolint:errorlint // io.Reader's own promise
			return fmt.Errorf("the body (%d bytes) does not contain %q", len(seen), cut(string(want)))
		case err != nil:
			return err
		case len(seen) == maxProbedBody:
			return fmt.Errorf("the first %d bytes of the body do not contain %q", len(seen), cut(string(want)))
		}
	}
}

// roundTrip1 is one exchange over HTTP/1.1.
func roundTrip1(req *http.Request, conn *probeConn) (*http.Response, error) {
	req.Close = true
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	return readResponse(bufio.NewReader(conn), req)
}

// readResponse reads the final head of an answer.
func readResponse(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(r, req)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the connection ended before the answer")
		case err != nil:
			return nil, err
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
	}
	return nil, errors.New("too many interim answers")
}

// roundTrip2 is one exchange over HTTP/2. The connection is spent by it.
func roundTrip2(req *http.Request, conn *probeConn) (*http.Response, error) {
	// The newest of golang.org/x/net, not the one bundled with net/http, which may have known holes.
	t := &http2.Transport{AllowHTTP: true, DisableCompression: true, MaxHeaderListSize: maxProbedBody} //nolint:staticcheck // see above
	cc, err := t.NewClientConn(conn)                                                                   //nolint:staticcheck // see above
	if err != nil {
		return nil, err
	}
	return cc.RoundTrip(req)
}

// cut bounds the words of others.
func cut(s string) string {
	if len(s) > maxProbedWords {
		return s[:maxProbedWords] + "…"
	}
	return s
}
