package upstream

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Prober asks the endpoints of a Pool whether they are well, each as the Probe of its service says. It follows the
// pool's newest lists by itself. An endpoint costs no goroutine while it is not being asked. A Pool has one Prober.
type Prober struct {
	// Pool is whose endpoints are asked.
	Pool *Pool

	// Dialer is asked for at each probe, so that a reload can change it.
	Dialer func() *Dialer

	// OnChange is called when an endpoint has turned healthy or unhealthy, once for each time and never twice at once for
	// one endpoint. It must not wait. Nil: nobody is told.
	OnChange func(*Endpoint)

	// Concurrency bounds the probes that run at the same time. Zero means 512.
	Concurrency int

	check func(context.Context, *target) error // nil: check; tests have another
}

// Run probes until ctx ends and every probe has. It may run again after that.
func (p *Prober) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	limit := p.Concurrency
	if limit <= 0 {
		limit = 512
	}
	places := make(chan struct{}, limit)
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		t, probing := p.next(ctx)
		if t == nil {
			return nil
		}
		wg.Go(func() {
			p.probe(ctx, probing, t)
			<-places
		})
	}
}

// next waits for a target to be due. Nil: ctx has ended.
func (p *Prober) next(ctx context.Context) (*target, context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, probing, wait := p.Pool.probes.begin(ctx)
		if t != nil {
			return t, probing
		}
		var due <-chan time.Time
		if wait >= 0 {
			timer.Reset(wait)
			due = timer.C
		}
		select {
		case <-due:
		case <-p.Pool.probes.wake:
		case <-ctx.Done():
		}
	}
	return nil, nil
}

// probe asks one endpoint once.
func (p *Prober) probe(ctx, probing context.Context, t *target) {
	defer p.Pool.probes.again(t)
	err := p.ask(probing, t)
	if ctx.Err() != nil { // the end of Run is no fault of the endpoint's
		return
	}
	if !p.Pool.probes.observe(t, err) {
		return
	}
	t.endpoint.state.keepHalf()
	if p.OnChange != nil {
		p.OnChange(t.endpoint)
	}
}

// ask turns a panic over what an endpoint answers into an error: it must not end the gateway.
func (p *Prober) ask(ctx context.Context, t *target) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("probe: panic: %v", v)
		}
	}()
	if p.check != nil {
		return p.check(ctx, t)
	}
	return check(ctx, p.Dialer(), t.endpoint, t.asking)
}
