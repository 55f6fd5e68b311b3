package config

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must rest before it is read: editors and copies write in steps.
const settle = 100 * time.Millisecond

// patience bounds the wait for that rest: another file of the directory, a log perhaps, may
// never rest.
const patience = time.Second

// Watch reports that the content of the file at path has changed, until ctx ends. It watches
// the directory, since editors and mounted volumes replace files and links. Latest wins; the
// channel is never closed. Without a path, or where the directory cannot be watched, which is
// logged, the channel never delivers.
func Watch(ctx context.Context, path string, log *slog.Logger) <-chan struct{} {
	if path == "" {
		return nil
	}
	watcher, err := fsnotify.NewWatcher()
	if err == nil {
		err = watcher.Add(filepath.Dir(path))
	}
	if err != nil {
		if watcher != nil {
			watcher.Close()
		}
		log.Warn("configuration not watched", "file", path, "err", err)
		return nil
	}
	w := &watch{path: path, watcher: watcher, log: log, changed: make(chan struct{}, 1)}
	w.follow()
	w.last, _ = w.hash()
	go w.run(ctx)
	return w.changed
}

// watch belongs to the goroutine of run.
type watch struct {
	path    string
	watcher *fsnotify.Watcher
	log     *slog.Logger
	changed chan struct{} // capacity 1
	last    [sha256.Size]byte
	target  string // the directory of the file that path is a link to; empty: none
}

func (w *watch) run(ctx context.Context) {
	defer w.watcher.Close()
	rest := time.NewTimer(0)
	rest.Stop()
	var latest time.Time // when to read even so; zero: no event since the last reading
	stir := func() {
		now := time.Now()
		if latest.IsZero() {
			latest = now.Add(patience)
		}
		rest.Reset(min(settle, latest.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			stir()
		case err, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			w.log.Warn("configuration watch", "file", w.path, "err", err)
			stir() // events may have been lost
		case <-rest.C:
			latest = time.Time{}
			w.follow()
			w.compare()
		}
	}
}

// compare signals if the content is another. A file that is gone for the moment is not news.
func (w *watch) compare() {
	sum, err := w.hash()
	if err != nil || sum == w.last {
		return
	}
	w.last = sum
	select {
	case w.changed <- struct{}{}:
	default: // one is pending: its reader will see the newest
	}
}

func (w *watch) hash() ([sha256.Size]byte, error) {
	data, err := readFile(w.path)
	return sha256.Sum256(data), err
}

// follow also watches the directory of the file that path is a link to.
func (w *watch) follow() {
	real, err := filepath.EvalSymlinks(w.path)
	if err != nil {
		return
	}
	dir := filepath.Dir(real)
	if dir == w.target || dir == filepath.Dir(w.path) {
		return
	}
	if err := w.watcher.Add(dir); err != nil {
		w.log.Warn("configuration watch", "file", w.path, "err", err)
		return
	}
	if w.target != "" {
		_ = w.watcher.Remove(w.target) // gone already is as good
	}
	w.target = dir
}
