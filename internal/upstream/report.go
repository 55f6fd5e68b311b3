package upstream

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Reports say what becomes of what endpoints report of their load, in a field of their answers (ORCA: the Open Request Cost
// Aggregation of the CNCF's xDS). The weight of one that reports is its requests per second for the part of it that is used.
type Reports struct {
	Blackout   time.Duration // it counts once it has reported for so long
	Expiration time.Duration // a report holds so long
	Penalty    float64       // how heavily errors weigh: their part of the requests, times this, is added to what is used
	Metrics    string        // between commas, names of the application's own metrics of which the highest is what is used; "": the usual
}

// ReportField is the field of an answer that has a report.
const ReportField = "Endpoint-Load-Metrics"

// maxReport bounds the text of a report, in bytes.
const maxReport = 4 << 10

// What an endpoint may weigh by its report: sums of it, and parts of those, are numbers above 0.
const (
	leastReported = 1e-9
	mostReported  = 1e12
)

// A reported is what an endpoint has reported. It is immutable.
type reported struct {
	weight      float64
	first, last time.Time // of the reports that came without a gap
}

// Reported notes what an endpoint says of its load. What cannot be read is as good as nothing. Any goroutine.
func (e *Endpoint) Reported(text string, by *Reports) {
	weight, ok := weightReported(text, by)
	if !ok {
		return
	}
	now := e.state.pool.clock()
	r := &reported{weight, now, now}
	if before := e.report.Load(); before != nil && now.Sub(before.last) < by.Expiration {
		r.first = before.first
	}
	e.report.Store(r)
}

// holds tells whether r, which may be nil, counts.
func (r *reported) holds(now time.Time, by *Reports) bool {
	return r != nil && now.Sub(r.last) < by.Expiration && now.Sub(r.first) >= by.Blackout
}

// meanReported is the mean weight of the endpoints whose reports count; 0: there is none.
func (s *Service) meanReported(now time.Time, by *Reports) float64 {
	sum, n := 0.0, 0.0
	for _, e := range s.Endpoints {
		if r := e.report.Load(); r.holds(now, by) && e.Takes() {
			sum, n = sum+r.weight, n+1
		}
	}
	return sum / max(n, 1)
}

// weightReported reads a report, "TEXT cpu_utilization=0.4,rps_fractional=120" or "JSON {…}", and weighs it. It needs rps_fractional and
// something that says how much is used: one of the metrics asked for, application_utilization or cpu_utilization.
func weightReported(text string, by *Reports) (weight float64, ok bool) {
	if len(text) > maxReport {
		return 0, false
	}
	values := map[string]float64{}
	switch kind, rest, _ := strings.Cut(strings.TrimSpace(text), " "); kind {
	case "TEXT":
		ok = readTextReport(rest, values)
	case "JSON":
		ok = readJSONReport(rest, values)
	}
	if !ok {
		return 0, false
	}
	used := 0.0
	for name := range strings.SplitSeq(by.Metrics, ",") {
		name = strings.TrimPrefix(strings.TrimSpace(name), "named_metrics.")
		used = max(used, values["named_metrics."+name], values[plain(name)])
	}
	for _, name := range []string{"applicationutilization", "cpuutilization"} {
		if used == 0 {
			used = values[name]
		}
	}
	rps := values["rpsfractional"]
	if rps <= 0 || used <= 0 {
		return 0, false
	}
	weight = rps / (used + values["eps"]/rps*by.Penalty)
	return weight, weight >= leastReported && weight <= mostReported
}

// plain is the name of a metric without case and underscores: rps_fractional and rpsFractional are one.
func plain(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

func readTextReport(text string, values map[string]float64) bool {
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !ok || err != nil || !note(values, strings.TrimSpace(name), n) {
			return false
		}
	}
	return true
}

func readJSONReport(text string, values map[string]float64) bool {
	var all map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &all) != nil {
		return false
	}
	for name, raw := range all {
		var n float64
		var named map[string]float64
		switch {
		case json.Unmarshal(raw, &n) == nil:
			if !note(values, name, n) {
				return false
			}
		case plain(name) == "namedmetrics" && json.Unmarshal(raw, &named) == nil:
			for name, n := range named {
				if !note(values, "named_metrics."+name, n) {
					return false
				}
			}
		}
	}
	return true
}

// note keeps a metric, unless it is no number that one can be.
func note(values map[string]float64, name string, n float64) bool {
	if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
		return false
	}
	if !strings.HasPrefix(name, "named_metrics.") {
		name = plain(name)
	}
	values[name] = n
	return true
}
