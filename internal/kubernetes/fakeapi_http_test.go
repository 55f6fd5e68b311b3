package kubernetes

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func fakeError(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprint(w, fakeStatus(code, reason))
}

func fakeStatus(code int, reason string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d,"message":"no: %s"}`, reason, code, reason)
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] == "api" {
		parts = slices.Insert(parts, 1, "")
	}
	if len(parts) < 4 {
		f.discovery(w, parts[1:])
		return
	}
	version, rest := parts[1]+"/"+parts[2], parts[3:]
	if len(rest) > 2 && rest[0] == "namespaces" {
		rest = rest[2:]
	}
	f.mu.Lock()
	kind, forbidden := f.resources[version][rest[0]], f.forbidden[rest[0]]
	f.mu.Unlock()
	switch {
	case kind == "":
		fakeError(w, 404, "NotFound")
	case forbidden:
		fakeError(w, 403, "Forbidden")
	case len(rest) == 1 && r.Method == http.MethodPost:
		f.create(w, r)
	case len(rest) == 1:
		f.list(w, r, kind)
	default:
		f.one(w, r)
	}
}

func (f *fakeAPI) discovery(w http.ResponseWriter, parts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(parts) == 2 {
		var list []map[string]any
		for resource, kind := range f.resources[parts[0]+"/"+parts[1]] {
			list = append(list, map[string]any{"name": resource, "kind": kind}, map[string]any{"name": resource + "/status", "kind": kind})
		}
		if list == nil {
			fakeError(w, 404, "NotFound")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": "APIResourceList", "resources": list})
		return
	}
	var versions []map[string]any
	for at := range f.resources {
		if group, version, _ := strings.Cut(at, "/"); group == parts[0] {
			versions = append(versions, map[string]any{"version": version})
		}
	}
	if versions == nil {
		fakeError(w, 404, "NotFound")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "APIGroup", "name": parts[0], "versions": versions})
}

// belongs tells whether the object at a path is one of those that a list is about.
func belongs(path string, object map[string]any, r *http.Request) bool {
	parts, at := strings.Split(path, "/"), strings.Split(r.URL.Path, "/")
	if len(at) > 2 && slices.Contains(at, "namespaces") {
		if strings.Join(parts[:len(parts)-1], "/") != r.URL.Path {
			return false
		}
	} else if parts[len(parts)-2] != at[len(at)-1] || !strings.HasPrefix(path, strings.Join(at[:len(at)-1], "/")+"/") {
		return false
	}
	if name, ok := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "metadata.name="); ok && name != parts[len(parts)-1] {
		return false
	}
	if label := r.URL.Query().Get("labelSelector"); label != "" {
		labels, _ := meta(object)["labels"].(map[string]any)
		return labels[label] != nil
	}
	return true
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request, kind string) {
	q := r.URL.Query()
	if q.Get("sendInitialEvents") != "" { // as servers that cannot say it that way
		fakeError(w, 422, "Invalid")
		return
	}
	f.mu.Lock()
	if kind == "Secret" {
		f.asked = append(f.asked, q.Get("fieldSelector"))
	}
	if q.Get("watch") != "" {
		f.mu.Unlock()
		f.watch(w, r)
		return
	}
	defer f.mu.Unlock()
	items := []any{}
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		if belongs(path, f.objects[path], r) {
			items = append(items, f.objects[path])
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": kind + "List", "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": strconv.Itoa(f.version)}, "items": items,
	})
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.(http.Flusher).Flush()
	for {
		f.mu.Lock()
		news, line, text := f.news, f.line, ""
		switch {
		case from < f.oldest:
			text = `{"type":"ERROR","object":` + fakeStatus(410, "Expired") + "}\n"
		default:
			for _, c := range f.changes {
				if c.version > from && belongs(c.path, c.object, r) {
					js, _ := json.Marshal(map[string]any{"type": c.kind, "object": c.object})
					text += string(js) + "\n"
				}
			}
		}
		expired := from < f.oldest
		from = max(from, f.version)
		f.mu.Unlock()
		if _, err := io.WriteString(w, text); err != nil || expired {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-news:
		case <-line:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fakeAPI) create(w http.ResponseWriter, r *http.Request) {
	var o map[string]any
	_ = json.NewDecoder(r.Body).Decode(&o)
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path + "/" + meta(o)["name"].(string)
	if f.objects[path] != nil {
		fakeError(w, 409, "AlreadyExists")
		return
	}
	f.store(path, o)
	_ = json.NewEncoder(w).Encode(f.objects[path])
}

// one reads or writes one object, or its status.
func (f *fakeAPI) one(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/status")
	if r.Method == http.MethodPatch && f.onPatch != nil {
		f.onPatch(path)
	}
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.mu.Lock()
	defer f.mu.Unlock()
	object := f.objects[path]
	if object == nil {
		fakeError(w, 404, "NotFound")
		return
	}
	if r.Method != http.MethodGet {
		if meta(body)["resourceVersion"] != meta(object)["resourceVersion"] {
			fakeError(w, 409, "Conflict")
			return
		}
		next := maps.Clone(object)
		if r.Method == http.MethodPatch {
			next["status"] = body["status"]
			f.patched[path]++
		} else {
			next["spec"] = body["spec"]
		}
		f.store(path, next)
	}
	_ = json.NewEncoder(w).Encode(f.objects[path])
}
