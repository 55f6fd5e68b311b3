package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// Provider publishes what the objects of a Source mean. Its exported fields are constant once Run has begun.
type Provider struct {
	Source Source
	Log    *slog.Logger
	Pool   *upstream.Pool

	// Options are read anew for each translation. Pool and Unbound are the Provider's.
	Options func() Options

	mu       sync.Mutex // guards the following
	set      *Set       // the newest that could be loaded; nil: none
	unbound  map[string]error
	statuses []Status
	history  history
	said     map[string]bool // problems and conditions that have been logged and still hold
	services lingering       // in the pool
	eureka   bool            // the newest result has read the registry

	cache  Cache         // belongs to Run
	kicked chan struct{} // capacity 1
	once   sync.Once
}

// Name implements provider.Provider.
func (p *Provider) Name() string { return "gateway-api" }

func (p *Provider) kicks() chan struct{} {
	p.once.Do(func() { p.kicked = make(chan struct{}, 1) })
	return p.kicked
}

// Refresh has Run translate again, because Options have changed. It never blocks. Any goroutine.
func (p *Provider) Refresh() {
	select {
	case p.kicks() <- struct{}{}:
	default:
	}
}

// RegistryChanged has Run translate again if the objects name services of the registry. It never blocks. Any goroutine.
func (p *Provider) RegistryChanged() {
	p.mu.Lock()
	concerned := p.eureka
	p.mu.Unlock()
	if concerned {
		p.Refresh()
	}
}

// Load reads the Source: at once, so that a start can fail. Run does it again after each change.
func (p *Provider) Load() error {
	set, err := p.Source.Load()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = set
	return nil
}

// Bound tells which listeners could not be bound, by network and address ("tcp 127.0.0.1:80"), and why. What the conditions
// say follows. Any goroutine.
func (p *Provider) Bound(unbound map[string]error) {
	p.mu.Lock()
	same := maps.EqualFunc(p.unbound, unbound, func(a, b error) bool { return a.Error() == b.Error() })
	p.unbound = maps.Clone(unbound)
	p.mu.Unlock()
	if !same {
		p.Refresh()
	}
}

// Statuses are those of the newest translation, in a fixed order. Read them only.
func (p *Provider) Statuses() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.statuses
}

// Run implements provider.Provider: it publishes what the Source holds, and again after each change. What cannot be loaded
// leaves the set before it in force, and is logged with its place.
func (p *Provider) Run(ctx context.Context, publish func(route.Set)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c := p.cluster(); c != nil {
		defer c.Wait() // after cancel
		defer cancel()
	}
	changes := p.Source.Changes(ctx)
	p.mu.Lock()
	loaded := p.set != nil
	p.mu.Unlock()
	if !loaded {
		switch err := p.Load(); {
		case err == nil:
			loaded = true
		case !errors.Is(err, errNotRead):
			return err
		}
	}
	if loaded {
		publish(p.translate().Set)
	}
	look := time.NewTicker(lingerFor / 2)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-look.C:
			p.leave(now)
			continue
		case <-p.kicks():
		case _, ok := <-changes:
			if !ok {
				return fmt.Errorf("%s: no more changes", p.Name())
			}
			if err := p.Load(); errors.Is(err, errNotRead) {
				continue
			} else if err != nil {
				logRefused(p.Log, err)
				continue
			}
			loaded = true
		}
		if loaded {
			publish(p.translate().Set)
		}
	}
}

// logRefused logs each thing that keeps a set from being loaded, those in files with their place.
func logRefused(log *slog.Logger, err error) {
	const message = "objects not loaded, the old ones stay"
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range list.Unwrap() {
			logRefused(log, e)
		}
		return
	}
	if e, ok := errors.AsType[*FileError](err); ok {
		log.Error(message, "place", e.Place(), "object", e.Object, "field", e.Path, "err", e.Err, "hint", e.Remedy)
		return
	}
	log.Error(message, "err", err)
}

// Translate loads the Source and tells what its objects mean, without publishing anything.
func (p *Provider) Translate() (*Result, error) {
	if err := p.Load(); err != nil {
		return nil, err
	}
	return p.translate(), nil
}

// cluster is the Source if it is a Cluster, else nil.
func (p *Provider) cluster() *Cluster {
	c, _ := p.Source.(*Cluster)
	return c
}

// wantRounds bounds how often a set is translated because it refers to something that had not been read.
const wantRounds = 3

// translate makes the newest set a result, and takes over what it says.
func (p *Provider) translate() *Result {
	r, asked := p.translateOnce()
	c := p.cluster()
	for range wantRounds {
		if c == nil || !c.want(r.wanted) || p.Load() != nil {
			break
		}
		r, asked = p.translateOnce()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	p.history.stamp(r.Statuses, time.Now())
	p.statuses, p.eureka = r.Statuses, asked
	p.services.use(&r.Set, time.Now())
	p.say(r)
	if c != nil {
		c.writer.report(r.Statuses)
	}
	return r
}

// translateOnce makes the newest set a result, and tells whether the registry was asked.
func (p *Provider) translateOnce() (r *Result, asked bool) {
	o := p.Options()
	p.mu.Lock()
	set := p.set
	o.Pool, o.Unbound, o.Cache = p.Pool, p.unbound, &p.cache
	p.mu.Unlock()
	if c := p.cluster(); c != nil {
		o.Published, o.Publish = c.published()
	}
	if registry := o.Eureka; registry != nil {
		o.Eureka = func(id string) ([]upstream.Spec, map[string]int, route.Policy, bool) {
			asked = true
			return registry(id)
		}
	}
	began := time.Now()
	r = Translate(set, o)
	p.Log.Debug("objects translated", "listeners", len(r.Set.Listeners), "took", time.Since(began))
	return r, asked
}

// say logs what is wrong, once as long as it is.
func (p *Provider) say(r *Result) {
	said := make(map[string]bool)
	once := func(key string, log func()) {
		if !p.said[key] && !said[key] {
			log()
		}
		said[key] = true
	}
	for _, problem := range r.Problems {
		once(problem.Object+" "+problem.Text, func() {
			p.Log.Warn("not served as written", "object", problem.Object, "place", problem.Place, "problem", problem.Text)
		})
	}
	for i := range r.Statuses {
		st := &r.Statuses[i]
		object := st.Kind + " " + st.Metadata.Namespace + "/" + st.Metadata.Name
		for at, c := range conditionsOf(st.Status) {
			if !bad(c) {
				continue
			}
			once(object+" "+at+" "+c.Type+" "+c.Reason+" "+c.Message, func() {
				p.Log.Warn("condition", "object", object, "at", at, "type", c.Type, "status", string(c.Status), "reason", c.Reason, "message", c.Message)
			})
		}
	}
	p.said = said
}
