package proxy

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// defaultHeaderBytes bounds a request's head.
const defaultHeaderBytes = 64 << 10

func (l *Limits) headerBytes() int64 {
	if l.HeaderBytes > 0 {
		return int64(l.HeaderBytes)
	}
	return defaultHeaderBytes
}

// limitedListener closes connections above limits.connections as soon as they come.
type limitedListener struct {
	net.Listener
	s    *Server
	wrap bool // for TLS: sessions move to a loop later
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		limit := l.s.settings.Load().limits.Connections
		if limit <= 0 || l.s.conns.Load()+int64(l.s.Sessions.Len()) < int64(limit) {
			if l.wrap {
				c = loop.Wrap(c)
			}
			return c, nil
		}
		l.s.refused.Add(1)
		l.s.Log.Warn("connection refused", "limit", "limits.connections", "client", c.RemoteAddr().String())
		c.Close()
	}
}

// connState counts connections that net/http holds; a hijacked one is a session from then on.
func (s *Server) connState(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		s.fresh.Store(c, nil)
	} else {
		s.fresh.Delete(c)
	}
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}

// Bounds of the pool of connections to endpoints.
const (
	maxIdlePerEndpoint = 128
	maxIdle            = 2048
	upstreamIdle       = 55 * time.Second // below the 60 s at which many servers hang up
)

// newTransport pools HTTP/1.1 connections to endpoints, dialled as sessions' are.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            dialCall,
		DialTLSContext:         dialCall,
		DisableCompression:     true, // what the service sends passes as it is
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerEndpoint,
		IdleConnTimeout:        upstreamIdle,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxAnswerHead,
	}
}

// dialCall connects to the endpoint of the call that needs a connection first.
func dialCall(ctx context.Context, _, _ string) (net.Conn, error) {
	c := ctx.Value(callKey{}).(*call)
	ctx, cancel := context.WithTimeout(ctx, c.match.Policy.Timeouts.Effective().Handshake)
	defer cancel()
	return c.dialer.Dial(ctx, c.endpoint)
}

// dialer is the settings' dialer with the route's own bound.
func (set *Settings) dialer(p *route.Policy) *upstream.Dialer {
	d := *set.upstream
	d.Wrap = loop.Wrap
	d.Timeout = p.Timeouts.Effective().Connect
	return &d
}
