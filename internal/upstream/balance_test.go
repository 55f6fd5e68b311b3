package upstream

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRoundRobinTakesTurns(t *testing.T) {
	s := NewPool().Service("svc", specs(3))
	for i := range 7 {
		e, err := s.Pick(Choice{Balance: RoundRobin})
		if err != nil || e != s.Endpoints[i%3] {
			t.Fatalf("pick %d: %v, %v, want endpoint %d", i, e, err, i%3)
		}
	}
}

func TestTurnSurvivesANewList(t *testing.T) {
	p := NewPool()
	first, err := p.Service("svc", specs(2)).Pick(Choice{Balance: RoundRobin})
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Service("svc", specs(3)).Pick(Choice{Balance: RoundRobin})
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("a new list began its turns again at the first endpoint")
	}
}

func TestLeastSessions(t *testing.T) {
	s := NewPool().Service("svc", specs(3))
	for i, n := range []int{2, 1, 3} {
		for range n {
			s.Endpoints[i].Acquire()
		}
	}
	for range 4 {
		if e, err := s.Pick(Choice{Balance: LeastSessions}); err != nil || e != s.Endpoints[1] {
			t.Fatalf("%v, %v, want the endpoint with one session", e, err)
		}
	}
	if e, err := s.Pick(Choice{Balance: LeastSessions}, s.Endpoints[1]); err != nil || e != s.Endpoints[0] {
		t.Errorf("without the best: %v, %v, want the one with two sessions", e, err)
	}
}

func TestLeastSessionsTiesTakeTurns(t *testing.T) {
	s := NewPool().Service("svc", specs(4))
	seen := make(map[*Endpoint]int)
	for range 40 {
		e, err := s.Pick(Choice{Balance: LeastSessions})
		if err != nil {
			t.Fatal(err)
		}
		seen[e]++
	}
	for _, e := range s.Endpoints {
		if seen[e] != 10 {
			t.Errorf("endpoint %s was picked %d times of 40, want 10", e.Address(), seen[e])
		}
	}
}

// TestTakeDoesNotHerd begins handshakes together, again and again: none may see a place that
// another has taken, so each round leaves all endpoints alike.
func TestTakeDoesNotHerd(t *testing.T) {
	s := NewPool().Service("svc", specs(4))
	for round := range 500 {
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range len(s.Endpoints) {
			wg.Go(func() {
				<-start
				if _, err := s.Take(Choice{Balance: LeastSessions}); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		for _, e := range s.Endpoints {
			if n := e.Sessions(); n != int64(round+1) {
				t.Fatalf("endpoint %s has %d sessions after %d rounds, want one of each", e.Address(), n, round+1)
			}
		}
	}
}

// TestTakeChoosesAndCountsInOneStep holds the step open: another Take must not choose meanwhile.
func TestTakeChoosesAndCountsInOneStep(t *testing.T) {
	s := NewPool().Service("svc", specs(2))
	s.state.take.Lock()
	taken := make(chan *Endpoint, 1)
	go func() {
		e, _ := s.Take(Choice{Balance: LeastSessions})
		taken <- e
	}()
	select {
	case <-taken:
		t.Fatal("chose while another was between choosing and counting")
	case <-time.After(20 * time.Millisecond): // too short only makes the test pass
	}
	s.Endpoints[0].Acquire()
	s.state.take.Unlock()
	if e := <-taken; e != s.Endpoints[1] {
		t.Errorf("took %v, want the endpoint that the other left", e)
	}
}

func TestTwoChoicesAreEven(t *testing.T) {
	const endpoints, each = 40, 100
	s := NewPool().Service("svc", specs(endpoints))
	for range endpoints * each {
		if _, err := s.Take(Choice{Balance: LeastSessions}); err != nil {
			t.Fatal(err)
		}
	}
	// Two choices stay within log log n of the mean whatever the load; a random choice would be
	// off by tens here.
	for _, e := range s.Endpoints {
		if n := e.Sessions(); n < each-12 || n > each+6 {
			t.Errorf("endpoint %s has %d sessions, want about %d", e.Address(), n, each)
		}
	}
}

func TestRandomReachesEveryEndpointLeft(t *testing.T) {
	s := NewPool().Service("svc", specs(20))
	exclude := s.Endpoints[:17]
	seen := make(map[*Endpoint]int)
	for range 600 {
		e, err := s.Pick(Choice{Balance: Random}, exclude...)
		if err != nil {
			t.Fatal(err)
		}
		seen[e]++
	}
	for _, e := range s.Endpoints[17:] {
		if seen[e] < 100 {
			t.Errorf("endpoint %s was picked %d times of 600, want about 200", e.Address(), seen[e])
		}
		delete(seen, e)
	}
	if len(seen) > 0 {
		t.Errorf("excluded endpoints were picked: %v", seen)
	}
}

func TestNoEndpoint(t *testing.T) {
	p := NewPool()
	for name, s := range map[string]*Service{
		"empty":    p.Service("empty", nil),
		"excluded": p.Service("excluded", specs(2)),
		"many":     p.Service("many", specs(twoChoices+1)),
	} {
		for _, balance := range []Balance{LeastSessions, RoundRobin, Random, ""} {
			e, err := s.Take(Choice{Balance: balance}, s.Endpoints...)
			if e != nil || !errors.Is(err, ErrNoEndpoint) {
				t.Errorf("%s, %s: %v, %v, want ErrNoEndpoint", name, balance, e, err)
			}
		}
	}
}

func TestBalanceText(t *testing.T) {
	for _, name := range []string{"least-sessions", "round-robin", "random"} {
		var b Balance
		if err := b.UnmarshalText([]byte(name)); err != nil || string(b) != name {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	b := Random
	if err := b.UnmarshalText([]byte("least-connections")); err == nil || b != Random {
		t.Errorf("unknown name: %q, %v, want an error and no change", b, err)
	}
}

func BenchmarkTake(b *testing.B) {
	s := NewPool().Service("svc", specs(8))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if e, err := s.Take(Choice{Balance: LeastSessions}); err == nil {
				e.Release()
			}
		}
	})
}

func ail(e *Endpoint) { e.health.observe(&Probe{UnhealthyThreshold: 1}, errIll, time.Now()) }

// TestUnhealthyIsNotChosen also above the number of endpoints at which LeastSessions stops to look at all of them.
func TestUnhealthyIsNotChosen(t *testing.T) {
	for _, n := range []int{3, twoChoices, twoChoices + 1, 40} {
		for _, balance := range []Balance{LeastSessions, RoundRobin, Random, ""} {
			s := NewPool().Service("svc", specs(n))
			left := map[*Endpoint]bool{s.Endpoints[1]: true, s.Endpoints[n-1]: true}
			for _, e := range s.Endpoints {
				if !left[e] {
					ail(e)
				}
			}
			seen := make(map[*Endpoint]int)
			for range 200 {
				e, err := s.Take(Choice{Balance: balance})
				if err != nil || !left[e] {
					t.Fatalf("%d endpoints, %s: %v, %v, want one of the healthy", n, balance, e, err)
				}
				seen[e]++
			}
			if len(seen) != len(left) {
				t.Errorf("%d endpoints, %s: only one of two healthy endpoints was chosen", n, balance)
			}
			if e, err := s.Pick(Choice{Balance: balance}, s.Endpoints[1]); err != nil || e != s.Endpoints[n-1] {
				t.Errorf("%d endpoints, %s, without the first: %v, %v, want the other healthy one", n, balance, e, err)
			}
		}
	}
}

func TestNoHealthy(t *testing.T) {
	for _, balance := range []Balance{LeastSessions, RoundRobin, Random} {
		p := NewPool()
		s := p.Service("svc", specs(3))
		for _, e := range s.Endpoints {
			ail(e)
		}
		for _, tt := range []struct {
			exclude []*Endpoint
			want    error
			text    string
		}{
			{nil, ErrNoHealthy, "all 3 endpoints are unhealthy"},
			{s.Endpoints[:2], ErrNoHealthy, "the only endpoint is unhealthy"},
			{s.Endpoints, ErrNoEndpoint, ErrNoEndpoint.Error()},
		} {
			if _, err := s.Take(Choice{Balance: balance}, tt.exclude...); !errors.Is(err, tt.want) || err.Error() != tt.text {
				t.Errorf("%s without %d: %v, want %q", balance, len(tt.exclude), err, tt.text)
			}
		}
		p.Service("svc", specs(3)[2:])
		if _, err := s.Pick(Choice{Balance: balance}); err == nil || err.Error() != "the only endpoint is unhealthy" {
			t.Errorf("%s, two are leaving: %v", balance, err)
		}
		if _, err := s.PickNamed(s.Endpoints[2].ID); !errors.Is(err, ErrNoHealthy) || !strings.Contains(err.Error(), "asked for is unhealthy") {
			t.Errorf("by its name: %v", err)
		}
		if _, err := s.PickNamed(s.Endpoints[0].ID); !errors.Is(err, ErrNoEndpoint) {
			t.Errorf("one that is leaving, by its name: %v", err)
		}
		if s.Endpoints[0].Sessions() != 0 {
			t.Error("a session was counted on an unhealthy endpoint")
		}
	}
}
