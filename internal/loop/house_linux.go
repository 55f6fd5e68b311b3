package loop

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// procsInterval is how often a changed CPU quota is looked for. The runtime would do it by itself, but not once
	// GOMAXPROCS was set.
	procsInterval = 30 * time.Second
	// quiet is how long no connection may have come for a storm of handshakes to be over.
	quiet = 250 * time.Millisecond
	// storm is how many connections leave garbage enough to be given back at once.
	storm = 500
	// freeShare bounds what giving back may cost, a full collection each time: one part in so many of the time.
	freeShare = 20
	// garbage is how many bytes may gather before they are collected, if the heap itself is smaller than that. The runtime's
	// own floor of 4 MiB means twenty collections a second during a storm of TLS handshakes.
	garbage = 32 << 20
)

// keepHouse does what concerns the process while the loops run: processors, collections, memory.
func (e *Engine) keepHouse() {
	p := processors{base: runtime.GOMAXPROCS(0), fixed: os.Getenv("GOMAXPROCS") != ""}
	p.set(e)
	defer func() { runtime.GOMAXPROCS(p.base) }()
	c := collector{percent: 100, fixed: os.Getenv("GOGC") != ""}
	defer c.restore()
	procs, still := time.NewTicker(procsInterval), time.NewTicker(quiet)
	defer procs.Stop()
	defer still.Stop()
	var f freer
	for {
		select {
		case <-e.stop:
			return
		case <-e.more:
			p.set(e)
		case <-still.C:
			c.set()
			f.look(e.next.Load())
		case <-procs.C:
			p.read(e)
		}
	}
}

// processors keeps GOMAXPROCS at the runtime's own choice and one for each loop: a loop that wakes would otherwise wait
// until a goroutine's time slice of 10 ms is over.
type processors struct {
	base  int
	fixed bool // by the environment
}

func (p *processors) set(e *Engine) { runtime.GOMAXPROCS(p.base + int(e.threads.Load())) }

// read looks for a quota that has changed.
func (p *processors) read(e *Engine) {
	if p.fixed {
		return
	}
	runtime.SetDefaultGOMAXPROCS()
	p.base = runtime.GOMAXPROCS(0)
	p.set(e)
}

// A collector keeps GOGC at 100, or as much higher as a small heap allows.
type collector struct {
	percent int
	fixed   bool // by the environment
	sample  [1]metrics.Sample
}

func (c *collector) set() {
	if c.fixed {
		return
	}
	c.sample[0].Name = "/gc/heap/live:bytes"
	metrics.Read(c.sample[:])
	if c.sample[0].Value.Kind() != metrics.KindUint64 {
		return
	}
	live := max(c.sample[0].Value.Uint64(), 1<<20)
	percent := int(max(100, 100*garbage/live))
	if 4*percent >= 3*c.percent && 3*percent <= 4*c.percent {
		return // to set it stops the world
	}
	c.percent = percent
	debug.SetGCPercent(percent)
}

func (c *collector) restore() {
	if c.percent != 100 {
		debug.SetGCPercent(100)
	}
}

// A freer gives memory back after storms of handshakes. What a session keeps is a fraction of what its handshake took; the
// runtime would hold on to as much again as is in use.
type freer struct {
	last, lean uint32 // connections begun at the last look, and when memory was given back
	free       time.Time
}

func (f *freer) look(now uint32) {
	if now == f.last && now-f.lean >= storm && !time.Now().Before(f.free) {
		began := time.Now()
		debug.FreeOSMemory()
		f.lean, f.free = now, time.Now().Add(freeShare*time.Since(began))
	}
	f.last = now
}
