// Package unit reads and writes quantities as users write them: sizes and durations.
package unit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. Its text is a whole number with a unit, "64KiB", or plain bytes, "4096".
type Size int64

// sizeUnits are the units of a Size, the largest first.
var sizeUnits = []struct {
	name  string
	bytes Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads the text of a Size. It must not be negative.
func ParseSize(s string) (Size, error) {
	digits, factor := s, Size(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("size %q: too large", s)
	}
	if err != nil {
		return 0, fmt.Errorf("size %q: want a whole number of B, KiB, MiB or GiB, as 64KiB", s)
	}
	if n > math.MaxInt64/uint64(factor) {
		return 0, fmt.Errorf("size %q: too large", s)
	}
	return Size(n) * factor, nil
}

// String gives the text with the largest unit that needs no fraction.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalText serves decoders.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// MarshalText serves encoders.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseDuration reads a duration as Go writes it, "1h30m", "250ms". A number without a unit
// is an error, save 0.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		if f, bare := strconv.ParseFloat(s, 64); bare == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return 0, fmt.Errorf("duration %q: lacks a unit: want ms, s, m or h, as 30s", s)
		}
		return 0, fmt.Errorf("duration %q: want a number with a unit, ms, s, m or h, as 30s or 1h30m", s)
	}
	return d, nil
}
