package loop

import "time"

// An age says how long a socket has been registered. Most requests and many handshakes are over in less than what it takes
// to be lasting, and need not pay for what only a connection of hours wants.
type age uint8

const (
	fresh   age = iota
	seen        // by one sweep
	lasting     // by two: Options.Lasting was called
)

// sweepInterval is the time between two sweeps of a loop's sockets: one is lasting after one to two of them.
const sweepInterval = 5 * time.Second

// born notes that s has been registered.
func (p *poller) born(s *socket) {
	s.age = fresh
	p.young++
	if !p.sweeping && p.engine != nil && p.engine.opts.Lasting != nil {
		p.sweeping = true
		p.sweep.Reset(sweepInterval)
	}
}

// A sweeper is what the timer tells.
type sweeper struct{}

func (sweeper) Ready(l *Loop, _ Events) {
	p := l.p
	for i := range p.slots {
		s := p.slots[i].s
		if s == nil || s.age == lasting {
			continue
		}
		if s.age++; s.age == lasting {
			p.young--
			p.engine.opts.Lasting(int(s.fd))
		}
	}
	if p.sweeping = p.young > 0; p.sweeping {
		p.sweep.Reset(sweepInterval)
	}
}
