package upstream

import (
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

// latencies are the times that one endpoint has taken to answer, by size: four classes for each doubling from 64 µs to 67 s. Any
// goroutine.
type latencies struct{ classes [latencyClasses]atomic.Uint32 }

const (
	leastOctave    = 6 // 2^6 µs: what is faster is as fast
	latencyClasses = 4 * 20
)

// classOf is the class of d.
func classOf(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1<<leastOctave))
	octave := bits.Len64(us) - 1
	class := 4*(octave-leastOctave) + int(us>>(octave-2)&3)
	return min(class, latencyClasses-1)
}

// middle is a time in the middle of a class.
func middle(class int) time.Duration {
	octave := leastOctave + class/4
	return time.Duration((8+2*(class%4)+1)<<octave) * time.Microsecond / 8
}

func (l *latencies) add(d time.Duration) { l.classes[classOf(d)].Add(1) }

// median is the median, give or take a tenth, and of how many.
func (l *latencies) median() (of time.Duration, n int) {
	var counts [latencyClasses]int
	for i := range l.classes {
		counts[i] = int(l.classes[i].Load())
		n += counts[i]
	}
	seen := 0
	for i, c := range counts {
		if seen += c; 2*seen >= n {
			return middle(i), n
		}
	}
	return 0, n
}

// halve has what is known count half.
func (l *latencies) halve() {
	for i := range l.classes {
		if n := l.classes[i].Load(); n > 0 {
			l.classes[i].Add(-(n - n/2))
		}
	}
}

func (l *latencies) clear() {
	for i := range l.classes {
		l.classes[i].Store(0)
	}
}

// measure begins to keep how long e takes, or ends it.
func (e *Endpoint) measure(on bool) {
	switch {
	case !on:
		e.outlier.latency.Store(nil)
	case e.outlier.latency.Load() == nil:
		e.outlier.latency.Store(new(latencies))
	}
}

// compare judges the latencies of the service, once in an interval.
func (st *state) compare(now time.Time) {
	due := st.compareAt.Load()
	if now.UnixNano() < due {
		return
	}
	s := st.newest.Load()
	if !st.compareAt.CompareAndSwap(due, now.Add(s.Outliers.interval()).UnixNano()) || due == 0 {
		return
	}
	st.judge(s)
}

// A timing is the median of an endpoint that has answered often enough.
type timing struct {
	endpoint *Endpoint
	of       *latencies
	median   time.Duration
	samples  int
}

// judge ejects the endpoints of s that are slow, the slowest first.
func (st *state) judge(s *Service) {
	o := &s.Outliers
	var all []timing // the slowest last
	for _, e := range s.Endpoints {
		l := e.outlier.latency.Load()
		if l == nil {
			continue
		}
		if median, n := l.median(); n >= o.samples() && e.Takes() {
			all = append(all, timing{e, l, median, n})
		}
	}
	for _, x := range all {
		if len(all) > 1 || x.samples >= 8*o.samples() { // else it waits for siblings to be compared with
			x.of.halve()
		}
	}
	slices.SortFunc(all, func(a, b timing) int { return int(a.median - b.median) })
	for len(all) > 1 && o.Latency > 0 {
		siblings, slow := all[:len(all)-1], all[len(all)-1]
		usual := siblings[len(siblings)/2].median
		if slow.median < o.floor() || float64(slow.median) < o.Latency*float64(usual) {
			return
		}
		why := fmt.Sprintf("slow: half of its last %d answers took more than about %s, those of its siblings %s", slow.samples, slow.median, usual)
		if !st.eject(slow.endpoint, why, nil) {
			return
		}
		all = siblings
	}
}
