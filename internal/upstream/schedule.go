package upstream

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A target is one endpoint with the Probe that it is asked by.
type target struct {
	endpoint *Endpoint // constant
	asking             // constant

	// Guarded by the schedule's mu.
	due     time.Time
	index   int                // in the queue; -1: not in it
	began   time.Time          // of the probe that runs
	cancel  context.CancelFunc // ends it; nil: none runs
	retired bool               // what a probe finds out counts no more
}

// asking is what a target's probes are made of: two equal ones ask the same.
type asking struct {
	probe    Probe
	protocol Protocol // of the endpoint's own port
}

// schedule is when which target is due. The pool says what is probed, the Prober does it; neither waits for the other.
type schedule struct {
	wake chan struct{} // capacity 1: the first of the queue may have changed

	mu    sync.Mutex // guards the following; a Health's lock may be taken under it
	queue dueQueue
}

// add puts a target on the schedule, due within a few seconds: thousands that come together are spread.
func (s *schedule) add(t *target) {
	spread := min(t.probe.interval(), firstWithin)
	t.due = time.Now().Add(rand.N(spread))
	s.mu.Lock()
	defer s.mu.Unlock()
	heap.Push(&s.queue, t)
	s.kick()
}

// retire takes a target off the schedule, and ends its probe if one runs.
func (s *schedule) retire(t *target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.retired = true
	if t.index >= 0 {
		heap.Remove(&s.queue, t.index)
	}
	if t.cancel != nil {
		t.cancel()
	}
}

func (s *schedule) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// maxServiceProbes are the probes of one service that run at the same time, at most: endpoints that hang must not keep those of others
// from being asked.
const maxServiceProbes = 128

// begin takes the first target that is due, with the context of its probe. If there is none it tells how long to wait; below zero
// is until wake.
func (s *schedule) begin(ctx context.Context) (*target, context.Context, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.queue) > 0 {
		t := s.queue[0]
		if wait := t.due.Sub(now); wait > 0 {
			return nil, nil, wait
		}
		heap.Pop(&s.queue)
		of := t.endpoint.state
		if of.probes == maxServiceProbes {
			of.deferred = append(of.deferred, t)
			continue
		}
		of.probes++
		t.began = now
		ctx, t.cancel = context.WithTimeout(ctx, t.probe.timeout())
		return t, ctx, 0
	}
	return nil, nil, -1
}

// observe notes how a target's probe went. It tells whether the endpoint's state has changed.
func (s *schedule) observe(t *target, err error) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := t.endpoint.Healthy()
	if t.retired || !t.endpoint.health.observe(&t.probe, err, time.Now()) {
		return false
	}
	if !was && t.endpoint.Healthy() {
		t.endpoint.begin()
	}
	return true
}

// again ends a target's probe and puts it back, an interval after that began: a tenth more or less, so that what began
// together drifts apart.
func (s *schedule) again(t *target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.cancel()
	t.cancel = nil
	of := t.endpoint.state
	for of.probes--; len(of.deferred) > 0; {
		next := of.deferred[0]
		if of.deferred = of.deferred[1:]; !next.retired {
			heap.Push(&s.queue, next)
			s.kick()
			break
		}
	}
	if t.retired {
		return
	}
	t.due = t.began.Add(jitter(t.probe.interval()))
	heap.Push(&s.queue, t)
	s.kick()
}

// jitter is d give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// dueQueue is a heap of targets, the one that is due first on top.
type dueQueue []*target

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is heap's.
func (q *dueQueue) Push(x any) {
	t := x.(*target)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop is heap's.
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	t.index = -1
	return t
}
