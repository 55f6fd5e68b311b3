//go:build !linux

package loop

import (
	"crypto/tls"
	"errors"
	"iter"
	"net"
	"net/netip"
	"time"
)

// run starts nothing: here every connection is pumped.
func (e *Engine) run() { e.opts.Log.Info("session engine", "kind", "pump") }

// A poller does not exist here.
type poller struct {
	timers     wheel
	handshakes bool
}

func (*poller) wake() {}

func (*Loop) stop() {}

func (*Loop) attach(net.Conn) Stream { return nil }

// A Conn does not exist here: no loop polls.
type Conn struct{ net.Conn }

func (*Conn) Attend()                {}
func (*Conn) Loop() *Loop            { return nil }
func (*Conn) OnHangup(func())        {}
func (*Conn) OnClosed(func())        {}
func (*Conn) CloseWrite() error      { return errors.ErrUnsupported }
func (*Conn) Abort()                 {}
func (*Conn) Peer() netip.AddrPort   { return netip.AddrPort{} }
func (*Conn) SetPeer(netip.AddrPort) {}
func (*Conn) TLS() *tls.Conn         { return nil }
func (*Conn) Noted() any             { return nil }

func (*Conn) Alive() bool         { return false }
func (*Conn) SetLinger(int) error { return errors.ErrUnsupported }

// Leave is never called here.
func (*Conn) Leave() (net.Conn, error) { return nil, errors.ErrUnsupported }

// A Listener does not exist here.
type Listener struct{}

// Close is never called here.
func (*Listener) Close() {}

// Listen says that nothing polls.
func (e *Engine) Listen(*net.TCPListener, ListenOptions) (*Listener, error) {
	e.start.Do(e.run)
	return nil, errors.ErrUnsupported
}

// Each calls nothing: there are no loops.
func (*Engine) Each(func(*Loop)) {}

// Handlers yields nothing.
func (*Loop) Handlers() iter.Seq[Handler] { return func(func(Handler) bool) {} }

// Go is never called here.
func (*Loop) Go(func(Runner)) { panic("loop: it does not poll") }

// Dial is never called here.
func (*Loop) Dial(netip.AddrPort, DialOptions) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

// Adopt is never called here.
func (*Loop) Adopt(net.Conn) (*Conn, error) { return nil, errors.ErrUnsupported }

// StartTLS is never called here.
func (*Loop) StartTLS(*Conn, *tls.Config, time.Time) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

var _ = [...]any{(*wheel).run, (*wheel).timeout, (*Loop).rise, time.Now}
