package loop

import (
	"errors"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// run starts the loops, or none: then connections are pumped.
func (e *Engine) run() {
	log := e.opts.Log
	if e.opts.Pumps {
		log.Info("session engine", "kind", "pump")
		return
	}
	n := e.opts.Loops
	if n <= 0 {
		n = defaultLoops()
	}
	at, err := e.testTLS()
	if err != nil {
		log.Warn("tls sessions are pumped", "err", err)
	}
	loops := make([]*Loop, 0, n)
	for range n {
		l, err := newPolled()
		if err != nil {
			for _, l := range loops {
				l.p.close(l)
			}
			log.Warn("sessions are pumped", "err", err)
			return
		}
		l.p.layout, l.p.engine, l.account = at, e, newAccount(&e.opts)
		loops = append(loops, l)
	}
	e.loops = loops
	e.threads.Store(int32(n))
	for _, l := range loops {
		e.closed.Go(l.pollRun)
	}
	e.closed.Go(e.keepHouse)
	log.Info("session engine", "kind", "epoll", "loops", n, "tls", at != nil)
}

// testTLS finds out whether TLS can be polled.
func (e *Engine) testTLS() (*layout, error) {
	at, err := findLayout()
	if err != nil {
		return nil, err
	}
	test := e.opts.selfTest
	if test == nil {
		test = func() error { return selfTest(&at) }
	}
	if err := test(); err != nil {
		return nil, err
	}
	return &at, nil
}

// defaultLoops is the CPU quota of this process rounded up, at least 1 and at most its CPUs.
func defaultLoops() int {
	n := runtime.NumCPU()
	if env, err := strconv.Atoi(os.Getenv("GOMAXPROCS")); err == nil && env > 0 {
		n = min(n, env)
	}
	if quota, err := cgroupQuota(os.ReadFile); err == nil {
		n = min(n, quota)
	}
	return max(n, 1)
}

var errNoQuota = errors.New("no cpu quota")

// cgroupQuota is the smallest quota of the control groups of this process in whole CPUs, rounded up.
func cgroupQuota(read func(string) ([]byte, error)) (int, error) {
	own, err := read("/proc/self/cgroup")
	if err != nil {
		return 0, err
	}
	least, found := 0, false
	note := func(quota, period string) {
		q, qerr := strconv.ParseInt(strings.TrimSpace(quota), 10, 64)
		p, perr := strconv.ParseInt(strings.TrimSpace(period), 10, 64)
		if qerr != nil || perr != nil || q <= 0 || p <= 0 {
			return // "max", -1
		}
		if n := int((q + p - 1) / p); !found || n < least {
			least, found = n, true
		}
	}
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // id:controllers:path
		if len(parts) != 3 {
			continue
		}
		v2 := parts[0] == "0"
		if !v2 && !strings.Contains(","+parts[1]+",", ",cpu,") {
			continue
		}
		// A container may see its own group as the root, or only the host's path: look all the way up.
		for dir := strings.TrimSuffix(parts[2], "/"); ; dir = dir[:strings.LastIndexByte(dir, '/')] {
			if v2 {
				if b, err := read("/sys/fs/cgroup" + dir + "/cpu.max"); err == nil {
					if quota, period, ok := strings.Cut(string(b), " "); ok {
						note(quota, period)
					}
				}
			} else if q, err := read("/sys/fs/cgroup/cpu" + dir + "/cpu.cfs_quota_us"); err == nil {
				if p, err := read("/sys/fs/cgroup/cpu" + dir + "/cpu.cfs_period_us"); err == nil {
					note(string(q), string(p))
				}
			}
			if !strings.Contains(dir, "/") {
				break
			}
		}
	}
	if !found {
		return 0, errNoQuota
	}
	return least, nil
}

// Each calls f on every loop, and returns when all have. Any goroutine but a loop. A loop that has ended is left out.
func (e *Engine) Each(f func(l *Loop)) {
	if !e.Polled() {
		return
	}
	var all sync.WaitGroup
	for _, l := range e.loops {
		done := make(chan struct{})
		l.Post(func() { f(l); close(done) })
		all.Go(func() {
			select {
			case <-done:
			case <-e.ended:
			}
		})
	}
	all.Wait()
}

// Handlers yields the Handler of every stream of the loop; an attended connection is its own. On the loop only.
func (l *Loop) Handlers() iter.Seq[Handler] {
	return func(yield func(Handler) bool) {
		for i := range l.p.slots {
			if s := l.p.slots[i].s; s != nil && s.h != nil && !yield(s.h) {
				return
			}
		}
	}
}
