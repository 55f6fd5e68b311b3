package eureka

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/route"
)

// servicePolicy is what holds for a service as a whole, and not for one of its routes: what the last of byRank registered over base, the
// operator's policy. Problems are what is refused, conflicts where instances disagree.
func servicePolicy(byRank []*Instance, base, operator route.Policy) (policy route.Policy, problems, conflicts []string) {
	all := make([]route.Policy, len(byRank))
	for i, in := range byRank {
		var trouble []string
		all[i], trouble = saidOfService(in)
		problems = append(problems, trouble...)
	}
	if len(byRank) == 0 {
		return base, nil, nil
	}
	won, last := byRank[len(byRank)-1], all[len(byRank)-1]
	policy, eased := base.Register(last, operator)
	for _, field := range eased {
		problems = append(problems, fmt.Sprintf("instance %s: policy %s: it may not ask for more than the operator set", won.ID, field))
	}
	if field := policy.Probe.Idle(); field != "" {
		problems = append(problems, fmt.Sprintf("instance %s: %s%s: %v", won.ID, keyPolicy, field, route.ErrNoProbeType))
	}
	for i, in := range byRank[:len(byRank)-1] {
		if fields := last.Differences(all[i]); len(fields) > 0 {
			conflicts = append(conflicts, fmt.Sprintf("policy %s: instances %s and %s differ, the latter wins", strings.Join(fields, ", "), in.ID, won.ID))
		}
	}
	return policy, problems, conflicts
}

// saidOfService is what one instance says of its service as a whole.
func saidOfService(in *Instance) (p route.Policy, problems []string) {
	for _, key := range slices.Sorted(maps.Keys(in.Metadata)) {
		name, ok := strings.CutPrefix(key, keyPolicy)
		if !ok || !route.OfService(name) {
			continue
		}
		if err := p.Set(name, in.Metadata[key]); err != nil {
			problems = append(problems, fmt.Sprintf("instance %s: %s %s: %v", in.ID, key, quoted(in.Metadata[key]), err))
		}
	}
	return p, problems
}
