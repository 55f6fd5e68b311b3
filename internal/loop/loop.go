// Package loop is the engine under a relay: it runs what belongs to one session one step at a time and makes
// connections non-blocking. On Linux a few threads poll all of them (Engine, Attach), plain or under TLS; elsewhere, and
// for what has no descriptor, a goroutine waits for each (Pump). Both are behind the same interface.
package loop

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A Task is work for a Loop. It must not block. A method value allocates: what is posted often is a Handler, see Again.
type Task func()

// Ready runs f, whatever the events: a Task is a Handler, too.
func (f Task) Ready(*Loop, Events) { f() }

// A Loop runs tasks one at a time, in the order in which they were posted. Everything that says "on the loop" may rely on
// never running beside another task of the same Loop. There are two kinds. That of New runs on whatever goroutine is at
// hand: it is a token, not a thread, and costs nothing while there is nothing to do. That of an Engine is one of a few
// threads that poll descriptors.
type Loop struct {
	// Constant.
	p       *poller   // nil: a token
	start   time.Time // what Clock counts from
	account *account  // of what it holds

	mu      sync.Mutex // guards the following
	running bool       // a goroutine has the token; with a poller: it is not asleep
	over    bool       // a poller that takes nothing new
	queue   []Handler
	spare   []Handler

	// Owned by the running task.
	debts *Debt // newest first
	buf   *[]byte
	now   time.Duration // what Clock says; 0: nobody has asked yet
}

// New returns a Loop of its own, without a thread, with nothing to do.
func New() *Loop { return newToken(newAccount(&Options{Log: slog.New(slog.DiscardHandler)})) }

func newToken(a *account) *Loop { return &Loop{start: time.Now(), account: a} }

// Polled reports whether the loop is one of an Engine that polls: Go and Dial work then.
func (l *Loop) Polled() bool { return l.p != nil }

// Post has f run on the loop, soon, never inside the call. Any goroutine may post, with any lock held.
func (l *Loop) Post(f Task) { l.Again(f) }

// Again has h.Ready called without an event, as Post has a Task run.
func (l *Loop) Again(h Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.post(h)
}

// offer is Post for what has to be undone if the loop has ended: false.
func (l *Loop) offer(f Task) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	l.post(f)
	return true
}

// post is called with the lock held.
func (l *Loop) post(h Handler) {
	l.queue = append(l.queue, h)
	if l.running {
		return
	}
	l.running = true
	if l.p != nil {
		l.p.wake() // under the lock: a loop that stops takes it before it closes what wake writes to
		return
	}
	go l.run()
}

// turn runs f on the loop: at once and in the caller's goroutine if the loop is an idle token, else where it runs now.
// The caller is a goroutine of this package that holds no lock.
func (l *Loop) turn(f Task) {
	if l.p != nil {
		l.Post(f)
		return
	}
	l.mu.Lock()
	if l.running {
		l.queue = append(l.queue, f)
		l.mu.Unlock()
		return
	}
	l.running = true
	l.mu.Unlock()
	l.do(f)
	l.run()
}

// run does what is queued, by whoever holds the token, and gives the token back.
func (l *Loop) run() {
	for l.runQueued() || !l.rest() {
	}
}

// runQueued does what is queued now, and reports whether that was anything. What it posts itself is for the next time.
func (l *Loop) runQueued() bool {
	l.mu.Lock()
	batch := l.queue
	l.queue, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	for _, h := range batch {
		l.do(h)
	}
	clear(batch)
	l.mu.Lock()
	l.spare = batch[:0]
	l.mu.Unlock()
	return len(batch) > 0
}

// rest gives the token back, or has the next Post wake the poller, unless there is something to do.
func (l *Loop) rest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) > 0 {
		return false
	}
	if l.buf != nil && l.p == nil {
		readBuffers.Put(l.buf)
		l.buf = nil
	}
	l.running = false
	return true
}

// rise is the end of rest for a poller.
func (l *Loop) rise() {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
}

func (l *Loop) do(h Handler) {
	if l.p == nil {
		l.now = 0
	}
	h.Ready(l, 0)
}

// Clock is how long the loop has existed, at the moment at which the running task began to ask for it, or with a poller at which the
// running batch of events was taken. It is never 0, and steps of the system's clock do not move it. On the loop only.
func (l *Loop) Clock() time.Duration {
	if l.now == 0 {
		l.now = max(time.Since(l.start), 1)
	}
	return l.now
}

// Now is Clock as a time of day.
func (l *Loop) Now() time.Time { return l.start.Add(l.Clock()) }

// Date is the time of day at which Clock was at. Any goroutine.
func (l *Loop) Date(at time.Duration) time.Time { return time.Now().Add(at - time.Since(l.start)) }

// BufferSize is the size of a Loop's buffer in bytes: a frame of 64 KiB fits, with its header and what its reader puts in
// front of it. In two parts, one of them a few bytes, it would cost a third more.
const BufferSize = 68 << 10

// Buffer is scratch space of BufferSize bytes that is valid until the running task returns. Without a poller it comes from
// a pool: a loop with nothing to do holds none. On the loop only.
func (l *Loop) Buffer() []byte {
	if l.buf == nil {
		l.buf = readBuffers.Get().(*[]byte)
	}
	return *l.buf
}

// readBuffers holds the scratch space of loops that are idle.
var readBuffers = sync.Pool{New: func() any {
	b := make([]byte, BufferSize)
	return &b
}}

// A Timer tells its Handler Timeout on the loop when its time has come. All methods are called on the loop only. Timeout
// may still come once after Stop or Reset: the Handler has to look at the time itself. Init comes first; the Timer is then
// not to be copied.
type Timer struct {
	l *Loop
	h Handler
	t *time.Timer // without a poller

	due time.Duration // the Clock for which it is set; 0: it is not

	// In the wheel of the poller.
	next, prev *Timer
	slot       uint16 // where it is, +1; 0: nowhere
}

// NewTimer returns a stopped Timer that will run f on the loop.
func (l *Loop) NewTimer(f Task) *Timer { return &Timer{l: l, h: f} }

// Init makes t a stopped Timer of l for h. It allocates nothing, so t may be a part of what it is for.
func (t *Timer) Init(l *Loop, h Handler) { t.l, t.h = l, h }

// Loop is the Loop of Init.
func (t *Timer) Loop() *Loop { return t.l }

// Due is the Clock for which t is set, 0 if it is not.
func (t *Timer) Due() time.Duration { return t.due }

// Reset has Timeout told once after d, instead of any time set before. A poller rounds up to its tick of 4 ms.
func (t *Timer) Reset(d time.Duration) {
	now := time.Since(t.l.start)
	if t.l.p != nil {
		t.l.p.timers.set(t, now, d)
		return
	}
	t.due = max(now+d, 1)
	if t.t == nil {
		t.t = time.AfterFunc(d, t.fire)
		return
	}
	t.t.Reset(d)
}

// Stop forgets the time that was set.
func (t *Timer) Stop() {
	if t.l.p != nil {
		t.l.p.timers.remove(t)
	}
	if t.t != nil {
		t.t.Stop()
	}
	t.due = 0
}

// fire runs in a goroutine of its own.
func (t *Timer) fire() { t.l.turn(t.expire) }

func (t *Timer) expire() {
	t.due = 0
	t.h.Ready(t.l, Timeout)
}

// Events are what a Stream has become ready for.
type Events uint8

const (
	// Readable comes once, then not again until Read has returned ErrAgain.
	Readable Events = 1 << iota
	// Writable comes once after Write has returned ErrAgain, and each time that Queued has fallen from HighWater or
	// more to LowWater or less.
	Writable
	// Timeout comes from a Timer.
	Timeout
	// Excess means that the Loop holds too much for slow readers, and nobody owes it more than this Handler: see Owe.
	Excess
)

// The marks of a Stream that takes everything and queues it (TLS). A caller stops writing at HighWater: the queue then
// never holds more than HighWater and one write.
const (
	HighWater = 64 << 10
	LowWater  = 16 << 10
)

var (
	// ErrAgain means "not now": an event will tell when. It is returned as it is, never wrapped.
	ErrAgain = errors.New("try again")
	// ErrTruncated means that a TLS connection ended without close_notify. A pump knows it only inside a record:
	// crypto/tls hides it between two, and that is io.EOF there.
	ErrTruncated = errors.New("tls connection cut off")
)

// A Stream is one connection, made non-blocking. All methods are called on its loop only, and none blocks. After Close or
// Abort the others return net.ErrClosed, and no event comes any more.
type Stream interface {
	// Read reads what is there. n > 0 may come together with ErrAgain. io.EOF: the peer sent FIN or close_notify;
	// ErrTruncated: its TLS was cut off; any other error: the connection is lost.
	Read(p []byte) (int, error)
	// Write takes what fits, and says ErrAgain if that is not all: Writable comes later. A TLS stream takes all and
	// says so in Queued.
	Write(p []byte) (int, error)
	// Queued is how many bytes of what Write took are still in this process.
	Queued() int
	// Unacked is how many bytes the kernel has that the peer has not acknowledged (of the ciphertext, with TLS), or -1
	// where the system does not tell. With Queued it shows whether a slow peer reads at all.
	Unacked() int
	// CloseWrite sends FIN (after close_notify, with TLS) behind everything that Write took. Nothing may be written
	// after it.
	CloseWrite() error
	// Close gives the connection back. What the kernel has is still sent, what is Queued is dropped.
	Close()
	// Abort resets the connection (RST) and drops everything.
	Abort()
	// Handle says who is told of events, and starts them: Readable comes at once. It is called once.
	Handle(h Handler)
}

// A Handler is told, on the loop, what its Stream is ready for, and that it is its turn again, or its time.
type Handler interface {
	Ready(l *Loop, ev Events)
}
