package upstream

import (
	"math"
	"strings"
	"testing"
	"time"
)

var usual = Reports{Blackout: 10 * time.Second, Expiration: 3 * time.Minute, Penalty: 1}

func TestWeightReported(t *testing.T) {
	named := usual
	named.Metrics = "queue, named_metrics.disk"
	for _, tt := range []struct {
		text string
		by   Reports
		want float64 // 0: nothing
	}{
		{"TEXT rps_fractional=100,cpu_utilization=0.5", usual, 200},
		{"TEXT rps_fractional=100, cpu_utilization=0.5 , application_utilization=0.25", usual, 400},
		{"TEXT rps_fractional=100,cpu_utilization=0.5,eps=50", usual, 100},
		{"TEXT rps_fractional=100,cpu_utilization=0.5,eps=50", Reports{}, 200},
		{"TEXT rps_fractional=100,cpu_utilization=0.5,named_metrics.queue=0.8,named_metrics.disk=0.1", named, 125},
		{"TEXT rps_fractional=100,cpu_utilization=0.5", named, 200},
		{`JSON {"rps_fractional": 100, "cpu_utilization": 0.5}`, usual, 200},
		{`JSON {"rpsFractional": 100, "cpuUtilization": 0.5, "named_metrics": {"disk": 1}, "other": [1]}`, named, 100},
		{`JSON {"rpsFractional": 100, "namedMetrics": {"queue": -1}}`, named, 0},
		{"TEXT cpu_utilization=0.5", usual, 0},
		{"TEXT rps_fractional=100", usual, 0},
		{"TEXT rps_fractional=0,cpu_utilization=0.5", usual, 0},
		{"TEXT rps_fractional=-1,cpu_utilization=0.5", usual, 0},
		{"TEXT rps_fractional=NaN,cpu_utilization=0.5", usual, 0},
		{"TEXT rps_fractional=1e308,cpu_utilization=1e-308", usual, 0},
		{"TEXT rps_fractional=1e308,cpu_utilization=1", usual, 0},
		{"TEXT rps_fractional=1e-300,cpu_utilization=1", usual, 0},
		{"TEXT rps_fractional", usual, 0},
		{"TEXT", usual, 0},
		{"BIN AAAA", usual, 0},
		{"JSON [1]", usual, 0},
		{"", usual, 0},
		{"TEXT rps_fractional=100,cpu_utilization=0.5," + strings.Repeat("x=1,", maxReport), usual, 0},
	} {
		got, ok := weightReported(tt.text, &tt.by)
		if ok != (tt.want > 0) || math.Abs(got-tt.want) > 1e-9 && ok {
			t.Errorf("%.60q: %v %v, want %v", tt.text, got, ok, tt.want)
		}
	}
}

// FuzzWeightReported: what is taken is a weight that endpoints can be compared by.
func FuzzWeightReported(f *testing.F) {
	f.Add("TEXT rps_fractional=100,cpu_utilization=0.5,eps=3", "a,b")
	f.Add(`JSON {"rps_fractional": 100, "named_metrics": {"a": 0.5}}`, "a")
	f.Fuzz(func(t *testing.T, text, names string) {
		by := usual
		by.Metrics = names
		if w, ok := weightReported(text, &by); ok && !(w/(1000*mostReported) > 0 && 1000*w < math.MaxFloat64) {
			t.Fatalf("%q weighs %v", text, w)
		}
	})
}

// TestLoadAware: endpoints that have reported long enough share by their reports, one that has not gets as much as the mean, and what is
// old counts no more.
func TestLoadAware(t *testing.T) {
	const n = 1200
	p, h := NewPool(), &hand{time.Unix(1_000_000, 0)}
	p.clock = h.now
	s := weighing(p, 1, 1, 3, 0)
	c := Choice{Balance: LoadAware, Reports: usual}
	share := func(want ...int) {
		t.Helper()
		got := counts(t, s, n, func(int) (*Endpoint, error) { return s.Take(c) })
		if !near(got, want, n, 3) {
			t.Errorf("%v, want shares as %v", got, want)
		}
	}
	share(1, 1, 3, 0) // nobody reports
	s.Endpoints[0].Reported("TEXT rps_fractional=100,cpu_utilization=0.25", &usual)
	s.Endpoints[1].Reported("TEXT rps_fractional=100,cpu_utilization=0.5", &usual)
	share(1, 1, 3, 0) // too early
	h.at = h.at.Add(10 * time.Second)
	share(4, 2, 3, 0) // the third as much as the mean
	h.at = h.at.Add(time.Minute)
	s.Endpoints[1].Reported("TEXT rps_fractional=100,cpu_utilization=0.25", &usual)
	s.Endpoints[1].Reported("nonsense", &usual)
	share(1, 1, 1, 0)
	h.at = h.at.Add(2 * time.Minute) // the first's is old
	s.Endpoints[1].Reported("TEXT rps_fractional=100,cpu_utilization=0.5", &usual)
	s.Endpoints[2].Reported("TEXT rps_fractional=600,cpu_utilization=0.5", &usual)
	h.at = h.at.Add(10 * time.Second)
	share(7, 2, 12, 0)
	h.at = h.at.Add(time.Hour)
	share(1, 1, 3, 0)
	if e, err := s.Take(c, s.Endpoints[:3]...); err != nil || e != s.Endpoints[3] {
		t.Errorf("%v %v, want the spare", e, err)
	}
}
