package proxy

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// A rateLimiter holds each client address to limits.requestRate. It is a leaky bucket that
// keeps one time per address: when the requests that were let in so far would be due if they
// came at the rate (GCRA). An address that has not asked for a while is not kept.
type rateLimiter struct {
	interval time.Duration // between two requests at the rate
	burst    time.Duration // how far ahead of the rate a client may be
	seed     maphash.Seed
	shards   [rateShards]rateShard
}

// Bounds of a rateLimiter: about 4 MiB in all when every place is taken.
const (
	rateShards    = 16
	ratePerShard  = 4096
	ratePrefixIP6 = 64 // one network of this size is one client: it has all the addresses it likes
)

type rateShard struct {
	mu  sync.Mutex               // guards the following
	due map[netip.Addr]time.Time // when the next request would be due at the rate
}

// newRateLimiter lets in rate and, at once, burst requests of one client; nil if rate is 0.
func newRateLimiter(rate unit.Rate, burst int) *rateLimiter {
	if rate <= 0 {
		return nil
	}
	if burst <= 0 {
		burst = max(1, int(math.Ceil(float64(rate))))
	}
	l := &rateLimiter{interval: rate.Interval(), seed: maphash.MakeSeed()}
	l.burst = l.interval * time.Duration(burst)
	return l
}

// allow counts a request of client at now. A positive wait is how long the client should
// wait: the request is not let in then. A nil limiter lets in all.
func (l *rateLimiter) allow(client netip.Addr, now time.Time) (wait time.Duration) {
	if l == nil || !client.IsValid() {
		return 0
	}
	client = clientNetwork(client)
	s := &l.shards[maphash.Comparable(l.seed, client)%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	due, known := s.due[client]
	if !known || due.Before(now) {
		due = now
	}
	due = due.Add(l.interval)
	if ahead := due.Sub(now); ahead > l.burst {
		return ahead - l.burst
	}
	if !known {
		s.makeRoom(now)
	}
	s.due[client] = due
	return 0
}

// clientNetwork is what counts as one client.
func clientNetwork(a netip.Addr) netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(ratePrefixIP6); err == nil {
			return p.Addr()
		}
	}
	return a
}

// makeRoom sees to it that one more address can be kept: those that are due are forgotten;
// if there is none, any: that client gets a new burst, and memory stays bounded.
func (s *rateShard) makeRoom(now time.Time) {
	if s.due == nil {
		s.due = make(map[netip.Addr]time.Time)
	}
	if len(s.due) < ratePerShard {
		return
	}
	for client, due := range s.due {
		if due.Before(now) {
			delete(s.due, client)
		}
	}
	for client := range s.due {
		if len(s.due) < ratePerShard*3/4 { // so that the next scan is not the next request's
			break
		}
		delete(s.due, client)
	}
}
