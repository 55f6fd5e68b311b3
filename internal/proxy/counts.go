package proxy

import (
	"maps"
	"slices"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/relay"
)

// Counts are what the Server has done since its start, and has open now.
type Counts struct {
	Connections int64 // client connections open, but for those of sessions
	Refused     int64 // connections, sessions and requests over a limit
	Held        int64 // bytes that wait in this process for slow readers
	HeldMost    int64 // what may
	CutOff      int64 // sessions ended because so much waited for them that all together was too much
	Unmirrored  int64 // copies of requests that were not sent, because too many were under way
	Routes      []RouteCounts
}

// RouteCounts are those of one route. Requests to no route have none: "".
type RouteCounts struct {
	Route string

	Requests [6]uint64 // plain ones that have ended, by the first digit of the status; 0: the client was gone before
	Times    HistogramCounts

	Refused   map[uint16]uint64  // handshakes that became no session, by status or code of the Close
	Opened    uint64             // sessions
	Live      int                // sessions open now
	Closed    map[Closing]uint64 // sessions
	Lifetimes HistogramCounts    // of those
	Traffic   Traffic            // of all sessions, those open now included
	Unmoved   uint64             // sessions that looked for another endpoint and found none

	Carried               uint64 // connections that were carried as they are, and clients of UDP, that have ended
	CarriedIn, CarriedOut int64  // their bytes
}

// HistogramCounts are times by how long they are.
type HistogramCounts struct {
	Bounds []time.Duration // ascending
	Counts []uint64        // up to each bound, those up to the bounds before included
	Total  uint64
	Sum    time.Duration
}

// Counts reads the counters without stopping anything.
func (s *Server) Counts() Counts {
	c := Counts{Connections: s.conns.Load(), Refused: s.refused.Load(), Unmirrored: s.mirrors.dropped.Load()}
	c.CutOff = s.engine.Relieved()
	c.Held, c.HeldMost = s.engine.Held()
	ended := s.tally.ended() // before what is open: a session that ends in between is missed once, and never counted twice
	live := make(map[*routeTally]*liveTraffic)
	for _, ss := range s.Sessions.snapshot(0) {
		r := ss.relay.Load()
		if r == nil || ss.places.tally == nil {
			continue
		}
		l := live[ss.places.tally]
		if l == nil {
			l = new(liveTraffic)
			live[ss.places.tally] = l
		}
		var st relay.Stats
		r.Stats(&st)
		l.sessions++
		l.traffic.add(&st)
	}
	s.tally.mu.RLock()
	defer s.tally.mu.RUnlock()
	for _, route := range slices.Sorted(maps.Keys(s.tally.routes)) {
		r := s.tally.routes[route]
		rc := r.counts(ended[r], live[r])
		rc.Route = route
		c.Routes = append(c.Routes, rc)
	}
	return c
}

type liveTraffic struct {
	sessions int
	traffic  Traffic
}

// ended is what passed in the sessions that have ended, by route.
func (t *tally) ended() map[*routeTally]Traffic {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[*routeTally]Traffic, len(t.routes))
	for _, r := range t.routes {
		r.mu.Lock()
		all[r] = r.ended
		r.mu.Unlock()
	}
	return all
}

// counts reads r; ended is what passed in its sessions before live was read, which is what its open sessions have done, nil if there are
// none.
func (r *routeTally) counts(ended Traffic, live *liveTraffic) RouteCounts {
	c := RouteCounts{Times: r.times.counted(), Lifetimes: r.lifetimes.counted(), Carried: r.carried.Load(), Opened: r.opened.Load(), Unmoved: r.unmoved.Load()}
	for i := range r.requests {
		c.Requests[i] = r.requests[i].Load()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Refused, c.Closed = maps.Clone(r.refused), maps.Clone(r.closed)
	c.CarriedIn, c.CarriedOut = r.carries.in, r.carries.out
	sum := ended
	if live != nil {
		c.Live = live.sessions
		sum.join(&live.traffic)
	}
	r.told.raise(&sum)
	c.Traffic = r.told
	return c
}

func (h *histogram) counted() HistogramCounts {
	c := HistogramCounts{Bounds: h.bounds, Counts: make([]uint64, len(h.bounds)), Sum: time.Duration(h.sum.Load())}
	for i := range h.bounds {
		c.Total += h.counts[i].Load()
		c.Counts[i] = c.Total
	}
	c.Total += h.longer.Load()
	return c
}
