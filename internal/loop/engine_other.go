//go:build !linux

package loop

import (
	"net"
	"time"
)

// run starts nothing: here every connection is pumped.
func (e *Engine) run() { e.opts.Log.Info("session engine", "kind", "pump") }

// A poller does not exist here.
type poller struct{ timers wheel }

func (*poller) wake() {}

func (*Loop) stop() {}

func (*Loop) attach(net.Conn) Stream { return nil }

var _ = [...]any{(*wheel).run, (*wheel).timeout, (*Loop).rise, time.Now}
