package upstream

import "slices"

// panicking are the endpoints of a service that panics: it is one that says so, and of those that are not leaving none takes anything.
// Nil: it does not panic, or all are in exclude.
func (s *Service) panicking(exclude []*Endpoint) (left []*Endpoint) {
	if !s.Panic {
		return nil
	}
	for _, e := range s.Endpoints {
		switch {
		case e.Takes():
			return nil
		case !e.Leaving() && !slices.Contains(exclude, e):
			left = append(left, e)
		}
	}
	return left
}

// desperate takes one endpoint of a service that panics after the other, or that with the fewest sessions; nil: it does not panic.
func (s *Service) desperate(fewest bool, exclude []*Endpoint) *Endpoint {
	left := s.panicking(exclude)
	if len(left) == 0 {
		return nil
	}
	start := int(s.state.turn.Add(1) % uint64(len(left)))
	best := left[start]
	for i := range left {
		if e := left[(start+i)%len(left)]; fewest && e.Sessions() < best.Sessions() {
			best = e
		}
	}
	return best
}
