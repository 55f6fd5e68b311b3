package eureka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of the directories of static definitions.
const (
	maxStaticFiles = 1000 // in one directory
	maxStaticFile  = 1 << 20
	staticLook     = 2 * time.Second // how often the directories are looked at
)

// staticCaller is in whose name static definitions register.
var staticCaller = caller{name: "static definitions", static: true}

// static keeps the services of static definitions registered. It belongs to the goroutine that reads them.
type static struct {
	dirs  []string
	log   *slog.Logger
	print string                // of the directories as they were read
	files map[string]staticFile // as they were read last without an error of the whole
	told  map[string]bool       // errors that were logged
	in    map[leaseKey]*Instance
}

// StaticProblems reads the directories and says what is wrong in them: "file:line: cause".
func StaticProblems(dirs []string) (problems []error) {
	s := static{dirs: dirs, files: map[string]staticFile{}}
	_, _, problems = s.read()
	return problems
}

// paths lists the files in order, and gives a text that changes when one of them does.
func (s *static) paths() (paths []string, print string, errs []error) {
	var b strings.Builder
	for _, dir := range s.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("registry.staticDefinitions: %w", err))
			for _, path := range slices.Sorted(maps.Keys(s.files)) { // what was there stays
				if filepath.Dir(path) == filepath.Clean(dir) {
					paths = append(paths, path)
				}
			}
			continue
		}
		count := 0
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); e.IsDir() || ext != ".yml" && ext != ".yaml" || strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if count++; count > maxStaticFiles {
				errs = append(errs, fmt.Errorf("%s: more than %d files, the others are not read", dir, maxStaticFiles))
				break
			}
			path := filepath.Join(dir, e.Name())
			paths = append(paths, path)
			if info, err := os.Stat(path); err == nil {
				fmt.Fprintf(&b, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	for _, err := range errs {
		fmt.Fprintln(&b, err)
	}
	return paths, b.String(), errs
}

// read reads everything. A file that cannot be read at all stands for what it said before, and so does a service of it that
// is wrong now.
func (s *static) read() (services []staticService, more []additional, errs []error) {
	paths, print, errs := s.paths()
	s.print = print
	files := map[string]staticFile{}
	where := map[leaseKey]string{}
	for _, path := range paths {
		data, err := readStaticFile(path)
		if err != nil {
			errs = append(errs, err)
			if old, ok := s.files[path]; ok {
				files[path] = old
			}
		} else {
			file, wrong, ok := parseStatic(data)
			for _, err := range wrong {
				errs = append(errs, fmt.Errorf("%s:%w", path, err))
			}
			if !ok {
				file = s.files[path]
			}
			for _, old := range s.files[path].services { // what has become wrong stays as it was
				if slices.Contains(file.bad, old.id) {
					file.services = append(file.services, old)
				}
			}
			files[path] = file
		}
		for _, one := range files[path].services {
			at := fmt.Sprintf("%s:%d", path, one.line)
			one.instances = slices.DeleteFunc(slices.Clone(one.instances), func(i *Instance) bool {
				key := leaseKey{i.App, i.ID}
				if first, twice := where[key]; twice {
					errs = append(errs, fmt.Errorf("%s: instance %s is defined in %s already", at, quoted(i.ID), first))
					return true
				}
				where[key] = at
				return false
			})
			services = append(services, one)
		}
		more = append(more, files[path].additional...)
	}
	s.files = files
	return services, more, errs
}

func readStaticFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, fmt.Errorf("%s: it is no regular file", path))
	}
	data, err := io.ReadAll(io.LimitReader(f, maxStaticFile+1))
	if err == nil && len(data) > maxStaticFile {
		err = fmt.Errorf("%s: more than %d bytes", path, maxStaticFile)
	}
	return data, err
}

// LoadStatic registers the services of registry.staticDefinitions. Run then follows changes of the files.
func (r *Registry) LoadStatic() {
	if len(r.cfg.StaticDefinitions) == 0 {
		return
	}
	r.static = &static{dirs: r.cfg.StaticDefinitions, log: r.log, files: map[string]staticFile{}, in: map[leaseKey]*Instance{}}
	r.static.apply(r, time.Now())
}

// run renews the leases and follows the files, until ctx ends.
func (s *static) run(ctx context.Context, r *Registry) {
	if s == nil {
		return
	}
	renewed := time.Now()
	for sleep(ctx, nil, staticLook) {
		if _, print, _ := s.paths(); print != s.print {
			s.apply(r, time.Now())
		}
		if time.Since(renewed) >= renewInterval {
			renewed = time.Now()
			for key, i := range s.in {
				if _, err := r.renew(key, 0, staticCaller); errors.Is(err, errUnknown) { // somebody has cancelled it
					s.register(r, key, i, renewed)
				}
			}
		}
	}
}

// apply reads the directories and makes the registry what they say.
func (s *static) apply(r *Registry, now time.Time) {
	services, more, errs := s.read()
	told := map[string]bool{}
	for _, err := range errs {
		told[err.Error()] = true
		if !s.told[err.Error()] {
			s.log.Warn("static definition not used", "err", err)
		}
	}
	s.told = told
	r.setAdditional(more)
	defined := map[leaseKey]bool{}
	for _, one := range services {
		for _, i := range one.instances {
			defined[leaseKey{i.App, i.ID}] = true
		}
	}
	for key := range s.in {
		if !defined[key] {
			_ = r.cancel(key, staticCaller) // if it is gone already, all the better
			delete(s.in, key)
		}
	}
	for _, one := range services {
		for _, i := range one.instances {
			key := leaseKey{i.App, i.ID}
			if old := s.in[key]; old == nil || !routesAlike(old, i) || old.URLs != i.URLs {
				s.register(r, key, i, now)
			}
		}
	}
}

func (s *static) register(r *Registry, key leaseKey, i *Instance, now time.Time) {
	in := *i // the registry owns what it is given
	in.Metadata = maps.Clone(i.Metadata)
	in.LastDirty = now.UnixMilli()
	if err := r.register(&in, staticCaller); err != nil {
		s.log.Warn("static definition not used", "service", key.app, "instance", key.id, "err", err)
		return
	}
	s.in[key] = i
}

// setAdditional has instances of services get metadata beside their own, from now on, and at once those that are registered.
func (r *Registry) setAdditional(more []additional) {
	byID := map[string][]additional{}
	for _, a := range more {
		byID[a.id] = append(byID[a.id], a)
	}
	r.additional.Store(&byID)
	r.mu.Lock()
	defer r.mu.Unlock()
	for app, leases := range r.apps {
		for _, a := range byID[strings.ToLower(app)] {
			for id, l := range leases {
				metadata := maps.Clone(l.inst.Metadata)
				a.apply(metadata)
				if maps.Equal(metadata, l.inst.Metadata) {
					continue
				}
				r.set(leaseKey{app, id}, l, func(i *Instance) { i.Metadata = metadata })
				r.weight += size(l.inst) - l.weight
				l.weight = size(l.inst)
			}
		}
	}
}

// supplement gives an instance that registers the metadata of definitions.
func (r *Registry) supplement(i *Instance) {
	if all := r.additional.Load(); all != nil {
		for _, a := range (*all)[i.ServiceID()] {
			a.apply(i.Metadata)
		}
	}
}
