package main

import (
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	maxQueued    = 1 << 20     // bytes of log lines that wait for standard error
	lastLogLines = time.Second // for these to be written at the end
)

// A logQueue passes the lines of the process's log on to a writer that may block. Code on a loop logs, too: if it waited for
// a reader of standard error, every connection of that loop would stand still. What finds the queue full is dropped, counted
// and reported. Any goroutine may write.
type logQueue struct {
	to   io.Writer     // constant, as log
	log  *slog.Logger  // writes to the queue
	wake chan struct{} // has one when there is something to write or Close was called
	done chan struct{} // closed when the writer has returned

	mu     sync.Mutex // guards the following
	lines  []byte
	lost   int64 // lines that were dropped and not reported
	closed bool
}

// openLogQueue returns a queue to w, whose writer Close ends, and a logger that writes to it.
func openLogQueue(w io.Writer, format string, level slog.Leveler) (*logQueue, *slog.Logger) {
	q := &logQueue{to: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	q.log = newLogger(q, format, level)
	go q.write()
	return q, q.log
}

// Write takes one line, or drops it. It never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.lines)+len(line) > maxQueued {
		q.lost++
		return len(line), nil
	}
	q.lines = append(q.lines, line...)
	q.look()
	return len(line), nil
}

// look has the writer look at the queue.
func (q *logQueue) look() {
	select {
	case q.wake <- struct{}{}:
	default: // it has not taken the last one yet
	}
}

func (q *logQueue) write() {
	defer close(q.done)
	for range q.wake {
		q.mu.Lock()
		lines, closed := q.lines, q.closed
		q.lines = nil
		q.mu.Unlock()
		_, _ = q.to.Write(lines) // there is nobody to tell
		q.report()
		if closed {
			return
		}
	}
}

// report logs how many lines have been dropped since the last report.
func (q *logQueue) report() {
	q.mu.Lock()
	lost := q.lost
	q.lost = 0
	q.mu.Unlock()
	if lost > 0 {
		q.log.Warn("log lines lost", "lost", lost)
	}
}

// Close writes what is queued, for a bounded time, and ends the writer. What is logged afterwards is dropped.
func (q *logQueue) Close() {
	q.mu.Lock()
	q.closed = true
	q.look()
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(lastLogLines):
	}
}
