package upstream

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

// weighing makes a service whose endpoints have those weights.
func weighing(p *Pool, weights ...int) *Service {
	list, o := specs(len(weights)), Options{Weights: map[string]int{}}
	for i, s := range list {
		o.Weights[s.ID] = weights[i]
	}
	return p.ServiceWith("svc", list, o)
}

// counts are how often each endpoint is chosen.
func counts(t *testing.T, s *Service, n int, choose func(i int) (*Endpoint, error)) []int {
	t.Helper()
	out := make([]int, len(s.Endpoints))
	for i := range n {
		e, err := choose(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Endpoints {
			if s.Endpoints[k] == e {
				out[k]++
			}
		}
	}
	return out
}

// near tells whether got is what the weights say of n, give or take.
func near(got, weights []int, n, give int) bool {
	total := 0
	for _, w := range weights {
		total += w
	}
	for i, w := range weights {
		if d := got[i] - n*w/total; d < -give || d > give {
			return false
		}
	}
	return true
}

// TestWeights gives every algorithm endpoints that weigh differently, few and more than it looks at one by one.
func TestWeights(t *testing.T) {
	many := make([]int, 40)
	for i := range many {
		many[i] = 1 + i%4*3
	}
	for _, weights := range [][]int{{3, 1}, {5, 1, 1}, {1, 0, 2}, {1000, 1, 500}, {7, 7, 7}, many} {
		for _, tt := range []struct {
			c    Choice
			give int
		}{
			{Choice{Balance: LeastSessions}, 1 + len(weights)}, {Choice{Balance: RoundRobin}, 6}, {Choice{}, 6}, {Choice{Balance: Random}, 200},
		} {
			t.Run(fmt.Sprint(len(weights), weights[:2], tt.c.Balance), func(t *testing.T) {
				const n = 8000
				s := weighing(NewPool(), weights...)
				got := counts(t, s, n, func(int) (*Endpoint, error) { return s.Take(tt.c) })
				if !near(got, weights, n, tt.give) {
					t.Errorf("%v of weights %v", got, weights)
				}
			})
		}
	}
}

// TestWeightedTurnsAreSmooth: the light endpoint waits for its turn as long as its weight says, no longer and no less.
func TestWeightedTurnsAreSmooth(t *testing.T) {
	s := weighing(NewPool(), 5, 1, 1)
	last := map[*Endpoint]int{}
	for i := range 2000 {
		e, err := s.Pick(Choice{})
		if err != nil {
			t.Fatal(err)
		}
		if gap := i - last[e]; i > 20 && (gap > 7 || e.Weight() == 1 && gap != 7) {
			t.Fatalf("turn %d: endpoint of weight %d after %d", i, e.Weight(), gap)
		}
		last[e] = i
	}
}

// TestSpares: weight 0 gets nothing while another may be chosen, and all where none may.
func TestSpares(t *testing.T) {
	s := weighing(NewPool(), 0, 0, 2)
	heavy := s.Endpoints[2]
	for _, b := range []Balance{LeastSessions, RoundRobin, Random} {
		c := Choice{Balance: b}
		if got := counts(t, s, 50, func(int) (*Endpoint, error) { return s.Pick(c) }); got[2] != 50 {
			t.Errorf("%s: %v", b, got)
		}
		if got := counts(t, s, 50, func(int) (*Endpoint, error) { return s.Pick(c, heavy) }); got[0]+got[1] != 50 {
			t.Errorf("%s without the one that has a weight: %v", b, got)
		}
		if _, err := s.Pick(c, s.Endpoints...); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("%s: %v", b, err)
		}
	}
	for i := range 50 {
		key := KeyOf(fmt.Sprint(i))
		if e, _ := s.PickBy(key); e != heavy {
			t.Errorf("key %d leads to a spare", i)
		}
		if e, _ := s.PickBy(key, heavy); e == heavy || e == nil {
			t.Errorf("key %d leads nowhere", i)
		}
	}
	all := weighing(NewPool(), 0, 0)
	if got := counts(t, all, 10, func(int) (*Endpoint, error) { return all.Pick(Choice{}) }); got[0] != 5 {
		t.Errorf("spares alone take turns: %v", got)
	}
}

// TestKeysByWeight: each endpoint has its share of the keys, and a new weight moves only those that it must.
func TestKeysByWeight(t *testing.T) {
	const keys = 6000
	p := NewPool()
	where := func(weights ...int) (at [keys]*Endpoint) {
		s := weighing(p, weights...)
		for i := range at {
			at[i], _ = s.PickBy(KeyOf(fmt.Sprint("client-", i)))
		}
		return at
	}
	even, uneven := where(1, 1, 1), where(1, 1, 4)
	heavy := p.Services()[0].Endpoints[2]
	n, moved := 0, 0
	for i := range even {
		if uneven[i] == heavy {
			n++
		}
		if even[i] != uneven[i] {
			if moved++; uneven[i] != heavy {
				t.Fatalf("key %d moves to an endpoint whose weight is what it was", i)
			}
		}
	}
	if n < keys*4/6*95/100 || n > keys*4/6*105/100 || moved != n-keys/3 && math.Abs(float64(moved-(n-keys/3))) > keys/20 {
		t.Errorf("the heavy one has %d of %d keys, %d have moved", n, keys, moved)
	}
	if where(2, 2, 2) != even {
		t.Error("equal weights are not all alike")
	}
}

func TestWeightsChange(t *testing.T) {
	p := NewPool()
	old := weighing(p, 1, 1)
	if weighing(p, 1, 1) != old {
		t.Error("the same weights make another service")
	}
	now := weighing(p, 1, 3)
	if now == old || now.Endpoints[1] != old.Endpoints[1] || old.Endpoints[1].Weight() != 3 {
		t.Errorf("weight %d", old.Endpoints[1].Weight())
	}
	p.Service("svc", specs(2))
	if w := old.Endpoints[1].Weight(); w != 1 {
		t.Errorf("weight %d where nothing is said", w)
	}
}

// A hand is a clock that stands still.
type hand struct{ at time.Time }

func (h *hand) now() time.Time { return h.at }

// TestSlowStart has an endpoint join one that was there, and looks at its share while time goes on.
func TestSlowStart(t *testing.T) {
	for _, tt := range []struct {
		slow SlowStart
		age  time.Duration
		part float64 // of its share
	}{
		{SlowStart{Window: time.Minute}, 0, 0.1},
		{SlowStart{Window: time.Minute}, 3 * time.Second, 0.1},
		{SlowStart{Window: time.Minute}, 30 * time.Second, 0.5},
		{SlowStart{Window: time.Minute}, time.Minute, 1},
		{SlowStart{Window: time.Minute}, time.Hour, 1},
		{SlowStart{Window: time.Minute, Aggression: 2}, 15 * time.Second, 0.5},
		{SlowStart{Window: time.Minute, Aggression: 0.5}, 30 * time.Second, 0.25},
		{SlowStart{Window: time.Minute, Start: 0.4}, 6 * time.Second, 0.4},
		{SlowStart{}, 0, 1},
	} {
		for _, b := range []Balance{LeastSessions, RoundRobin, Random} {
			t.Run(fmt.Sprint(b, tt.slow, tt.age), func(t *testing.T) {
				const n = 6000
				p, h := NewPool(), &hand{time.Unix(1_000_000, 0)}
				p.clock = h.now
				p.Service("svc", specs(1))
				h.at = h.at.Add(24 * time.Hour)
				s := p.Service("svc", specs(2))
				h.at = h.at.Add(tt.age)
				got := counts(t, s, n, func(int) (*Endpoint, error) { return s.Take(Choice{Balance: b, SlowStart: tt.slow}) })
				want := n * tt.part / (1 + tt.part)
				if d := float64(got[1]) - want; math.Abs(d) > 6 && (b != Random || math.Abs(d) > 200) {
					t.Errorf("%v, want %.0f for the new one", got, want)
				}
			})
		}
	}
}

// TestSlowStartAgain: an endpoint begins anew when it is well again, listed again or no longer drained; a key leads where it did.
func TestSlowStartAgain(t *testing.T) {
	slow := Choice{Balance: RoundRobin, SlowStart: SlowStart{Window: time.Minute}}
	for name, leave := range map[string]func(p *Pool, e *Endpoint) (back func()){
		"drained": func(_ *Pool, e *Endpoint) func() { e.Drain(true); return func() { e.Drain(false) } },
		"listed": func(p *Pool, _ *Endpoint) func() {
			p.Service("svc", specs(1))
			return func() { p.Service("svc", specs(2)) }
		},
		"ill": func(p *Pool, e *Endpoint) func() {
			tg := &target{endpoint: e, asking: asking{probe: Probe{UnhealthyThreshold: 1, HealthyThreshold: 1}}}
			p.probes.observe(tg, errIll)
			return func() { p.probes.observe(tg, nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, h := NewPool(), &hand{time.Unix(1_000_000, 0)}
			p.clock = h.now
			s := p.Service("svc", specs(2))
			h.at = h.at.Add(time.Hour)
			share := func() int {
				return counts(t, s, 1100, func(int) (*Endpoint, error) { return s.Pick(slow) })[1]
			}
			if n := share(); n != 550 {
				t.Errorf("%d of 1100 before", n)
			}
			keyed := func() int {
				return counts(t, s, 500, func(i int) (*Endpoint, error) { return s.PickBy(KeyOf(fmt.Sprint(i))) })[1]
			}
			keys := keyed()
			back := leave(p, s.Endpoints[1])
			if n := share(); n != 0 {
				t.Fatalf("%d of 1100 while it takes none", n)
			}
			back()
			if n := share(); n < 94 || n > 106 {
				t.Errorf("%d of 1100 at once, want 100", n)
			}
			if n := keyed(); n != keys {
				t.Errorf("%d keys lead to it, were %d", n, keys)
			}
			h.at = h.at.Add(time.Minute)
			if n := share(); n != 550 {
				t.Errorf("%d of 1100 in the end", n)
			}
		})
	}
}

// TestChoosingAllocatesNothing, whichever way.
func TestChoosingAllocatesNothing(t *testing.T) {
	for _, n := range []int{4, 40} {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1 + i%3
		}
		for _, s := range []*Service{NewPool().Service("svc", specs(n)), weighing(NewPool(), weights...)} {
			for _, b := range []Balance{LeastSessions, RoundRobin, Random, LoadAware} {
				c := Choice{Balance: b, SlowStart: SlowStart{Window: time.Hour}, Reports: usual}
				if a := testing.AllocsPerRun(100, func() {
					if e, err := s.Take(c); err == nil {
						e.Release()
					}
				}); a > 0 {
					t.Errorf("%s among %d: %v allocations", b, n, a)
				}
			}
			if a := testing.AllocsPerRun(100, func() { _, _ = s.PickBy(7) }); a > 0 {
				t.Errorf("a key among %d: %v allocations", n, a)
			}
		}
	}
}
