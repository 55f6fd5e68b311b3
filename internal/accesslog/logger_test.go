package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, c Config, stdout io.Writer, log *slog.Logger) *Logger {
	t.Helper()
	l, err := Open(c, stdout, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	return l
}

func closeLog(t *testing.T, l *Logger) {
	t.Helper()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// ids are the request ids in lines of JSON, in order.
func ids(lines string) []string {
	var all []string
	for line := range strings.Lines(lines) {
		_, rest, _ := strings.Cut(line, `"request_id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		all = append(all, id)
	}
	return all
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	var out bytes.Buffer
	l := open(t, Config{}, &out, discard())
	for range 3000 {
		l.Log(&Record{Time: began, RequestID: "a"})
	}
	closeLog(t, l)
	if n := strings.Count(out.String(), "\n"); n != 3000 || l.Dropped() != 0 {
		t.Errorf("%d lines, %d dropped", n, l.Dropped())
	}
	closeLog(t, l) // twice is once
	l.Log(&Record{})
	if l.Dropped() != 1 {
		t.Errorf("a record after Close: %d dropped, want 1", l.Dropped())
	}
}

func TestFormatsByName(t *testing.T) {
	for format, begin := range map[string]string{
		"": `{"time":`, FormatJSON: `{"time":`, FormatAGC: `{"category":`, FormatCommon: "192.0.2.7 - - [",
	} {
		var out bytes.Buffer
		l := open(t, Config{Path: "-", Format: format}, &out, discard())
		r := request()
		l.Log(&r)
		closeLog(t, l)
		if !strings.HasPrefix(out.String(), begin) {
			t.Errorf("format %q: %s", format, out.String())
		}
	}
	_, err := Open(Config{Format: "xml"}, io.Discard, discard())
	if err == nil || err.Error() != `format "xml": want json, agc or common` {
		t.Error(err)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "access.log")
	_, err := Open(Config{Path: path}, io.Discard, discard())
	if err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestReopenAfterRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "access.log")
		l := open(t, Config{Path: path}, nil, discard())
		l.Log(&Record{RequestID: "1"})
		synctest.Wait()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		l.Log(&Record{RequestID: "2"}) // still the old file
		synctest.Wait()
		for range 2 { // as after two signals
			if err := l.Reopen(); err != nil {
				t.Fatal(err)
			}
		}
		l.Log(&Record{RequestID: "3"})
		synctest.Wait()
		closeLog(t, l)
		for name, want := range map[string]string{path + ".1": "1 2", path: "3"} {
			text, err := os.ReadFile(name)
			if got := strings.Join(ids(string(text)), " "); err != nil || got != want {
				t.Errorf("%s has %q, %v; want %q", name, got, err, want)
			}
		}
		if info, _ := os.Stat(path); info.Mode().Perm()&0o007 != 0 {
			t.Errorf("mode %v: readable by everyone", info.Mode())
		}
		if err := l.Reopen(); !errors.Is(err, errClosed) {
			t.Errorf("Reopen after Close: %v", err)
		}
	})
}

func TestReopenKeepsTheOldFileOnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "logs")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		l := open(t, Config{Path: filepath.Join(dir, "access.log")}, nil, discard())
		if err := os.Rename(dir, dir+".old"); err != nil {
			t.Fatal(err)
		}
		if err := l.Reopen(); err == nil {
			t.Error("Reopen in a directory that is gone")
		}
		l.Log(&Record{RequestID: "1"})
		closeLog(t, l)
		text, err := os.ReadFile(filepath.Join(dir+".old", "access.log"))
		if err != nil || len(ids(string(text))) != 1 || l.Dropped() != 0 {
			t.Errorf("%q, %v, %d dropped", text, err, l.Dropped())
		}
	})
}

// gate is a writer that waits until it is opened.
type gate struct {
	open chan struct{}
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Buffer.Write(p)
}

// A writer that hangs costs records, never time.
func TestFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		out := &gate{open: make(chan struct{})}
		l := open(t, Config{}, out, slog.New(slog.NewTextHandler(&log, nil)))
		l.Log(&Record{RequestID: "first"})
		synctest.Wait() // the writer hangs with it
		for range queueLength + 5 {
			l.Log(&Record{RequestID: "next"})
		}
		if l.Dropped() != 5 {
			t.Errorf("%d dropped, want 5", l.Dropped())
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := l.Close(short)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "access log: 8192 records not written: ") {
			t.Errorf("Close while the writer hangs: %v", err)
		}
		close(out.open)
		closeLog(t, l)
		if n := len(ids(out.String())); n != queueLength+1 {
			t.Errorf("%d lines, want %d", n, queueLength+1)
		}
		if !strings.Contains(log.String(), `level=WARN msg="access log records lost" lost=5 since_start=5`+"\n") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// full is a disk with room for so many bytes.
type full struct {
	mu   sync.Mutex
	room int
	bytes.Buffer
}

func (f *full) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(p), f.room)
	f.room -= n
	f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left")
	}
	return n, nil
}

func (f *full) more(room int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}

func TestWriteErrorsAreCountedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		out := &full{room: 20} // cuts the first line
		l := open(t, Config{}, out, slog.New(slog.NewTextHandler(&log, nil)))
		for range 300 { // over three seconds
			l.Log(&Record{RequestID: "lost"})
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait()
		if l.Dropped() != 300 {
			t.Errorf("%d dropped, want 300", l.Dropped())
		}
		if n := strings.Count(log.String(), "\n"); n < 2 || n > 4 {
			t.Errorf("%d reports in three seconds:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), `msg="access log records lost" lost=`) || !strings.Contains(log.String(), `err="no space left"`) {
			t.Errorf("log: %s", log.String())
		}
		out.more(1 << 20)
		l.Log(&Record{RequestID: "after"})
		closeLog(t, l)
		cut, rest, _ := strings.Cut(out.String(), "\n")
		if len(cut) != 20 || strings.Join(ids(rest), " ") != "after" {
			t.Errorf("a cut line must not spoil the next: %q", out.String())
		}
		if !strings.HasSuffix(log.String(), "since_start=300 err=\"no space left\"\n") {
			t.Errorf("log: %s", log.String())
		}
	})
}

// Of lines written at once, those that got through whole are not lost.
func TestPartOfABatch(t *testing.T) {
	for room, want := range map[int]struct {
		lost int64
		torn bool
	}{0: {4, false}, 1: {4, true}, 2: {3, false}, 5: {2, true}, 6: {2, true}, 7: {1, false}, 9: {0, false}} {
		l := &Logger{stdout: &full{room: room}}
		l.flush([]byte("a\nb\ncc\nd\n"))
		if l.failed.Load() != want.lost || l.torn != want.torn {
			t.Errorf("room for %d bytes: %d lost, torn %v; want %+v", room, l.failed.Load(), l.torn, want)
		}
	}
}

// TestEveryRecordIsWrittenOrCounted holds while all of the API is in use at once.
func TestEveryRecordIsWrittenOrCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := open(t, Config{Path: path}, nil, discard())
	const writers, each = 4, 2000
	var wg sync.WaitGroup
	half := make(chan struct{}, writers)
	for range writers {
		wg.Go(func() {
			for i := range each {
				l.Log(&Record{RequestID: "x"})
				if i == each/2 {
					half <- struct{}{}
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := l.Reopen(); err != nil && !errors.Is(err, errClosed) {
				t.Error(err)
			}
		}
	})
	<-half
	closeLog(t, l)
	wg.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(strings.Count(string(text), "\n")); n+l.Dropped() != writers*each {
		t.Errorf("%d written + %d dropped, want %d", n, l.Dropped(), writers*each)
	}
}
