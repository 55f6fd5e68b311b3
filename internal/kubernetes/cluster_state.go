package kubernetes

import (
	"context"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ClusterState is how a Cluster fares.
type ClusterState struct {
	Ready  bool          // everything that can be read has been read once
	Age    time.Duration // since when the API server has not been reached; 0: it is
	Err    error         // why not; nil: it is
	Writes bool          // this process writes the statuses

	// Unread are the kinds that this process may not read, or gets another error for.
	Unread map[string]error
}

// State tells how the cluster fares. Any goroutine.
func (c *Cluster) State() ClusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	s := ClusterState{Ready: c.ready(now), Writes: c.leads(), Unread: map[string]error{}}
	away := func(t trouble) {
		if age := now.Sub(t.since); t.err != nil && (s.Err == nil || age > s.Age) {
			s.Err, s.Age = t.err, max(age, time.Millisecond)
		}
	}
	away(c.away)
	for key, w := range c.watches {
		switch err := w.trouble.err; {
		case err == nil:
		case unreached(err):
			away(w.trouble)
		default:
			s.Unread[key.String()] = err
		}
	}
	return s
}

// leads tells whether this process writes the statuses.
func (c *Cluster) leads() bool { return c.lease == nil || c.lease.leading.Load() }

const (
	tellEvery = time.Second     // how often it is looked at what is to be logged
	remindAt  = 5 * time.Minute // how often the log repeats that the API server is away
	goneAfter = 2 * time.Second // a break that is no longer than that is none
)

// tell logs what cannot be read, once, and that the API server is away, now and then.
func (c *Cluster) tell(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	told := map[string]bool{}
	ready := false
	var since, last time.Time // that it was away; that it was told
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s, now := c.State(), time.Now()
		for _, kind := range slices.Sorted(maps.Keys(s.Unread)) {
			if err := s.Unread[kind]; !told[kind] {
				told[kind] = true
				hint := ""
				if apierrors.IsForbidden(err) {
					hint = "let the service account get, list and watch it: docs/kubernetes.md"
				}
				c.log.Warn("kind not read, the others are served", "kind", kind, "err", err, "hint", hint)
			}
		}
		if s.Ready && !ready {
			c.stir() // what was waited for may never have answered
		}
		ready = s.Ready
		maps.DeleteFunc(told, func(kind string, _ bool) bool { return s.Unread[kind] == nil })
		switch {
		case s.Err != nil && s.Age > goneAfter && now.Sub(last) > remindAt:
			if since.IsZero() {
				since = now.Add(-s.Age)
			}
			last = now
			c.log.Warn("API server not reached, what it said last stays", "age", s.Age.Round(time.Second), "err", s.Err)
		case s.Err == nil && !since.IsZero():
			c.log.Info("API server reached again", "after", now.Sub(since).Round(time.Second))
			since, last = time.Time{}, time.Time{}
		}
	}
}
