package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How long a process may take to end after SIGTERM: where a test looks at how it ends, and
// where it only has to be gone.
const (
	stopGrace  = wait
	clearGrace = 2 * time.Second
)

// A command says what to start: the program and its arguments, in which directory, and what
// is added to the environment.
type command struct {
	name string
	dir  string
	env  []string
	argv []string
	copy io.Writer // gets all of its output, too; nil: none
}

// A process is a running command. It and its children are gone when its test ends; if the
// test failed, the end of its output is in the test's log.
type process struct {
	name string
	cmd  *exec.Cmd
	out  *transcript
	told bool          // its output is in the test's log already
	done chan struct{} // closed when it has ended; err is set before
	err  error
}

// requireInterop skips the test unless the suite was asked for.
func requireInterop(t *testing.T) {
	t.Helper()
	if os.Getenv("FAIRLEAD_INTEROP") == "" {
		t.Skip("needs Node.js, Java, Python and Chromium: run `make interop`")
	}
}

// start starts c and arranges for its end.
func start(t *testing.T, c command) *process {
	t.Helper()
	cmd := exec.CommandContext(beforeDeadline(t), c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	out := &transcript{}
	cmd.Stdout = out
	if c.copy != nil {
		cmd.Stdout = io.MultiWriter(out, c.copy)
	}
	cmd.Stderr = cmd.Stdout
	// A group of its own, so that the children of the process end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	p := &process{name: c.name, cmd: cmd, out: out, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.terminate()
		if t.Failed() && !p.told {
			t.Logf("the last lines of %s:\n%s", p.name, p.out.tail(60))
		}
	})
	return p
}

// run runs c to its end, which must come within limit and without error.
func run(t *testing.T, limit time.Duration, c command) {
	t.Helper()
	p := start(t, c)
	p.told = true
	if err := p.wait(limit); err != nil {
		t.Fatalf("%s: %v\n%s", c.name, err, p.out.tail(120))
	}
	t.Logf("%s:\n%s", c.name, p.out.tail(40))
}

// beforeDeadline ends a little before `go test` would panic, which would leave processes behind.
func beforeDeadline(t *testing.T) context.Context {
	deadline, ok := t.Deadline()
	if !ok {
		deadline = time.Now().Add(10 * time.Minute)
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline.Add(-15*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// signal sends sig to the process alone.
func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// wait waits for the process to end by itself.
func (p *process) wait(limit time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		return fmt.Errorf("still running after %v", limit)
	}
}

// stop ends the process with SIGTERM; it must then end with exit code 0.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if err := p.wait(stopGrace); err != nil {
		t.Errorf("%s after SIGTERM: %v", p.name, err)
	}
}

// terminate ends the process and all its children, however it goes.
func (p *process) terminate() {
	p.signal(syscall.SIGTERM)
	if p.wait(clearGrace) != nil {
		_ = p.cmd.Cancel()
		<-p.done
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// ended is nil while the process runs, so that a wait for it can end early.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%s):\n%s", p.name, p.cmd.ProcessState, p.out.tail(60))
	default:
		return nil
	}
}

// waitFor waits until ready says nil; it gives up at limit, or when a process that must be
// alive for it has ended.
func waitFor(t *testing.T, what string, limit time.Duration, alive []*process, ready func() error) {
	t.Helper()
	if err := poll(limit, alive, ready); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func poll(limit time.Duration, alive []*process, ready func() error) error {
	timeout := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		for _, p := range alive {
			if gone := p.ended(); gone != nil {
				return gone
			}
		}
		select {
		case <-tick.C:
		case <-timeout:
			return fmt.Errorf("not after %v: %w", limit, err)
		}
	}
}

// prints waits until the process has printed text.
func (p *process) prints(t *testing.T, text string, limit time.Duration) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s: output %q", p.name, text), limit, []*process{p}, func() error {
		if !strings.Contains(p.out.String(), text) {
			return errors.New("not printed")
		}
		return nil
	})
}

// A transcript keeps what a process prints: its first MiB.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() < 1<<20 {
		o.buf.Write(p)
	}
	return len(p), nil
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func (o *transcript) tail(lines int) string {
	all := strings.Split(strings.TrimRight(o.String(), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// lastPort is the port that freePorts has tried last. The system gives those above 32767 to connections, which could take one
// from the process that is to listen on it.
var lastPort atomic.Uint32

const portsFrom, portsTo = 21000, 28000 // between those that the manifests name

// freePorts finds n ports of the loopback that nobody listens on. None is found twice.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	lastPort.CompareAndSwap(0, rand.Uint32N(portsTo-portsFrom)+1)
	var ports []string
	for range portsTo - portsFrom {
		port := strconv.Itoa(portsFrom + int(lastPort.Add(1)%(portsTo-portsFrom)))
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue // somebody has it
		}
		ln.Close()
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("no %d free ports from %d to %d", n, portsFrom, portsTo)
	return nil
}

// fill writes the file from to the file to, with each ${NAME} replaced by values[NAME].
func fill(t *testing.T, from, to string, values map[string]string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	pairs := make([]string, 0, 2*len(values))
	for name, value := range values {
		pairs = append(pairs, "${"+name+"}", value)
	}
	filled := strings.NewReplacer(pairs...).Replace(string(text))
	if left := regexp.MustCompile(`\$\{\w+\}`).FindString(filled); left != "" {
		t.Fatalf("%s: no value for %s", from, left)
	}
	writeFile(t, to, filled)
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// absolute gives the absolute form of a path relative to this directory.
func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// portOf is the port of host:port.
func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
