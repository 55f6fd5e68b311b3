// Package provider turns what the sources of routes publish into the one table that the data
// plane reads.
//
// A Manager runs its providers, merges their newest sets in a fixed order, and swaps the table
// at once for all readers. It never waits for a reader, and no provider waits for it.
package provider

import (
	"context"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// Provider is a source of routes. Implementations do not know this package.
type Provider interface {
	// Name stands in logs and lists, and is constant and unique among the providers of a Manager.
	Name() string

	// Run publishes the whole set now and after each change, until ctx ends; its error
	// is then not asked for. On failure it publishes nothing, since an old set is better than half
	// a new one, and may return: it is started again after a pause. publish never blocks, and
	// the set belongs to the receiver from then on.
	Run(ctx context.Context, publish func(route.Set)) error
}
