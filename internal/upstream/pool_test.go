package upstream

import (
	"errors"
	"slices"
	"sync"
	"testing"
)

func TestEndpointsOutliveTheirServices(t *testing.T) {
	p := NewPool()
	two := specs(2)
	first := p.Service("svc", two)
	a, b := first.Endpoints[0], first.Endpoints[1]
	a.Acquire()

	second := p.Service("svc", []Spec{two[1], two[0], two[1]})
	if !slices.Equal(second.Endpoints, []*Endpoint{b, a}) {
		t.Fatalf("second list has %v, want the same two endpoints in its own order", second.Endpoints)
	}
	if a.Sessions() != 1 || a.Total() != 1 {
		t.Errorf("endpoint has %d sessions of %d, want 1 of 1", a.Sessions(), a.Total())
	}
	if !slices.Equal(first.Endpoints, []*Endpoint{a, b}) {
		t.Error("the first service changed")
	}
	a.Release()
	if a.Sessions() != 0 {
		t.Errorf("after its only session: %d sessions, want 0", a.Sessions())
	}
	if other := p.Service("other", two); other.Endpoints[0] == a {
		t.Error("two services share an endpoint")
	}
	if p.Service("svc", []Spec{two[1], two[0]}) != second {
		t.Error("the same list gave another Service")
	}
}

func TestLeaving(t *testing.T) {
	p := NewPool()
	two := specs(2)
	old := p.Service("svc", two)
	a, b := old.Endpoints[0], old.Endpoints[1]

	p.Service("svc", two[1:])
	if !a.Leaving() || b.Leaving() {
		t.Fatalf("leaving: a %t, b %t, want true and false", a.Leaving(), b.Leaving())
	}
	for _, balance := range []Balance{LeastSessions, RoundRobin, Random} {
		for range 8 {
			if e, err := old.Pick(Choice{Balance: balance}); err != nil || e != b {
				t.Fatalf("%s on the old list: %v, %v, want b", balance, e, err)
			}
		}
	}
	p.Service("svc", two)
	if a.Leaving() {
		t.Error("an endpoint that came back is still leaving")
	}
	p.Service("svc", nil)
	if _, err := old.Pick(Choice{Balance: RoundRobin}); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("pick among leaving endpoints: %v, want ErrNoEndpoint", err)
	}
}

func TestSweep(t *testing.T) {
	p := NewPool()
	s := p.Service("svc", specs(3))
	s.Endpoints[0].Acquire()
	p.Service("svc", specs(3)[2:])
	if n := p.Sweep(); n != 1 {
		t.Errorf("swept %d, want the one that is leaving and idle", n)
	}
	if got := p.Endpoints(); !slices.Equal(got, []*Endpoint{s.Endpoints[0], s.Endpoints[2]}) {
		t.Errorf("left %v, want the one with a session and the listed one", got)
	}
	s.Endpoints[0].Release()
	p.Service("svc", nil)
	if n := p.Sweep(); n != 2 {
		t.Errorf("swept %d, want 2", n)
	}
	if len(p.services) != 0 {
		t.Errorf("%d services left, want none", len(p.services))
	}
	if _, err := s.Pick(Choice{Balance: LeastSessions}); !errors.Is(err, ErrNoEndpoint) {
		t.Errorf("pick on a forgotten service: %v, want ErrNoEndpoint", err)
	}
}

// TestPoolConcurrently is for the race detector: lists change while sessions come and go.
func TestPoolConcurrently(t *testing.T) {
	p := NewPool()
	all := specs(8)
	s := p.Service("svc", all)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 200 {
				p.Service("svc", all[(i+n)%8:])
				p.Sweep()
			}
		})
		wg.Go(func() {
			for range 200 {
				if e, err := s.Take(Choice{Balance: LeastSessions}); err == nil {
					e.Release()
				}
			}
		})
	}
	wg.Wait()
	for _, e := range p.Endpoints() {
		if e.Sessions() != 0 {
			t.Errorf("endpoint %s has %d sessions, want none", e.Address(), e.Sessions())
		}
	}
}

// TestIdentity: an endpoint is known by the same number wherever the secret is the same.
func TestIdentity(t *testing.T) {
	of := func(secret, service string, n int) uint64 {
		p := NewPool()
		if secret != "" {
			p.Secret = []byte(secret)
		}
		return p.Service(service, specs(n)).Endpoints[n-1].Identity()
	}
	seen := map[uint64]string{}
	for _, secret := range []string{"", "one", "other"} {
		for _, service := range []string{"svc", "svc2"} {
			for n := 1; n <= 3; n++ {
				id, what := of(secret, service, n), secret+"/"+service
				if again := of(secret, service, n); again != id {
					t.Errorf("%s: %x, then %x", what, id, again)
				}
				if had, twice := seen[id]; twice {
					t.Errorf("%s and %s have one number", what, had)
				}
				seen[id] = what
			}
		}
	}
}
