package eureka

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// take is the next batch, and what it was made of.
func (p *peer) take() (items []replicated, todos map[leaseKey]todo) {
	todos = map[leaseKey]todo{}
	weight := 0
	for len(items) < p.batch-1 && weight < peerBatchBytes { // an instance is two items at most
		p.mu.Lock()
		if len(p.order) == 0 {
			p.order = nil
			p.mu.Unlock()
			return items, todos
		}
		key := p.order[0]
		p.order = p.order[1:]
		t := p.pending[key]
		delete(p.pending, key)
		p.mu.Unlock()

		added := p.r.changes(key, t.work)
		items = append(items, added...)
		if len(added) > 0 {
			todos[key] = t
		}
		for _, m := range added {
			weight += 256
			if m.action == doRegister {
				weight += 1024 + size(m.info)
			}
		}
	}
	return items, todos
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
		p.due(m.key, w)
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
