package http1

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/loop"
)

// past is a deadline that ends every wait.
var past = time.Unix(1, 0)

// A link is a connection with a bound on each wait for it. One reader and one writer may use it at a time; whoever else
// wants them to stop cuts their waits short.
type link struct {
	conn net.Conn // constant

	mu         sync.Mutex // guards the following
	readUntil  time.Time  // the deadline that is set; zero: none
	writeUntil time.Time
	limit      time.Time // no wait goes beyond it; zero: none
	readCut    error     // why no read may begin or go on; nil: it may
	writeCut   error
	renew      time.Duration // what extend gives; zero: nothing
}

// now is the time, of a loop's connection as the loop has it.
func (l *link) now() time.Time {
	if c, ok := l.conn.(*loop.Conn); ok {
		if lp := c.Loop(); lp != nil {
			return lp.Now()
		}
	}
	return time.Now()
}

// read reads once. It waits for wait, or up to an eighth or a second longer; zero: for ever. A wait that has ended so is
// an os.ErrDeadlineExceeded.
func (l *link) read(p []byte, wait time.Duration) (int, error) {
	if err := l.armRead(wait); err != nil {
		return 0, err
	}
	n, err := l.conn.Read(p)
	if n > 0 {
		return n, nil // an error comes again with the next read
	}
	return 0, l.why(err, &l.readCut)
}

// write writes all of p. Each wait for the peer to take a part of it is at most wait.
func (l *link) write(p []byte, wait time.Duration) (int, error) {
	done := 0
	for {
		if err := l.armWrite(wait); err != nil {
			return done, err
		}
		n, err := l.conn.Write(p[done:])
		done += n
		if err == nil {
			return done, nil
		}
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || l.expired() {
			return done, l.why(err, &l.writeCut)
		}
	}
}

// why is what an operation's error stands for: the reason of the cut, if there was one.
func (l *link) why(err error, cut *error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if *cut != nil {
			return *cut
		}
	}
	return err
}

func (l *link) armRead(wait time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readCut != nil {
		return l.readCut
	}
	if t, change := l.deadline(l.readUntil, wait); change {
		l.readUntil = t
		return l.conn.SetReadDeadline(t)
	}
	return nil
}

func (l *link) armWrite(wait time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writeCut != nil {
		return l.writeCut
	}
	if t, change := l.deadline(l.writeUntil, wait); change {
		l.writeUntil = t
		return l.conn.SetWriteDeadline(t)
	}
	return nil
}

// deadline is when a wait that begins now ends, and whether that is worth a change of the one that is set: on a busy
// connection most are not.
func (l *link) deadline(set time.Time, wait time.Duration) (time.Time, bool) {
	if wait == 0 {
		return l.limit, !set.Equal(l.limit)
	}
	t, slack := l.now().Add(wait), min(wait/8, time.Second)
	if !l.limit.IsZero() && l.limit.Before(t.Add(slack)) {
		return l.limit, !set.Equal(l.limit)
	}
	if !set.Before(t) && set.Sub(t) <= slack {
		return set, false
	}
	return t.Add(slack), true
}

// setLimit bounds all waits together; zero: no more.
func (l *link) setLimit(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = t
}

// answering bounds the reads to come by wait, and lets extend renew that for the one under way; zero: neither.
func (l *link) answering(wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renew = wait
}

// extend renews the bound on a read that waits for an answer.
func (l *link) extend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readCut != nil || l.renew == 0 {
		return
	}
	if t, change := l.deadline(l.readUntil, l.renew); change {
		l.readUntil = t
		_ = l.conn.SetReadDeadline(t) // fails on a closed connection only: the read tells
	}
}

// expired tells whether the limit has passed.
func (l *link) expired() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writeCut != nil || !l.limit.IsZero() && !l.now().Before(l.limit)
}

// cut ends the reads, the writes or both that are under way, and those to come, with err. The first reason stays.
func (l *link) cut(err error, reads, writes bool) {
	l.mu.Lock()
	reads, writes = reads && l.readCut == nil, writes && l.writeCut == nil
	if reads {
		l.readCut, l.readUntil = err, past
	}
	if writes {
		l.writeCut, l.writeUntil = err, past
	}
	l.mu.Unlock() // before the deadlines: on a loop, who waits may go on within the call
	if reads {
		_ = l.conn.SetReadDeadline(past)
	}
	if writes {
		_ = l.conn.SetWriteDeadline(past)
	}
}

// mend lets reads and writes go on after a cut.
func (l *link) mend(reads, writes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if reads {
		l.readCut = nil
	}
	if writes {
		l.writeCut = nil
	}
}

// clear takes the deadlines off the connection: it goes to somebody else.
func (l *link) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit, l.readUntil, l.writeUntil = time.Time{}, time.Time{}, time.Time{}
	_ = l.conn.SetDeadline(time.Time{})
}

// writev writes all of v as write does, in one system call if the peer takes it.
func (l *link) writev(c *net.TCPConn, v *net.Buffers, wait time.Duration) error {
	for {
		if err := l.armWrite(wait); err != nil {
			return err
		}
		n, err := v.WriteTo(c) // what has left is no longer in v
		if err == nil {
			return nil
		}
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || l.expired() {
			return l.why(err, &l.writeCut)
		}
	}
}
