package upstream

// panics tells whether any endpoint that is not leaving may be chosen: the service says so, and none takes anything.
func (s *Service) panics() bool {
	if !s.Panic {
		return false
	}
	for _, e := range s.Endpoints {
		if e.Takes() {
			return false
		}
	}
	return true
}
