//go:build !linux

package proxy

import (
	"net/netip"
	"syscall"
)

// Elsewhere a socket that is bound to every address answers from the one that the kernel chooses.

func tellDestination(_, _ string, _ syscall.RawConn) error { return nil }

func destination([]byte) netip.Addr { return netip.Addr{} }

func answerFrom([]byte) []byte { return nil }
