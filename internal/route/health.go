package route

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Probe is how the endpoints of a service are asked whether they are well. It holds for a service, not for one of its routes. A
// level that says Type (defaults, then the service) says anew what is asked: of the level above only the pace stays, which are
// Interval, Timeout and the thresholds.
type Probe struct {
	// Type is tcp (connect), http (GET, and a look at the status), grpc (grpc.health.v1.Health/Check), websocket (handshake, then a
	// Ping and its Pong) or none. Default none; for a Backend tcp. A HealthCheckPolicy for the service holds in place of all of it.
	Type ProbeType `yaml:"type"`

	// Path is the path and query of an http or websocket probe. Default "/".
	Path string `yaml:"path"`

	// Host is the Host of an http or websocket probe, the :authority of a grpc one; never where the probe goes. Default the
	// endpoint's own.
	Host string `yaml:"host"`

	// Port of the endpoint's own host that is asked. Default the endpoint's.
	Port int `yaml:"port"`

	// UseTLS is whether the probe speaks TLS, true or false. Default as the service is spoken to if Port is its port, else false.
	UseTLS Flag `yaml:"useTLS"`

	// StatusCodes are what an http probe takes for well: codes and ranges, with commas ("200-299,404"). Default 200-399.
	StatusCodes upstream.StatusSet `yaml:"statusCodes"`

	// Service is what a grpc probe asks about. Default the server as a whole.
	Service string `yaml:"service"`

	// Subprotocol is offered by a websocket probe. Default none.
	Subprotocol string `yaml:"subprotocol"`

	// Interval is the time from one probe of an endpoint to the next. Default 5s; at least 100ms, in registered metadata 1s, and no less
	// than the operator says.
	Interval time.Duration `yaml:"interval"`

	// Timeout bounds a probe, from the connection to the last byte. Default as Interval, 60s at most; at most 60s in registered metadata,
	// and no more than the operator says.
	Timeout time.Duration `yaml:"timeout"`

	// HealthyThreshold is how many probes in a row must succeed for an unhealthy endpoint to be healthy. Default 1.
	HealthyThreshold int `yaml:"healthyThreshold"`

	// UnhealthyThreshold is how many must fail for it to be unhealthy. Default 3.
	UnhealthyThreshold int `yaml:"unhealthyThreshold"`
}

// Outliers are when an endpoint that fares badly with what clients ask of it is ejected: for a time it takes no new session and no
// request; open ones go on. They hold for a service, not for one of its routes. Never more than half of a service's endpoints are kept
// away so.
type Outliers struct {
	// Failures in a row eject an endpoint, unless its siblings fail, too: refused, reset, timed out, TLS; 502, 503 and 504; a Ping of the
	// gateway without its Pong. A number, or off. Default 5.
	Failures Count `yaml:"failures"`

	// Latency ejects an endpoint whose median time to the head of an answer is so many times that of its siblings: a number above 1,
	// or off. Default off.
	Latency Factor `yaml:"latency"`

	// LatencyFloor is the median below which nobody is slow. Default 100ms.
	LatencyFloor time.Duration `yaml:"latencyFloor"`

	// LatencySamples are the answers without which an endpoint is not judged by its latency. Default 20.
	LatencySamples int `yaml:"latencySamples"`

	// LatencyInterval is how often latencies are compared. Default 10s.
	LatencyInterval time.Duration `yaml:"latencyInterval"`

	// Time is how long the first ejection lasts; each one more twice as long as the one before, and that halves again for each such
	// time that the endpoint has been well. Default 10s.
	Time time.Duration `yaml:"time"`

	// MaxTime is how long an ejection lasts at most. Default 5m.
	MaxTime time.Duration `yaml:"maxTime"`
}

// defaultFailures is outliers.failures where nobody says it.
const defaultFailures = 5

// ProbeType is a value of probe.type.
type ProbeType string

const (
	ProbeNone      ProbeType = "none"
	ProbeTCP       ProbeType = "tcp"
	ProbeHTTP      ProbeType = "http"
	ProbeGRPC      ProbeType = "grpc"
	ProbeWebSocket ProbeType = "websocket"
)

// UnmarshalText accepts the values of the type and no others.
func (v *ProbeType) UnmarshalText(text []byte) error {
	return oneOf(v, text, nil, ProbeNone, ProbeTCP, ProbeHTTP, ProbeGRPC, ProbeWebSocket)
}

// Flag is true or false, or not said.
type Flag string

const (
	Yes Flag = "true"
	No  Flag = "false"
)

// UnmarshalText accepts the values of the type and no others.
func (v *Flag) UnmarshalText(text []byte) error { return oneOf(v, text, nil, Yes, No) }

// Count is a number above 0, or off, which is -1; 0 is not said.
type Count int

// UnmarshalText reads a number, or off.
func (v *Count) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*v = -1
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > 1_000_000 {
		return fmt.Errorf("%q: want 1 to 1000000, or off", text)
	}
	*v = Count(n)
	return nil
}

// Factor is a number above 1, or off, which is -1; 0 is not said.
type Factor float64

// UnmarshalText reads a decimal, or off.
func (v *Factor) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*v = -1
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f > 1 && f <= 1000) {
		return fmt.Errorf("%q: want a number above 1, 1000 at most, or off", text)
	}
	*v = Factor(f)
	return nil
}

// Bounds of what registered metadata may ask for: each probe costs the gateway and the instance a connection.
const (
	leastInterval           = 100 * time.Millisecond
	leastRegisteredInterval = time.Second
	maxRegisteredInterval   = time.Hour
	maxTimeout              = time.Minute // where nobody says it, too
	maxThreshold            = 100
)

// healthFields are the fields that hold for a service.
func healthFields() []field {
	fields := []field{
		probeType(),
		probeText("probe.path", func(p *Probe) *string { return &p.Path }),
		probeText("probe.host", func(p *Probe) *string { return &p.Host }),
		within(count("probe.port", func(p *Policy) *int { return &p.Probe.Port }), 65535, func(p *Policy) int { return p.Probe.Port }),
		text("probe.useTLS", func(p *Policy) *Flag { return &p.Probe.UseTLS }, nil),
		parsed("probe.statusCodes", func(p *Policy) *upstream.StatusSet { return &p.Probe.StatusCodes }),
		probeText("probe.service", func(p *Probe) *string { return &p.Service }),
		probeText("probe.subprotocol", func(p *Probe) *string { return &p.Subprotocol }),
		paced("probe.interval", func(p *Policy) *time.Duration { return &p.Probe.Interval }, leastInterval, leastRegisteredInterval,
			maxRegisteredInterval, longer),
		paced("probe.timeout", func(p *Policy) *time.Duration { return &p.Probe.Timeout }, time.Millisecond, time.Millisecond,
			maxTimeout, shorter),
		threshold("probe.healthyThreshold", func(p *Policy) *int { return &p.Probe.HealthyThreshold }),
		threshold("probe.unhealthyThreshold", func(p *Policy) *int { return &p.Probe.UnhealthyThreshold }),
		parsed("outliers.failures", func(p *Policy) *Count { return &p.Outliers.Failures }),
		parsed("outliers.latency", func(p *Policy) *Factor { return &p.Outliers.Latency }),
		duration("outliers.latencyFloor", func(p *Policy) *time.Duration { return &p.Outliers.LatencyFloor }, false, nil),
		within(count("outliers.latencySamples", func(p *Policy) *int { return &p.Outliers.LatencySamples }), 1_000_000,
			func(p *Policy) int { return p.Outliers.LatencySamples }),
		atLeast(leastInterval, duration("outliers.latencyInterval", func(p *Policy) *time.Duration { return &p.Outliers.LatencyInterval }, false, nil),
			func(p *Policy) time.Duration { return p.Outliers.LatencyInterval }),
		atLeast(leastInterval, duration("outliers.time", func(p *Policy) *time.Duration { return &p.Outliers.Time }, false, nil),
			func(p *Policy) time.Duration { return p.Outliers.Time }),
		atLeast(leastInterval, duration("outliers.maxTime", func(p *Policy) *time.Duration { return &p.Outliers.MaxTime }, false, nil),
			func(p *Policy) time.Duration { return p.Outliers.MaxTime }),
		text("panic", func(p *Policy) *Flag { return &p.Panic }, nil),
	}
	for i := range fields {
		fields[i].ofService = true
	}
	return fields
}

// OfService tells whether the field of that name holds for a service, and cannot be said of one of its routes.
func OfService(name string) bool {
	for _, f := range fields {
		if f.name == name {
			return f.ofService
		}
	}
	return name == "probe" || name == "outliers" || strings.HasPrefix(name, "probe.") || strings.HasPrefix(name, "outliers.")
}

// ServicePart is p with nothing but the fields that hold for a service.
func (p Policy) ServicePart() (part Policy) {
	part.Probe, part.Outliers, part.Panic = p.Probe, p.Outliers, p.Panic
	return part
}

// SaysOfService tells whether p says any of them.
func (p Policy) SaysOfService() bool {
	return p.Probe != (Probe{}) || p.Outliers != (Outliers{}) || p.Panic != ""
}

// ServiceOptions are what p means to a service.
func (p *Policy) ServiceOptions() (o upstream.Options) {
	o.Panic = p.Panic == Yes
	if p.Probe.Type != "" && p.Probe.Type != ProbeNone {
		o.Probe = p.Probe.effective()
	}
	from := &p.Outliers
	o.Outliers = upstream.Outliers{
		Failures: int(max(cmp.Or(from.Failures, defaultFailures), 0)), Latency: float64(max(from.Latency, 0)),
		LatencyFloor: from.LatencyFloor, Samples: from.LatencySamples, Interval: from.LatencyInterval, Time: from.Time, MaxTime: from.MaxTime,
	}
	return o
}

// effective is the probe that p says.
func (p *Probe) effective() upstream.Probe {
	out := upstream.Probe{
		Kind: upstream.ProbeKind(p.Type), Path: p.Path, Host: p.Host, OwnHost: true, Port: p.Port, Status: p.StatusCodes, Service: p.Service,
		Subprotocol: p.Subprotocol, Ping: p.Type == ProbeWebSocket, Interval: p.Interval, Timeout: cmp.Or(p.Timeout, min(p.Interval, maxTimeout), 5*time.Second),
		HealthyThreshold: p.HealthyThreshold, UnhealthyThreshold: p.UnhealthyThreshold,
	}
	switch p.UseTLS {
	case Yes:
		out.TLS = upstream.ProbeTLSOn
	case No:
		out.TLS = upstream.ProbeTLSOff
	}
	return out
}

// Idle is what p says of a probe that is none, because nobody says its type; "": nothing.
func (p *Probe) Idle() string {
	if p.Type != "" {
		return ""
	}
	for _, f := range []struct {
		name string
		said bool
	}{
		{"path", p.Path != ""},
		{"host", p.Host != ""},
		{"port", p.Port != 0},
		{"useTLS", p.UseTLS != ""},
		{"statusCodes", p.StatusCodes != upstream.StatusSet{}},
		{"service", p.Service != ""},
		{"subprotocol", p.Subprotocol != ""},
	} {
		if f.said {
			return "probe." + f.name
		}
	}
	return ""
}

// ErrNoProbeType is a probe of which something is said, but not what it is.
var ErrNoProbeType = errors.New("nothing is probed without probe.type: say tcp, http, grpc or websocket")

// probeType makes the field that a level says a probe anew by.
func probeType() field {
	f := text("probe.type", func(p *Policy) *ProbeType { return &p.Probe.Type }, nil)
	f.overlay = func(p, over *Policy) {
		if over.Probe.Type != "" {
			of := &p.Probe
			*of = Probe{
				Type: over.Probe.Type, Interval: of.Interval, Timeout: of.Timeout, HealthyThreshold: of.HealthyThreshold,
				UnhealthyThreshold: of.UnhealthyThreshold,
			}
		}
	}
	return f
}

// probeText makes a field of text that is judged as the probe will judge it.
func probeText(name string, at func(*Probe) *string) field {
	f := newField(name, func(p *Policy) *string { return at(&p.Probe) }, func(value string) (string, error) {
		if value == "" {
			return "", errors.New("it is empty")
		}
		return value, nil
	}, nil)
	f.check = func(p *Policy) error {
		var alone Probe
		*at(&alone) = *at(&p.Probe)
		judged := alone.effective()
		return judged.Check()
	}
	return f
}

// threshold makes a field of how many probes.
func threshold(name string, at func(*Policy) *int) field {
	return within(count(name, at), maxThreshold, func(p *Policy) int { return *at(p) })
}

// paced makes a duration of least at least; registered metadata may say it within bounds of its own.
func paced(name string, at func(*Policy) *time.Duration, least, from, to time.Duration, tighter func(a, b time.Duration) time.Duration) field {
	f := atLeast(least, duration(name, at, false, tighter), func(p *Policy) time.Duration { return *at(p) })
	set := f.set
	f.set = func(p *Policy, value string) error {
		err := set(p, value)
		if d := *at(p); err == nil && (d < from || d > to) {
			err = fmt.Errorf("%q: want %s to %s", value, from, to)
		}
		return err
	}
	return f
}

// parsed makes a field of a type that reads its own text.
func parsed[T comparable, P interface {
	*T
	encoding.TextUnmarshaler
}](name string, at func(*Policy) *T) field {
	return newField(name, at, func(value string) (T, error) {
		var v T
		err := P(&v).UnmarshalText([]byte(value))
		return v, err
	}, nil)
}

// longer is the longer of two times.
func longer(a, b time.Duration) time.Duration { return max(a, b) }

// within has f refuse more than a number. Registered metadata may set it as it likes.
func within(f field, most int, at func(*Policy) int) field {
	check := f.check
	f.check = func(p *Policy) error {
		if n := at(p); n > most {
			return fmt.Errorf("%d: want %d at most", n, most)
		}
		return check(p)
	}
	f.guard = nil
	return f
}

// atLeast has f refuse less than a time.
func atLeast(least time.Duration, f field, at func(*Policy) time.Duration) field {
	check := f.check
	f.check = func(p *Policy) error {
		if d := at(p); d != 0 && d < least {
			return fmt.Errorf("%s: want %s at least", d, least)
		}
		return check(p)
	}
	return f
}
