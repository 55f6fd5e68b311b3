package route

import (
	"encoding"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/unit"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// off is the duration that says so.
const off = time.Duration(-1)

// field is all that there is to know about one field of a Policy.
type field struct {
	name string

	// set parses value into the field.
	set func(p *Policy, value string) error

	// check judges a value that came from a file.
	check func(p *Policy) error

	// overlay copies the field from over if it is said there.
	overlay func(p, over *Policy)

	// guard makes the field at least as tight as the operator's, if he said it, and tells whether
	// it had to. Nil: a field that registered metadata may set as it likes.
	guard func(p, operator *Policy) bool

	// ofService tells that the field holds for a service, and not for one of its routes.
	ofService bool

	// differs compares the field of two policies.
	differs func(a, b *Policy) bool
}

// fields is the table behind Set, Overlay, Register and Validate, in the order of the struct.
// It is never written.
var fields = append([]field{
	text("websocket.connectFailure", func(p *Policy) *ConnectFailure { return &p.WebSocket.ConnectFailure }, nil),
	duration("websocket.closeTimeout", func(p *Policy) *time.Duration { return &p.WebSocket.CloseTimeout }, false, shorter),
	duration("websocket.idleTimeout", func(p *Policy) *time.Duration { return &p.WebSocket.IdleTimeout }, true, shorter),
	text("websocket.idleCounts", func(p *Policy) *IdleCounts { return &p.WebSocket.IdleCounts }, prefer(Messages)),
	duration("websocket.maxDuration", func(p *Policy) *time.Duration { return &p.WebSocket.MaxDuration }, true, shorter),
	size("websocket.maxMessageSize", func(p *Policy) *unit.Size { return &p.WebSocket.MaxMessageSize }),
	size("websocket.maxFrameSize", func(p *Policy) *unit.Size { return &p.WebSocket.MaxFrameSize }),
	rate("websocket.messageRate", func(p *Policy) *unit.Rate { return &p.WebSocket.MessageRate }),
	messageBurst(),
	duration("websocket.pingInterval", func(p *Policy) *time.Duration { return &p.WebSocket.PingInterval }, true, nil),
	duration("websocket.pongTimeout", func(p *Policy) *time.Duration { return &p.WebSocket.PongTimeout }, false, nil),
	origins("websocket.allowedOrigins", func(p *Policy) *[]string { return &p.WebSocket.AllowedOrigins }),
	count("websocket.maxSessions", func(p *Policy) *int { return &p.WebSocket.MaxSessions }),
	count("websocket.maxSessionsPerClient", func(p *Policy) *int { return &p.WebSocket.MaxSessionsPerClient }),
	text("websocket.failover", func(p *Policy) *Failover { return &p.WebSocket.Failover }, nil),
	atMost(maxFailoverBuffer, size("websocket.failoverBuffer", func(p *Policy) *unit.Size { return &p.WebSocket.FailoverBuffer }),
		func(p *Policy) *unit.Size { return &p.WebSocket.FailoverBuffer }),
	duration("websocket.failoverTimeout", func(p *Policy) *time.Duration { return &p.WebSocket.FailoverTimeout }, false, shorter),
	text("websocket.drain", func(p *Policy) *Wait { return &p.WebSocket.Drain }, nil),
	duration("websocket.drainWindow", func(p *Policy) *time.Duration { return &p.WebSocket.DrainWindow }, true, nil),
	text("websocket.onUnhealthy", func(p *Policy) *Wait { return &p.WebSocket.OnUnhealthy }, nil),
	text("websocket.onAuthExpiry", func(p *Policy) *AuthExpiry { return &p.WebSocket.OnAuthExpiry }, prefer(CloseOnAuthExpiry)),
	text("websocket.rebalance", func(p *Policy) *Rebalance { return &p.WebSocket.Rebalance }, nil),
	text("loadBalancing", func(p *Policy) *upstream.Balance { return &p.LoadBalancing }, nil),
	hashName("hash.header", func(h *Hash) *string { return &h.Header }),
	hashName("hash.cookie", func(h *Hash) *string { return &h.Cookie }),
	hashFlag("hash.clientAddress", func(h *Hash) *bool { return &h.ClientAddress }),
	hashFlag("hash.user", func(h *Hash) *bool { return &h.User }),
	duration("loadAware.blackoutPeriod", func(p *Policy) *time.Duration { return &p.LoadAware.BlackoutPeriod }, true, nil),
	duration("loadAware.metricExpirationPeriod", func(p *Policy) *time.Duration { return &p.LoadAware.MetricExpirationPeriod }, false, nil),
	checked("loadAware.errorUtilizationPenalty", func(p *Policy) *string { return &p.LoadAware.ErrorUtilizationPenalty }, penalty),
	checked("loadAware.namedMetrics", func(p *Policy) *string { return &p.LoadAware.NamedMetrics }, metrics),
	checked("sticky.cookieName", func(p *Policy) *string { return &p.Sticky.CookieName }, cookieName),
	duration("sticky.lifetime", func(p *Policy) *time.Duration { return &p.Sticky.Lifetime }, true, nil),
	checked("sticky.path", func(p *Policy) *string { return &p.Sticky.Path }, cookiePath),
	slowStart("slowStart", func(p *Policy) *SlowStart { return &p.SlowStart }),
	text("auth", func(p *Policy) *Auth { return &p.Auth }, tighterAuth),
	text("hostHeader", func(p *Policy) *HostHeader { return &p.HostHeader }, nil),
	text("encodedPath", func(p *Policy) *EncodedPath { return &p.EncodedPath }, stricter),
	duration("timeouts.connect", func(p *Policy) *time.Duration { return &p.Timeouts.Connect }, false, shorter),
	duration("timeouts.handshake", func(p *Policy) *time.Duration { return &p.Timeouts.Handshake }, false, shorter),
	duration("timeouts.response", func(p *Policy) *time.Duration { return &p.Timeouts.Response }, true, shorter),
	duration("timeouts.request", func(p *Policy) *time.Duration { return &p.Timeouts.Request }, true, shorter),
	duration("timeouts.backendRequest", func(p *Policy) *time.Duration { return &p.Timeouts.BackendRequest }, true, shorter),
	codes("retries.codes", func(p *Policy) *[]int { return &p.Retries.Codes }),
	attempts("retries.attempts", func(p *Policy) *Attempts { return &p.Retries.Attempts }),
	backoff("retries.backoff", func(p *Policy) *time.Duration { return &p.Retries.Backoff }),
	text("retries.methods", func(p *Policy) *RetryMethods { return &p.Retries.Methods }, prefer(RetryIdempotent)),
}, healthFields()...)

// maxFailoverBuffer bounds what one session may keep for a move, in bytes: registered metadata may ask for it.
const maxFailoverBuffer = 16 << 20

// Set parses value into the field of that name, as registered metadata spells them:
// "websocket.idleTimeout" and "30s", a list with commas, `off` for a duration that may be. The
// error names both; p is then as it was.
func (p *Policy) Set(name, value string) error {
	value = strings.TrimSpace(value)
	for _, f := range fields {
		if f.name != name {
			continue
		}
		next := *p
		err := f.set(&next, value)
		if err == nil {
			err = f.check(&next)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*p = next
		return nil
	}
	return fmt.Errorf("%s %q: unknown field of a route policy", name, value)
}

// Validate judges a policy that was decoded from a file; the error names the field.
func (p *Policy) Validate() error {
	for _, f := range fields {
		if err := f.check(p); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// Overlay returns p with the fields that over says.
func (p Policy) Overlay(over Policy) Policy {
	for _, f := range fields {
		f.overlay(&p, &over)
	}
	return p
}

// Register returns p, which is a source's defaults with the operator's policy over them, with the
// fields that registered says. Where operator says one of authentication, origins, timeouts or
// limits, the tighter of both holds; eased names the fields in which registered asked for more.
// What only the source's defaults say, registered may change both ways.
func (p Policy) Register(registered, operator Policy) (result Policy, eased []string) {
	result = p.Overlay(registered)
	for _, f := range fields {
		if f.guard != nil && f.guard(&result, &operator) {
			eased = append(eased, f.name)
		}
	}
	return result, eased
}

// Differences names the fields that p and other do not have in common.
func (p Policy) Differences(other Policy) (names []string) {
	for _, f := range fields {
		if f.differs(&p, &other) {
			names = append(names, f.name)
		}
	}
	return names
}

// newField makes a field of a comparable type whose zero value is "not said". tighter returns the
// tighter of two values that are said.
func newField[T comparable](name string, at func(*Policy) *T, parse func(string) (T, error), tighter func(a, b T) T) field {
	var unsaid T
	f := field{
		name:  name,
		check: func(*Policy) error { return nil },
		set: func(p *Policy, value string) (err error) {
			*at(p), err = parse(value)
			return err
		},
		overlay: func(p, over *Policy) {
			if v := *at(over); v != unsaid {
				*at(p) = v
			}
		},
		differs: func(a, b *Policy) bool { return *at(a) != *at(b) },
	}
	if tighter != nil {
		f.guard = func(p, operator *Policy) bool {
			asked, bound := *at(p), *at(operator)
			if bound == unsaid {
				return false
			}
			if asked != unsaid {
				bound = tighter(bound, asked)
			}
			*at(p) = bound
			return bound != asked
		}
	}
	return f
}

func text[T ~string, P interface {
	*T
	encoding.TextUnmarshaler
}](name string, at func(*Policy) *T, tighter func(a, b T) T) field {
	return newField(name, at, func(value string) (v T, err error) {
		return v, P(&v).UnmarshalText([]byte(value))
	}, tighter)
}

// checked makes a field of a text that parse judges.
func checked(name string, at func(*Policy) *string, parse func(string) (string, error)) field {
	f := newField(name, at, parse, nil)
	f.check = func(p *Policy) error {
		if *at(p) == "" {
			return nil
		}
		_, err := parse(*at(p))
		return err
	}
	return f
}

// prefer makes a rule of a type with two values: tight is the tighter.
func prefer[T comparable](tight T) func(a, b T) T {
	return func(a, b T) T {
		if a == tight {
			return a
		}
		return b
	}
}

// duration makes a field of time; mayBeOff allows a negative value and its word `off`.
func duration(name string, at func(*Policy) *time.Duration, mayBeOff bool, tighter func(a, b time.Duration) time.Duration) field {
	f := newField(name, at, func(value string) (time.Duration, error) {
		if mayBeOff && (value == "off" || value == "none") {
			return off, nil
		}
		d, err := unit.ParseDuration(value)
		if err != nil {
			return 0, err
		}
		if d == 0 {
			return 0, fmt.Errorf("%q: want more than 0%s", value, orOff(mayBeOff))
		}
		return d, nil
	}, tighter)
	f.check = func(p *Policy) error {
		if d := *at(p); d < 0 && !mayBeOff {
			return fmt.Errorf("%s: want more than 0", d)
		}
		return nil
	}
	return f
}

func orOff(mayBeOff bool) string {
	if mayBeOff {
		return ", or off"
	}
	return ""
}

// shorter is the shorter of two times; negative is for ever.
func shorter(a, b time.Duration) time.Duration {
	if a < 0 || (b > 0 && b < a) {
		return b
	}
	return a
}

func size(name string, at func(*Policy) *unit.Size) field {
	f := newField(name, at, unit.ParseSize, func(a, b unit.Size) unit.Size { return min(a, b) })
	return bounded(f, func(p *Policy) int64 { return int64(*at(p)) })
}

func count(name string, at func(*Policy) *int) field {
	f := newField(name, at, strconv.Atoi, func(a, b int) int { return min(a, b) })
	return bounded(f, func(p *Policy) int64 { return int64(*at(p)) })
}

// bounded makes a limit's field refuse what is no limit; zero from a file is "not said".
func bounded(f field, get func(*Policy) int64) field {
	f.check = func(p *Policy) error {
		if n := get(p); n < 0 {
			return fmt.Errorf("%d: want more than 0", n)
		}
		return nil
	}
	set := f.set
	f.set = func(p *Policy, value string) error {
		if err := set(p, value); err != nil {
			return err
		}
		if get(p) == 0 {
			return fmt.Errorf("%q: want more than 0", value)
		}
		return nil
	}
	return f
}

func rate(name string, at func(*Policy) *unit.Rate) field {
	f := newField(name, at, unit.ParseRate, func(a, b unit.Rate) unit.Rate { return min(a, b) })
	return bounded(f, func(p *Policy) int64 { return int64(math.Ceil(float64(*at(p)))) })
}

// maxMessageBurst bounds websocket.messageBurst.
const maxMessageBurst = 1_000_000

// messageBurst makes the field of that name. What an operator says of the rate bounds the burst, too.
func messageBurst() field {
	f := count("websocket.messageBurst", func(p *Policy) *int { return &p.WebSocket.MessageBurst })
	positive := f.check
	f.check = func(p *Policy) error {
		if n := p.WebSocket.MessageBurst; n > maxMessageBurst {
			return fmt.Errorf("%d: want %d at most", n, maxMessageBurst)
		}
		return positive(p)
	}
	f.guard = func(p, operator *Policy) bool {
		bound := operator.WebSocket.messageBurst()
		if bound == 0 || p.WebSocket.MessageBurst <= bound {
			return false
		}
		p.WebSocket.MessageBurst = bound
		return true
	}
	return f
}

// atMost has f refuse more than a number of bytes.
func atMost(most unit.Size, f field, at func(*Policy) *unit.Size) field {
	check := f.check
	f.check = func(p *Policy) error {
		if n := *at(p); n > most {
			return fmt.Errorf("%s: want %s at most", n, most)
		}
		return check(p)
	}
	return f
}

// origins makes the field of a list of origins: nil is "not said", empty is "only the gateway's own".
func origins(name string, at func(*Policy) *[]string) field {
	return field{
		name: name,
		set: func(p *Policy, value string) error {
			list := []string{}
			for origin := range strings.SplitSeq(value, ",") {
				if origin = strings.TrimSpace(origin); origin != "" {
					list = append(list, origin)
				}
			}
			*at(p) = list
			return nil
		},
		check: func(p *Policy) error {
			for _, origin := range *at(p) {
				if _, err := parseOrigin(origin); err != nil && origin != "*" {
					return err
				}
			}
			return nil
		},
		overlay: func(p, over *Policy) {
			if list := *at(over); list != nil {
				*at(p) = list
			}
		},
		guard: func(p, operator *Policy) bool {
			asked, bound := *at(p), *at(operator)
			if bound == nil || slices.Contains(bound, "*") {
				return false
			}
			if asked == nil || slices.Contains(asked, "*") {
				*at(p) = bound
				return true
			}
			kept := slices.DeleteFunc(slices.Clone(asked), func(o string) bool { return !listed(bound, o) })
			*at(p) = kept
			return len(kept) != len(asked)
		},
		differs: func(a, b *Policy) bool {
			return (*at(a) == nil) != (*at(b) == nil) || !slices.Equal(*at(a), *at(b))
		},
	}
}
