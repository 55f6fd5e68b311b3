package unit

import (
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "0B": 0, "1": 1, "512B": 512, "4096": 4096, "64KiB": 64 << 10, "64 KiB": 64 << 10, "1MiB": 1 << 20, "3GiB": 3 << 30,
		"9223372036854775807": math.MaxInt64, "8589934591GiB": 8589934591 << 30,
	} {
		if have, err := ParseSize(text); err != nil || have != want {
			t.Errorf("%q: %d, %v, want %d", text, have, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    `size "": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"64KB":                `size "64KB": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"1.5MiB":              `size "1.5MiB": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"-1":                  `size "-1": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"+1":                  `size "+1": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"KiB":                 `size "KiB": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"1_000":               `size "1_000": want a whole number of B, KiB, MiB or GiB, as 64KiB`,
		"8589934592GiB":       `size "8589934592GiB": too large`,
		"9223372036854775808": `size "9223372036854775808": too large`,
	} {
		if have, err := ParseSize(text); err == nil || err.Error() != want || have != 0 {
			t.Errorf("%q: %d, %v, want %s", text, have, err, want)
		}
	}
}

func TestSizeText(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0B", 1: "1B", 1023: "1023B", 1024: "1KiB", 1536: "1536B", 64 << 10: "64KiB", 1 << 20: "1MiB", 5 << 30: "5GiB", -1024: "-1KiB",
	} {
		if have := size.String(); have != want {
			t.Errorf("%d: %s, want %s", int64(size), have, want)
		}
	}
	s := Size(7)
	if err := s.UnmarshalText([]byte("x")); err == nil || s != 7 {
		t.Errorf("%d after a bad text, %v", s, err)
	}
	if err := s.UnmarshalText([]byte("2KiB")); err != nil || s != 2048 {
		t.Errorf("%d, %v", s, err)
	}
}

// FuzzSize: a size that is read, written and read again is the same.
func FuzzSize(f *testing.F) {
	for _, text := range []string{"0", "64KiB", "1 MiB", "9223372036854775807", "-1", "1e3", "B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := ParseSize(text)
		if err != nil {
			return
		}
		if first < 0 {
			t.Fatalf("%q: %d is negative", text, first)
		}
		written, _ := first.MarshalText()
		if second, err := ParseSize(string(written)); err != nil || second != first {
			t.Errorf("%q: %d, then %s: %d, %v", text, first, written, second, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "1h30m": 90 * time.Minute, "-1s": -time.Second, "1.5s": 1500 * time.Millisecond,
	} {
		if have, err := ParseDuration(text); err != nil || have != want {
			t.Errorf("%q: %v, %v, want %v", text, have, err, want)
		}
	}
	for text, want := range map[string]string{
		"30":   `duration "30": lacks a unit: want ms, s, m or h, as 30s`,
		"1.5":  `duration "1.5": lacks a unit: want ms, s, m or h, as 30s`,
		"":     `duration "": want a number with a unit, ms, s, m or h, as 30s or 1h30m`,
		"7d":   `duration "7d": want a number with a unit, ms, s, m or h, as 30s or 1h30m`,
		"soon": `duration "soon": want a number with a unit, ms, s, m or h, as 30s or 1h30m`,
		"30 s": `duration "30 s": want a number with a unit, ms, s, m or h, as 30s or 1h30m`,
	} {
		if _, err := ParseDuration(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
