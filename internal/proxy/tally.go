package proxy

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/accesslog"
	"github.com/fairlead-gateway/fairlead/internal/relay"
)

// A tally counts what became of requests and sessions since the start, by route. It only grows.
type tally struct {
	mu     sync.RWMutex // guards the following
	routes map[string]*routeTally
}

const (
	// maxTallies bounds the routes that are counted apart: services that come and go may announce any number.
	maxTallies = 10_000
	// otherRoutes is where the rest is counted.
	otherRoutes = "(other)"
)

// A routeTally is what became of one route's.
type routeTally struct {
	requests  [6]atomic.Uint64 // by the first digit of the status; 0: what has none
	times     histogram        // of requests
	carried   atomic.Uint64    // connections, or clients of UDP, that have ended
	opened    atomic.Uint64    // sessions
	unmoved   atomic.Uint64    // searches for another endpoint that found none
	lifetimes histogram        // of sessions

	mu      sync.Mutex // guards the following
	refused map[uint16]uint64
	closed  map[Closing]uint64
	ended   Traffic // of sessions that have ended
	told    Traffic // the most that was ever told, live sessions included: a count never falls
	carries struct{ in, out int64 }
}

// Closing is how a session ended.
type Closing struct {
	Code uint16 // of the Close; 0: there was none. Codes that peers make up count as 3000 and 4000
	By   string // client, upstream, gateway
}

// Traffic is what passed in sessions. In is from the client.
type Traffic struct {
	BytesIn, BytesOut, MessagesIn, MessagesOut, Moves, Uncertain int64
}

func (t *Traffic) add(st *relay.Stats) {
	t.join(&Traffic{st.BytesIn, st.BytesOut, st.MessagesIn, st.MessagesOut, int64(st.Moves), int64(st.Uncertain)})
}

func (t *Traffic) join(more *Traffic) {
	t.BytesIn, t.BytesOut = t.BytesIn+more.BytesIn, t.BytesOut+more.BytesOut
	t.MessagesIn, t.MessagesOut = t.MessagesIn+more.MessagesIn, t.MessagesOut+more.MessagesOut
	t.Moves, t.Uncertain = t.Moves+more.Moves, t.Uncertain+more.Uncertain
}

// raise makes each count of t that of to, where that is more.
func (t *Traffic) raise(to *Traffic) {
	t.BytesIn, t.BytesOut = max(t.BytesIn, to.BytesIn), max(t.BytesOut, to.BytesOut)
	t.MessagesIn, t.MessagesOut = max(t.MessagesIn, to.MessagesIn), max(t.MessagesOut, to.MessagesOut)
	t.Moves, t.Uncertain = max(t.Moves, to.Moves), max(t.Uncertain, to.Uncertain)
}

// of returns the counts of a route.
func (t *tally) of(route string) *routeTally {
	t.mu.RLock()
	r := t.routes[route]
	t.mu.RUnlock()
	if r != nil {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if r = t.routes[route]; r != nil {
		return r
	}
	if len(t.routes) >= maxTallies {
		route = otherRoutes
		if r = t.routes[route]; r != nil {
			return r
		}
	}
	if t.routes == nil {
		t.routes = make(map[string]*routeTally)
	}
	r = &routeTally{times: histogram{bounds: requestBounds}, lifetimes: histogram{bounds: lifetimeBounds}}
	t.routes[route] = r
	return r
}

// request counts what has been answered, or would have been. handshake: it asked for a session and got none.
func (t *tally) request(rec *accesslog.Record, handshake bool) {
	r := t.of(rec.Route)
	if !handshake {
		r.requests[classOf(rec.Status)].Add(1)
		r.times.add(rec.Duration)
		return
	}
	code := rec.Status
	if rec.Websocket {
		code = rec.CloseCode
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil {
		r.refused = make(map[uint16]uint64)
	}
	r.refused[uint16(code)]++
}

// carry counts a connection that was carried, or a client of UDP.
func (t *tally) carry(rec *accesslog.Record) {
	r := t.of(rec.Route)
	r.carried.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.carries.in, r.carries.out = r.carries.in+rec.BytesIn, r.carries.out+rec.BytesOut
}

// close counts a session that has ended.
func (r *routeTally) close(res *relay.Result, lasted time.Duration) {
	r.lifetimes.add(lasted)
	how := Closing{Code: closeClass(int(res.Code)), By: res.By.String()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed == nil {
		r.closed = make(map[Closing]uint64)
	}
	r.closed[how]++
	r.ended.add(&res.Stats)
}

// classOf is the first digit of a status.
func classOf(status int) int {
	if status < 100 || status > 599 {
		return 0
	}
	return status / 100
}

// closeClass is a close code, but for those that applications make up: any client could make thousands of them.
func closeClass(code int) uint16 {
	if code >= 3000 {
		code -= code % 1000
	}
	return uint16(code)
}

var (
	requestBounds = []time.Duration{
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
	lifetimeBounds = []time.Duration{
		time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	}
)

// A histogram counts times by how long they are.
type histogram struct {
	bounds []time.Duration // at most; constant. What is longer counts in the sum and the count alone
	counts [13]atomic.Uint64
	longer atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

func (h *histogram) add(d time.Duration) {
	h.sum.Add(int64(d))
	for i, most := range h.bounds {
		if d <= most {
			h.counts[i].Add(1)
			return
		}
	}
	h.longer.Add(1)
}
