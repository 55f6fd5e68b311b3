package eureka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
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

	kick chan struct{} // capacity 1: there is work, or a reason to compare

	mu      sync.Mutex // guards the following; a leaf: held under the registry's
	pending map[leaseKey]work
	order   []leaseKey
	most    int // in pending
	resync  bool
	status  PeerStatus
	has     map[leaseKey]bool // what it had when it was last compared
}

// PeerStatus is how a peer fares. Counts are since start.
type PeerStatus struct {
	Server   string    // its address
	Synced   time.Time // when the registries were last compared; zero: never
	Err      string    // why it cannot be told anything now; empty: it can
	Pending  int       // instances that it is still to be told of
	Sent     int64     // changes that it was told
	Refused  int64     // of those, that it did not take
	Dropped  int64     // changes that there was no room for; the next comparison makes up for them
	Compared int64     // comparisons of the whole registries
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
			r: r, client: client, log: r.log.With("peer", client.String()), kick: make(chan struct{}, 1), pending: map[leaseKey]work{},
			most: r.cfg.maxInstances(), linger: peerLinger, every: peerSync, retry: peerRetry, retryLast: peerRetryLast,
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
		s.Pending = len(p.pending)
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
	for _, p := range r.peers {
		p.add(key, w)
	}
}

// add notes that the peer is to be told of a change.
func (p *peer) add(key leaseKey, w work) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending[key] == 0 {
		if len(p.pending) >= p.most {
			p.drop(1)
			return
		}
		p.order = append(p.order, key)
	}
	p.pending[key] |= w
	p.wake()
}

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
		items, works := p.take()
		if len(items) == 0 {
			return nil
		}
		if err := p.tell(ctx, items); err != nil {
			for key, w := range works {
				p.add(key, w)
			}
			return err
		}
	}
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
	p.status.Err = ""
	if err != nil {
		p.status.Err = err.Error()
	}
	pending := len(p.pending)
	p.mu.Unlock()
	switch {
	case err != nil && failed == 0:
		p.log.Warn("registry peer does not answer", "pending", pending, "err", err)
	case err == nil && failed > 0:
		p.log.Info("registry peer answers again", "failed", failed)
	}
}

// take is the next batch, and what it was made of.
func (p *peer) take() (items []replicated, works map[leaseKey]work) {
	works = map[leaseKey]work{}
	weight := 0
	for len(items) < peerBatchItems-1 && weight < peerBatchBytes { // an instance is two items at most
		p.mu.Lock()
		if len(p.order) == 0 {
			p.order = nil
			p.mu.Unlock()
			return items, works
		}
		key := p.order[0]
		p.order = p.order[1:]
		w := p.pending[key]
		delete(p.pending, key)
		p.mu.Unlock()

		added := p.r.changes(key, w)
		items = append(items, added...)
		if len(added) > 0 {
			works[key] = w
		}
		for _, m := range added {
			weight += 256
			if m.action == doRegister {
				weight += 1024 + size(m.info)
			}
		}
	}
	return items, works
}

// changes are what work stands for now.
func (r *Registry) changes(key leaseKey, w work) (items []replicated) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.find(key)
	if l == nil {
		if w&workCancel == 0 {
			return nil // it expired; its peers find out by themselves
		}
		m := replicated{action: doCancel, key: key}
		if g := r.graveOf(key); g != nil {
			m.dirty = g.dirty
		}
		return []replicated{m}
	}
	i := l.current()
	m := replicated{action: doRegister, key: key, dirty: i.LastDirty, status: i.Status, info: i}
	if w&(workRegister|workCancel) != 0 {
		items = append(items, m)
	}
	if w&workStatus != 0 {
		m.action = doNoStatus
		if l.override != "" {
			m.action = doStatus
		}
		items = append(items, m)
	}
	if len(items) == 0 {
		m.action = doHeartbeat
		items = append(items, m)
	}
	return items
}

// tell sends a batch and does what the answers ask for.
func (p *peer) tell(ctx context.Context, items []replicated) error {
	body := []byte(`{"replicationList":[`)
	for n := range items {
		if n > 0 {
			body = append(body, ',')
		}
		body = items[n].append(body)
	}
	answers, err := p.send(ctx, append(body, `]}`...))
	if err != nil {
		return err
	}
	if len(answers) != len(items) {
		return fmt.Errorf("answered %d of %d changes", len(answers), len(items))
	}
	refused := 0
	for n, a := range answers {
		if p.heed(&items[n], a) {
			refused++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Sent += int64(len(items))
	p.status.Refused += int64(refused)
	return nil
}

// heed does what the answer to a change asks for, and says whether the change was refused.
func (p *peer) heed(m *replicated, a batchAnswer) (refused bool) {
	switch {
	case a.status/100 == 2:
	case m.action == doHeartbeat && a.status == http.StatusNotFound:
		w := workRegister
		if overridden(m.info) > 0 {
			w |= workStatus
		}
		p.add(m.key, w)
	case a.status == http.StatusConflict && a.newer != nil:
		if (leaseKey{a.newer.App, a.newer.ID}) == m.key {
			p.adopt(a.newer)
		}
	case m.action == doRegister && a.status == http.StatusGone:
		// Not known here, or overtaken by what came meanwhile: both are as they should be.
		_ = p.r.cancelled(m.key, m.dirty, p.caller())
	case a.status == http.StatusNotFound || a.status == http.StatusConflict || a.status == http.StatusGone:
	default:
		if ok, missed := p.r.warn.allow(time.Now()); ok {
			p.log.Warn("peer refuses a change", "service", m.key.app, "instance", m.key.id, "action", m.action, "status", a.status, "not_logged", missed)
		}
		return true
	}
	return false
}

func (p *peer) caller() caller { return caller{name: p.client.String(), replica: true} }

// orphans ends the leases that this registry has from others only, that nobody has renewed in time, and that no peer has any
// more: peers that have been heard from lately all know that they are gone. Self-preservation does not keep those.
func (r *Registry) orphans(now time.Time) {
	has := map[leaseKey]bool{}
	for _, p := range r.peers {
		p.mu.Lock()
		fresh := !p.status.Synced.IsZero() && p.status.Err == "" && now.Sub(p.status.Synced) <= 2*p.every
		for key := range p.has {
			has[key] = true
		}
		p.mu.Unlock()
		if !fresh {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []leaseKey
	for app, leases := range r.apps {
		for id, l := range leases {
			if key := (leaseKey{app, id}); !l.direct && !l.static && now.Sub(l.renewed) > l.duration && !has[key] {
				gone = append(gone, key)
			}
		}
	}
	for _, key := range gone {
		l := r.find(key)
		r.bury(key, l, true)
		r.remove(key, l)
		r.expired.Add(1)
		r.log.Info("instance expired", "service", l.inst.ServiceID(), "instance", key.id, "reason", "no peer has it")
	}
}
