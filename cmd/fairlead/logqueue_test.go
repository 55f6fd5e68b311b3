package main

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
)

// Nobody who logs waits for standard error; what did not fit is reported when there is room again.
func TestLogQueue(t *testing.T) {
	r, w := io.Pipe()
	q, log := openLogQueue(w, "", slog.LevelInfo)
	line := strings.Repeat("x", 1000)
	for range 3 * maxQueued / len(line) {
		log.Info(line) //nolint:sloglint // each line is told apart
	}
	read := make(chan struct{})
	var got bytes.Buffer
	go func() {
		defer close(read)
		for buf := make([]byte, 1<<16); !strings.Contains(got.String(), "log lines lost"); {
			n, err := r.Read(buf)
			if got.Write(buf[:n]); err != nil {
				return
			}
		}
		_ = r.Close() // nobody reads what is still to come
	}()
	<-read
	q.Close()
	if s := got.String(); strings.Count(s, "\n") < maxQueued/len(line)/2 {
		t.Errorf("%d bytes", len(s))
	}
	log.Info("too late") // waits for nobody
}
