package main

import (
	"context"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// calm are the scenarios of 100 quiet sessions: alone, and while others ask much of the proxy. They are for their
// latencies, which are reported and not held.
func calm() []scenario {
	quiet := scenario{
		name: "quiet", title: "100 quiet ws sessions, 128B, 20 messages a second each", mode: "echo", direct: true, rounds: 2,
		connections: 100, size: 128, depth: 1, rate: 20, beside: "nothing",
	}.counted("round trips/s", 1e6, "1M")
	storm, flood := quiet, quiet
	storm.name, storm.beside, storm.direct = "storm", "storm", false
	storm.title += ", beside a storm of wss handshakes: 32 at a time, as fast as they are done"
	flood.name, flood.beside = "flood", "flood"
	flood.title += ", beside 8 sessions with 16 messages of 64KiB in flight each"
	return []scenario{quiet, storm, flood}
}

// calmWindow is how many windows long the scenarios of calm are measured: a p999 needs thousands of messages.
const calmWindow = 4

// disturber is the load beside the quiet sessions of sc; none: "nothing".
func disturber(sc scenario) (scenario, bool) {
	switch sc.beside {
	case "storm":
		return scenario{name: sc.name, mode: "setup", tls: true, connections: 32}, true
	case "flood":
		return scenario{name: sc.name, mode: "echo", connections: 8, size: 64 << 10, depth: 16}, true
	}
	return scenario{}, false
}

// disturbed measures the sessions of sc while the load beside them runs. The service, like the quiet generator, goes
// first on a CPU if we may say so: the waiting that is to be seen is that for the proxy.
func (b *bench) disturbed(ctx context.Context, t target, sc scenario, s *sample, extra []string) error {
	b.prefer(b.wsbe, -10)
	defer b.prefer(b.wsbe, 0)
	window := calmWindow * b.window
	extra = append(extra, "-t", seconds(window)) // the later counts
	other, any := disturber(sc)
	if !any {
		return b.result(b.generate(ctx, t, sc, sc.connections, extra...), s)
	}
	s.Beside = &sample{Proxy: s.Proxy, Scenario: sc.name}
	ended := make(chan error, 1)
	go func() {
		long := window + b.warm + 500*time.Millisecond // the quiet ones have opened and are done within it
		ended <- b.result(b.generate(ctx, t, other, other.connections, "-w", "0.1", "-t", seconds(long)), s.Beside)
	}()
	err := b.result(b.generate(ctx, t, sc, sc.connections, extra...), s)
	if other := <-ended; err == nil {
		err = other
	}
	return err
}

// prefer sets the nice value of all threads of c. It is no error if we may not.
func (b *bench) prefer(c *child, nice int) {
	tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "task", "*")) // the pattern is valid
	for _, task := range tasks {
		if id, err := strconv.Atoi(filepath.Base(task)); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, nice)
		}
	}
}

// spare is the number of CPUs that are not the proxy's alone.
func (b *bench) spare() int {
	if b.pin && b.cores > 1 {
		return b.cores - 1
	}
	return b.cores
}

// proxyCores is the number of CPUs that a proxy may use.
func (b *bench) proxyCores() int {
	if b.pin {
		return 1
	}
	return b.cores
}

// placed is argv, on its CPUs: with -pin a proxy has the first to itself, and all else shares the others.
func (b *bench) placed(proxy bool, argv []string) []string {
	switch {
	case !b.pin:
		return argv
	case proxy || b.cores == 1:
		return append([]string{"taskset", "-c", "0"}, argv...)
	}
	return append([]string{"taskset", "-c", "1-" + strconv.Itoa(b.cores-1)}, argv...)
}
