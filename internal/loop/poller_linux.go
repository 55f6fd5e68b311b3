package loop

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many events are taken at once.
const batchSize = 256

// patientBatches is how many batches there are to one look at the timers while each of them is full: behind a stall of the
// process no timer judges a stream whose bytes have come, but are in a later batch, unless 16,384 others are before it.
const patientBatches = 64

// A poller is the thread of a Loop: one epoll instance, edge-triggered, and all that its streams share. But for wake,
// everything is owned by the loop.
type poller struct {
	epoll  int
	event  int // eventfd, written to by wake; edge-triggered, so never read
	timers wheel

	slots []slot    // by index; the first is event's
	free  []uint32  // indices of slots that nobody has
	fresh []*socket // to be told Readable: no event will come for what they have
	fins  []*socket // to be shut down for writing at the end of the batch
	dead  []int32   // descriptors to close at the end of the batch
	ended bool
	full  int   // batches in a row that were full, modulo patientBatches
	brisk bool  // the last wait was short
	stale int64 // events that came for a slot which has changed hands

	listeners map[int32]*acceptor // by slot
	load      atomic.Int64        // sockets that are registered, or are to be

	// Fibers; see fiber_linux.go.
	current *fiber   // which runs; nil: none
	ready   []*fiber // to go on
	idle    []*fiber // without work
	fibers  int      // with work

	engine     *Engine // constant; nil in tests of one loop
	handshakes bool    // its thread gives way to the others. Constant

	young    int   // registered sockets that are not lasting
	sweeping bool  // sweep is set
	sweep    Timer // looks for those that have become so

	layout    *layout // nil: TLS is pumped. Constant
	cipherIn  []byte  // lent to the tls.Conn that reads
	cipherOut []byte  // what one Write of a tlsStream makes
	plain     []byte  // for a caller of Read whose own buffer is small

	events [batchSize]unix.EpollEvent
}

// A slot is the registration of one descriptor. Its index and generation are the epoll data, so that an event is known
// to be for a stream that has gone.
type slot struct {
	s          *socket
	generation uint32
}

const eventSlot = 0

// newPolled returns a Loop with a poller that does not run yet.
func newPolled() (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: eventSlot})
	if err != nil {
		_ = unix.Close(epoll)
		_ = unix.Close(event)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	p := &poller{epoll: epoll, event: event, slots: make([]slot, 1)}
	buf := make([]byte, BufferSize)
	l := New()
	l.p, l.running, l.buf = p, true, &buf
	p.sweep.Init(l, sweeper{})
	return l, nil
}

// wake ends the sleep of the loop. Called with the lock of the Loop held, and only if it sleeps. Nobody reads the counter:
// it has room for one wake in each nanosecond of 500 years.
func (p *poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.event, one[:])
}

// handshakeNice is the priority of a thread for handshakes.
const handshakeNice = 10

// pollRun is the thread. It looks for events without blocking as long as there are any: a blocking call costs the
// scheduler's attention twice. docs/decisions/0004 has the alternatives.
func (l *Loop) pollRun() {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	p := l.p
	if p.handshakes {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, handshakeNice) // of this thread; without it all are equal
	}
	for !p.ended {
		n := l.wait()
		began := max(time.Since(l.start), 1)
		l.now = began
		l.runQueued() // before the events: what is asked of a session comes before what arrives after that
		for i := range n {
			p.dispatch(&p.events[i])
		}
		l.greet()
		if p.full = (p.full + 1) % patientBatches; n < batchSize {
			p.full = 0
		}
		if p.timers.count > 0 && p.full == 0 {
			p.timers.run(began) // what has come due since then waits until all that has come by then is read
		}
		p.runReady()
		p.bury()
	}
	p.close(l)
}

// wait takes the events that are there, and waits for some if there is nothing else to do.
func (l *Loop) wait() int {
	p := l.p
	if !p.brisk { // else sleep does not wait for what is there
		if n := p.poll(); n > 0 {
			return n
		}
	}
	if len(p.fresh) == 0 && len(p.ready) == 0 && l.rest() {
		n := p.sleep(l)
		l.rise()
		return n
	}
	if p.brisk {
		return p.poll()
	}
	return 0
}

// poll takes the events that are there. It never blocks, so the scheduler need not know of it.
func (p *poller) poll() int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events)), batchSize, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// shortWait bounds how long a loop may wait without the scheduler's knowledge, in milliseconds. A stop of the world, and the
// runtime's monitor after 10 ms, send it a signal, which ends the wait. It is longer than that so that its timer is
// never the next one of the machine: to set that is costly on a virtual one.
const shortWait = 20

// brisk is how soon an event must come after a loop has gone to sleep for the next wait to be a short one.
const brisk = 500 * time.Microsecond

// sleep waits for events, for a wake, or for the next timer. While events come in quick succession the wait is as raw as
// poll, and takes its place: each blocking call costs the scheduler's attention, and that of its monitor, which comes back
// soon once it had to take the processor from a blocked thread.
func (p *poller) sleep(l *Loop) int {
	now := time.Since(l.start)
	ms := -1
	if d := p.timers.timeout(now); d >= 0 {
		ms = int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	if p.brisk {
		short := shortWait
		if ms >= 0 {
			short = min(ms, shortWait)
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events)), batchSize, uintptr(short), 0, 0)
		if errno == 0 && n > 0 {
			return int(n)
		}
		p.brisk = false
		return 0 // what is due is done before a longer wait
	}
	n, err := unix.EpollWait(p.epoll, p.events[:], ms)
	if err != nil {
		return 0 // EINTR
	}
	p.brisk = time.Since(l.start)-now < brisk
	return n
}

// dispatch tells the stream that ev is for, if it still exists.
func (p *poller) dispatch(ev *unix.EpollEvent) {
	if ev.Fd == eventSlot {
		return
	}
	at := p.slots[ev.Fd]
	if at.s == nil || at.generation != uint32(ev.Pad) {
		if a := p.listeners[ev.Fd]; a != nil {
			a.accept()
			return
		}
		p.stale++
		return
	}
	at.s.occur(ev.Events)
}

// greet tells Readable to streams that may hold bytes of which no event will tell: of TLS that have just come, and such as
// have changed hands.
func (l *Loop) greet() {
	if len(l.p.fresh) == 0 {
		return
	}
	fresh := l.p.fresh
	l.p.fresh = nil
	for _, s := range fresh {
		s.tell(Readable)
	}
}

// interest is all that can happen to a socket. It is registered once, and never changed.
const interest = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// newSlot is a slot that nobody has.
func (p *poller) newSlot() uint32 {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i
	}
	p.slots = append(p.slots, slot{})
	return uint32(len(p.slots) - 1)
}

// register has events for s come.
func (p *poller) register(s *socket) error {
	s.slot = p.newSlot()
	p.load.Add(1)
	p.born(s)
	at := &p.slots[s.slot]
	at.s = s
	ev := unix.EpollEvent{Events: interest, Fd: int32(s.slot), Pad: int32(at.generation)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.epoll), unix.EPOLL_CTL_ADD, uintptr(s.fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		p.forget(s)
		return os.NewSyscallError("epoll_ctl", errno)
	}
	return nil
}

// forget gives the slot of s back. Events that are still on their way are for an older generation.
func (p *poller) forget(s *socket) {
	if s.slot == 0 {
		return
	}
	at := &p.slots[s.slot]
	at.s = nil
	at.generation++
	p.free = append(p.free, s.slot)
	p.load.Add(-1)
	if s.age < lasting {
		p.young--
	}
	s.slot = 0
}

// unregister ends the events for s, which lives on elsewhere. Its owner takes the descriptor.
func (p *poller) unregister(s *socket) {
	if s.slot != 0 {
		_, _, _ = unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.epoll), unix.EPOLL_CTL_DEL, uintptr(s.fd), 0, 0, 0)
	}
	p.forget(s)
}

// bury shuts down and closes what was given up in this batch. A descriptor is not closed earlier: the number would come back
// within it.
func (p *poller) bury() {
	if len(p.fins) > 0 {
		for _, s := range p.fins {
			if !s.closed { // it fails only where the connection is lost, and that a read will tell
				_, _, _ = unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(s.fd), unix.SHUT_WR, 0)
			}
		}
		clear(p.fins)
		p.fins = p.fins[:0]
	}
	if len(p.dead) == 0 {
		return
	}
	for _, fd := range p.dead {
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	}
	p.dead = p.dead[:0]
	if cap(p.dead) > 4*batchSize {
		p.dead = nil
	}
}

// stop ends the thread. On the loop.
func (l *Loop) stop() { l.p.ended = true }

// close is the end of the thread.
func (p *poller) close(l *Loop) {
	p.ended = true
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	l.runQueued() // so that what it was offered is closed with the rest
	for _, a := range p.listeners {
		a.close()
	}
	for _, at := range p.slots {
		switch {
		case at.s == nil:
		case at.s.conn() != nil:
			at.s.conn().Abort() // its fibers see that
		case at.s.tls != nil:
			at.s.tls.Close()
		default:
			at.s.Close()
		}
	}
	p.endFibers(l)
	p.bury()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.queue = true, nil // nobody is to wake it again
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.event)
}
