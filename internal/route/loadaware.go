package route

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/upstream"
)

// LoadAware is what becomes of the reports of `loadBalancing: load-aware`. Endpoints report in a field of their answers, which clients do
// not see: "endpoint-load-metrics: TEXT rps_fractional=120,cpu_utilization=0.4", or "JSON {…}" (ORCA). An endpoint weighs its requests per
// second for the part of it that is used; one that does not report as much as the mean of the others.
type LoadAware struct {
	// BlackoutPeriod is how long an endpoint must have reported before it counts, or off. Default 10s.
	BlackoutPeriod time.Duration `yaml:"blackoutPeriod"`

	// MetricExpirationPeriod is how long a report holds. Default 3m.
	MetricExpirationPeriod time.Duration `yaml:"metricExpirationPeriod"`

	// ErrorUtilizationPenalty is how heavily errors (eps) weigh: a decimal, 0 or more. Default 1.0.
	ErrorUtilizationPenalty string `yaml:"errorUtilizationPenalty"`

	// NamedMetrics are, between commas, the application's own metrics of which the highest says how much of an endpoint is used; ten at
	// most. Default: application_utilization, else cpu_utilization.
	NamedMetrics string `yaml:"namedMetrics"`
}

// Reports are the values as they hold.
func (l *LoadAware) Reports() upstream.Reports {
	r := upstream.Reports{
		Blackout:   max(cmp.Or(l.BlackoutPeriod, 10*time.Second), 0),
		Expiration: cmp.Or(l.MetricExpirationPeriod, 3*time.Minute), Penalty: 1, Metrics: l.NamedMetrics,
	}
	if n, err := strconv.ParseFloat(l.ErrorUtilizationPenalty, 64); err == nil {
		r.Penalty = n
	}
	return r
}

func penalty(value string) (string, error) {
	if n, err := strconv.ParseFloat(value, 64); err != nil || !(n >= 0 && n <= 1e6) {
		return "", fmt.Errorf("%q: want a decimal from 0 to 1000000", value)
	}
	return value, nil
}

// metrics judges a list of names: at most ten, of 128 bytes each.
func metrics(value string) (string, error) {
	names := strings.Split(value, ",")
	for _, name := range names {
		if name = strings.TrimSpace(name); name == "" || len(name) > 128 || len(names) > 10 {
			return "", fmt.Errorf("%q: want names of metrics, ten at most", value[:min(len(value), 200)])
		}
	}
	return value, nil
}
