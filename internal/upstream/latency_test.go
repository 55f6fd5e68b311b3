package upstream

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLatencyEjects(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name  string
		took  []time.Duration // of each endpoint
		each  int
		eject []int
	}{
		{"beside a healthy twin", []time.Duration{300 * ms, 4 * ms}, 20, []int{0}},
		{"all are slow", []time.Duration{300 * ms, 280 * ms}, 20, nil},
		{"too few answers", []time.Duration{300 * ms, 4 * ms}, 19, nil},
		{"below the floor", []time.Duration{90 * ms, ms}, 20, nil},
		{"twice is not thrice", []time.Duration{300 * ms, 150 * ms}, 20, nil},
		{"half of four", []time.Duration{300 * ms, 4 * ms, 250 * ms, 5 * ms}, 20, []int{0, 2}},
		{"most are slow", []time.Duration{300 * ms, 4 * ms, 250 * ms}, 20, nil},
		{"alone", []time.Duration{300 * ms}, 20, nil},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			x := newEjecting(t, len(tt.took), Options{Outliers: Outliers{Latency: 3, Interval: time.Second}})
			x.Endpoints[0].Succeeded(ms) // the first interval begins
			x.Endpoints[0].outlier.latency.Load().clear()
			for range tt.each {
				for i, took := range tt.took {
					x.Endpoints[i].Succeeded(took)
				}
			}
			if out := x.out(); len(out) > 0 {
				t.Fatalf("%s: %v ejected within the interval", tt.name, out)
			}
			time.Sleep(time.Second)
			x.Endpoints[len(tt.took)-1].Succeeded(ms)
			if out := x.out(); !slices.Equal(out, tt.eject) {
				t.Errorf("%s: %v ejected, want %v", tt.name, out, tt.eject)
			}
			if len(tt.eject) > 0 && !strings.HasPrefix(x.Endpoints[tt.eject[0]].Ejection().Why, "slow: half of its last 20 answers") {
				t.Errorf("%s: %+v", tt.name, x.Endpoints[tt.eject[0]].Ejection())
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestLatencyOfFewRequests: an endpoint that is asked little is judged when it has been asked enough.
func TestLatencyOfFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newEjecting(t, 2, Options{Outliers: Outliers{Latency: 3, Interval: time.Second}})
		for range 19 {
			x.Endpoints[0].Succeeded(time.Second)
			x.Endpoints[1].Succeeded(time.Millisecond)
			time.Sleep(2 * time.Second)
		}
		if out := x.out(); len(out) > 0 {
			t.Fatalf("%v ejected after 19 answers", out)
		}
		x.Endpoints[0].Succeeded(time.Second)
		x.Endpoints[1].Succeeded(time.Millisecond)
		time.Sleep(2 * time.Second)
		if x.Endpoints[1].Succeeded(time.Millisecond); !x.Endpoints[0].Ejected() {
			t.Error("not ejected after 20")
		}
		time.Sleep(time.Minute)
	})
}

// TestLatencyClasses holds the classes to their law: in order, and within a seventh of what they stand for.
func TestLatencyClasses(t *testing.T) {
	last := 0
	for d := 64 * time.Microsecond; d < 60*time.Second; d += d / 100 {
		class := classOf(d)
		if class < last || class > last+1 {
			t.Fatalf("%s: class %d after %d", d, class, last)
		}
		last = class
		if m := middle(class); m < d-d/7 || m > d+d/7 {
			t.Fatalf("%s: class %d stands for %s", d, class, m)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1} {
		if classOf(d) != 0 {
			t.Errorf("%s: class %d", d, classOf(d))
		}
	}
	if classOf(time.Hour) != latencyClasses-1 {
		t.Error("an hour is not in the last class")
	}
}
