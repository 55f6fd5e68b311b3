//go:build !linux

package upstream

import "syscall"

// setUserTimeout does nothing where TCP_USER_TIMEOUT does not exist: keep-alive alone notices
// dead peers there, and only on idle connections.
func setUserTimeout(_, _ string, _ syscall.RawConn) error { return nil }
