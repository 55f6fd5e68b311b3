package eureka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// How changes are passed on.
const (
	peerLinger     = 100 * time.Millisecond // from a change to its batch, so that a batch carries several
	peerSync       = time.Minute            // whole registries are compared so often, and after every failure
	peerRetry      = 100 * time.Millisecond // after a failure; doubles
	peerRetryLast  = 30 * time.Second
	peerCongestion = time.Second // after 503, at least
	peerBatchItems = 250
	peerBatchBytes = 512 << 10 // more than that only where one instance is longer: peers take 1 MiB
	peerAnswer     = 8 << 20   // bytes of the answer to a batch
)

// work is what a peer is still to be told of an instance. What exactly is read when it is sent: the latest counts.
type work uint8

const (
	workHeartbeat work = 1 << iota
	workRegister       // the whole instance
	workStatus         // the override, or that there is none: Netflix's servers do not take it from an instance
	workCancel
)

// peer is another registry to which this one passes on what instances say to it, and with which it compares itself.
type peer struct {
	r      *Registry // constant
	client *Client   // constant
	log    *slog.Logger

	// Constant once Run has begun.
	linger, every, retry, retryLast time.Duration

	batch int // changes in the next batch at most; owned by run

	kick chan struct{} // capacity 1: there is work, or a reason to compare

	mu      sync.Mutex // guards the following; a leaf: held under the registry's
	pending map[leaseKey]todo
	order   []leaseKey
	most    int // in pending
	resync  bool
	status  PeerStatus
	has     map[leaseKey]bool // what it had when it was last compared
}

// todo is what a peer is still to be told of one instance, and since when.
type todo struct {
	work  work
	since time.Time
}

// PeerStatus is how a peer fares. Counts are since start.
type PeerStatus struct {
	Server    string        // its address, without credentials
	Self      bool          // it is this registry itself, and left out
	Fairlead  bool          // it is another Fairlead's; Netflix's servers do not say what they are
	Contact   time.Time     // when it last answered as it should; zero: never
	Synced    time.Time     // when the registries were last compared; zero: never
	Err       string        // why it cannot be told anything now; empty: it can
	Failing   time.Time     // since when; zero: it does not
	Pending   int           // instances that it is still to be told of
	Lag       time.Duration // how long the oldest of those changes waits
	Instances int           // that it had when the registries were last compared
	Sent      int64         // changes that it was told
	Refused   int64         // of those, that it did not take
	Dropped   int64         // changes that there was no room for; the next comparison makes up for them
	Compared  int64         // comparisons of the whole registries
}

// ReplicateWith names the registries with which this one forms one. Before Run.
func (r *Registry) ReplicateWith(urls []string, o ClientOptions) error {
	o.Replica = true
	for i, raw := range urls {
		client, err := NewClient(raw, o)
		if err != nil {
			return fmt.Errorf("peers[%d]: %w", i, err)
		}
		r.peers = append(r.peers, &peer{
			r: r, client: client, log: r.log.With("peer", client.String()), kick: make(chan struct{}, 1), pending: map[leaseKey]todo{},
			most: r.cfg.maxInstances(), batch: peerBatchItems, linger: peerLinger, every: peerSync, retry: peerRetry, retryLast: peerRetryLast,
			resync: true, status: PeerStatus{Server: client.String()},
		})
	}
	return nil
}

// Peers are the registries that this one replicates with.
func (r *Registry) Peers() []PeerStatus {
	all := make([]PeerStatus, 0, len(r.peers))
	for _, p := range r.peers {
		p.mu.Lock()
		s := p.status
		s.Pending, s.Instances = len(p.pending), len(p.has)
		for _, t := range p.pending {
			s.Lag = max(s.Lag, time.Since(t.since))
		}
		p.mu.Unlock()
		all = append(all, s)
	}
	return all
}

// replicate has every peer told of a change, unless it came from one. The caller holds mu.
func (r *Registry) replicate(key leaseKey, w work, by caller) {
	if by.replica {
		return
	}
	now := time.Now()
	for _, p := range r.peers {
		p.add(key, todo{w, now})
	}
}

// add notes that the peer is to be told of a change.
func (p *peer) add(key leaseKey, t todo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Self {
		return
	}
	before, known := p.pending[key]
	switch {
	case known:
		t.work |= before.work
		if before.since.Before(t.since) {
			t.since = before.since
		}
	case len(p.pending) >= p.most:
		p.drop(1)
		return
	default:
		p.order = append(p.order, key)
	}
	p.pending[key] = t
	p.wake()
}

// due notes that the peer is to be told of what a comparison or an answer has shown.
func (p *peer) due(key leaseKey, w work) { p.add(key, todo{w, time.Now()}) }

// drop gives changes up. The caller holds mu.
func (p *peer) drop(n int) {
	if !p.resync {
		p.resync = true
		p.log.Warn("too much to tell a peer, the registries will be compared instead", "pending", len(p.pending))
	}
	p.status.Dropped += int64(n)
	p.wake()
}

// again has the registries compared soon.
func (p *peer) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resync = true
	p.wake()
}

func (p *peer) wake() {
	select {
	case p.kick <- struct{}{}:
	default: // it is awake
	}
}

// run tells the peer what there is to tell, and compares itself with it from time to time, until ctx ends.
func (p *peer) run(ctx context.Context) {
	defer p.client.Close()
	for failed := 0; ctx.Err() == nil; {
		err := p.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		p.judge(err, failed)
		if err != nil {
			failed++
			p.again()
			if !sleep(ctx, nil, p.pause(err, failed)) {
				return
			}
			continue
		}
		failed = 0
		p.rest(ctx)
	}
}

// serve compares the registries if it is time to, and tells everything there is to tell.
func (p *peer) serve(ctx context.Context) error {
	p.mu.Lock()
	due := p.resync || time.Since(p.status.Synced) >= p.every
	p.mu.Unlock()
	if due {
		if err := p.compare(ctx); err != nil {
			return err
		}
	}
	for {
		items, todos := p.take()
		if len(items) == 0 {
			return nil
		}
		err := p.tell(ctx, items)
		if err == nil {
			p.batch = min(2*p.batch, peerBatchItems)
			continue
		}
		if !indigestible(err) {
			p.putBack(todos)
			return err
		}
		if len(todos) == 1 {
			p.refused(&items[0])
			return err
		}
		p.putBack(todos)
		p.batch = max(len(items)/2, 2)
	}
}

// indigestible says that a peer has not taken a batch for what is in it: in smaller ones it may take the rest.
func indigestible(err error) bool {
	e, ok := errors.AsType[*CallError](err)
	return ok && slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusInternalServerError}, e.Status)
}

// putBack notes that changes are still to be told.
func (p *peer) putBack(todos map[leaseKey]todo) {
	for key, t := range todos {
		p.add(key, t)
	}
}

// refused gives up a change that the peer does not even read.
func (p *peer) refused(m *replicated) {
	p.log.Warn("peer does not take a change", "service", m.key.app, "instance", m.key.id, "action", m.action)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Refused++
}

// rest waits until there is something to do, and a little longer, so that there is more of it.
func (p *peer) rest(ctx context.Context) {
	t := time.NewTimer(p.every - rand.N(p.every/10+1))
	defer t.Stop()
	select {
	case <-p.kick:
		sleep(ctx, nil, p.linger)
	case <-t.C:
		p.again()
	case <-ctx.Done():
	}
}

// pause is the time until the next try after so many failures.
func (p *peer) pause(err error, failed int) time.Duration {
	d := min(p.retry<<min(failed-1, 20), p.retryLast)
	if e, ok := errors.AsType[*CallError](err); ok && e.Status == http.StatusServiceUnavailable {
		d = max(d, peerCongestion)
	}
	return d/2 + rand.N(d/2+1)
}

// judge records how it went, and logs what changed.
func (p *peer) judge(err error, failed int) {
	p.mu.Lock()
	s, now := &p.status, time.Now()
	since := s.Failing
	if err == nil {
		s.Err, s.Failing, s.Contact = "", time.Time{}, now
	} else {
		s.Err = err.Error()
		if s.Failing.IsZero() {
			s.Failing = now
		}
	}
	pending := len(p.pending)
	p.mu.Unlock()
	switch {
	case err != nil && failed == 0:
		p.log.Warn("registry peer does not answer", "pending", pending, "err", err)
	case err == nil && failed > 0:
		p.log.Info("registry peer answers again", "failed", failed, "away_s", int(now.Sub(since).Seconds()))
	}
}
