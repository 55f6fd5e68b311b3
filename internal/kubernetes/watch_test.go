package kubernetes

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

const namespaceA = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"

// patience is how long a change may take to be told. It is no measure: a loaded machine is slow.
const patience = 30 * time.Second

// watching loads files and watches them; the function waits for a change and loads again.
func watching(t *testing.T, paths ...string) (next func() (*Set, error)) {
	t.Helper()
	files := &Files{Paths: paths}
	if _, err := files.Load(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := files.Changes(ctx)
	t.Cleanup(cancel)
	return func() (*Set, error) {
		t.Helper()
		select {
		case <-changes:
		case <-time.After(patience):
			t.Fatal("no change told")
		}
		return files.Load()
	}
}

// put writes a file, and its directories.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// namespaces waits until a set has n namespaces: a change may be told in parts.
func namespaces(t *testing.T, next func() (*Set, error), n int) {
	t.Helper()
	for {
		set, err := next()
		if err == nil && len(set.Namespaces) == n {
			return
		}
		t.Logf("on the way: %+v, %v", set, err)
	}
}

func TestChangesOfADirectory(t *testing.T) {
	dir := write(t, "a.yaml", namespaceA)
	next := watching(t, dir)
	put(t, filepath.Join(dir, "b.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n")
	namespaces(t, next, 2)

	put(t, filepath.Join(dir, "sub", "deep", "c.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: c}\n")
	namespaces(t, next, 3)
	put(t, filepath.Join(dir, "sub", "deep", "d.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: d}\n")
	namespaces(t, next, 4)

	if err := os.RemoveAll(filepath.Join(dir, "sub")); err != nil {
		t.Fatal(err)
	}
	namespaces(t, next, 2)

	put(t, filepath.Join(dir, "b.yaml"), "not: [yaml")
	for {
		if _, err := next(); err != nil {
			break
		}
	}
	put(t, filepath.Join(dir, "b.yaml"), "")
	namespaces(t, next, 1)
}

func TestChangesOfAFileThatIsReplaced(t *testing.T) {
	dir := write(t, "a.yaml", namespaceA)
	name := filepath.Join(dir, "a.yaml")
	next := watching(t, name)
	for i, text := range []string{namespaceA + "---\n" + route1("v1"), namespaceA} { // as editors do
		put(t, name+"~", text)
		if err := os.Rename(name+"~", name); err != nil {
			t.Fatal(err)
		}
		for {
			set, err := next()
			if err == nil && len(set.HTTPRoutes) == 1-i {
				break
			}
		}
	}
}

// TestChangesOfAMountedConfigMap swaps the link ..data, which the files of a mounted ConfigMap lead through.
func TestChangesOfAMountedConfigMap(t *testing.T) {
	for _, path := range []string{".", "a.yaml"} {
		t.Run(path, func(t *testing.T) { changesOfAMountedConfigMap(t, path) })
	}
}

func changesOfAMountedConfigMap(t *testing.T, path string) {
	dir := write(t, "..1/a.yaml", namespaceA, "..2/a.yaml", namespaceA+"---\n"+route1("v1"))
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "..data")
	link(filepath.Join("..data", "a.yaml"), "a.yaml")
	next := watching(t, filepath.Join(dir, path))
	link("..2", "..data_tmp")
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for {
		set, err := next()
		if err == nil && len(set.HTTPRoutes) == 1 {
			return
		}
	}
}

// What else happens in the directory of a path is of no concern: a log there is written all the time.
func TestWhatConcernsAWatch(t *testing.T) {
	dir := write(t, "m/a.yaml", namespaceA, "m/sub/b.yaml", "", "one.yaml", "", "access.log", "")
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		t.Skip(err) // then files are polled
	}
	defer watcher.Close()
	w := &filesWatch{files: &Files{Paths: []string{filepath.Join(dir, "m") + "/", filepath.Join(dir, "one.yaml")}}, watcher: watcher, watched: map[string]bool{}}
	w.follow()
	for name, want := range map[string]bool{
		"access.log": false, "m": true, "one.yaml": true, "one.yaml~": false, "m/a.yaml": true, "m/new": true, "m/sub/b.yaml": true,
	} {
		if got := w.concerns(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestChangesOfADirectoryThatIsMadeAnew(t *testing.T) {
	dir := filepath.Join(write(t, "m/a.yaml", namespaceA), "m")
	next := watching(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := next(); err != nil {
			break
		}
	}
	put(t, filepath.Join(dir, "a.yaml"), namespaceA)
	namespaces(t, next, 1)
	put(t, filepath.Join(dir, "b.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n")
	namespaces(t, next, 2)
}

func TestChangesBetweenLoadAndWatch(t *testing.T) {
	dir := write(t, "a.yaml", namespaceA)
	files := &Files{Paths: []string{dir}}
	if _, err := files.Load(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "b.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n")
	select {
	case <-files.Changes(t.Context()):
	case <-time.After(patience):
		t.Fatal("a change before the watch is not told")
	}
}
