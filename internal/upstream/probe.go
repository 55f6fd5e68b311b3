package upstream

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ProbeKind is what a Probe does.
type ProbeKind string

const (
	NoProbe        ProbeKind = ""          // nothing: the endpoint is as healthy as its source says
	HTTPProbe      ProbeKind = "http"      // GET, and a look at the answer
	TCPProbe       ProbeKind = "tcp"       // connect, nothing more
	GRPCProbe      ProbeKind = "grpc"      // grpc.health.v1.Health/Check
	WebSocketProbe ProbeKind = "websocket" // a handshake, and a Ping if it says so
)

// Probe says how the endpoints of a service are asked whether they are well. It is comparable: two equal ones are one
// Probe. The zero value probes nothing; beyond Kind, zero means the default. Defaults are those of a HealthCheckPolicy
// of Application Gateway for Containers.
type Probe struct {
	Kind ProbeKind

	// Interval is the time between the starts of two probes of an endpoint, give or take a tenth. Zero means 5s; less than
	// 100ms means 100ms. A probe that takes longer delays the next.
	Interval time.Duration

	// Timeout bounds one probe from the dial to the last byte. Zero means 30s. Connecting has the Dialer's own bound, too.
	Timeout time.Duration

	// HealthyThreshold successes in a row turn an endpoint healthy, UnhealthyThreshold failures in a row unhealthy. Zero
	// means 1 and 3.
	HealthyThreshold, UnhealthyThreshold int

	// Port is asked instead of the endpoint's own. Zero: the endpoint's.
	Port int

	// TLS says whether the probe goes over TLS; by what rules is the service's TLSSettings to say.
	TLS ProbeTLS

	// Host is the Host of an HTTP or WebSocket probe; empty means "localhost". Of a gRPC probe it is the :authority; empty
	// means the endpoint's address.
	Host string

	// OwnHost has an empty Host mean the endpoint's host and port.
	OwnHost bool

	// Path is the path and query of an HTTP or WebSocket probe. Empty means "/".
	Path string

	// Body must stand in the first 64 KiB of the answer to an HTTP probe. Empty: it is not looked at.
	Body string

	// Status is what an HTTP probe takes for well. Empty means 200 to 399. A redirect is not followed.
	Status StatusSet

	// Service is what a gRPC probe asks about. Empty: the server as a whole.
	Service string

	// Subprotocol is offered by a WebSocket probe. Empty: none.
	Subprotocol string

	// Ping has a WebSocket probe send a Ping and wait for its Pong: a process that is stopped still takes connections, and
	// a proxy before it still shakes hands.
	Ping bool
}

// ProbeTLS says whether a Probe goes over TLS.
type ProbeTLS string

const (
	// ProbeTLSAuto is as the endpoint on the endpoint's own port, and clear text on another. A TCP probe only connects.
	ProbeTLSAuto ProbeTLS = ""
	ProbeTLSOn   ProbeTLS = "on"
	ProbeTLSOff  ProbeTLS = "off"
)

// Check tells what is wrong with a Probe, in words for whoever wrote it; nil: nothing. One that fails it finds every endpoint unhealthy.
func (p *Probe) Check() error {
	switch p.Kind {
	case NoProbe, HTTPProbe, TCPProbe, GRPCProbe, WebSocketProbe:
	default:
		return fmt.Errorf("kind %q: want %s, %s, %s or %s", p.Kind, HTTPProbe, TCPProbe, GRPCProbe, WebSocketProbe)
	}
	switch {
	case p.Interval < 0:
		return errors.New("interval: it must be above zero")
	case p.Timeout < 0:
		return errors.New("timeout: it must be above zero")
	case p.HealthyThreshold < 0:
		return errors.New("healthy threshold: it must be above zero")
	case p.UnhealthyThreshold < 0:
		return errors.New("unhealthy threshold: it must be above zero")
	case p.Port < 0 || p.Port > 65535:
		return fmt.Errorf("port %d: want 1 to 65535", p.Port)
	}
	_, err := p.request()
	return err
}

const (
	leastInterval = 100 * time.Millisecond
	firstWithin   = 5 * time.Second // the first probe of an endpoint, at most
)

func (p *Probe) interval() time.Duration {
	return max(cmp.Or(p.Interval, 5*time.Second), leastInterval)
}
func (p *Probe) timeout() time.Duration  { return cmp.Or(max(p.Timeout, 0), 30*time.Second) }
func (p *Probe) healthyThreshold() int   { return max(cmp.Or(p.HealthyThreshold, 1), 1) }
func (p *Probe) unhealthyThreshold() int { return max(cmp.Or(p.UnhealthyThreshold, 3), 1) }

// secure tells whether a probe of e goes over TLS.
func (p *Probe) secure(e *Endpoint) bool {
	switch p.TLS {
	case ProbeTLSOn:
		return true
	case ProbeTLSOff:
		return false
	}
	return p.Kind != TCPProbe && e.Secure() && p.samePort(e)
}

func (p *Probe) samePort(e *Endpoint) bool { return p.Port == 0 || p.Port == e.Port }

// StatusSet is a set of HTTP status codes, 100 to 599. It is comparable; the zero value is empty.
type StatusSet struct{ bits [8]uint64 }

const (
	firstStatus = 100
	lastStatus  = 599
)

// Add puts start to end, both included, into the set. The error is a range that is none, or not of status codes.
func (s *StatusSet) Add(start, end int) error {
	if start < firstStatus || end > lastStatus || start > end {
		return fmt.Errorf("status codes %d to %d: want a range within %d to %d", start, end, firstStatus, lastStatus)
	}
	for code := start; code <= end; code++ {
		s.bits[(code-firstStatus)/64] |= 1 << ((code - firstStatus) % 64)
	}
	return nil
}

// UnmarshalText reads codes and ranges: "200-299,404".
func (s *StatusSet) UnmarshalText(text []byte) error {
	var set StatusSet
	for item := range strings.SplitSeq(string(text), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), "-")
		start, err := strconv.Atoi(strings.TrimSpace(first))
		end := start
		if err == nil && isRange {
			end, err = strconv.Atoi(strings.TrimSpace(last))
		}
		if err != nil {
			return fmt.Errorf("status codes %q: want codes and ranges, as 200-299,404", text)
		}
		if err := set.Add(start, end); err != nil {
			return err
		}
	}
	*s = set
	return nil
}

// Has tells whether code is in the set.
func (s *StatusSet) Has(code int) bool {
	return code >= firstStatus && code <= lastStatus && s.bits[(code-firstStatus)/64]&(1<<((code-firstStatus)%64)) != 0
}

// wants tells whether an answer with that status is a success.
func (p *Probe) wants(code int) bool {
	if p.Status == (StatusSet{}) {
		return code >= 200 && code <= 399
	}
	return p.Status.Has(code)
}
