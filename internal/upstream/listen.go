package upstream

import (
	"context"
	"net"
	"net/netip"
)

// Listen binds address for TCP with the liveness bounds of Dialer on what it accepts: a
// client that vanished is found by keep-alive, or by bytes that stay unacknowledged.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     keepAliveIdle,
			Interval: keepAliveInterval,
			Count:    keepAliveCount,
		},
		Control: setUserTimeout, // accepted connections inherit it
	}
	network := "tcp"
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().Is4() {
		network = "tcp4" // "0.0.0.0" means what it says, and not "[::]" too
	}
	return lc.Listen(ctx, network, address)
}
