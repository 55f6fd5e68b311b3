package eureka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// batchAnswer is what a peer says to one change.
type batchAnswer struct {
	status int
	newer  *Instance // what the peer has, where that is newer
}

// send sends a batch.
func (p *peer) send(ctx context.Context, body []byte) (answers []batchAnswer, err error) {
	err = p.client.Call(ctx, http.MethodPost, "peerreplication/batch/", body, func(in io.Reader) error {
		answers, err = readAnswers(&bounded{in: in, left: peerAnswer, limit: peerAnswer})
		return err
	})
	return answers, err
}

// readAnswers reads {"responseList":[{"statusCode":200,"responseEntity":{…}}]}.
func readAnswers(in io.Reader) (answers []batchAnswer, err error) {
	d := newValueReader(in, maxReadValue)
	err = members(d, false, func(key string) error {
		if key != "responseList" {
			return skip(d)
		}
		return elements(d, func(open bool) error {
			var a batchAnswer
			err := members(d, open, func(key string) error {
				switch key {
				case "statusCode":
					return d.Decode(&a.status)
				case "responseEntity":
					var raw json.RawMessage
					if err := d.Decode(&raw); err != nil || !present(raw) || raw[0] != '{' {
						return err
					}
					a.newer, _ = parseJSONInstance(raw) // what cannot be read is not adopted
					return nil
				}
				return skip(d)
			})
			if answers = append(answers, a); len(answers) > peerBatchItems {
				return errors.New("more answers than changes")
			}
			return err
		})
	})
	return answers, err
}

// compare reads all that the peer has. What is newer there is taken, what is newer here is to be told; so is what was
// cancelled here, and what talks to this registry and is missing there. What is missing there otherwise is left to its lease:
// the peer may have had its end.
func (p *peer) compare(ctx context.Context) error {
	p.mu.Lock()
	p.resync = false // what goes wrong from here on asks for another comparison
	p.mu.Unlock()
	whole, err := p.client.Apps(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	if p.isSelf(p.client.Registry() == p.r.id) {
		return nil
	}
	theirs := map[leaseKey]bool{}
	refused := 0
	for _, app := range whole.Apps {
		for _, i := range app.Instances {
			theirs[leaseKey{i.App, i.ID}] = true
			if err := p.r.acceptable(i, p.client); err != nil {
				if refused++; refused == 1 {
					p.log.Warn("instance of a peer not taken", "service", quoted(i.App), "instance", quoted(i.ID), "reason", err.Error())
				}
				continue
			}
			p.settle(i, now)
		}
	}
	for _, key := range p.r.missingIn(theirs, now) {
		p.due(key, workRegister)
	}
	p.mu.Lock()
	first := p.status.Compared == 0
	p.status.Synced, p.status.Contact, p.status.Err = now, now, ""
	p.status.Fairlead = p.counts()
	p.status.Compared++
	p.has = theirs
	p.mu.Unlock()
	if first {
		p.log.Info("registry compared with a peer for the first time", "instances", len(theirs), "not_taken", refused)
	}
	p.r.orphans(now)
	return nil
}

// isSelf notes whether the peer is this registry itself: then there is nothing to tell it, but its name may lead elsewhere later.
func (p *peer) isSelf(self bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if self != p.status.Self {
		p.log.Info("registry peer is this registry itself, and left out", "self", self)
	}
	if p.status.Self = self; self {
		clear(p.pending)
		p.order, p.has, p.status.Synced = nil, nil, time.Now()
	}
	return self
}

// settle makes this registry and the peer agree on an instance that the peer has.
func (p *peer) settle(i *Instance, now time.Time) {
	key := leaseKey{i.App, i.ID}
	p.r.mu.Lock()
	l, g := p.r.find(key), p.r.graveOf(key)
	var ours *Instance
	if l != nil {
		if heard := lastHeard(i, now); !l.static && heard.After(l.renewed) {
			l.renewed = heard // by a peer that cannot tell this one, or by a way that this one does not see
		}
		ours = l.current()
	}
	p.r.mu.Unlock()
	switch {
	case ours == nil && g != nil && !g.expired && i.LastDirty <= g.dirty:
		p.due(key, workCancel)
	case ours == nil && g != nil && g.expired && i.LastDirty <= g.dirty && i.Lease.LastRenewal <= g.heard:
		// It expired here, and nobody has heard from it since.
	case ours == nil:
		p.adopt(i)
	case l.static:
		p.due(key, workHeartbeat) // nobody else renews it
	case i.LastDirty == ours.LastDirty && later(i, ours) != 0 && !p.counts():
		// A change made there does not count, and one made here does: so it was made there. That it was taken counts.
		i.LastDirty++
		p.adopt(i)
		for _, other := range p.r.peers { // this was decided here
			other.due(key, workRegister|workStatus)
		}
	case later(i, ours) > 0:
		p.adopt(i)
	case later(i, ours) < 0:
		w := workRegister
		if i.Overridden != ours.Overridden {
			w |= workStatus
		}
		p.due(key, w)
	}
}

// counts says whether the peer counts in lastDirtyTimestamp what others change of an instance. Netflix's servers do not.
func (p *peer) counts() bool { return p.client.Registry() != "" }

// adopt takes an instance as the peer has it, with the time that its lease has left; all of it where the peer still has an
// instance that is overdue: it has a reason, as self-preservation or a restart.
func (p *peer) adopt(i *Instance) {
	if err := p.r.acceptable(i, p.client); err != nil {
		return // compare has logged it
	}
	now := time.Now()
	by := p.caller()
	by.renewed = lastHeard(i, now)
	if now.Sub(by.renewed) > time.Duration(min(i.Lease.Duration, maxSeconds))*time.Second {
		by.since = now
	}
	if err := p.r.register(i, by); err != nil {
		p.log.Debug("instance of a peer not taken", "service", i.ServiceID(), "instance", i.ID, "err", err)
	}
}

// lastHeard is when a peer's instance was last heard of, as far as that is believed: not in the future, as Netflix's servers
// have it.
func lastHeard(i *Instance, now time.Time) time.Time {
	if heard := time.UnixMilli(i.Lease.LastRenewal); heard.Before(now) {
		return heard
	}
	return now
}

// acceptable holds a peer's instance to what is asked of those that register here.
func (r *Registry) acceptable(i *Instance, from *Client) error {
	if i.problem != nil {
		return i.problem
	}
	if i.ID == "" || i.App == "" || i.HostName == "" {
		return errors.New("instanceId, app or hostName is missing")
	}
	if i.DataCenter.Name == "" {
		i.DataCenter.Name = dataCenterMyOwn
	}
	translate(i)
	if n, most := size(i), r.cfg.metadataLimit(); n > most {
		return fmt.Errorf("metadata is %d bytes, more than %d", n, most)
	}
	if err := check(i); err != nil {
		return err
	}
	return checkReaches(i, r.cfg.AllowedHosts, from.beside())
}

// missingIn are the leases that a peer does not have and is to be told of: those whose instances talk to this registry.
func (r *Registry) missingIn(theirs map[leaseKey]bool, now time.Time) (keys []leaseKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for app, leases := range r.apps {
		for id, l := range leases {
			key := leaseKey{app, id}
			if !theirs[key] && (l.static || l.direct && now.Sub(l.begin()) <= l.duration) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// orphans ends the leases that this registry has from others only, that nobody has renewed in time, and that no peer has any
// more: peers that have been heard from lately all know that they are gone. Self-preservation does not keep those.
func (r *Registry) orphans(now time.Time) {
	has, alone := map[leaseKey]bool{}, true
	for _, p := range r.peers {
		p.mu.Lock()
		alone = alone && p.status.Self
		fresh := p.status.Self || !p.status.Synced.IsZero() && p.status.Err == "" && now.Sub(p.status.Synced) <= 2*p.every
		for key := range p.has {
			has[key] = true
		}
		p.mu.Unlock()
		if !fresh {
			return
		}
	}
	if alone {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var gone []leaseKey
	for app, leases := range r.apps {
		for id, l := range leases {
			if key := (leaseKey{app, id}); !l.direct && !l.static && now.Sub(l.begin()) > l.duration && !has[key] {
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
