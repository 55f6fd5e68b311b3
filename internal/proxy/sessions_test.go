package proxy

import (
	"testing"
	"unsafe"
)

// A session is kept for hours, in great numbers: what it takes is no accident. The relay's part has a test of its own.
func TestSessionSize(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 128 {
		t.Errorf("a Session takes %d bytes, want 128 at most", n)
	}
}
