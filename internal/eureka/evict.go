package eureka

import (
	"math/rand/v2"
	"time"
)

// Shares of self-preservation, in percent.
const (
	renewPercent = 85 // fewer heartbeats than this share of the expected: nothing expires
	keepPercent  = 85 // so many of the leases outlive any one run of the eviction
)

// evict ends expired leases. lag is by how much the run came late: while this process stood still no heartbeat
// could arrive, so every lease gets that much longer.
func (r *Registry) evict(now time.Time, lag time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var late []leaseKey
	for app, leases := range r.apps {
		for id, l := range leases {
			if now.Sub(l.begin()) > l.duration+max(lag, 0) {
				late = append(late, leaseKey{app, id})
			}
		}
	}
	threshold := r.renewThreshold()
	held := len(late) > 0 && !r.cfg.expireAlways() && r.renewsBefore <= threshold
	if held != r.preserving {
		r.preserving = held
		r.log.Warn("self-preservation changed", "on", held, "late", len(late), "instances", r.count,
			"renews_last_minute", r.renewsBefore, "threshold", threshold)
	}
	if held {
		return
	}
	most := r.count - r.count*keepPercent/100
	rand.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	for _, key := range late[:min(most, len(late))] {
		l := r.find(key)
		r.bury(key, l, true)
		r.remove(key, l)
		r.expired.Add(1)
		r.log.Info("instance expired", "service", l.inst.ServiceID(), "instance", key.id,
			"silent_s", int(now.Sub(l.renewed).Seconds()), "lease_s", l.inst.Lease.Duration)
	}
}

// renewThreshold is how many heartbeats a minute must be exceeded for leases to expire: two per instance are
// expected, and one instance at least. The caller holds mu.
func (r *Registry) renewThreshold() int64 {
	return int64(max(r.count, 1)) * 2 * renewPercent / 100
}
