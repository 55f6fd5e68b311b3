package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of things per second. Its text is a whole number per second, minute or hour,
// "100/s", "600/m", "50/h"; a bare number is per second. Zero is no rate: nobody is held to it.
type Rate float64

// rateUnits are the units of a Rate.
var rateUnits = []struct {
	name string
	per  time.Duration
}{{"/s", time.Second}, {"/m", time.Minute}, {"/h", time.Hour}}

// ParseRate reads the text of a Rate. It must not be negative.
func ParseRate(s string) (Rate, error) {
	digits, per := s, time.Second
	for _, u := range rateUnits {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			digits, per = strings.TrimSpace(rest), u.per
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("rate %q: want a whole number per second, minute or hour, as 100/s, 600/m or 50/h", s)
	}
	return Rate(float64(n) / per.Seconds()), nil
}

// Interval is the time between two things at the rate; the longest there is if it is zero.
func (r Rate) Interval() time.Duration {
	if r <= 0 {
		return math.MaxInt64
	}
	return time.Duration(float64(time.Second) / float64(r))
}

// String gives the text with the shortest unit that needs no fraction.
func (r Rate) String() string {
	for _, u := range rateUnits {
		n := float64(r) * u.per.Seconds()
		if whole := math.Round(n); math.Abs(n-whole) < 1e-6 {
			return strconv.FormatFloat(whole, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(float64(r), 'g', -1, 64) + "/s"
}

// UnmarshalText serves decoders.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := ParseRate(string(text))
	if err == nil {
		*r = v
	}
	return err
}

// MarshalText serves encoders.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
