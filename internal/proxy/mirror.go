package proxy

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// Bounds of mirroring.
const (
	maxMirrors       = 256              // copies on their way
	mirrorTimeout    = 30 * time.Second // of one, where its route has no timeouts.request or backendRequest
	maxMirrorAnswer  = 64 << 10         // bytes of an answer that are read, so that its connection can be used again
	mirrorLogMinimum = 10 * time.Second // between two lines about copies that were not sent
)

// mirrors sends copies of requests to where rules want them, beside the requests: they wait for nothing, and nobody sees the
// answers. A request whose body is larger than 64 KiB, or is a stream of gRPC, is not copied, nor is one for which there is no
// place; both are counted and logged. A session is never copied.
type mirrors struct {
	ctx     context.Context // ends with the Server
	cancel  context.CancelFunc
	places  chan struct{}
	wg      sync.WaitGroup
	dropped atomic.Int64 // since start
	logged  atomic.Int64 // when, in nanoseconds since the epoch
}

func newMirrors() *mirrors {
	m := &mirrors{places: make(chan struct{}, maxMirrors)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// stop ends the copies that are on their way, and waits for them.
func (m *mirrors) stop() {
	m.cancel()
	m.wg.Wait()
}

// mirrored tells whether the rule or its backend wants copies of requests.
func (t *target) mirrored() bool {
	for _, f := range t.filters() {
		if f != nil && len(f.Mirrors) > 0 {
			return true
		}
	}
	return false
}

// mirror sends the copies of a request that its rule and its backend ask for. Its body is kept by now, if it can be.
func (s *Server) mirror(c *call) {
	for _, f := range c.x.to.filters() {
		if f == nil {
			continue
		}
		for i := range f.Mirrors {
			if f.Mirrors[i].Chosen() {
				s.copy(c, &f.Mirrors[i])
			}
		}
	}
}

// copy sends one copy.
func (s *Server) copy(c *call, m *route.Mirror) {
	x := c.x
	if m.Backend == nil || m.Backend.Invalid != "" || s.mirrors.ctx.Err() != nil {
		return // an invalid reference "must be dropped"
	}
	if !x.kept.whole {
		s.notMirrored(x.to.ID, "body too large or a stream")
		return
	}
	select {
	case s.mirrors.places <- struct{}{}:
	default:
		s.notMirrored(x.to.ID, "too many on their way")
		return
	}
	policy := x.to.PolicyFor(m.Backend)
	first, rest := x.to.path()
	q := &subrequest{
		settings: x.settings, policy: policy, service: m.Backend.Service,
		method: x.request.Method, target: first + rest + x.query, host: x.hostName(policy),
		fields: x.appendFields(nil, &c.forwards), body: bytes.Clone(x.kept.content), trailers: x.kept.trailers, most: maxMirrorAnswer,
	}
	timeout := mirrorTimeout
	if t := policy.Timeouts.Effective(); t.Request > 0 || t.BackendRequest > 0 {
		timeout = shortest(t.Request, t.BackendRequest)
	}
	s.mirrors.wg.Go(func() { s.mirrors.send(q, timeout) })
}

// send sends a copy and drops what comes of it.
func (m *mirrors) send(q *subrequest, timeout time.Duration) {
	defer func() { <-m.places }()
	ctx, cancel := context.WithTimeout(m.ctx, timeout)
	defer cancel()
	_, _ = q.do(ctx) // fire and forget
}

// notMirrored counts a copy that is not sent, and logs it now and then.
func (s *Server) notMirrored(routeID, why string) {
	n, now, last := s.mirrors.dropped.Add(1), time.Now().UnixNano(), s.mirrors.logged.Load()
	if now-last >= int64(mirrorLogMinimum) && s.mirrors.logged.CompareAndSwap(last, now) {
		s.Log.Warn("requests not mirrored", "route", routeID, "reason", why, "since_start", n)
	}
}

// shortest is the shorter of two bounds, of which 0 is none.
func shortest(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
