//go:build !unix

package loop

import "net"

// pumpTCP is nil: here TCP is pumped as any other connection is.
func pumpTCP(*Loop, net.Conn) Stream { return nil }

func unackedConn(*net.TCPConn) int { return -1 }
