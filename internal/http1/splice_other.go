//go:build !linux

package http1

const canSplice = false
