package upstream

// PickBy is Pick by a key: equal keys lead to the same endpoint for as long as it may be chosen, in every gateway (rendezvous
// hashing), and when endpoints come or go only the keys of those that go move, and the share of those that come.
func (s *Service) PickBy(key string, exclude ...*Endpoint) (*Endpoint, error) {
	var best *Endpoint
	var most uint64
	for _, e := range s.Endpoints {
		if !usable(e, exclude) {
			continue
		}
		if score := Mix(key, e.address); best == nil || score > most {
			best, most = e, score
		}
	}
	if best != nil {
		return best, nil
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.PickBy(key, exclude...)
	}
	for _, e := range s.panicking(exclude) {
		if score := Mix(key, e.address); best == nil || score > most {
			best, most = e, score
		}
	}
	if best != nil {
		return best, nil
	}
	return nil, s.none(exclude)
}

// PickNamed is Pick of the endpoint with that ID alone. Without one that may be chosen the error is ErrNoEndpoint.
func (s *Service) PickNamed(id string, exclude ...*Endpoint) (*Endpoint, error) {
	for _, e := range s.Endpoints {
		if e.ID == id && usable(e, exclude) {
			return e, nil
		}
	}
	if newest := s.state.newest.Load(); newest != s {
		return newest.PickNamed(id, exclude...)
	}
	for _, e := range s.panicking(exclude) {
		if e.ID == id {
			return e, nil
		}
	}
	return nil, ErrNoEndpoint
}

// Mix mixes two strings: FNV-1a, then the finalizer of splitmix64. It is the same in every gateway.
func Mix(a, b string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{a, "\x00", b} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
