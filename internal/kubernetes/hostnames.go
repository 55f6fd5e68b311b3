package kubernetes

import (
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// covers tells whether pattern ("", "a.example" or "*.example") matches every name that name, which may be a pattern too, matches.
func covers(pattern, name string) bool {
	switch {
	case pattern == "", pattern == name:
		return true
	case strings.HasPrefix(pattern, "*."):
		return strings.HasSuffix(name, pattern[1:]) && len(name) > len(pattern)-1
	}
	return false
}

// intersect returns the names that a listener and a route have in common: none if that is all of the listener's. ok is
// false if they have none.
func intersect(listener string, route []gatewayv1.Hostname) (names []string, ok bool) {
	if len(route) == 0 {
		return nil, true
	}
	for _, h := range route {
		name := strings.ToLower(string(h))
		switch {
		case covers(listener, name):
		case covers(name, listener):
			name = listener
		default:
			continue
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, len(names) > 0
}

// nameSet finds which of many hostnames have names in common. Each question costs the labels of a name, not the size of the set.
type nameSet struct {
	owners map[string]string // by hostname: who added it first
	below  map[string]string // by ".example": who added a name below it first
	first  string            // who added anything first
}

// add puts a hostname in; who is for messages.
func (s *nameSet) add(name, who string) {
	if s.owners == nil {
		s.owners, s.below, s.first = make(map[string]string), make(map[string]string), who
	}
	if _, has := s.owners[name]; !has {
		s.owners[name] = who
	}
	for suffix := range parents(strings.TrimPrefix(name, "*.")) {
		if _, has := s.below[suffix]; !has {
			s.below[suffix] = who
		}
	}
}

// overlap tells who added a hostname with names in common with name, if anybody did.
func (s *nameSet) overlap(name string) (who string, found bool) {
	if len(s.owners) == 0 {
		return "", false
	}
	if name == "" {
		return s.first, true
	}
	for _, key := range []string{name, ""} {
		if who, found = s.owners[key]; found {
			return who, true
		}
	}
	base, wild := strings.CutPrefix(name, "*.")
	for suffix := range parents(base) {
		if who, found = s.owners["*"+suffix]; found {
			return who, true
		}
	}
	if wild {
		who, found = s.below["."+base]
	}
	return who, found
}

// parents yields ".b.example" and ".example" of "a.b.example".
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := 1; i < len(name); i++ {
			if name[i] == '.' && !yield(name[i:]) {
				return
			}
		}
	}
}
