package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is the section accessLog of fairlead.yaml.
type Config struct {
	// Path is the file to append to; "-" is standard output, "off" writes no log. Default "-".
	// SIGHUP opens the file anew, so that it may be rotated. Another path needs a restart.
	Path string `yaml:"path"`

	// Format is json, agc (the log of Application Gateway for Containers) or common (NCSA
	// combined). Default json. A change needs a restart.
	Format string `yaml:"format"`
}

// Check says whether the format is known.
func (c Config) Check() error {
	switch c.Format {
	case "", FormatJSON, FormatAGC, FormatCommon:
		return nil
	}
	return fmt.Errorf("format %q: want json, agc or common", c.Format)
}

// off is the Path of a log that is not wanted.
const off = "off"

const (
	queueLength    = 8192                 // records; at 400 bytes each about 3 MiB
	pause          = 5 * time.Millisecond // between two writes: what comes meanwhile leaves with the second
	keepBuffer     = 256 << 10            // bytes; a larger buffer is not kept
	reportInterval = time.Second          // between two reports of what was lost
)

// A Logger writes Records. Log never blocks: when the writer cannot keep up, records are
// dropped, counted and reported.
type Logger struct {
	appendLine func([]byte, *Record) []byte
	path       string
	stdout     io.Writer
	log        *slog.Logger

	wake    chan struct{} // has one when the writer is to look at lines
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has returned
	dropped atomic.Int64  // records that found the queue full, or the log closed
	failed  atomic.Int64  // records lost to write errors

	queue  sync.Mutex // guards the following; held for the time of one line
	lines  []byte     // not yet written
	before []byte     // those that came before Reopen, for the old file
	count  int        // of lines
	spare  []byte     // for lines, when they are being written
	awake  bool       // the writer will look at lines by itself
	closed bool

	mu    sync.Mutex // guards the following
	next  *os.File   // reopened; the writer has not changed to it yet
	ended bool       // the writer has returned

	// Owned by the writer.
	file     *os.File // nil: standard output
	err      error    // of the last write that failed
	torn     bool     // the last line was written in part
	reported int64    // records of which the loss has been reported
}

// Open opens the log and starts its writer, which Close ends.
func Open(c Config, stdout io.Writer, log *slog.Logger) (*Logger, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	l := &Logger{
		path: c.Path, stdout: stdout, log: log,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	switch c.Format {
	case FormatAGC:
		l.appendLine = appendAGC
	case FormatCommon:
		l.appendLine = appendCommon
	default:
		l.appendLine = appendJSON
	}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	l.change(l.reopened())
	go l.write()
	return l, nil
}

// Off tells that no line is ever written.
func (l *Logger) Off() bool { return l.path == off }

// Log makes a line of r and leaves it to the writer. Any goroutine; never blocks.
func (l *Logger) Log(r *Record) {
	if l.Off() {
		return
	}
	l.queue.Lock()
	defer l.queue.Unlock()
	if l.closed || l.count == queueLength {
		l.dropped.Add(1)
		return
	}
	l.lines = l.appendLine(l.lines, r)
	l.count++
	if !l.awake {
		l.awake = true
		select {
		case l.wake <- struct{}{}:
		default: // it has not taken the last one yet
		}
	}
}

// Dropped is the number of records lost since start: the queue was full, a write failed, or
// the log was closed.
func (l *Logger) Dropped() int64 { return l.dropped.Load() + l.failed.Load() }

// Reopen opens the file by its name again; what is written from then on goes there. On error
// the old one stays.
func (l *Logger) Reopen() error {
	if l.path == "" || l.path == "-" || l.path == off {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	l.queue.Lock()
	l.before = append(l.before, l.lines...)
	l.lines = l.lines[:0]
	l.mu.Lock()
	unused := l.next
	if l.ended {
		unused, err = f, errClosed
	} else {
		l.next = f
	}
	l.mu.Unlock()
	l.queue.Unlock()
	if unused != nil {
		unused.Close()
	}
	return err
}

var errClosed = errors.New("access log: closed")

// Close writes what is queued and ends the writer, waiting until ctx ends. What is logged
// afterwards is dropped.
func (l *Logger) Close(ctx context.Context) error {
	l.queue.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.queue.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		l.queue.Lock()
		defer l.queue.Unlock()
		return fmt.Errorf("access log: %d records not written: %w", l.count, ctx.Err())
	}
}

// write is the one goroutine that writes: the first line at once, then what has gathered in each pause, and nothing while
// there is nothing.
func (l *Logger) write() {
	defer close(l.done)
	defer l.end()
	report := time.NewTicker(reportInterval)
	defer report.Stop()
	rest := time.NewTimer(pause)
	rest.Stop()
	for {
		select {
		case <-l.wake:
			l.writeLines()
			rest.Reset(pause)
		case <-rest.C:
			if l.writeLines() {
				rest.Reset(pause)
			}
		case <-report.C:
			l.writeLines()
			l.report()
		case <-l.stop:
			l.writeLines()
			return
		}
	}
}

// writeLines writes what has gathered. If that is nothing, the writer is asleep from now on.
func (l *Logger) writeLines() bool {
	l.queue.Lock()
	before, lines := l.before, l.lines
	l.awake = l.count > 0
	l.before, l.lines, l.count, l.spare = nil, l.spare[:0], 0, nil
	next := l.reopened()
	l.queue.Unlock()
	l.flush(before)
	l.change(next)
	l.flush(lines)
	if cap(lines) > keepBuffer {
		lines = nil
	}
	l.queue.Lock()
	l.spare = lines
	l.queue.Unlock()
	return len(before)+len(lines) > 0
}

// end closes the file and reports the last losses.
func (l *Logger) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.change(l.reopened())
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			l.log.Warn("access log not closed", "err", err)
		}
	}
	l.report()
}

// reopened is the file that Reopen has opened since, nil for none.
func (l *Logger) reopened() *os.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.next
	l.next = nil
	return next
}

// change goes over to next, if there is one.
func (l *Logger) change(next *os.File) {
	if next == nil {
		return
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			l.log.Warn("access log not closed", "err", err)
		}
	}
	l.file, l.torn = next, false
}

// flush writes whole lines and counts those that did not get through. A line that was cut is
// ended, so that it does not spoil the next.
func (l *Logger) flush(lines []byte) {
	if len(lines) == 0 {
		return
	}
	w := l.stdout
	if l.file != nil {
		w = l.file
	}
	if l.torn {
		if _, err := w.Write([]byte{'\n'}); err != nil {
			l.failed.Add(int64(bytes.Count(lines, []byte{'\n'})))
			l.err = err
			return
		}
		l.torn = false
	}
	n, err := w.Write(lines)
	if err != nil {
		l.failed.Add(int64(bytes.Count(lines[n:], []byte{'\n'})))
		l.err = err
		l.torn = n > 0 && lines[n-1] != '\n'
	}
}

// report tells the process's log what has been lost since the last report.
func (l *Logger) report() {
	lost := l.Dropped()
	if lost == l.reported {
		return
	}
	attrs := []slog.Attr{slog.Int64("lost", lost-l.reported), slog.Int64("since_start", lost)}
	if l.err != nil {
		attrs = append(attrs, slog.Any("err", l.err))
	}
	l.log.LogAttrs(context.Background(), slog.LevelWarn, "access log records lost", attrs...)
	l.reported, l.err = lost, nil
}
