package main

import (
	"encoding/xml"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   string
	}{
		{nil, "void"},
		{[]float64{2.345}, "2.35"},
		{[]float64{3, 1, 2}, "2.00 (1.00 to 3.00)"},
		{[]float64{4, 1, 2, 3}, "2.50 (1.00 to 4.00)"},
	} {
		if got := spread(tc.values, 2); got != tc.want {
			t.Errorf("spread(%v) = %q, want %q", tc.values, got, tc.want)
		}
	}
}

func TestVoid(t *testing.T) {
	good := sample{Proxy: "nginx", Threads: 1, Seconds: 2, Ops: 10, GeneratorCPU: 1.8, CPU: map[string]float64{"service": 1.8, "proxy": 1}}
	for _, tc := range []struct {
		name   string
		change func(*sample)
		want   string
	}{
		{"good", func(*sample) {}, ""},
		{"failure", func(s *sample) { s.Failure = "x" }, "failed"},
		{"errors", func(s *sample) { s.Errors, s.Error = 2, "wrong echo" }, "2 errors: wrong echo"},
		{"nothing", func(s *sample) { s.Ops = 0 }, "nothing done"},
		{"generator", func(s *sample) { s.GeneratorCPU = 1.95 }, "generator is the bottleneck"},
		{"generator with two threads", func(s *sample) { s.GeneratorCPU, s.Threads = 1.95, 2 }, ""},
		{"service", func(s *sample) { s.CPU = map[string]float64{"service": 1.95} }, "service is the bottleneck"},
		{"beside", func(s *sample) { s.Beside = &sample{Errors: 1, Error: "lost"} }, "1 errors beside: lost"},
		{"direct", func(s *sample) { s.Proxy, s.GeneratorCPU = "direct", 1.99 }, ""},
	} {
		s := good
		tc.change(&s)
		if got := s.void(1); got != tc.want {
			t.Errorf("%s: void = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestRow(t *testing.T) {
	scenes, err := pick(scenarios(), "echo-64-128B")
	if err != nil {
		t.Fatal(err)
	}
	one := sample{
		Proxy: "nginx", Threads: 1, Seconds: 2, Ops: 200_000, GeneratorCPU: 1, MachineCPU: 4,
		CPU: map[string]float64{"service": 1, "proxy": 2}, P50: 500, P99: 900, P999: 1000,
	}
	slow, bad := one, one
	slow.Ops, slow.MachineCPU = 100_000, 5 // of which 1 s in 2 s is none of ours
	bad.Errors = 1
	if got, want := row(scenes[0], "nginx", []sample{one}, 1), "| nginx | 100000 | 10.00 | 2.00 | 500 | 900 | 1000 | 1 |"; got != want {
		t.Errorf("row = %s, want %s", got, want)
	}
	got := row(scenes[0], "nginx", []sample{one, slow, bad}, 1)
	if !strings.Contains(got, "75000 (50000 to 100000)") || !strings.Contains(got, "2 of 3, void: 1 errors") || !strings.HasSuffix(got, "* |") {
		t.Errorf("row = %s", got)
	}
	if got := row(scenes[0], "nginx", []sample{bad}, 1); strings.Count(got, "void") != 7 {
		t.Errorf("row of void samples = %s", got)
	}
}

func TestPick(t *testing.T) {
	got, err := pick(scenarios(), "idle,get")
	if err != nil || strings.Join(names(got), ",") != "idle,get" {
		t.Errorf("pick = %v, %v", names(got), err)
	}
	if _, err := pick(scenarios(), "get,gte"); err == nil {
		t.Error("a name that does not exist is accepted")
	}
}

// measured is a sample with so many CPU seconds per million operations.
func measured(proxy, scenario string, round int, cpu float64) sample {
	return sample{
		Proxy: proxy, Scenario: scenario, Round: round, Threads: 1, Seconds: 1, Ops: 1e6, P999: 1000 * cpu, Echoed: 100 * cpu,
		CPU: map[string]float64{"service": 0.5, "proxy": cpu},
	}
}

func TestFigures(t *testing.T) {
	samples := []sample{
		measured("nginx", "echo-64-16KiB", 1, 2), measured("haproxy", "echo-64-16KiB", 1, 4), measured("fairlead", "echo-64-16KiB", 1, 1.8),
		measured("nginx", "echo-64-16KiB", 2, 4), measured("haproxy", "echo-64-16KiB", 2, 2), measured("fairlead", "echo-64-16KiB", 2, 2.2),
		measured("fairlead", "echo-64-16KiB", 3, 9), // no peer in this round
		measured("fairlead", "idle", 1, 12), measured("fairlead", "setup", 1, 1), measured("nginx", "setup", 1, 0.8),
		measured("fairlead", "get", 1, 1), measured("nginx", "get", 1, 1),
	}
	samples = append(samples, measured("nginx", "echo-64-16KiB", 3, 1))
	samples[len(samples)-1].Errors = 1
	var out strings.Builder
	b := &bench{out: &out, cores: 1}
	b.hold(samples)
	for _, want := range []string{
		"| echo 16KiB x 64, CPU | best | 1.00 (0.90 to 1.10) | 1.00 | 0.85 | hold |",
		"| idle ws session, failover auto, bytes after one echo | - | 1200 | 2000 | 1000 | hold |",
		"| ws handshake, CPU | nginx | 1.25 | 1.15 | 0.90 | **no** |",
		"| HTTP/1.1 keep-alive GET, CPU | haproxy | void | 1.10 | 0.80 | void |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "broadcast") {
		t.Errorf("a line for what was not measured:\n%s", out.String())
	}
}

// TestFiguresNamed: no figure may wait for a scenario that does not exist.
func TestFiguresNamed(t *testing.T) {
	for _, f := range figures() {
		if _, err := pick(scenarios(), f.scenario); err != nil {
			t.Errorf("%s: %v", f.title, err)
		}
	}
}

func TestChart(t *testing.T) {
	b := &bench{cores: 1}
	groups := b.groups(scenarios(), []sample{
		measured("nginx", "echo-64-128B", 1, 1), measured("fairlead", "echo-64-128B", 1, 0.75), measured("haproxy", "echo-64-128B", 1, 5),
		measured("fairlead", "get", 1, 1), // nothing to compare with
	})
	svg := chart(groups)
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{">0.75<": 1, "&#8594; 5.00<": 1, "echo ws, 64 x 128B": 1, "HTTP/1.1 GET": 0} {
		if got := strings.Count(svg, want); got != n {
			t.Errorf("%q is there %d times, want %d:\n%s", want, got, n, svg)
		}
	}
}
