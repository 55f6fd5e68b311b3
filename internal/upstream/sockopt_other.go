//go:build !linux

package upstream

import "syscall"

// setUserTimeout does nothing where TCP_USER_TIMEOUT does not exist: keep-alive alone notices
// dead peers there, and only on idle connections.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }

// Tune does nothing here: connections are dialled by Dialer.
func Tune(int) error { return nil }
