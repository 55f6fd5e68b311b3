package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What a soak may leave behind between its second and its last pause, and what an idle gateway may have at all.
const (
	soakGrowth     = 8 << 20 // bytes of resident memory
	soakFiles      = 4       // descriptors
	soakGoroutines = 100     // threads and fibers that wait included
)

// soakRate bounds the sessions that are opened in a second: each closed connection keeps its port for a minute.
const soakRate = 120

// A soak is traffic of every kind through one gateway. In each pause nothing is left but what the gateway needs itself.
type soak struct {
	t        *testing.T
	g        *gateway
	dialer   soakDialer
	openings chan struct{} // one for each session that may be opened
	opened   atomic.Int64  // sessions that got their 101
	echoed   atomic.Int64  // bytes that came back as they were

	mu   sync.Mutex // guards the following
	errs []error    // the first few
}

// TestSoak has sessions of every kind come and go for FAIRLEAD_SOAK (a duration): echoes compared byte for byte, aborts,
// slow readers, sessions that stay, each without and with TLS. In the pauses memory, descriptors and sessions are back
// where they were, each session has its one line in the access log, and at the end few goroutines are left.
func TestSoak(t *testing.T) {
	text := os.Getenv("FAIRLEAD_SOAK")
	if text == "" {
		t.Skip("takes as long as it is told to: run `make soak`")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("FAIRLEAD_SOAK: %v", err)
	}
	g := startGateway(t, newPKI(t))
	g.serve(t, "soak", soakService(t))
	s := &soak{t: t, g: g, dialer: soakDialer{g: g, trust: g.trusted(t)}, openings: make(chan struct{})}
	rounds := max(3, int(length/time.Minute))
	var samples []soakSample
	for i := range rounds {
		s.round(length / time.Duration(rounds))
		samples = append(samples, s.sample())
		t.Logf("round %d: %v; %d sessions so far, %d MiB echoed", i+1, samples[i], s.opened.Load(), s.echoed.Load()>>20)
		if t.Failed() {
			return
		}
	}
	first, last := samples[1], samples[rounds-1]
	for _, m := range samples[max(2, rounds/2):] { // garbage may wait for its collector in one pause, but not in all
		last.memory = min(last.memory, m.memory)
	}
	for range 5 {
		if last.memory-first.memory > soakGrowth {
			last.memory = min(last.memory, s.sample().memory)
		}
	}
	if last.memory-first.memory > soakGrowth {
		t.Errorf("memory has grown from %d to %d KiB", first.memory>>10, last.memory>>10)
	}
	if last.files > first.files+soakFiles {
		t.Errorf("%d descriptors are open, before %d", last.files, first.files)
	}
	s.lines()
	n := s.goroutines()
	t.Logf("%d goroutines at the end", n)
	if n > soakGoroutines {
		t.Errorf("%d goroutines are left, want at most %d", n, soakGoroutines)
	}
}

// round has every kind of session for a time, and waits for the last of them.
func (s *soak) round(length time.Duration) {
	end := time.Now().Add(length)
	stop := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { s.meter(stop) })
	for kind, n := range map[string]int{"echo": 12, "abort": 6, "slow": 6, "stay": 30} {
		for i := range n {
			all.Go(func() {
				for run := 0; time.Now().Before(end); run++ {
					s.one(kind, (i+run)%3 == 0, end)
				}
			})
		}
	}
	time.AfterFunc(length, func() { close(stop) })
	all.Wait()
}

// meter hands out openings until stop.
func (s *soak) meter(stop chan struct{}) {
	tick := time.NewTicker(time.Second / soakRate)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		}
		select {
		case s.openings <- struct{}{}:
		case <-stop:
			return
		}
	}
}

// one is one session, if it may be opened before end.
func (s *soak) one(kind string, secure bool, end time.Time) {
	select {
	case <-s.openings:
	case <-time.After(time.Until(end)):
		return
	}
	peer, err := s.dialer.open(secure, kind == "slow")
	if err != nil {
		s.failed(kind, err)
		return
	}
	defer peer.Close()
	s.opened.Add(1)
	switch kind {
	case "echo":
		var n int64
		n, err = peer.echo()
		s.echoed.Add(n)
	case "abort":
		err = peer.abort()
	case "slow":
		err = peer.readSlowly()
	case "stay":
		err = peer.stay(end)
	}
	if err != nil {
		s.failed(kind, err)
	}
}

func (s *soak) failed(kind string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.errs = append(s.errs, err); len(s.errs) <= 5 {
		s.t.Errorf("%s: %v", kind, err)
	}
}

// A soakSample is what the gateway has in a pause.
type soakSample struct {
	memory  int64 // resident, bytes
	peak    int64 // at most so far
	files   int
	threads int64
}

func (m soakSample) String() string {
	return fmt.Sprintf("resident %d KiB (at most %d), %d descriptors, %d threads", m.memory>>10, m.peak>>10, m.files, m.threads>>10)
}

// soakStorm is how many connections have the gateway give back the memory that nobody uses when they are over: up to 32 MiB may be
// garbage before. On a slow machine a round has fewer of its own.
const soakStorm = 600

// storm has so many connections come and go.
func (s *soak) storm() {
	s.t.Helper()
	for range soakStorm {
		conn, err := net.DialTimeout("tcp", s.g.plain, wait)
		if err != nil {
			s.t.Fatal(err)
		}
		conn.Close()
	}
}

// sample waits until no session is left and memory is given back.
func (s *soak) sample() soakSample {
	s.t.Helper()
	waitFor(s.t, "sessions", 2*wait, []*process{s.g.process}, func() error {
		_, body, err := s.g.get("https://"+s.g.https+"/application/websockets?limit=1", basic("admin", adminPassword))
		if err == nil && strings.TrimSpace(body) != "[]" {
			err = fmt.Errorf("there are some: %s", body)
		}
		return err
	})
	s.g.client.CloseIdleConnections()
	s.storm()
	m := soakSample{memory: settled(s.t, s.g.process), peak: s.g.memory(s.t, "VmHWM"), threads: s.g.memory(s.t, "Threads")}
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.g.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	m.files = len(list)
	return m
}

// lines waits until the access log has a line for each session, and sees that it has no more.
func (s *soak) lines() {
	s.t.Helper()
	want := int(s.opened.Load())
	waitFor(s.t, "a line for each session", wait, nil, func() error {
		text, err := os.ReadFile(s.g.accessLog)
		if n := strings.Count(string(text), `"status":101,`); err == nil && n != want {
			err = fmt.Errorf("%d lines for %d sessions", n, want)
		}
		return err
	})
}

// goroutines ends the gateway with a dump of its stacks, and counts them.
func (s *soak) goroutines() int {
	s.t.Helper()
	s.g.out.forget()
	s.g.signal(syscall.SIGQUIT)
	var exit interface{ ExitCode() int }
	if err := s.g.wait(stopGrace); err == nil || !errors.As(err, &exit) {
		s.t.Fatalf("after SIGQUIT: %v", err)
	}
	return strings.Count(s.g.out.String(), "\ngoroutine ")
}

// forget makes room for what comes.
func (o *transcript) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
}
