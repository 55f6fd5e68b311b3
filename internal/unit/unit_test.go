package unit

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
		back string
	}{
		{"0", 0, "0B"},
		{"0KiB", 0, "0B"},
		{"1", 1, "1B"},
		{"512B", 512, "512B"},
		{"4096", 4096, "4KiB"},
		{"64KiB", 64 << 10, "64KiB"},
		{"64 KiB", 64 << 10, "64KiB"},
		{"1025KiB", 1025 << 10, "1025KiB"},
		{"1MiB", 1 << 20, "1MiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807B"},
		{"8589934591GiB", 8589934591 << 30, "8589934591GiB"},
	} {
		got, err := ParseSize(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", c.text, int64(got), err, int64(c.want))
		}
		if got.String() != c.back {
			t.Errorf("%q is written as %q, want %q", c.text, got, c.back)
		}
	}
}

func TestParseSizeRefuses(t *testing.T) {
	const want = ": want a whole number of B, KiB, MiB or GiB, as 64KiB"
	for text, err := range map[string]string{
		"":                    `size ""` + want,
		"KiB":                 `size "KiB"` + want,
		"-1":                  `size "-1"` + want,
		"+1":                  `size "+1"` + want,
		"1.5MiB":              `size "1.5MiB"` + want,
		"64K":                 `size "64K"` + want,
		"64kb":                `size "64kb"` + want,
		"1_000":               `size "1_000"` + want,
		" 1":                  `size " 1"` + want,
		"0x10":                `size "0x10"` + want,
		"9223372036854775808": `size "9223372036854775808"` + want,
		"8589934592GiB":       `size "8589934592GiB": too large`,
	} {
		n, got := ParseSize(text)
		if got == nil || got.Error() != err || n != 0 {
			t.Errorf("ParseSize(%q) = %d, %v; want %s", text, n, got, err)
		}
	}
}

func TestUnmarshalTextKeepsTheValueOnError(t *testing.T) {
	s := Size(7)
	if err := s.UnmarshalText([]byte("much")); err == nil || s != 7 {
		t.Errorf("%v, %v; want an error and 7B", s, err)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"-1s": -time.Second, "1.5s": 1500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	const bare = ": lacks a unit: want ms, s, m or h, as 30s"
	const other = ": want a number with a unit, ms, s, m or h, as 30s or 1h30m"
	for text, want := range map[string]string{
		"5":                    `duration "5"` + bare,
		"-5":                   `duration "-5"` + bare,
		"1.5":                  `duration "1.5"` + bare,
		"":                     `duration ""` + other,
		"inf":                  `duration "inf"` + other,
		"5 minutes":            `duration "5 minutes"` + other,
		"5 s":                  `duration "5 s"` + other,
		"7d":                   `duration "7d"` + other,
		"s":                    `duration "s"` + other,
		"99999999999999999999h": `duration "99999999999999999999h"` + other,
	} {
		if got, err := ParseDuration(text); err == nil || err.Error() != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
}

// FuzzSize holds: what parses is not negative, and its text parses to the same; any size that
// is not negative survives being written and read.
func FuzzSize(f *testing.F) {
	f.Add("64KiB", int64(4096))
	f.Add("8589934591GiB", int64(math.MaxInt64))
	f.Add("0B", int64(0))
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if s, err := ParseSize(text); err == nil {
			if again, err := ParseSize(s.String()); err != nil || again != s || s < 0 {
				t.Errorf("%q is %d, written %q, read again %d, %v", text, int64(s), s, int64(again), err)
			}
		}
		if n < 0 {
			return
		}
		written, err := Size(n).MarshalText()
		var again Size
		if err != nil || again.UnmarshalText(written) != nil || int64(again) != n {
			t.Errorf("%d is written %q, %v, read %d", n, written, err, int64(again))
		}
	})
}

// FuzzDuration holds: what parses is what time.ParseDuration says, and survives its own text.
func FuzzDuration(f *testing.F) {
	f.Add("1h30m")
	f.Add("5")
	f.Add("-0")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if want, werr := time.ParseDuration(text); (err == nil) != (werr == nil) || d != want {
			t.Errorf("%q: %v, %v; want %v, %v", text, d, err, want, werr)
		}
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%q is %v, read again %v, %v", text, d, again, err)
		}
	})
}
