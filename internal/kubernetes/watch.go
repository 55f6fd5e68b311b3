package kubernetes

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settleFiles is how long files must rest before they are read: editors and copies write in steps.
	settleFiles = 75 * time.Millisecond

	// settleAtMost bounds the wait for that rest: another file of the directory, a log perhaps, may never rest.
	settleAtMost = 500 * time.Millisecond

	// pollFiles is how often files are looked at where the system does not tell of changes.
	pollFiles = time.Second
)

// filesSum identifies the content of files, with their names and what could not be read.
type filesSum [sha256.Size]byte

func sumOf(files []*manifest, errs FileErrors) (sum filesSum) {
	h := sha256.New()
	write := func(s []byte) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(s))) // a hash never fails
		h.Write(s)
	}
	for _, f := range files {
		write([]byte(f.name))
		write(f.data)
	}
	for _, e := range errs {
		write([]byte(e.Error()))
	}
	h.Sum(sum[:0])
	return sum
}

// Changes implements Source. It watches directories, since editors and mounted volumes replace files and links. A change
// between the last Load and this call counts.
func (f *Files) Changes(ctx context.Context) <-chan struct{} {
	log := f.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f.mu.Lock()
	if f.loaded == (filesSum{}) {
		f.loaded = sumOf(readFiles(f.Paths))
	}
	f.mu.Unlock()
	w := &filesWatch{files: f, log: log, changed: make(chan struct{}, 1), watched: map[string]bool{}}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("manifests are polled", "err", err)
	} else {
		w.watcher = watcher
		w.follow()
	}
	go w.run(ctx)
	return w.changed
}

// filesWatch belongs to the goroutine of run.
type filesWatch struct {
	files   *Files
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil: the files are polled
	watched map[string]bool   // directories; false: only what happens to one of Paths in them is of concern
	polling bool
	changed chan struct{} // capacity 1
}

func (w *filesWatch) run(ctx context.Context) {
	var events chan fsnotify.Event
	var failures chan error
	if w.watcher != nil {
		defer w.watcher.Close()
		events, failures = w.watcher.Events, w.watcher.Errors
	} else {
		w.polling = true
	}
	poll := time.NewTicker(pollFiles)
	defer poll.Stop()
	rest := time.NewTimer(0) // what changed since the last Load
	defer rest.Stop()
	var latest time.Time // when to look even so; zero: nothing happened since the last look
	stir := func() {
		now := time.Now()
		if latest.IsZero() {
			latest = now.Add(settleAtMost)
		}
		rest.Reset(min(settleFiles, latest.Sub(now)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
				delete(w.watched, e.Name) // the kernel has dropped the watch of a directory
			}
			if w.concerns(e.Name) {
				stir()
			}
		case err, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			w.log.Warn("manifests watch", "err", err)
			stir() // events may have been lost
		case <-poll.C:
			if w.polling {
				w.compare()
			}
		case <-rest.C:
			latest = time.Time{}
			if w.watcher != nil {
				w.follow()
			}
			w.compare()
		}
	}
}

// concerns tells whether what happens to a name may change the files. The directory of a path may hold much else: a log that is
// written all the time must not have the manifests read all the time.
func (w *filesWatch) concerns(name string) bool {
	name = filepath.Clean(name)
	if all, ok := w.watched[filepath.Dir(name)]; all || !ok {
		return true
	}
	return slices.ContainsFunc(w.files.Paths, func(p string) bool { return filepath.Clean(p) == name })
}

// compare signals if the files are not what Load has read.
func (w *filesWatch) compare() {
	sum := sumOf(readFiles(w.files.Paths))
	w.files.mu.Lock()
	same := sum == w.files.loaded
	w.files.mu.Unlock()
	if same {
		return
	}
	select {
	case w.changed <- struct{}{}:
	default: // one is pending: its reader will see the newest
	}
}

// follow watches the directories that there are now, and no others.
func (w *filesWatch) follow() {
	want := map[string]bool{}
	for _, p := range w.files.Paths {
		dir := filepath.Dir(filepath.Clean(p)) // where the path itself may be replaced
		own, err := os.Lstat(p)
		link := err == nil && own.Mode()&os.ModeSymlink != 0
		want[dir] = want[dir] || link // or what it leads through
		info, err := os.Stat(p)
		switch {
		case err != nil:
		case info.IsDir():
			w.addDirs(p, want, 0)
		case link:
			w.addTarget(p, want)
		}
	}
	for dir := range maps.Keys(w.watched) {
		if _, ok := want[dir]; !ok {
			_ = w.watcher.Remove(dir) // gone already is as good
			delete(w.watched, dir)
		}
	}
	for dir, all := range want {
		if _, ok := w.watched[dir]; ok {
			w.watched[dir] = all
			continue
		}
		if err := w.watcher.Add(dir); err != nil {
			if !os.IsNotExist(err) && !w.polling {
				w.log.Warn("manifests are polled", "directory", dir, "err", err)
				w.polling = true
			}
			continue
		}
		w.watched[dir] = all
	}
}

// addDirs adds dir, the directories below it that are searched, and those of files that links in them lead to.
func (w *filesWatch) addDirs(dir string, want map[string]bool, depth int) {
	want[filepath.Clean(dir)] = true
	entries, err := os.ReadDir(dir)
	if err != nil || depth > maxDirDepth {
		return
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.Name()[0] == '.':
		case e.IsDir():
			w.addDirs(name, want, depth+1)
		case e.Type()&os.ModeSymlink != 0 && isManifest(e.Name()):
			w.addTarget(name, want)
		}
	}
}

// addTarget adds the directory of the file that name is a link to.
func (w *filesWatch) addTarget(name string, want map[string]bool) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		want[filepath.Dir(real)] = true
	}
}
