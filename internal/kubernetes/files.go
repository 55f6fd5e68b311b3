package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds of what is read from files.
const (
	maxFileSize  = 32 << 20  // bytes of one file
	maxTotalSize = 128 << 20 // bytes of all files
	maxFiles     = 20_000
	maxDocuments = 200_000
	maxDirDepth  = 16
)

// Files is a Source that reads objects from files of YAML and JSON.
type Files struct {
	// Paths are files, and directories that are searched, with what is below them, for names that end in .yaml, .yml or
	// .json and do not begin with a dot. They are read in this order, directories in the order of their names.
	Paths []string

	// Log gets a notice of each kind that is skipped, once. Nil: nobody does.
	Log *slog.Logger

	mu      sync.Mutex
	noticed map[string]bool                 // kinds
	loaded  filesSum                        // of what Load read last; zero: nothing yet
	decoded map[documentSum]*loadedDocument // the good documents that Load read last
}

// Load implements Source: all files as they are now. The error is FileErrors: everything that is wrong in any of them.
func (f *Files) Load() (*Set, error) {
	files, errs := readFiles(f.Paths)
	f.mu.Lock()
	f.loaded = sumOf(files, errs)
	f.mu.Unlock()
	return f.load(files, errs)
}

// load decodes files; errs are what was wrong with reading them.
func (f *Files) load(files []*manifest, errs FileErrors) (*Set, error) {
	var docs []*document
	for _, file := range files {
		docs = append(docs, file.split()...)
	}
	if len(docs) > maxDocuments {
		errs = append(errs, &FileError{
			File: docs[maxDocuments].file.name, Err: fmt.Errorf("%d documents, at most %d are read", len(docs), maxDocuments),
		})
		docs = nil
	}
	loaded := f.decode(docs)
	merged := &merging{set: &Set{places: map[metav1.Object]string{}}, taken: map[objectKey]string{}, skipped: map[string]int{}}
	for i, l := range loaded {
		errs = append(errs, l.errs...)
		for _, o := range l.objects {
			merged.add(docs[i], o)
		}
	}
	if errs = append(errs, merged.errs...); len(errs) > 0 {
		errs.sort()
		return nil, errs
	}
	merged.finish()
	f.notice(merged.set.Skipped)
	return merged.set, nil
}

// decode decodes documents, save those that the last call has decoded. The result is in their order.
func (f *Files) decode(docs []*document) []*loadedDocument {
	f.mu.Lock()
	known := f.decoded
	f.mu.Unlock()
	loaded := decodeDocuments(docs, known)
	decoded := make(map[documentSum]*loadedDocument, len(docs))
	for i, l := range loaded {
		if len(l.errs) == 0 {
			decoded[docs[i].sum] = l
		}
	}
	f.mu.Lock()
	f.decoded = decoded
	f.mu.Unlock()
	return loaded
}

// notice logs the kinds that were not seen before.
func (f *Files) notice(skipped []Skipped) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range skipped {
		kind := s.APIVersion + " " + s.Kind
		if f.Log == nil || f.noticed[kind] {
			continue
		}
		if f.noticed == nil {
			f.noticed = map[string]bool{}
		}
		f.noticed[kind] = true
		args := []any{"api_version", s.APIVersion, "kind", s.Kind, "objects", s.Count, "first", s.Place}
		if s.Hint != "" {
			args = append(args, "hint", s.Hint)
		}
		f.Log.Info("objects of a kind that is not served", args...)
	}
}

// A manifest is one file of objects.
type manifest struct {
	name  string // as errors say it
	order int    // among the files
	data  []byte
}

// fileReader reads files within the bounds.
type fileReader struct {
	files []*manifest
	seen  map[string]bool // by absolute path
	total int
	errs  FileErrors
}

// readFiles returns the contents of the files at paths and of those that directories among them hold.
func readFiles(paths []string) ([]*manifest, FileErrors) {
	r := &fileReader{seen: map[string]bool{}}
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			r.fail(p, err, "--manifests and manifests name files and directories of Gateway API YAML")
		case info.IsDir():
			r.dir(p, 0)
		default:
			r.file(p)
		}
	}
	return r.files, r.errs
}

func (r *fileReader) fail(name string, err error, remedy string) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = fmt.Errorf("%s: %w", path.Op, path.Err)
	}
	r.errs = append(r.errs, &FileError{File: name, Err: err, Remedy: remedy, order: len(r.seen)})
}

func (r *fileReader) dir(dir string, depth int) {
	if depth > maxDirDepth {
		r.fail(dir, fmt.Errorf("directories are nested more than %d deep", maxDirDepth), "")
		return
	}
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		r.fail(dir, err, "")
		return
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."): // editors' leftovers, and the directories behind a mounted ConfigMap
		case e.IsDir():
			r.dir(name, depth+1)
		case isManifest(e.Name()):
			r.file(name)
		}
	}
}

// isManifest tells whether a file of a directory is read.
func isManifest(name string) bool {
	return !strings.HasPrefix(name, ".") && slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(name)))
}

func (r *fileReader) file(name string) {
	abs, err := filepath.Abs(name)
	if err != nil {
		r.fail(name, err, "")
		return
	}
	if r.seen[abs] {
		return
	}
	r.seen[abs] = true
	if len(r.seen) > maxFiles {
		if len(r.seen) == maxFiles+1 {
			r.fail(name, fmt.Errorf("more than %d files", maxFiles), "")
		}
		return
	}
	data, err := readManifest(name, min(maxFileSize, maxTotalSize-r.total))
	if err != nil {
		r.fail(name, err, "")
		return
	}
	r.total += len(data)
	r.files = append(r.files, &manifest{name: name, order: len(r.seen), data: data})
}

// readManifest returns the content of a file of at most limit bytes.
func readManifest(name string, limit int) ([]byte, error) {
	info, err := os.Stat(name) // before it is opened: a pipe would wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("is too large: at most %d MiB of a file, and %d MiB of all files, are read", maxFileSize>>20, maxTotalSize>>20)
	}
	return data, nil
}
