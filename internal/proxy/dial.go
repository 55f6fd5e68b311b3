package proxy

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// dial connects to ep, TLS handshake included, until deadline; connecting alone has the route's own bound. The
// wait ends early if the client goes.
func (x *exchange) dial(p *route.Policy, ep *upstream.Endpoint, deadline time.Time) (conn net.Conn, err error) {
	if l := x.run.Loop(); l != nil {
		conn, err = x.dialOn(l, p, ep, deadline)
	} else {
		conn, err = x.dialAway(p, ep, deadline)
	}
	x.service = conn
	return conn, err
}

// dialAway is dial in a goroutine.
func (x *exchange) dialAway(p *route.Policy, ep *upstream.Endpoint, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := x.leash.holdDial(cancel); err != nil {
		return nil, err
	}
	conn, err := x.settings.dialer(p).Dial(ctx, ep)
	if gone := x.leash.letGo(); gone != nil {
		if err == nil {
			conn.Close()
		}
		return nil, gone
	}
	return conn, err
}

// dialer is the settings' dialer with the route's own bound.
func (set *Settings) dialer(p *route.Policy) *upstream.Dialer {
	d := *set.upstream
	d.Wrap = loop.Wrap
	d.Timeout = p.Timeouts.Effective().Connect
	return &d
}

// unreached tells whether a request failed before anything of it was sent.
func unreached(err error) bool {
	var e *upstream.DialError
	return errors.As(err, &e) && !overloaded(err)
}

// overloaded tells that the gateway itself has run out of descriptors or memory for one
// more connection: no fault of the endpoint's.
func overloaded(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOBUFS)
}
