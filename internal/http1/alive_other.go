//go:build !unix

package http1

import "net"

// quiet cannot tell here: a connection that has died shows when it is used (see [ClientConn.Repeatable]).
func quiet(net.Conn) bool { return true }

// hasEnded cannot tell either.
func hasEnded(net.Conn) bool { return false }
