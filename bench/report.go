package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	busy  = 0.95 // share of its threads above which the generator or the service is the bottleneck
	noise = 0.3  // cores that others used, above which a sample is marked
)

// void says why a sample is no measurement of the proxy, or "".
func (s sample) void(serviceThreads int) string {
	switch {
	case s.Failure != "":
		return "failed"
	case s.Errors > 0:
		return fmt.Sprintf("%d errors: %s", s.Errors, s.Error)
	case s.Beside != nil && s.Beside.Errors > 0:
		return fmt.Sprintf("%d errors beside: %s", s.Beside.Errors, s.Beside.Error)
	case s.Seconds == 0 || s.Proxy == "direct": // idle; direct is the limit of the two
		return ""
	case s.Ops == 0:
		return "nothing done"
	case s.GeneratorCPU/s.Seconds/float64(s.Threads) > busy:
		return "generator is the bottleneck"
	case s.CPU["service"]/s.Seconds/float64(serviceThreads) > busy:
		return "service is the bottleneck"
	}
	return ""
}

// cpu is what the thing measured used: the proxy, or without one the service.
func (s sample) cpu() float64 {
	if s.Proxy == "direct" {
		return s.CPU["service"]
	}
	return s.CPU["proxy"]
}

// ratio is r: what a proxy costs in units of what the service costs.
func (s sample) ratio() float64 { return s.cpu() / s.CPU["service"] }

// others is the number of cores that were busy with something else.
func (s sample) others() float64 {
	cores := (s.MachineCPU - s.GeneratorCPU - s.CPU["proxy"] - s.CPU["service"]) / s.Seconds
	if s.Beside != nil {
		cores -= s.Beside.GeneratorCPU / s.Beside.Seconds
	}
	return cores
}

// besideRate is how many operations a second were done beside.
func (s sample) besideRate() float64 {
	if s.Beside == nil {
		return 0
	}
	return s.Beside.Ops / s.Beside.Seconds
}

// column is one figure of a table.
type column struct {
	title  string
	digits int
	value  func(sample) float64
}

func columns(sc scenario) []column {
	switch {
	case sc.idle:
		after := "after one 1 KiB echo"
		if sc.mode == "keep" {
			after = "after one GET"
		}
		return []column{
			{"bytes per connection, opened", 0, func(s sample) float64 { return s.Open }},
			{after, 0, func(s sample) float64 { return s.Echoed }},
		}
	case sc.beside != "":
		return []column{
			{"p50 us", 0, func(s sample) float64 { return s.P50 }},
			{"p99 us", 0, func(s sample) float64 { return s.P99 }},
			{"p999 us", 0, func(s sample) float64 { return s.P999 }},
			{"slowest us", 0, func(s sample) float64 { return s.Slowest }},
			{"operations/s beside", 0, sample.besideRate},
		}
	}
	digits := 2
	if sc.per < 1e6 {
		digits = 3
	}
	return []column{
		{sc.ops, 0, func(s sample) float64 { return s.Ops / s.Seconds }},
		{"CPU s per " + sc.perName, digits, func(s sample) float64 { return s.cpu() / s.Ops * sc.per }},
		{"r", 2, sample.ratio},
		{"p50 us", 0, func(s sample) float64 { return s.P50 }},
		{"p99 us", 0, func(s sample) float64 { return s.P99 }},
		{"p999 us", 0, func(s sample) float64 { return s.P999 }},
	}
}

// brief is a sample in a line, for the progress.
func (s sample) brief(sc scenario) string {
	if s.Failure != "" {
		return "failed: " + s.Failure
	}
	var parts []string
	for _, c := range columns(sc) {
		parts = append(parts, fmt.Sprintf("%s %.*f", c.title, c.digits, c.value(s)))
	}
	if s.Errors > 0 {
		parts = append(parts, fmt.Sprintf("%d errors: %s", s.Errors, s.Error))
	}
	return strings.Join(parts, ", ")
}

// report prints one table per scenario: median, and (least to most) of the rounds that count.
func (b *bench) report(scenes []scenario, proxies []string, samples []sample) {
	fmt.Fprintf(b.out, "Median (min to max) of the rounds. r = CPU of the proxy / CPU of the echo service in the same window. "+
		"* = others used more than %.1f cores.\n", noise)
	for _, sc := range scenes {
		title := sc.title
		if sc.idle {
			title = fmt.Sprintf("%s, %d of them", title, b.sessions)
		}
		fmt.Fprintf(b.out, "\n## %s\n| |", title)
		for _, c := range columns(sc) {
			fmt.Fprintf(b.out, " %s |", c.title)
		}
		fmt.Fprintf(b.out, " rounds |\n|---|%s---|\n", strings.Repeat("---:|", len(columns(sc))))
		for _, p := range proxies {
			mine := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.Proxy != p || s.Scenario != sc.name })
			if len(mine) > 0 || p != "direct" { // direct has no row where it makes no sense
				fmt.Fprintln(b.out, row(sc, p, mine, b.serviceThreads()))
			}
		}
	}
}

// row is the line of one proxy. Void samples do not count; a row of nothing else is void.
func row(sc scenario, name string, samples []sample, serviceThreads int) string {
	var good []sample
	var reason string
	for _, s := range samples {
		if why := s.void(serviceThreads); why != "" {
			reason = why
			continue
		}
		good = append(good, s)
	}
	note := fmt.Sprintf("%d", len(good))
	if reason != "" {
		note = fmt.Sprintf("%d of %d, void: %s", len(good), len(samples), reason)
	}
	if slices.ContainsFunc(good, func(s sample) bool { return s.Seconds > 0 && s.others() > noise }) {
		note += " *"
	}
	var line strings.Builder
	fmt.Fprintf(&line, "| %s |", name)
	for _, c := range columns(sc) {
		values := make([]float64, len(good))
		for i, s := range good {
			values[i] = c.value(s)
		}
		fmt.Fprintf(&line, " %s |", spread(values, c.digits))
	}
	return line.String() + " " + note + " |"
}

// spread is "median (min to max)".
func spread(values []float64, digits int) string {
	values = slices.DeleteFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	switch len(values) {
	case 0:
		return "void"
	case 1:
		return fmt.Sprintf("%.*f", digits, values[0])
	}
	slices.Sort(values)
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, median(values), digits, values[0], digits, values[len(values)-1])
}

// median is that of sorted values; there is at least one.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
