package upstream

import (
	"math"
	"time"
)

// MaxWeight is the most that an endpoint may weigh.
const MaxWeight = 1000

// SlowStart has an endpoint that is new, or well again, or listed again, begin with a part of its share, which grows until Window is over.
type SlowStart struct {
	Window time.Duration // 0: it gets all of its share at once

	// Aggression is how fast the part grows: it is (age/Window)^(1/Aggression). 0 is 1, a straight line.
	Aggression float64

	// Start is the least part, 0 to 1. 0 is a tenth.
	Start float64
}

// part is the part of its share that an endpoint gets at an age.
func (s *SlowStart) part(age time.Duration) float64 {
	if age >= s.Window {
		return 1
	}
	start := s.Start
	if start <= 0 {
		start = 0.1
	}
	grown := float64(max(age, 0)) / float64(s.Window)
	if s.Aggression > 0 && s.Aggression != 1 {
		grown = math.Pow(grown, 1/s.Aggression)
	}
	return min(max(start, grown), 1)
}

// Weight is the endpoint's share beside those of the others of its service; 0: it is a spare, which is chosen where there is no other.
func (e *Endpoint) Weight() int { return int(e.weight.Load()) }

// begin has the endpoint be a new one for those who start slowly.
func (e *Endpoint) begin() {
	now := e.state.pool.clock().UnixNano()
	e.begun.Store(now)
	e.state.begun.Store(now)
}

// Settled tells for how long no endpoint of the service has begun: none has joined, nor was one well again.
func (s *Service) Settled() time.Duration {
	return s.state.pool.clock().Sub(time.Unix(0, s.state.begun.Load()))
}

// starting tells whether an endpoint of the service has begun within the window.
func (st *state) starting(now time.Time, window time.Duration) bool {
	return now.Sub(time.Unix(0, st.begun.Load())) < window
}

// weigh notes what the listed endpoints weigh.
func (s *Service) weigh() {
	for i, e := range s.Endpoints {
		w := s.weightOf(&e.Spec)
		s.uneven = s.uneven || i > 0 && w != s.weightOf(&s.Endpoints[0].Spec)
		s.heaviest = max(s.heaviest, float64(w))
	}
}

// weightOf is what the options say of an endpoint.
func (o *Options) weightOf(spec *Spec) int {
	w, said := o.Weights[spec.ID]
	if !said {
		return 1
	}
	return min(max(w, 0), MaxWeight)
}
