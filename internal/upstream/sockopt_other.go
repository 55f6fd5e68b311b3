//go:build !linux

package upstream

import "syscall"

// setUserTimeout does nothing where TCP_USER_TIMEOUT does not exist: keep-alive alone notices
// dead peers there, and only on idle connections.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }

// BoundUnacked does nothing here.
func BoundUnacked(int) error { return nil }

// KeepAlive does nothing here: connections are Dialer's.
func KeepAlive(int) error { return nil }
