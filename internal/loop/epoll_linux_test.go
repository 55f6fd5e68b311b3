package loop

import "testing"

// The self-test passes with this toolchain, so that TLS is polled.
func TestSelfTest(t *testing.T) {
	at, err := findLayout()
	if err != nil {
		t.Fatal(err)
	}
	if err := selfTest(&at); err != nil {
		t.Fatal(err)
	}
}
