package upstream

import (
	"errors"
	"fmt"
	"testing"
)

func TestPickByMovesLittle(t *testing.T) {
	const keys = 4000
	p := NewPool()
	where := func(n int) (at [keys]*Endpoint) {
		s := p.Service("svc", specs(n))
		for i := range at {
			e, err := s.PickBy(KeyOf(fmt.Sprint("client-", i)))
			if err != nil {
				t.Fatal(err)
			}
			at[i] = e
		}
		return at
	}
	four := where(4)
	count := map[*Endpoint]int{}
	for _, e := range four {
		count[e]++
	}
	for e, n := range count {
		if n < keys/4*8/10 || n > keys/4*12/10 {
			t.Errorf("%s has %d of %d keys", e.Address(), n, keys)
		}
	}
	five, moved := where(5), 0
	for i := range five {
		if five[i] != four[i] {
			if moved++; count[five[i]] != 0 {
				t.Fatalf("key %d moves between endpoints that were there before", i)
			}
		}
	}
	if moved < keys/5*8/10 || moved > keys/5*12/10 {
		t.Errorf("%d of %d keys move when a fifth endpoint comes", moved, keys)
	}
	if where(4) != four {
		t.Error("keys do not come back when it goes")
	}
}

func TestPickByAndPickNamedExclude(t *testing.T) {
	p := NewPool()
	s := p.Service("svc", specs(2))
	first, _ := s.PickBy(KeyOf("k"))
	second, err := s.PickBy(KeyOf("k"), first)
	if err != nil || second == first {
		t.Errorf("%v %v", second, err)
	}
	if _, err := s.PickBy(KeyOf("k"), first, second); !errors.Is(err, ErrNoEndpoint) {
		t.Error(err)
	}
	if e, err := s.PickNamed(second.ID); err != nil || e != second {
		t.Error(e, err)
	}
	if _, err := s.PickNamed(second.ID, second); !errors.Is(err, ErrNoEndpoint) {
		t.Error(err)
	}
	if _, err := s.PickNamed("nobody"); !errors.Is(err, ErrNoEndpoint) {
		t.Error(err)
	}
	first.Drain(true)
	if e, err := s.PickBy(KeyOf("k")); err != nil || e != second {
		t.Error(e, err)
	}
}
