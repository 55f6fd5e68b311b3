package config

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deadline bounds what must come.
const deadline = 5 * time.Second

func wantChange(t *testing.T, changed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(deadline):
		t.Fatalf("%s: not noticed", what)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	next := write(t, filepath.Dir(path), ".next", text)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "fairlead.yaml", "one")
	changed := Watch(t.Context(), path, slog.New(slog.DiscardHandler))
	write(t, dir, "fairlead.yaml", "two")
	wantChange(t, changed, "a write")
	replace(t, path, "three")
	wantChange(t, changed, "a rename")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "fairlead.yaml", "four")
	wantChange(t, changed, "a removal and a new file")
}

// TestWatchOnce: neither another file nor the same content is a change, and a burst is one.
// Every file comes by a rename, whole, so that no half of one can be seen.
func TestWatchOnce(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "fairlead.yaml", "one")
	changed := Watch(t.Context(), path, slog.New(slog.DiscardHandler))
	write(t, dir, "other.yaml", "x")
	replace(t, path, "one")
	select {
	case <-changed:
		t.Error("the same content was taken for a change")
	case <-time.After(3 * settle):
	}
	for range 20 {
		replace(t, path, "two")
	}
	wantChange(t, changed, "a burst")
	select {
	case <-changed:
		t.Error("a burst came twice")
	case <-time.After(3 * settle):
	}
}

// TestWatchLinks swaps the directory that a link leads to, as mounted volumes do.
func TestWatchLinks(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1", "2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version), "fairlead.yaml", version)
	}
	mounted := filepath.Join(dir, "mounted")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, name+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(mounted, "..data")
	path := filepath.Join(mounted, "fairlead.yaml")
	link(filepath.Join(dir, "1"), data)
	link(filepath.Join("..data", "fairlead.yaml"), path)
	changed := Watch(t.Context(), path, slog.New(slog.DiscardHandler))
	link(filepath.Join(dir, "2"), data)
	wantChange(t, changed, "another target")
	write(t, filepath.Join(dir, "2"), "fairlead.yaml", "3")
	wantChange(t, changed, "a write to the target")
}

// TestWatchBesideALog changes the file while another in its directory never rests.
func TestWatchBesideALog(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "fairlead.yaml", "one")
	changed := Watch(t.Context(), path, slog.New(slog.DiscardHandler))
	log, err := os.Create(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	tick := time.NewTicker(settle / 5)
	defer tick.Stop()
	write(t, dir, "fairlead.yaml", "two")
	for until := time.After(deadline); ; {
		select {
		case <-changed:
			return
		case <-tick.C:
			if _, err := log.WriteString("x"); err != nil {
				t.Fatal(err)
			}
		case <-until:
			t.Fatal("not noticed")
		}
	}
}

func TestWatchNothing(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	if Watch(t.Context(), "", log) != nil || logged.Len() > 0 {
		t.Error("without a file there is nothing to watch, and nothing to say")
	}
	if Watch(t.Context(), filepath.Join(t.TempDir(), "no", "x.yaml"), log) != nil || !strings.Contains(logged.String(), "configuration not watched") {
		t.Errorf("logged %q", &logged)
	}
}
