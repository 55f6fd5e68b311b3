package upstream

import (
	"sync"
	"sync/atomic"
	"time"
)

// HealthState is what active probes have found out about an endpoint.
type HealthState string

const (
	HealthUnknown HealthState = "unknown" // no probe, or no verdict yet: it counts as healthy
	Healthy       HealthState = "healthy"
	Unhealthy     HealthState = "unhealthy" // it takes no new session and no request; open ones go on
)

// Health is how an endpoint fares with its Probe.
type Health struct {
	State HealthState
	Since time.Time // when State began; zero: unknown since ever

	// Err says why the last probe that failed did; empty once the endpoint is healthy and passes.
	Err string

	// Successes and Failures are the last probes in a row; one of them is 0.
	Successes, Failures int

	// Probes is how many were made since the endpoint became known, Failed how many of them failed.
	Probes, Failed uint64
}

// health is the record behind Health.
type health struct {
	unhealthy atomic.Bool // Health.State, for those who choose

	mu  sync.Mutex // guards the following
	now Health
}

// Healthy tells whether the endpoint may take new sessions as far as its probes know: it is not Unhealthy.
func (e *Endpoint) Healthy() bool { return !e.health.unhealthy.Load() }

// Health is the newest of what is known.
func (e *Endpoint) Health() Health {
	e.health.mu.Lock()
	defer e.health.mu.Unlock()
	h := e.health.now
	if h.State == "" {
		h.State = HealthUnknown
	}
	return h
}

// observe notes how a probe ended, and tells whether the state has changed.
func (h *health) observe(p *Probe, err error, at time.Time) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := &h.now
	before := n.State
	n.Probes++
	if err == nil {
		n.Failures = 0
		if n.Successes++; n.Successes >= p.healthyThreshold() {
			n.State = Healthy
		}
		if n.State == Healthy {
			n.Err = ""
		}
	} else {
		n.Failed++
		n.Successes, n.Err = 0, err.Error()
		if n.Failures++; n.Failures >= p.unhealthyThreshold() {
			n.State = Unhealthy
		}
	}
	if n.State == before {
		return false
	}
	n.Since = at
	h.unhealthy.Store(n.State == Unhealthy)
	return true
}

// restart begins to count anew; the verdict stays until another Probe gives its own.
func (h *health) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.Successes, h.now.Failures = 0, 0
}

// forget drops the verdict: nothing probes the endpoint any more.
func (h *health) forget(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = Health{State: HealthUnknown, Since: at, Probes: h.now.Probes, Failed: h.now.Failed}
	h.unhealthy.Store(false)
}
