package main

import (
	"fmt"
	"slices"
)

// figure is a number that the relay is to hold: a value of our own, or a ratio to a peer's.
type figure struct {
	title, scenario string
	peer            string // "" = our own value, "best" = whichever peer needs least
	value           func(sample) float64
	hold, aim       float64
	digits          int
}

func figures() []figure {
	cpu := func(s sample) float64 { return s.cpu() / s.Ops }
	echoed := func(s sample) float64 { return s.Echoed }
	return []figure{
		{"idle ws session, failover auto, bytes after one echo", "idle", "", echoed, 2000, 1000, 0},
		{"idle wss session, bytes after one echo", "idle-tls", "", echoed, 10_000, 6000, 0},
		{"idle HTTP/1.1 connection, bytes after one GET", "idle-http", "", echoed, 2000, 2000, 0},
		{"echo 128B x 64, CPU", "echo-64-128B", "nginx", cpu, 1.15, 1, 2},
		{"echo 128B x 1000, CPU", "echo-1000-128B", "nginx", cpu, 1.15, 1, 2},
		{"echo 128B x 64, r", "echo-64-128B", "", sample.ratio, 2.1, 1.9, 2},
		{"echo 128B x 1000, r", "echo-1000-128B", "", sample.ratio, 2.1, 1.9, 2},
		{"echo 16KiB x 64, CPU", "echo-64-16KiB", "best", cpu, 1, 0.85, 2},
		{"echo 16KiB x 1000, CPU", "echo-1000-16KiB", "best", cpu, 1, 0.85, 2},
		{"echo 64KiB x 64, CPU", "echo-64-64KiB", "best", cpu, 1, 0.85, 2},
		{"echo 64KiB x 1000, CPU", "echo-1000-64KiB", "best", cpu, 1, 0.85, 2},
		{"echo 128B x 64, p999", "echo-64-128B", "nginx", func(s sample) float64 { return s.P999 }, 1.5, 1, 2},
		{"wss echo 128B, CPU", "echo-tls-128B", "nginx", cpu, 0.9, 0.8, 2},
		{"broadcast to 1000, CPU", "broadcast", "nginx", cpu, 1.1, 1, 2},
		{"ws handshake, CPU", "setup", "nginx", cpu, 1.15, 0.9, 2},
		{"ws handshake, CPU, access logs on", "setup+logs", "nginx", cpu, 1.15, 0.9, 2},
		{"wss handshake, CPU", "setup-tls", "nginx", cpu, 0.9, 0.8, 2},
		{"wss handshake, CPU, access logs on", "setup-tls+logs", "nginx", cpu, 0.9, 0.8, 2},
		{"HTTP/1.1 keep-alive GET, CPU", "get", "haproxy", cpu, 1.1, 0.8, 2},
		{"HTTP/1.1 keep-alive GET, CPU, access logs on", "get+logs", "haproxy", cpu, 1.1, 0.8, 2},
	}
}

// hold prints what was measured beside what is wanted. It is a report: nothing fails by it.
func (b *bench) hold(samples []sample) {
	fmt.Fprint(b.out, "\n## Figures to hold\nFairlead's median (min to max); a ratio is taken within each round.\n\n"+
		"| figure | against | Fairlead | hold | aim | reached |\n|---|---|---:|---:|---:|---|\n")
	for _, f := range figures() {
		values := f.values(samples, "fairlead", b.serviceThreads())
		if !slices.ContainsFunc(samples, func(s sample) bool { return s.Scenario == f.scenario }) {
			continue // not asked for
		}
		against := f.peer
		if against == "" {
			against = "-"
		}
		fmt.Fprintf(b.out, "| %s | %s | %s | %.*f | %.*f | %s |\n", f.title, against, spread(values, f.digits),
			f.digits, f.hold, f.digits, f.aim, f.reached(values))
	}
}

// values are those of a proxy, one per round in which it and the peer have a sample that counts, sorted.
func (f figure) values(samples []sample, proxy string, serviceThreads int) []float64 {
	var out []float64
	for _, s := range samples {
		if s.Scenario != f.scenario || s.Proxy != proxy || s.void(serviceThreads) != "" {
			continue
		}
		if f.peer == "" {
			out = append(out, f.value(s))
			continue
		}
		var peers []float64
		for _, p := range samples {
			of := p.Proxy == f.peer || f.peer == "best" && p.Proxy != proxy && p.Proxy != "direct"
			if of && p.Scenario == s.Scenario && p.Round == s.Round && p.void(serviceThreads) == "" && f.value(p) > 0 {
				peers = append(peers, f.value(p))
			}
		}
		if len(peers) > 0 {
			out = append(out, f.value(s)/slices.Min(peers))
		}
	}
	slices.Sort(out)
	return out
}

func (f figure) reached(sorted []float64) string {
	switch {
	case len(sorted) == 0:
		return "void"
	case median(sorted) <= f.aim:
		return "aim"
	case median(sorted) <= f.hold:
		return "hold"
	}
	return "**no**"
}
