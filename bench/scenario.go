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
	direct      bool // measured without a proxy too
	connections int  // of idle: -sessions
	size        int
	ops         string  // what is counted
	per         float64 // CPU seconds are given per so many
	perName     string
}

func (sc scenario) key() string { return sc.name }

func scenarios() []scenario {
	return []scenario{
		{
			name: "setup", title: "ws handshakes, 64 at a time: connect, upgrade, Close both ways",
			mode: "setup", direct: true, connections: 64, ops: "handshakes/s", per: 1e3, perName: "1,000",
		},
		{
			name: "setup-tls", title: "wss handshakes, 32 at a time: the same with a full TLS 1.3 handshake",
			mode: "setup", tls: true, connections: 32, ops: "handshakes/s", per: 1e3, perName: "1,000",
		},
		{
			name: "echo", title: "ws echo, 64 connections x 128 B, one message in flight each",
			mode: "echo", direct: true, connections: 64, size: 128, ops: "round trips/s", per: 1e6, perName: "1M",
		},
		{
			name: "get", title: "HTTP/1.1 keep-alive GET, 64 connections, 128 B answers",
			mode: "http", direct: true, connections: 64, ops: "requests/s", per: 1e6, perName: "1M",
		},
		{name: "idle", title: "idle ws sessions", mode: "idle", idle: true, size: 1024},
	}
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
	Sessions     int                `json:"sessions,omitempty"`
	Open         float64            `json:"open_bytes,omitempty"`   // per session, after opening
	Echoed       float64            `json:"echoed_bytes,omitempty"` // per session, after one message each
}

// generate starts wslg for sc against t; extra goes before the targets. It ends with ctx.
func (b *bench) generate(ctx context.Context, t target, sc scenario, connections int, extra ...string) *exec.Cmd {
	to, path := t.plain, t.path[0]
	if sc.mode == "http" {
		path = t.path[1]
	}
	threads := b.serviceThreads()
	args := []string{sc.mode, "-n", strconv.Itoa(connections), "-s", strconv.Itoa(sc.size), "-p", path}
	if sc.tls {
		to, threads = t.secure, b.cores // a TLS handshake costs the client as much as the server
		args = append(args, "-T")
	}
	args = append(args, "-j", strconv.Itoa(threads))
	cmd := exec.CommandContext(ctx, b.path("wslg"), append(append(args, extra...), to...)...)
	cmd.SysProcAttr = ownGroup()
	cmd.Stderr = os.Stderr
	return cmd
}

// load measures throughput, latency and CPU.
func (b *bench) load(ctx context.Context, t target, sc scenario, s *sample) error {
	extra := []string{"-w", seconds(b.warm), "-t", seconds(b.window), "-c", "service=" + strings.Join(b.wsbe.pids(), ",")}
	if t.child != nil {
		extra = append(extra, "-c", "proxy="+strings.Join(t.pids(), ","))
	}
	out, err := b.generate(ctx, t, sc, sc.connections, extra...).Output()
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
	warm.mode = "setup"
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
