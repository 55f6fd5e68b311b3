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
	d := dialing{x.run, &x.leash, x.settings.upstream, p.Timeouts.Effective().Connect}
	conn, err = d.dial(ep, deadline)
	x.service = conn
	return conn, err
}

// A dialing is how straight code connects to an endpoint.
type dialing struct {
	run     loop.Runner
	leash   *leash // ends the wait
	dialer  *upstream.Dialer
	connect time.Duration // bounds connecting alone
}

// dial is exchange.dial.
func (d *dialing) dial(ep *upstream.Endpoint, deadline time.Time) (net.Conn, error) {
	if l := d.run.Loop(); l != nil {
		return d.on(l, ep, deadline)
	}
	return d.away(ep, deadline)
}

// away is dial in a goroutine.
func (d *dialing) away(ep *upstream.Endpoint, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	if err := d.leash.holdDial(cancel); err != nil {
		return nil, err
	}
	conn, err := bounded(d.dialer, d.connect).Dial(ctx, ep)
	if gone := d.leash.letGo(); gone != nil {
		if err == nil {
			conn.Close()
		}
		return nil, gone
	}
	return conn, err
}

// dialer is the settings' dialer with the route's own bound.
func (set *Settings) dialer(p *route.Policy) *upstream.Dialer {
	return bounded(set.upstream, p.Timeouts.Effective().Connect)
}

// bounded is a dialer with a bound of its own, for connections that a loop may take.
func bounded(of *upstream.Dialer, connect time.Duration) *upstream.Dialer {
	d := *of
	d.Wrap, d.Timeout = loop.Wrap, connect
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
