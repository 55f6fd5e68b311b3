package relay

import (
	"testing"
	"time"
)

// Sessions that came together do not all go together, and none goes more than a tenth of its time early.
func TestMaxAgeSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for begun := range uint32(1000) {
		s := &Session{policy: &Policy{MaxAge: 1000 * time.Hour}, begun: begun}
		age := s.maxAge()
		if age > s.policy.MaxAge || age < s.policy.MaxAge*9/10 {
			t.Fatalf("begun %d: %v", begun, age)
		}
		seen[age.Truncate(time.Hour)] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d different hours of 100", len(seen))
	}
}

// However short MaxAge is and whenever in a unit of its clock a session begins, it lasts nine tenths of MaxAge and no longer than that.
func TestMaxAgeOfShortSession(t *testing.T) {
	for _, limit := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Minute} {
		for began := time.Hour; began < time.Hour+100*begunUnit; began += begunUnit / 7 {
			s := &Session{policy: &Policy{MaxAge: limit}, begun: uint32(began / begunUnit)}
			end := began.Truncate(begunUnit) + s.maxAge()
			if s.age(end) < s.maxAge() || s.age(end-1) >= s.maxAge() {
				t.Fatalf("begun at %v: its age at %v is %v, want %v", began, end, s.age(end), s.maxAge())
			}
			if lasted := end - began; lasted < limit*9/10 || lasted > limit {
				t.Fatalf("begun at %v: it lasts %v of %v", began, lasted, limit)
			}
		}
	}
}
