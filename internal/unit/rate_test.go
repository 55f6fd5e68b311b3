package unit

import (
	"math"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	for text, want := range map[string]struct {
		interval time.Duration
		text     string
	}{
		"100/s": {10 * time.Millisecond, "100/s"}, "100": {10 * time.Millisecond, "100/s"}, "600/m": {100 * time.Millisecond, "10/s"},
		"90 /m": {time.Second * 2 / 3, "90/m"}, "50/h": {72 * time.Second, "50/h"}, "0": {math.MaxInt64, "0/s"},
	} {
		r, err := ParseRate(text)
		if err != nil || r.Interval().Round(time.Microsecond) != want.interval.Round(time.Microsecond) || r.String() != want.text {
			t.Errorf("%q: %v %v %v, want %v", text, r, r.Interval(), err, want)
		}
		again, err := ParseRate(r.String())
		if err != nil || again != r {
			t.Errorf("%q: written as %s and read again it is %v, %v", text, r, again, err)
		}
	}
	for _, text := range []string{"", "/s", "1.5/s", "-1/s", "5/d", "many", "1/ s", "4294967296"} {
		if r, err := ParseRate(text); err == nil {
			t.Errorf("%q: %v, want an error", text, r)
		}
	}
	r := Rate(3)
	if err := r.UnmarshalText([]byte("x")); err == nil || r != 3 {
		t.Errorf("%v after a bad text, %v", r, err)
	}
	if text, _ := r.MarshalText(); string(text) != "3/s" {
		t.Errorf("%s", text)
	}
}
