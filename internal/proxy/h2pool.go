//nolint:staticcheck // deprecated in favour of net/http's, which takes the HTTP/2 of the toolchain
package proxy

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Bounds of connections to services that speak HTTP/2.
const (
	maxH2Conns  = 64               // of one key: each carries as many requests as its service lets it
	h2Idle      = 55 * time.Second // as http1.Pool's
	maxH2Fields = 64 << 10         // bytes of an answer's fields

	// h2Silence is the time without a frame after which a connection is asked whether it lives, which h2PingTimeout bounds. It is
	// long because gRPC servers end connections that ping more often than every 5 minutes while nothing moves; a host that
	// has gone is noticed by TCP long before.
	h2Silence     = 5*time.Minute + 10*time.Second
	h2PingTimeout = 15 * time.Second
)

// An h2Key says which connections are alike.
type h2Key struct {
	endpoint *upstream.Endpoint
	tls      *upstream.TLSSettings // by which the endpoint was verified
}

// h2Pool keeps the connections to services that speak HTTP/2; it is the http2.ClientConnPool of its transport, which
// repeats what a service has certainly not begun.
type h2Pool struct {
	transport *http2.Transport

	mu    sync.Mutex // guards the following
	conns map[h2Key][]*http2.ClientConn
	dials map[h2Key]chan struct{} // closed when the dial that is under way has ended
	shut  bool
}

func newH2Pool() *h2Pool {
	p := &h2Pool{conns: make(map[h2Key][]*http2.ClientConn), dials: make(map[h2Key]chan struct{})}
	p.transport = &http2.Transport{
		ConnPool: p, AllowHTTP: true, DisableCompression: true,
		MaxHeaderListSize: maxH2Fields, MaxReadFrameSize: maxFrame,
		IdleConnTimeout: h2Idle, ReadIdleTimeout: h2Silence, PingTimeout: h2PingTimeout, WriteByteTimeout: stallTimeout,
	}
	return p
}

// RoundTrip sends a request over a connection of the pool; its context has an *h2Dial.
func (p *h2Pool) RoundTrip(r *http.Request) (*http.Response, error) { return p.transport.RoundTrip(r) }

// An h2Dial goes with a request to the pool, in its context.
type h2Dial struct {
	key  h2Key
	dial func(ctx context.Context) (net.Conn, error)
}

type h2DialKey struct{}

// GetClientConn implements http2.ClientConnPool.
func (p *h2Pool) GetClientConn(r *http.Request, _ string) (*http2.ClientConn, error) {
	ctx := r.Context()
	d := ctx.Value(h2DialKey{}).(*h2Dial)
	for {
		cc, wait, err := p.take(d.key)
		if cc != nil || err != nil {
			return cc, err
		}
		if wait == nil {
			return p.open(ctx, d)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take reserves a place on a connection. Without one the caller opens a new one, if wait is nil, else waits for who does.
func (p *h2Pool) take(key h2Key) (cc *http2.ClientConn, wait chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.conns[key]
	for _, cc := range list {
		if cc.ReserveNewRequest() {
			return cc, nil, nil
		}
	}
	if wait := p.dials[key]; wait != nil {
		return nil, wait, nil
	}
	if len(list) >= maxH2Conns {
		return nil, nil, overLimit("connections")
	}
	p.dials[key] = make(chan struct{})
	return nil, nil, nil
}

// open opens a connection, with a place on it reserved, after take has said so.
func (p *h2Pool) open(ctx context.Context, d *h2Dial) (*http2.ClientConn, error) {
	conn, err := d.dial(ctx)
	var cc *http2.ClientConn
	if err == nil {
		if cc, err = p.transport.NewClientConn(conn); err != nil {
			_ = conn.Close()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.dials[d.key])
	delete(p.dials, d.key)
	if err != nil {
		return nil, err
	}
	cc.ReserveNewRequest()
	if !p.shut { // else it ends when it has been idle
		p.conns[d.key] = append(p.conns[d.key], cc)
	}
	return cc, nil
}

// MarkDead implements http2.ClientConnPool: a connection has ended, or takes no further request. Those that have been idle for
// long end by themselves.
func (p *h2Pool) MarkDead(cc *http2.ClientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, list := range p.conns {
		i := slices.Index(list, cc)
		if i < 0 {
			continue
		}
		if list = slices.Delete(list, i, i+1); len(list) == 0 {
			delete(p.conns, key)
		} else {
			p.conns[key] = list
		}
		return
	}
}

// Shut ends every connection when its last request has ended: idle ones now.
func (p *h2Pool) Shut() {
	p.mu.Lock()
	p.shut = true
	conns := p.conns
	p.conns = make(map[h2Key][]*http2.ClientConn)
	p.mu.Unlock()
	for _, list := range conns {
		for _, cc := range list {
			cc.SetDoNotReuse()
			if s := cc.State(); s.StreamsActive+s.StreamsReserved == 0 {
				_ = cc.Close()
			}
		}
	}
}
