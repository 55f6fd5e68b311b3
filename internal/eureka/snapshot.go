package eureka

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The snapshot's file.
const (
	snapshotVersion = 1
	snapshotLimit   = 1 << 30          // bytes
	snapshotPause   = time.Second      // from a change to the file
	snapshotShare   = 20               // writing takes at most one part in so many of the time
	snapshotRetry   = 30 * time.Second // after a file could not be written
	snapshotAside   = ".bad"           // what the name of a file that is not used ends in
	snapshotHalf    = time.Minute      // half a file that is older has been left by a process that was killed
)

// snapshot is the file in which a Registry outlives its process: one JSON document of the wire's applications, and what
// the wire does not say.
type snapshot struct {
	path  string
	dirty chan struct{} // capacity 1: something changed since the file was written

	mu     sync.Mutex // guards the following
	status SnapshotStatus
}

// SnapshotStatus is how a registry outlives its process.
type SnapshotStatus struct {
	File     string    // empty: it does not
	Written  time.Time // when it was written last; zero: not since start
	Err      string    // why it cannot be written now; empty: it can
	Restored int       // instances that it brought back at the start
	Refused  int       // instances in it that were not taken
	Unused   string    // why it was not used at the start; empty: it was, or there was none
}

// Snapshot is the state of the registry's file.
func (r *Registry) Snapshot() SnapshotStatus {
	r.saved.mu.Lock()
	defer r.saved.mu.Unlock()
	return r.saved.status
}

func (s *snapshot) note(f func(*SnapshotStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

// snapshotHead is what the wire does not say.
type snapshotHead struct {
	Version int `json:"snapshot"`

	// Owners are who registered each application, where somebody has to say who they are.
	Owners map[string]string `json:"owners"`

	// Order are the ids of an application that has several, in the order in which they registered UP.
	Order map[string][]string `json:"order"`

	// Ended are the leases of which a registry with peers remembers that they have ended, the oldest first.
	Ended []ended `json:"ended,omitempty"`
}

// Restore takes back what the file at path holds, if there is one, and has Run keep that file. Each lease starts anew; none
// ends before it had all of its time to be renewed. A file that cannot be used is renamed and logged, and the registry
// starts empty. Before Run, and before anything is served.
func (r *Registry) Restore(path string) {
	r.saved.path = path
	r.saved.note(func(s *SnapshotStatus) { s.File = path })
	start := time.Now()
	removeHalves(path, start)
	head, apps, err := readSnapshot(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		aside := path + snapshotAside
		r.saved.note(func(s *SnapshotStatus) { s.Unused = err.Error() + "; it was renamed to " + aside })
		r.log.Warn("registry snapshot not used", "file", path, "renamed", aside, "err", errors.Join(err, os.Rename(path, aside)))
		return
	}
	taken, refused := r.takeBack(head, apps, start)
	r.saved.note(func(s *SnapshotStatus) { s.Restored, s.Refused = taken, refused })
	level := slog.LevelInfo
	if refused > 0 {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "registry restored", "file", path, "instances", taken, "refused", refused)
}

// removeHalves removes what write has left beside the file at path where it was killed. What is new may be another process's.
func removeHalves(path string, now time.Time) {
	dir, base := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir)) // where nothing can be read there is nothing to remove
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), base+".")
		if !ok || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > snapshotHalf {
			_ = os.Remove(filepath.Join(dir, e.Name())) // it is in nobody's way
		}
	}
}

// takeBack puts the instances of a snapshot under lease.
func (r *Registry) takeBack(head snapshotHead, apps *Applications, now time.Time) (taken, refused int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, app := range apps.Apps {
		leases := map[string]*lease{}
		for _, i := range app.Instances {
			key := leaseKey{i.App, i.ID}
			l := &lease{
				inst: i, owner: head.Owners[i.App], renewed: lastHeard(i, now), since: now, weight: size(i),
				duration: time.Duration(i.Lease.Duration) * time.Second,
			}
			if r.unfit(i) != nil || r.find(key) != nil || r.room(nil, l.weight) != nil {
				refused++
				continue
			}
			if i.Overridden != Unknown {
				l.override = i.Overridden
			}
			i.Action = Added
			r.order++
			i.Order = r.order
			r.keep(key, nil, l)
			leases[i.ID] = l
			taken++
		}
		order := head.Order[app.Name]
		for _, id := range slices.Concat(slices.Sorted(maps.Keys(leases)), order) { // whoever order names comes later
			if l := leases[id]; l != nil {
				r.order++
				l.inst.UpOrder = r.order
			}
		}
		for _, l := range leases {
			r.publish(leaseKey{l.inst.App, l.inst.ID}, nil, l.inst)
		}
	}
	r.takeBackEnds(head.Ended, now)
	return taken, refused
}

// unfit says why an instance of a snapshot is not taken back. That it is on loopback was judged when it registered.
func (r *Registry) unfit(i *Instance) error {
	switch {
	case i.problem != nil:
		return i.problem
	case i.Lease.Duration < 1 || i.Lease.Duration > maxSeconds:
		return fmt.Errorf("lease of %d s", i.Lease.Duration)
	}
	if err := missing(i, i.App); err != nil {
		return err
	}
	if err := check(i); err != nil {
		return err
	}
	return checkReaches(i, r.cfg.AllowedHosts, true)
}

func readSnapshot(path string) (head snapshotHead, apps *Applications, err error) {
	f, err := os.Open(path)
	if err != nil {
		return head, nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return head, nil, errors.Join(errors.New("it is no regular file"), err)
	}
	d := json.NewDecoder(&bounded{in: bufio.NewReader(f), left: snapshotLimit, limit: snapshotLimit})
	r := applicationsReader{out: &Applications{}}
	err = members(d, false, func(key string) error {
		switch key {
		case "snapshot":
			if err := d.Decode(&head.Version); err != nil {
				return err
			}
			if head.Version != snapshotVersion {
				return fmt.Errorf("its version is %d, want %d", head.Version, snapshotVersion)
			}
			return nil
		case "owners":
			return d.Decode(&head.Owners)
		case "order":
			return d.Decode(&head.Order)
		case "ended":
			return d.Decode(&head.Ended)
		case "applications":
			return members(d, false, func(key string) error { return r.member(d, key) })
		}
		return fmt.Errorf("%s is not of this format", quoted(key))
	})
	if err == nil && head.Version == 0 {
		err = errors.New("it has no version")
	}
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("text behind the document")
		}
	}
	return head, r.out, err
}

// run writes the file soon after each change, until ctx ends; then once more if something changed.
func (s *snapshot) run(ctx context.Context, r *Registry) {
	if s.path == "" {
		return
	}
	failing := false
	write := func() time.Duration {
		start := time.Now()
		err := s.write(r)
		if err == nil {
			failing = false
			s.note(func(s *SnapshotStatus) { s.Written, s.Err = time.Now(), "" })
			return max(snapshotPause, snapshotShare*time.Since(start))
		}
		if !failing {
			r.log.Error("registry snapshot not written", "file", s.path, "err", err)
		}
		failing = true
		s.note(func(s *SnapshotStatus) { s.Err = err.Error() })
		s.touch()
		return snapshotRetry
	}
	for wait := snapshotPause; ; {
		select {
		case <-ctx.Done():
		case <-s.dirty:
			if sleep(ctx, nil, wait) {
				s.clean()
				wait = write()
				continue
			}
			write()
			return
		}
		if s.clean() {
			write()
		}
		return
	}
}

func (s *snapshot) touch() {
	select {
	case s.dirty <- struct{}{}:
	default: // it is already
	}
}

// clean says whether something changed, and forgets it.
func (s *snapshot) clean() bool {
	select {
	case <-s.dirty:
		return true
	default:
		return false
	}
}

// write replaces the file by what the registry is now: all of it, or nothing.
func (s *snapshot) write(r *Registry) (err error) {
	f, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // it may be closed
			_ = os.Remove(f.Name()) // err says what went wrong
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := r.writeSnapshot(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path)
}

// writeSnapshot writes the document, one application at a time.
func (r *Registry) writeSnapshot(w io.Writer) error {
	head := snapshotHead{Version: snapshotVersion, Owners: map[string]string{}, Order: map[string][]string{}}
	apps := r.lasting(&head)
	begin, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\n\"applications\":{\"application\":[", begin[:len(begin)-1]); err != nil {
		return err
	}
	var b []byte
	for n := range apps {
		b = append(b[:0], '\n')
		if n > 0 {
			b = append(b[:0], ",\n"...)
		}
		if _, err := w.Write(appendJSONApp(b, &apps[n], false)); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, "\n]}}\n")
	return err
}

// lasting are the instances that a snapshot keeps: not those of static definitions, which are read anew. It fills head in.
func (r *Registry) lasting(head *snapshotHead) (apps []Application) {
	r.mu.Lock()
	defer r.mu.Unlock()
	head.Ended = r.ends()
	for _, name := range slices.Sorted(maps.Keys(r.apps)) {
		app := Application{Name: name}
		for _, l := range r.apps[name] {
			if l.static {
				continue
			}
			app.Instances = append(app.Instances, l.current())
			if l.owner != "" {
				head.Owners[name] = l.owner
			}
		}
		if len(app.Instances) == 0 {
			continue
		}
		if len(app.Instances) > 1 {
			slices.SortFunc(app.Instances, func(a, b *Instance) int { return cmp.Compare(a.UpOrder, b.UpOrder) })
			for _, i := range app.Instances {
				head.Order[name] = append(head.Order[name], i.ID)
			}
			slices.SortFunc(app.Instances, func(a, b *Instance) int { return cmp.Compare(a.Order, b.Order) })
		}
		apps = append(apps, app)
	}
	return apps
}
