package upstream

import (
	"math"
	"slices"
)

// A Key is what is left of a text by which endpoints are chosen: equal texts have equal keys, in every gateway. It is small, because
// sessions keep it. 0 is none.
type Key uint32

// KeyOf is the Key of a text that is not empty.
func KeyOf(text string) Key {
	return max(Key(finished(mixed(offset, text))), 1)
}

// PickBy is Pick by a key: equal keys lead to the same endpoint for as long as it may be chosen, in every gateway (rendezvous
// hashing), and when endpoints come, go or change their weight only the keys of those that go move, and the share of those that come.
// An endpoint's share of the keys is its weight, from its first moment.
func (s *Service) PickBy(key Key, exclude ...*Endpoint) (*Endpoint, error) {
	l := look{exclude: exclude}
	if e := s.either(&l, func() *Endpoint { return s.highest(key, &l) }); e != nil {
		return e, nil
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.PickBy(key, exclude...)
	}
	if s.panics() {
		l.panics, l.spares = true, false
		if e := s.either(&l, func() *Endpoint { return s.highest(key, &l) }); e != nil {
			return e, nil
		}
	}
	return nil, s.none(exclude)
}

// TakeBy is PickBy, and counts a session on the endpoint.
func (s *Service) TakeBy(key Key, exclude ...*Endpoint) (*Endpoint, error) {
	e, err := s.PickBy(key, exclude...)
	if err == nil {
		e.Acquire()
	}
	return e, err
}

// highest is the endpoint that scores most with the key.
func (s *Service) highest(key Key, l *look) (best *Endpoint) {
	var most float64
	for _, e := range s.Endpoints {
		w := l.share(e)
		if w == 0 {
			continue
		}
		mix := finished(mixed(finished(uint64(key)), e.address))
		score := float64(mix >> 11)
		if s.uneven {
			score = Score(mix, w)
		}
		if best == nil || score > most {
			best, most = e, score
		}
	}
	return best
}

// Score is what something of a weight above 0 scores with a mix of its name and a key: the highest is chosen, each as often as its
// weight says (weighted rendezvous hashing).
func Score(mix uint64, weight float64) float64 {
	u := (float64(mix>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -weight / math.Log(u)
}

// PickNamed is the endpoint with that ID and no other, also while it is ejected: whoever names it does not want another's answer. The
// error is ErrNoEndpoint, or ErrNoHealthy where it is Unhealthy.
func (s *Service) PickNamed(id string, exclude ...*Endpoint) (*Endpoint, error) {
	e := s.named(id, exclude)
	if e != nil && e.Healthy() {
		return e, nil
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.PickNamed(id, exclude...)
	}
	switch {
	case e == nil:
		return nil, ErrNoEndpoint
	case s.panics():
		return e, nil
	}
	return nil, unhealthyError{named: true}
}

func (s *Service) named(id string, exclude []*Endpoint) *Endpoint {
	for _, e := range s.Endpoints {
		if e.ID == id && !e.Leaving() && !slices.Contains(exclude, e) {
			return e
		}
	}
	return nil
}

// Mix mixes two strings: FNV-1a, then the finalizer of splitmix64. It is the same in every gateway.
func Mix(a, b string) uint64 {
	return finished(mixed(mixed(mixed(offset, a), "\x00"), b))
}

// offset is FNV-1a's.
const offset = 14695981039346656037

func mixed(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func finished(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
