// Command bench measures Fairlead beside nginx and HAProxy on one machine: bench/README.md says how and why.
// It is started by bench/run.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	quick           bool
	logs            string // off, on or both
	rounds          int
	warm, window    time.Duration
	budget          time.Duration // no round begins that would end later
	settle          time.Duration // between an event and the reading of resident memory
	pin             bool          // the proxy has one CPU, all else the others
	sessions        int           // of the idle scenario
	fairlead        string        // path of the binary
	builds          string        // NAME=PATH,...: other builds of it
	samples, chart  string        // files for the raw samples and for the drawing, "" = none
	proxies, scenes string        // comma-separated names, "" = all
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.BoolVar(&o.quick, "quick", false, "about a minute: fewer scenarios, no direct, two short rounds, 2,000 idle sessions")
	f.StringVar(&o.logs, "logs", "both", "access logs of all proxies: off, on, or both, one beside the other (on: some scenarios)")
	f.IntVar(&o.rounds, "rounds", 0, "rounds (default 4, quick 2)")
	f.DurationVar(&o.window, "window", 0, "measured time of one run (default 1.2s, quick 500ms)")
	f.DurationVar(&o.budget, "budget", 14*time.Minute, "begin no round that would end later than this")
	f.IntVar(&o.sessions, "sessions", 0, "idle sessions (default 9000, quick 2000; two descriptors each)")
	f.StringVar(&o.fairlead, "fairlead", "bin/fairlead", "the binary under test")
	f.StringVar(&o.builds, "builds", "", "NAME=PATH,...: other builds of Fairlead, measured beside it")
	f.BoolVar(&o.pin, "pin", false, "give the proxy the first CPU alone, and all else the others")
	f.StringVar(&o.samples, "json", "", "write every sample to this file, one JSON object a line")
	f.StringVar(&o.chart, "svg", "", "draw CPU and memory beside nginx into this file")
	f.StringVar(&o.proxies, "proxies", "", "only these, of direct,nginx,haproxy,fairlead")
	f.StringVar(&o.scenes, "only", "", "only these scenarios, of "+strings.Join(names(scenarios()), ","))
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("argument %q: none is expected", f.Arg(0))
	}
	if !slices.Contains([]string{"off", "on", "both"}, o.logs) {
		return o, fmt.Errorf("-logs %q: not off, on or both", o.logs)
	}
	rounds, window, sessions := 4, 1200*time.Millisecond, 9000
	o.warm, o.settle = 400*time.Millisecond, 1200*time.Millisecond
	if o.quick {
		rounds, window, sessions = 2, 500*time.Millisecond, 2000
		o.warm, o.settle = 200*time.Millisecond, 500*time.Millisecond
	}
	if o.rounds <= 0 {
		o.rounds = rounds
	}
	if o.window <= 0 {
		o.window = window
	}
	if o.sessions <= 0 {
		o.sessions = sessions
	}
	return o, nil
}

// bench is one run of the suite. Everything it writes is below dir, everything it starts is in children.
type bench struct {
	options
	dir      string
	cores    int
	files    int      // descriptors that one process may open
	service  []string // host:port of the echo service
	wsbe     *child
	children []*child
	shown    map[string]string // configurations that were printed, by proxy
	out, log io.Writer
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// run measures and prints. Whatever happens, nothing that it started lives longer than it.
func run(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, o.budget+5*time.Minute) // the installation included
	defer cancel()
	dir, err := os.MkdirTemp("", "fairlead-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{options: o, dir: dir, cores: runtime.NumCPU(), shown: map[string]string{}, out: os.Stdout, log: os.Stderr}
	defer b.stopAll()
	proxies, scenes, err := b.chosen()
	if err != nil {
		return err
	}
	if err := b.prepare(ctx, proxies); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "# Fairlead bench: %d cores, %s\n\n", b.cores, kernel())
	samples, err := b.measure(ctx, proxies, scenes)
	if err != nil {
		return err
	}
	if err := writeSamples(o.samples, samples); err != nil {
		return err
	}
	b.report(scenes, names(proxies), samples)
	b.hold(samples)
	if err := b.draw(scenes, samples); err != nil {
		return err
	}
	if failed := slices.IndexFunc(samples, func(s sample) bool { return s.Failure != "" }); failed >= 0 {
		return fmt.Errorf("%s, %s: %s", samples[failed].Proxy, samples[failed].Scenario, samples[failed].Failure)
	}
	return nil
}

// chosen applies -proxies and -only. A missing Fairlead is left out aloud, unless it was asked for by name.
func (b *bench) chosen() ([]proxy, []scenario, error) {
	proxies, err := pick(b.allProxies(), b.proxies)
	if err != nil {
		return nil, nil, err
	}
	scenes, err := pick(scenarios(), b.scenes)
	if err != nil {
		return nil, nil, err
	}
	scenes = slices.DeleteFunc(scenes, func(sc scenario) bool {
		return b.logs == "off" && sc.logs || b.logs == "on" && !sc.logs || b.scenes == "" && b.quick && !sc.quick && b.logs != "on"
	})
	if len(scenes) == 0 {
		return nil, nil, fmt.Errorf("-only %s: nothing of it with -logs %s", b.scenes, b.logs)
	}
	if b.quick && b.proxies == "" {
		proxies = slices.DeleteFunc(proxies, func(p proxy) bool { return p.command == nil })
	}
	if _, err := os.Stat(b.fairlead); err != nil {
		if strings.Contains(b.proxies, "fairlead") {
			return nil, nil, err
		}
		fmt.Fprintf(b.log, "bench: %v: measuring the others only\n", err)
		proxies = slices.DeleteFunc(proxies, func(p proxy) bool { return p.name == "fairlead" })
	}
	return proxies, scenes, nil
}

// measure runs every scenario with every proxy, round by round, so that a slow minute of the machine hits all of
// them alike. The order rotates.
func (b *bench) measure(ctx context.Context, proxies []proxy, scenes []scenario) ([]sample, error) {
	var samples []sample
	var last time.Duration // round
	failures := map[string]int{}
	began := time.Now()
	for round := range b.rounds {
		if round > 0 && time.Since(began)+last > b.budget {
			fmt.Fprintf(b.log, "bench: %d of %d rounds: the time budget of %v is spent\n", round, b.rounds, b.budget)
			break
		}
		start := time.Now()
		for _, sc := range scenes {
			if limit := b.limit(sc); limit > 0 && round >= limit {
				continue
			}
			for i := range proxies {
				p := proxies[(i+round)%len(proxies)]
				if p.command == nil && !sc.direct || failures[p.name] == 2 { // twice is no accident
					continue
				}
				s := b.cell(ctx, p, sc)
				if ctx.Err() != nil {
					return nil, context.Cause(ctx)
				}
				if s.Round = round + 1; s.Failure != "" {
					failures[p.name]++
				}
				samples = append(samples, s)
				fmt.Fprintf(b.log, "round %d  %-14s %-9s %s\n", s.Round, sc.name, p.name, s.brief(sc))
			}
		}
		last = time.Since(start)
	}
	return samples, nil
}

// limit is the number of rounds that sc takes part in, 0 = all: memory needs no more than one or two.
func (b *bench) limit(sc scenario) int {
	if b.quick {
		return sc.rounds / 2
	}
	return sc.rounds
}

// cell is one proxy, started for it alone, in one scenario.
func (b *bench) cell(ctx context.Context, p proxy, sc scenario) sample {
	s := sample{Proxy: p.name, Scenario: sc.name}
	t, err := b.start(ctx, p, sc.logs)
	if err == nil && sc.idle {
		err = b.idle(ctx, t, sc, &s)
	} else if err == nil {
		err = b.load(ctx, t, sc, &s)
	}
	if err != nil {
		s.Failure = err.Error()
	}
	b.stopChild(t.child)
	return s
}

func writeSamples(path string, samples []sample) error {
	if path == "" {
		return nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	for _, s := range samples {
		if err := enc.Encode(s); err != nil {
			return err
		}
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

// named is what a flag can choose by name.
type named interface{ key() string }

func names[T named](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = v.key()
	}
	return out
}

// pick returns those of all that the comma-separated list names, in the order of all; "" means all.
func pick[T named](all []T, list string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	want := strings.Split(list, ",")
	for _, w := range want {
		if !slices.Contains(names(all), w) {
			return nil, fmt.Errorf("%q: not one of %s", w, strings.Join(names(all), ", "))
		}
	}
	return slices.DeleteFunc(all, func(v T) bool { return !slices.Contains(want, v.key()) }), nil
}

func kernel() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown kernel"
	}
	return "Linux " + strings.TrimSpace(string(release))
}
