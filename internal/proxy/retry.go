package proxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
	"github.com/fairlead-gateway/fairlead/internal/route"
)

// maxBackoff is how many times the least pause between two attempts may become.
const maxBackoff = 10

// retry tells whether the request is to be sent once more as the rule says (GEP-1731), and if so waits until it may be and
// chooses an endpoint, one that has not failed if there is one. err is that of the last attempt; nil: it has an answer, which
// is then dropped. An attempt whose end is not known is repeated only if its method is idempotent (RFC 9110, section 9.2.2), or the policy says that any may be.
func (s *Server) retry(c *call, err error) bool {
	x, rule := c.x, c.x.to.Retry
	switch {
	case rule == nil || c.retries >= rule.Attempts || !x.kept.whole:
		return false
	case err == nil && (!slices.Contains(rule.Codes, c.answer.Status) || rule.Methods != "" && !mayRepeatMethod(rule, x.request.Method)):
		return false
	case err != nil && !unreached(err) && (!mayRepeatMethod(rule, x.request.Method) || overloaded(err) || isSource(err)):
		return false
	}
	pause := rule.Backoff * time.Duration(min(1<<min(c.retries, 10), maxBackoff))
	if pause > 0 {
		pause += rand.N(pause/2 + 1)
	}
	if !c.last.IsZero() && !time.Now().Add(pause).Before(c.last) {
		return false
	}
	if x.to.backend != nil && !s.budgets.allow(x.to.service.Name, x.to.backend.Budget) {
		c.spent = true
		return false
	}
	if err == nil {
		c.discard()
	}
	if pause > 0 && x.pause(pause) != nil {
		return false
	}
	c.retries++
	next, none := x.to.pick(c.tried...)
	if none != nil {
		c.tried = nil
		if next, none = x.to.pick(); none != nil {
			return false
		}
	}
	c.endpoint, c.fresh = next, false
	return true
}

// noMoreRetries is a request that would be tried again if the budget of its service let it (GEP-3388).
func noMoreRetries() *failure {
	return &failure{
		status: http.StatusServiceUnavailable, http: true, cause: "limit reached: retry budget",
		detail: "The service has failed, and too many requests to it are being tried again.",
	}
}

// mayRepeatMethod tells whether a request with that method is sent once more though the service may have acted on it.
func mayRepeatMethod(rule *route.Retry, method string) bool {
	return rule.Methods == route.RetryAll || idempotent(method)
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// discard drops an answer whose head has come.
func (c *call) discard() {
	if _, ok := c.body().Whole(); ok {
		c.giveBack()
		return
	}
	_ = c.x.leash.letGo()
	c.close()
	c.conn, c.x.service = nil, nil
}

// pause waits. The error is why it has ended early: the client has gone.
func (x *exchange) pause(d time.Duration) error {
	var over loop.Gate
	timer := time.AfterFunc(d, over.Open)
	defer timer.Stop()
	if err := x.leash.holdDial(over.Open); err != nil {
		return err
	}
	over.Wait(x.run)
	return x.leash.letGo()
}

// budgets bound the retries to services (GEP-3388). The zero value is ready.
type budgets struct {
	mu sync.Mutex // guards the following
	of map[string]*budget
}

// budgetSlots is how many parts an interval is counted in.
const budgetSlots = 10

// A budget is what has been sent to one service.
type budget struct {
	rule       route.RetryBudget
	slots      [budgetSlots]budgetSlot
	floorBegan time.Time // of the retries that are always allowed
	floor      int
}

// A budgetSlot is what has been sent in one part of an interval.
type budgetSlot struct {
	began             int64 // in parts of the interval since the epoch
	requests, retries int
}

// count counts a request to the service. rule may be nil: then nothing is counted.
func (b *budgets) count(service string, rule *route.RetryBudget) {
	if rule == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.get(service, rule).slot(time.Now()).requests++
}

// allow tells whether the service may be sent one more retry, and counts it.
func (b *budgets) allow(service string, rule *route.RetryBudget) bool {
	if rule == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now, of := time.Now(), b.get(service, rule)
	if now.Sub(of.floorBegan) >= rule.MinEvery {
		of.floorBegan, of.floor = now, 0
	}
	requests, retries := of.sum(now)
	if of.floor >= rule.MinCount && (retries+1)*100 > requests*rule.Percent {
		return false
	}
	of.floor++
	of.slot(now).retries++
	return true
}

// get is what is known of a service under a rule.
func (b *budgets) get(service string, rule *route.RetryBudget) *budget {
	of := b.of[service]
	if of == nil || of.rule != *rule {
		of = &budget{rule: *rule}
		if b.of == nil {
			b.of = make(map[string]*budget)
		}
		b.of[service] = of
	}
	return of
}

// part is the length of a slot.
func (b *budget) part() time.Duration { return max(b.rule.Interval/budgetSlots, time.Millisecond) }

func (b *budget) slot(now time.Time) *budgetSlot {
	at := now.UnixNano() / int64(b.part())
	s := &b.slots[at%budgetSlots]
	if s.began != at {
		*s = budgetSlot{began: at}
	}
	return s
}

func (b *budget) sum(now time.Time) (requests, retries int) {
	at := now.UnixNano() / int64(b.part())
	for _, s := range b.slots {
		if at-s.began < budgetSlots {
			requests, retries = requests+s.requests, retries+s.retries
		}
	}
	return requests, retries
}

// sweep forgets services that have not been asked for an interval.
func (b *budgets) sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for name, of := range b.of {
		if requests, retries := of.sum(now); requests+retries == 0 && now.Sub(of.floorBegan) > of.rule.MinEvery {
			delete(b.of, name)
		}
	}
}
