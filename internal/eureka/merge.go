package eureka

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// Merged is several sources as one. An instance that more than one of them has is the first one's.
type Merged struct {
	sources []Source // constant; in order of precedence
	changed chan struct{}

	mu   sync.Mutex    // guards the following
	read [][]*Instance // what all was made of
	all  []*Instance
}

// Merge joins sources, in order of precedence.
func Merge(sources ...Source) *Merged {
	return &Merged{sources: sources, changed: make(chan struct{}, 1)}
}

// Run passes on that a source has changed, until ctx ends. It is the sources' one subscriber.
func (m *Merged) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, s := range m.sources {
		wg.Go(func() { m.follow(ctx, s) })
	}
	wg.Wait()
	return nil
}

func (m *Merged) follow(ctx context.Context, s Source) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Changed():
		}
		select {
		case m.changed <- struct{}{}:
		default: // one pending signal is enough
		}
	}
}

// Changed gets a value after a change of any source that matters to routes.
func (m *Merged) Changed() <-chan struct{} { return m.changed }

// Generation counts the changes of all sources that matter to routes.
func (m *Merged) Generation() (n uint64) {
	for _, s := range m.sources {
		n += s.Generation()
	}
	return n
}

// Instances is an immutable snapshot, instances of one application together; made anew only after a change.
func (m *Merged) Instances() []*Instance {
	read := make([][]*Instance, len(m.sources))
	for i, s := range m.sources {
		read[i] = s.Instances()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.EqualFunc(read, m.read, sameSlice) {
		return m.all
	}
	seen := make(map[leaseKey]bool)
	all := []*Instance{}
	for _, instances := range read {
		for _, i := range instances {
			if key := (leaseKey{i.App, i.ID}); !seen[key] {
				seen[key] = true
				all = append(all, i)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *Instance) int { return strings.Compare(a.App, b.App) })
	m.read, m.all = read, all
	return all
}

func sameSlice(a, b []*Instance) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
