package upstream

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"
)

// Outliers say when an endpoint that fares badly with what clients ask of it is ejected: for a time it takes no new session and no
// request; open ones go on. Never more than half of a service's endpoints are out, ejected or Unhealthy, because of it. It is
// comparable. The zero value ejects nobody; beyond Failures and Latency, zero means the default.
type Outliers struct {
	// Failures in a row eject an endpoint, if a sibling does not fail. 0: failures do not eject.
	Failures int

	// Latency ejects an endpoint whose median time to answer is so many times that of its siblings. 0: latency does not eject.
	Latency float64

	// LatencyFloor is the median below which nobody is slow. Zero means 100ms.
	LatencyFloor time.Duration

	// Samples are the answers without which an endpoint is not judged by its latency; once it has been, they count half. Zero means 20.
	Samples int

	// Interval is how often latencies are compared. Zero means 10s.
	Interval time.Duration

	// Time is how long the first ejection lasts, MaxTime what one comes to at most: each is twice as long as the one before, and that
	// halves for each such time that an endpoint has been well since. Zero means 10s and 5m.
	Time, MaxTime time.Duration
}

// Defaults of Outliers.
const (
	DefaultLatencyFloor    = 100 * time.Millisecond
	DefaultLatencySamples  = 20
	DefaultLatencyInterval = 10 * time.Second
	DefaultEjection        = 10 * time.Second
	DefaultMaxEjection     = 5 * time.Minute
)

func (o *Outliers) samples() int            { return cmp.Or(o.Samples, DefaultLatencySamples) }
func (o *Outliers) interval() time.Duration { return cmp.Or(o.Interval, DefaultLatencyInterval) }
func (o *Outliers) floor() time.Duration    { return cmp.Or(o.LatencyFloor, DefaultLatencyFloor) }
func (o *Outliers) time() time.Duration     { return min(cmp.Or(o.Time, DefaultEjection), o.most()) }
func (o *Outliers) most() time.Duration     { return cmp.Or(o.MaxTime, DefaultMaxEjection) }

// Ejection is what has become of an endpoint because of Outliers.
type Ejection struct {
	Ejected      bool
	Since, Until time.Time // of the newest; zero: there was none
	Why          string    // of the newest
	Times        uint64    // since the endpoint became known
}

// outlier is the record behind Ejection.
type outlier struct {
	ejected  atomic.Bool
	failures atomic.Int32              // in a row
	trial    atomic.Bool               // it is back, and has not succeeded yet
	latency  atomic.Pointer[latencies] // nil: nobody is judged by it

	// Guarded by the state's ejecting.
	now   Ejection
	stint time.Duration // of the newest; 0: what there was is forgiven
	ended time.Time     // when it was over
	timer *time.Timer
}

// Takes tells whether the endpoint may be given something new: it is neither leaving, nor Unhealthy, nor ejected.
func (e *Endpoint) Takes() bool { return !e.Leaving() && e.Healthy() && !e.outlier.ejected.Load() }

// Ejected tells whether Outliers keep the endpoint from taking anything new.
func (e *Endpoint) Ejected() bool { return e.outlier.ejected.Load() }

// Ejection is the newest of what is known.
func (e *Endpoint) Ejection() Ejection {
	e.state.ejecting.Lock()
	defer e.state.ejecting.Unlock()
	return e.outlier.now
}

// Timed tells whether it matters how long the endpoint takes to answer.
func (e *Endpoint) Timed() bool { return e.outlier.latency.Load() != nil }

// Succeeded notes that the endpoint has done what it was asked. took is the time to the head of its answer; 0: it says nothing of the
// endpoint. Any goroutine; it costs two loads as long as nothing is wrong.
func (e *Endpoint) Succeeded(took time.Duration) {
	if e.outlier.failures.Load() != 0 {
		e.outlier.failures.Store(0)
		e.outlier.trial.Store(false)
	}
	if l := e.outlier.latency.Load(); l != nil && took > 0 {
		l.add(took)
		e.state.compare(time.Now())
	}
}

// Failed notes that it has not, by its own fault. Any goroutine.
func (e *Endpoint) Failed(why error) {
	limit := e.Newest().Outliers.Failures
	if limit <= 0 {
		return
	}
	n := e.outlier.failures.Add(1)
	if int(n) < limit {
		return
	}
	text := fmt.Sprintf("%d failures in a row, the last: %v", n, why)
	if e.outlier.trial.Load() {
		text = fmt.Sprintf("failed as soon as it was back: %v", why)
	}
	e.state.eject(e, cut(text), func(sibling *Endpoint) bool { return sibling.outlier.failures.Load() == 0 })
}

// eject has e take nothing new for a while, if at least half of its service is still there then, and better: one sibling at least,
// nil: that is known.
func (st *state) eject(e *Endpoint, why string, better func(*Endpoint) bool) bool {
	st.ejecting.Lock()
	ok := st.mayEject(e, better)
	if ok {
		e.outlier.begin(time.Now(), why, &st.newest.Load().Outliers)
		e.outlier.timer = time.AfterFunc(e.outlier.stint, func() { st.readmit(e) })
	}
	st.ejecting.Unlock()
	if ok && st.pool.OnEject != nil {
		st.pool.OnEject(e)
	}
	return ok
}

func (st *state) mayEject(e *Endpoint, better func(*Endpoint) bool) bool {
	if !e.Takes() {
		return false
	}
	all, out, worse := 0, 1, better != nil
	for _, sibling := range st.newest.Load().Endpoints {
		if sibling.Leaving() {
			continue
		}
		all++
		switch {
		case sibling == e:
		case !sibling.Takes():
			out++
		case worse && better(sibling):
			worse = false
		}
	}
	return 2*out <= all && !worse
}

// begin begins an ejection. With the state's lock held.
func (o *outlier) begin(now time.Time, why string, by *Outliers) {
	well := now.Sub(o.ended)
	for o.stint > 0 && well >= o.stint {
		well -= o.stint
		if o.stint /= 2; o.stint < by.time() {
			o.stint = 0
		}
	}
	o.stint = min(max(2*o.stint, by.time()), by.most())
	o.now = Ejection{Ejected: true, Since: now, Until: now.Add(o.stint), Why: why, Times: o.now.Times + 1}
	if l := o.latency.Load(); l != nil {
		l.clear()
	}
	o.ejected.Store(true)
}

// end ends an ejection. The next failure begins another one, unless a success comes first. With the state's lock held.
func (o *outlier) end(now time.Time, by *Outliers) {
	o.timer.Stop()
	o.now.Ejected, o.now.Until, o.ended = false, now, now
	o.failures.Store(int32(max(by.Failures-1, 0)))
	o.trial.Store(by.Failures > 1) // else one failure is what it takes anyway
	o.ejected.Store(false)
}

// readmit is the end of e's time.
func (st *state) readmit(e *Endpoint) {
	st.ejecting.Lock()
	over := e.outlier.ejected.Load() && !time.Now().Before(e.outlier.now.Until)
	if over {
		e.outlier.end(time.Now(), &st.newest.Load().Outliers)
	}
	st.ejecting.Unlock()
	if over {
		st.returned(e)
	}
}

// returned tells who is to know that e, which was ejected, is not any more.
func (st *state) returned(e *Endpoint) {
	e.begin()
	if st.pool.OnReturn != nil && e.Takes() {
		st.pool.OnReturn(e)
	}
}

// keepHalf brings ejected endpoints back, those first whose time ends first, until no more than half of the service is out, or none
// is ejected: others may have turned Unhealthy, or have left. Where Outliers say nothing any more all come back.
func (st *state) keepHalf() {
	var back []*Endpoint
	st.ejecting.Lock()
	s := st.newest.Load()
	for {
		all, out := 0, 0
		var first *Endpoint
		for _, e := range s.Endpoints {
			if e.Leaving() {
				continue
			}
			all++
			if !e.Takes() {
				out++
			}
			if e.Ejected() && (first == nil || e.outlier.now.Until.Before(first.outlier.now.Until)) {
				first = e
			}
		}
		off := s.Outliers.Failures <= 0 && s.Outliers.Latency <= 0
		if first == nil || 2*out <= all && !off {
			break
		}
		first.outlier.end(time.Now(), &s.Outliers)
		back = append(back, first)
	}
	st.ejecting.Unlock()
	for _, e := range back {
		st.returned(e)
	}
}

// begins forgets how e has fared: it is listed anew.
func (st *state) begins(e *Endpoint) {
	st.ejecting.Lock()
	defer st.ejecting.Unlock()
	o := &e.outlier
	if o.timer != nil {
		o.timer.Stop()
	}
	o.now.Ejected, o.stint = false, 0
	o.failures.Store(0)
	o.trial.Store(false)
	o.ejected.Store(false)
	if l := o.latency.Load(); l != nil {
		l.clear()
	}
}
