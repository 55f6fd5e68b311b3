package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// scenario is one kind of load. A new one that the generator already speaks is a new row in scenarios.
type scenario struct {
	name, title string
	mode        string // of wslg
	tls, idle   bool
	logs        bool // access logs on; in scenarios(): measured with them too
	direct      bool // measured without a proxy too
	quick       bool // part of -quick
	rounds      int  // at most; 0 = no limit of its own
	connections int  // of idle: -sessions
	size        int
	depth       int     // messages in flight
	rate        float64 // messages a second of each session; 0: as fast as they come back
	body        int     // bytes of a request's body; 0: GET
	answer      int     // bytes of an answer's body; 0: 128
	beside      string  // what else is done to the proxy meanwhile: a mode of beside, "nothing", or ""
	ops         string  // what is counted
	per         float64 // CPU seconds are given per so many
	perName     string
}

func (sc scenario) key() string { return sc.name }

// counted says what an operation of sc is called, and per how many CPU seconds are given.
func (sc scenario) counted(ops string, per float64, perName string) scenario {
	sc.ops, sc.per, sc.perName = ops, per, perName
	return sc
}

// scenarios are those of -logs off, then those with access logs.
func scenarios() []scenario {
	echo := scenario{mode: "echo", direct: true, depth: 1}.counted("round trips/s", 1e6, "1M")
	all := []scenario{
		{name: "idle", title: "idle ws sessions", mode: "idle", idle: true, quick: true, rounds: 2, size: 1024},
		{name: "idle-tls", title: "idle wss sessions", mode: "idle", idle: true, tls: true, quick: true, rounds: 2, size: 1024},
		{name: "idle-http", title: "idle HTTP/1.1 keep-alive connections", mode: "keep", idle: true, quick: true, rounds: 2},
	}
	for _, n := range []int{64, 1000} {
		for _, size := range []int{128, 1 << 10, 16 << 10, 64 << 10} {
			sc := echo
			sc.name = fmt.Sprintf("echo-%d-%s", n, bytesText(size))
			sc.title = fmt.Sprintf("ws echo, %d connections x %s, one message in flight each", n, bytesText(size))
			sc.connections, sc.size = n, size
			sc.logs = n == 64 && size == 128
			sc.quick = n == 64 && (size == 128 || size == 16<<10)
			all = append(all, sc)
		}
	}
	pipelined := echo
	pipelined.name, pipelined.title = "pipelined", "ws echo, 64 connections x 128B, 16 messages in flight each"
	pipelined.connections, pipelined.size, pipelined.depth = 64, 128, 16
	all = append(all, pipelined)
	for _, size := range []int{128, 16 << 10} {
		sc := echo
		sc.name = "echo-tls-" + bytesText(size)
		sc.title = fmt.Sprintf("wss echo, 64 connections x %s, one message in flight each", bytesText(size))
		sc.tls, sc.direct, sc.quick, sc.connections, sc.size = true, false, size == 128, 64, size
		all = append(all, sc)
	}
	setup := scenario{
		name: "setup", title: "ws handshakes, 64 at a time: connect, upgrade, Close both ways",
		mode: "setup", direct: true, logs: true, quick: true, connections: 64,
	}.counted("handshakes/s", 1e3, "1,000")
	secure := setup
	secure.name, secure.title = "setup-tls", "wss handshakes, 32 at a time: the same with a full TLS 1.3 handshake"
	secure.tls, secure.direct, secure.connections = true, false, 32
	get := scenario{
		name: "get", title: "HTTP/1.1 keep-alive GET, 64 connections, 128B answers",
		mode: "http", direct: true, logs: true, quick: true, connections: 64,
	}.counted("requests/s", 1e6, "1M")
	getTLS, post, large := get, get, get
	getTLS.name, getTLS.title = "get-tls", "HTTPS keep-alive GET, 64 connections, 128B answers"
	getTLS.tls, getTLS.direct, getTLS.logs, getTLS.quick = true, false, false, false
	post.name, post.title = "post-16KiB", "HTTP/1.1 keep-alive POST of 16KiB, 64 connections, 128B answers"
	post.body, post.logs, post.quick = 16<<10, false, false
	large.name, large.title = "get-1MiB", "HTTP/1.1 keep-alive GET, 64 connections, 1 MiB answers"
	large.answer, large.logs, large.quick = 1<<20, false, false
	large = large.counted("answers/s", 1e9/(1<<20), "GB")
	all = append(all,
		scenario{
			name: "broadcast", title: "broadcast of 128B to 1000 ws sessions, the next when all have it; latency: until the last has it",
			mode: "broadcast", direct: true, quick: true, connections: 1000, size: 128,
		}.counted("deliveries/s", 1e6, "1M"),
		setup, secure, get, getTLS, post, large)
	all = append(all, calm()...)
	for i := range all {
		if sc := all[i]; sc.logs {
			all[i].logs = false
			sc.name, sc.title = sc.name+"+logs", sc.title+", access logs on"
			sc.direct, sc.quick, sc.rounds = false, false, 3
			all = append(all, sc)
		}
	}
	return all
}

func bytesText(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%dB", n)
	}
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

// sample is what one run gave. The names are those of wslg's JSON and of -json.
type sample struct {
	Proxy        string             `json:"proxy"`
	Scenario     string             `json:"scenario"`
	Round        int                `json:"round"`
	Failure      string             `json:"failure,omitempty"` // it could not be measured
	Threads      int                `json:"threads,omitempty"` // of the generator
	Seconds      float64            `json:"seconds,omitempty"`
	Ops          float64            `json:"ops,omitempty"`
	Errors       int                `json:"errors"`
	Error        string             `json:"error,omitempty"` // the first
	GeneratorCPU float64            `json:"generator_cpu,omitempty"`
	MachineCPU   float64            `json:"machine_cpu,omitempty"`
	CPU          map[string]float64 `json:"cpu,omitempty"` // seconds: proxy, service
	P50          float64            `json:"p50_us,omitempty"`
	P99          float64            `json:"p99_us,omitempty"`
	P999         float64            `json:"p999_us,omitempty"`
	Slowest      float64            `json:"max_us,omitempty"`
	Sessions     int                `json:"sessions,omitempty"`
	Open         float64            `json:"open_bytes,omitempty"`   // per session, after opening
	Echoed       float64            `json:"echoed_bytes,omitempty"` // per session, after one message each
	Beside       *sample            `json:"beside,omitempty"`       // what else was done to the proxy meanwhile
}

// generate starts wslg for sc against t; extra goes before the targets. It ends with ctx.
func (b *bench) generate(ctx context.Context, t target, sc scenario, connections int, extra ...string) *exec.Cmd {
	to, path := t.plain, t.path[0]
	if sc.mode == "http" || sc.mode == "keep" {
		path = t.path[1]
	}
	if sc.answer > 0 {
		path += "/" + strconv.Itoa(sc.answer)
	}
	threads := b.serviceThreads()
	args := []string{sc.mode, "-n", strconv.Itoa(connections), "-s", strconv.Itoa(sc.size), "-p", path}
	if sc.tls {
		to, threads = t.secure, b.spare() // a TLS handshake costs the client as much as the server
		args = append(args, "-T")
	}
	args = append(args, "-j", strconv.Itoa(threads), "-d", strconv.Itoa(max(1, sc.depth)), "-B", strconv.Itoa(sc.body))
	args = append(args, "-r", strconv.FormatFloat(sc.rate, 'f', 3, 64))
	argv := b.placed(false, append(append([]string{b.path("wslg")}, append(args, extra...)...), to...))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = ownGroup()
	cmd.Stderr = os.Stderr
	return cmd
}

// load measures throughput, latency and CPU.
func (b *bench) load(ctx context.Context, t target, sc scenario, s *sample) error {
	extra := []string{"-w", seconds(b.warm), "-t", seconds(b.window), "-c", "service=" + strings.Join(b.wsbe.pids(), ",")}
	if sc.mode == "broadcast" {
		extra = append(extra, "-b", b.service[0])
	}
	if t.child != nil {
		extra = append(extra, "-c", "proxy="+strings.Join(t.pids(), ","))
	}
	if sc.beside != "" {
		return b.disturbed(ctx, t, sc, s, extra)
	}
	return b.result(b.generate(ctx, t, sc, sc.connections, extra...), s)
}

// result runs a generator and reads what it has measured.
func (b *bench) result(cmd *exec.Cmd, s *sample) error {
	out, err := cmd.Output()
	if uerr := json.Unmarshal(out, s); uerr != nil {
		return fmt.Errorf("generator: %w: %w", err, uerr)
	}
	if err != nil {
		return fmt.Errorf("generator: %s", s.Error)
	}
	return nil
}

// idle measures what a session that does nothing keeps resident.
func (b *bench) idle(ctx context.Context, t target, sc scenario, s *sample) error {
	warm := sc
	if sc.mode == "idle" {
		warm.mode = "setup"
	} else {
		warm.mode = "http"
	}
	if out, err := b.generate(ctx, t, warm, 64, "-w", "0", "-t", "0.3").Output(); err != nil {
		return fmt.Errorf("generator: %w: %s", err, out)
	}
	if err := sleep(ctx, b.settle); err != nil {
		return err
	}
	before, err := t.resident()
	if err != nil {
		return err
	}
	cmd := b.generate(ctx, t, sc, b.sessions)
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = b.watchIdle(ctx, t, bufio.NewScanner(out), hold, s, before)
	_ = hold.Close() // ends the generator
	timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	_ = cmd.Wait() // what it had to say, it said in JSON
	return err
}

// watchIdle reads the memory after each of the generator's two events.
func (b *bench) watchIdle(ctx context.Context, t target, events *bufio.Scanner, hold io.Writer, s *sample, before int64) error {
	for _, step := range []struct {
		event string
		bytes *float64
	}{{"open", &s.Open}, {"echoed", &s.Echoed}} {
		if !events.Scan() {
			return fmt.Errorf("generator: ended before %q", step.event)
		}
		var got struct{ Event string }
		if err := json.Unmarshal(events.Bytes(), &got); err != nil {
			return err
		}
		if err := json.Unmarshal(events.Bytes(), s); err != nil {
			return err
		}
		if got.Event != step.event {
			return fmt.Errorf("generator: %s %s", got.Event, s.Error)
		}
		if err := sleep(ctx, b.settle); err != nil {
			return err
		}
		after, err := t.resident()
		if err != nil {
			return err
		}
		*step.bytes = float64(after-before) / float64(s.Sessions)
		if _, err := io.WriteString(hold, "\n"); err != nil {
			return err
		}
	}
	return nil
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
