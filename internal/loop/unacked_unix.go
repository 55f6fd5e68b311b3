//go:build unix && !linux

package loop

// unacked is -1: there is no portable way to ask.
func unacked(int) int { return -1 }

// limitUnsent does nothing: the kernel keeps what it likes.
func limitUnsent(int, int) {}
