package kubernetes

import "context"

// Source is where objects come from.
type Source interface {
	// Load returns the newest set, with defaults filled in. The error tells all that is wrong, with places; the
	// caller goes on with the set that it has.
	Load() (*Set, error)

	// Changes gets a value after a change that Load would show, until ctx ends. Latest wins. It is called once.
	Changes(ctx context.Context) <-chan struct{}
}

// Fixed is a Source whose objects never change.
type Fixed struct{ Set *Set }

// Load implements Source.
func (f Fixed) Load() (*Set, error) { return f.Set, nil }

// Changes implements Source: there are none.
func (f Fixed) Changes(context.Context) <-chan struct{} { return make(chan struct{}) }
