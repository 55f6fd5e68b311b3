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
