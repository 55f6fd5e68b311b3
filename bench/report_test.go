package main

import (
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
	scenes, err := pick(scenarios(), "echo")
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
	got, err := pick(scenarios(), "idle,echo")
	if err != nil || strings.Join(names(got), ",") != "echo,idle" {
		t.Errorf("pick = %v, %v", names(got), err)
	}
	if _, err := pick(scenarios(), "echo,ehco"); err == nil {
		t.Error("a name that does not exist is accepted")
	}
}
