package accesslog

import (
	"context"
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
	// Path is the file to append to; "-" is standard output. Default "-". SIGHUP opens it
	// anew, so that it may be rotated.
	Path string `yaml:"path"`

	// Format is json, agc (the log of Application Gateway for Containers) or common (NCSA
	// combined). Default json.
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

const (
	queueLength    = 8192        // records; at 400 bytes each about 3 MiB
	flushAt        = 64 << 10    // bytes gathered before a write, while more records wait
	reportInterval = time.Second // between two reports of what was lost
)

// A Logger writes Records. Log never blocks: when the writer cannot keep up, records are
// dropped, counted and reported.
type Logger struct {
	appendLine func([]byte, *Record) []byte
	path       string
	stdout     io.Writer
	log        *slog.Logger

	queue   chan Record
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when the writer has returned
	once    sync.Once
	dropped atomic.Int64
	failed  atomic.Int64 // records lost to write errors

	mu   sync.Mutex // guards the following
	file *os.File   // nil: standard output
}

// Open opens the log and starts its writer, which Close ends.
func Open(c Config, stdout io.Writer, log *slog.Logger) (*Logger, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	l := &Logger{
		path: c.Path, stdout: stdout, log: log,
		queue: make(chan Record, queueLength), stop: make(chan struct{}), done: make(chan struct{}),
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
	go l.write()
	return l, nil
}

// Log hands a record to the writer. Any goroutine; never blocks.
func (l *Logger) Log(r Record) {
	select {
	case l.queue <- r:
	default:
		l.dropped.Add(1)
	}
}

// Dropped is the number of records lost since start: the queue was full, or a write failed.
func (l *Logger) Dropped() int64 { return l.dropped.Load() + l.failed.Load() }

// Reopen opens the file by its name again. On error the old one stays.
func (l *Logger) Reopen() error {
	if l.path == "" || l.path == "-" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	l.mu.Lock()
	old := l.file
	l.file = f
	l.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Close writes what is queued and ends the writer, waiting until ctx ends. What is logged
// afterwards is lost.
func (l *Logger) Close(ctx context.Context) error {
	l.once.Do(func() { close(l.stop) })
	select {
	case <-l.done:
	case <-ctx.Done():
		return fmt.Errorf("access log: %d records not written: %w", len(l.queue), ctx.Err())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		return l.file.Close()
	}
	return nil
}

// write is the one goroutine that formats and writes.
func (l *Logger) write() {
	defer close(l.done)
	report := time.NewTicker(reportInterval)
	defer report.Stop()
	var (
		buf      []byte
		reported int64
	)
	for {
		select {
		case r := <-l.queue:
			buf = l.appendLine(buf[:0], &r)
			buf = l.gather(buf)
		case <-report.C:
			if lost := l.Dropped(); lost > reported {
				l.log.Warn("access log records lost", "lost", lost-reported, "since_start", lost)
				reported = lost
			}
		case <-l.stop:
			for len(l.queue) > 0 {
				r := <-l.queue
				buf = l.appendLine(buf[:0], &r)
				buf = l.gather(buf)
			}
			return
		}
	}
}

// gather appends what else is queued, up to flushAt, and writes it all at once.
func (l *Logger) gather(buf []byte) []byte {
	lines := int64(1)
	for len(buf) < flushAt {
		select {
		case r := <-l.queue:
			buf = l.appendLine(buf, &r)
			lines++
			continue
		default:
		}
		break
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.stdout
	if l.file != nil {
		w = l.file
	}
	if _, err := w.Write(buf); err != nil {
		l.failed.Add(lines)
	}
	return buf
}
