package proxy

import (
	"net/netip"
	"testing"
	"time"
)

func TestRateLimiter(t *testing.T) {
	l := newRateLimiter(10, 3)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	now := time.Now()
	for i := range 3 {
		if w := l.allow(a, now); w != 0 {
			t.Errorf("request %d of the burst: wait %v", i, w)
		}
	}
	if w := l.allow(a, now); w != 100*time.Millisecond {
		t.Errorf("above the burst: wait %v, want the interval", w)
	}
	if w := l.allow(b, now); w != 0 {
		t.Errorf("another client: wait %v", w)
	}
	if w := l.allow(a, now.Add(100*time.Millisecond)); w != 0 {
		t.Errorf("an interval later: wait %v", w)
	}
	if w := l.allow(a, now.Add(100*time.Millisecond)); w == 0 {
		t.Error("two requests for one interval")
	}
	if w := l.allow(netip.MustParseAddr("::ffff:192.0.2.1"), now.Add(100*time.Millisecond)); w == 0 {
		t.Error("another spelling of the address is another client")
	}
}

func TestRateLimiterTakesAnIPv6NetworkForOneClient(t *testing.T) {
	l := newRateLimiter(1, 1)
	now := time.Now()
	if w := l.allow(netip.MustParseAddr("2001:db8::1"), now); w != 0 {
		t.Errorf("wait %v", w)
	}
	if w := l.allow(netip.MustParseAddr("2001:db8::2"), now); w == 0 {
		t.Error("a second address of one network is another client")
	}
	if w := l.allow(netip.MustParseAddr("2001:db8:0:1::2"), now); w != 0 {
		t.Errorf("another network: wait %v", w)
	}
}

func TestRateLimiterIsBounded(t *testing.T) {
	l := newRateLimiter(1, 1)
	now := time.Now()
	for i := range 3 * rateShards * ratePerShard {
		l.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	for i := range l.shards {
		if n := len(l.shards[i].due); n > ratePerShard {
			t.Fatalf("shard %d keeps %d addresses", i, n)
		}
	}
	if (*rateLimiter)(nil).allow(netip.MustParseAddr("10.0.0.1"), now) != 0 {
		t.Error("no limit lets nobody in")
	}
}
