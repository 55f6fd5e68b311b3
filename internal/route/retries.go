package route

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Retries is when and how often a request is sent once more, to an endpoint that has not failed if there is one. Only a request whose body
// has at most 64KiB is. Where a route says nothing of codes, attempts or backoff, a GET on an Eureka route that is answered 503 is sent
// five times more, as Zowe does; other requests are sent once.
type Retries struct {
	// Codes are the statuses, 400 to 599, after which a request is sent once more. Default none: after connections that break, alone.
	Codes []int `yaml:"codes"`

	// Attempts is how often at most, beyond the first; 0, or off, is never. Default 1.
	Attempts Attempts `yaml:"attempts"`

	// Backoff is the pause before the second attempt, a minute at most, or off; it doubles with each further one, to ten times at most, and
	// up to half of it is added by chance. Default off.
	Backoff time.Duration `yaml:"backoff"`

	// Methods are those that are sent once more though the service may have acted on them: idempotent (GET, HEAD, OPTIONS, PUT and DELETE;
	// where nothing else is said of retries GET alone) or all. Registered metadata may also say apiml.okToRetryOnAllOperations: true,
	// which is all. Default idempotent. Danger: with all, an order may be placed twice.
	Methods RetryMethods `yaml:"methods"`
}

const (
	defaultAttempts = 1
	maxAttempts     = 100
	maxBackoff      = time.Minute // a request waits in the gateway for so long
)

// Retry is what the policy says of retries; nil: nothing, but perhaps of Methods.
func (p *Policy) Retry() *Retry {
	r := &p.Retries
	if r.Codes == nil && r.Attempts == 0 && r.Backoff == 0 {
		return nil
	}
	out := &Retry{Codes: r.Codes, Attempts: int(max(r.Attempts, 0)), Backoff: max(r.Backoff, 0), Methods: r.Methods}
	if r.Attempts == 0 {
		out.Attempts = defaultAttempts
	}
	if out.Methods == "" {
		out.Methods = RetryIdempotent
	}
	return out
}

// RetryMethods is a value of retries.methods.
type RetryMethods string

const (
	RetryIdempotent RetryMethods = "idempotent" // RFC 9110, section 9.2.2
	RetryAll        RetryMethods = "all"
)

// UnmarshalText accepts the values of the type and no others.
func (v *RetryMethods) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, RetryIdempotent, RetryAll)
}

// Attempts is a value of retries.attempts: 0 is not said, below 0 is never.
type Attempts int

// UnmarshalText reads a number, 0 included, or off.
func (v *Attempts) UnmarshalText(text []byte) error {
	if s := string(text); s == "off" || s == "none" {
		*v = -1
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 || n > maxAttempts {
		return fmt.Errorf("%q: want 0 to %d, or off", text, maxAttempts)
	}
	if *v = Attempts(n); n == 0 {
		*v = -1
	}
	return nil
}

// MarshalText is what UnmarshalText reads.
func (v Attempts) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, int64(max(v, 0)), 10), nil
}

func attempts(name string, at func(*Policy) *Attempts) field {
	return newField(name, at, func(value string) (v Attempts, err error) { return v, v.UnmarshalText([]byte(value)) },
		func(a, b Attempts) Attempts { return min(a, b) }) // never is the least
}

func backoff(name string, at func(*Policy) *time.Duration) field {
	f := duration(name, at, true, nil)
	f.check = func(p *Policy) error {
		if d := *at(p); d > maxBackoff {
			return fmt.Errorf("%s: want %s at most", d, maxBackoff)
		}
		return nil
	}
	return f
}

// codes makes the field of a list of statuses: nil is "not said".
func codes(name string, at func(*Policy) *[]int) field {
	return field{
		name: name,
		set: func(p *Policy, value string) error {
			list := []int{}
			for item := range strings.SplitSeq(value, ",") {
				n, err := strconv.Atoi(strings.TrimSpace(item))
				if err != nil {
					return fmt.Errorf("%q: %w", value, errCodes)
				}
				list = append(list, n)
			}
			*at(p) = list
			return nil
		},
		check: func(p *Policy) error {
			if list := *at(p); len(list) > maxAttempts || slices.ContainsFunc(list, func(n int) bool { return n < 400 || n > 599 }) {
				return fmt.Errorf("%d: %w", list[:min(len(list), maxAttempts)], errCodes)
			}
			return nil
		},
		overlay: func(p, over *Policy) {
			if list := *at(over); list != nil {
				*at(p) = list
			}
		},
		differs: func(a, b *Policy) bool { return (*at(a) == nil) != (*at(b) == nil) || !slices.Equal(*at(a), *at(b)) },
	}
}

var errCodes = errors.New("want statuses from 400 to 599")
