package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// fakeAPI speaks as much of an API server as a Cluster asks of one: what there is, lists, watches, merge patches of statuses, Leases.
type fakeAPI struct {
	server *httptest.Server

	mu        sync.Mutex // guards the following
	news      chan struct{}
	version   int
	oldest    int                          // changes before this version are no longer told: 410
	resources map[string]map[string]string // kind by resource, by "group/version"
	objects   map[string]map[string]any    // by path: /apis/g/v/namespaces/n/resource/name
	changes   []fakeChange
	forbidden map[string]bool // resources
	away      bool            // connections are cut
	line      chan struct{}   // closed: open watches break
	patched   map[string]int  // statuses that were written, by path
	asked     []string        // queries of lists and watches of Secrets
	onPatch   func(path string)
}

type fakeChange struct {
	version int
	kind    string // ADDED, MODIFIED, DELETED
	path    string
	object  map[string]any
}

func startAPI(t *testing.T) *fakeAPI {
	f := &fakeAPI{
		version: 1, news: make(chan struct{}), line: make(chan struct{}), objects: map[string]map[string]any{},
		forbidden: map[string]bool{}, patched: map[string]int{},
		resources: map[string]map[string]string{
			"/v1":                    {"services": "Service", "namespaces": "Namespace", "secrets": "Secret", "configmaps": "ConfigMap"},
			"discovery.k8s.io/v1":    {"endpointslices": "EndpointSlice"},
			"coordination.k8s.io/v1": {"leases": "Lease"},
			"gateway.networking.k8s.io/v1": {
				"gatewayclasses": "GatewayClass", "gateways": "Gateway", "httproutes": "HTTPRoute", "grpcroutes": "GRPCRoute",
			},
			"gateway.networking.k8s.io/v1beta1": {"referencegrants": "ReferenceGrant", "httproutes": "HTTPRoute"},
		},
	}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.cut()
		f.server.Close()
	})
	return f
}

// cut breaks every open watch.
func (f *fakeAPI) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.line)
	f.line = make(chan struct{})
}

// wake has whoever waits look again. With mu.
func (f *fakeAPI) wake() {
	close(f.news)
	f.news = make(chan struct{})
}

// set makes or changes the objects of a YAML text.
func (f *fakeAPI) set(t *testing.T, text string) {
	t.Helper()
	for docs := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		if err := docs.Decode(&o); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		js, _ := json.Marshal(o)
		var object map[string]any
		_ = json.Unmarshal(js, &object)
		f.mu.Lock()
		path := f.pathOf(object)
		if old := f.objects[path]; old != nil {
			object["status"] = old["status"]
			meta(object)["uid"], meta(object)["generation"] = meta(old)["uid"], meta(old)["generation"].(float64)+1
		} else {
			meta(object)["uid"], meta(object)["generation"] = fmt.Sprint("uid-", f.version), 1.0
			meta(object)["creationTimestamp"] = "2026-01-01T00:00:00Z"
		}
		f.store(path, object)
		f.mu.Unlock()
	}
}

func meta(o map[string]any) map[string]any { return o["metadata"].(map[string]any) }

// pathOf is where an object is found. With mu.
func (f *fakeAPI) pathOf(o map[string]any) string {
	version := o["apiVersion"].(string)
	if !strings.Contains(version, "/") {
		version = "/" + version
	}
	for resource, kind := range f.resources[version] {
		if kind != o["kind"] {
			continue
		}
		at := "/apis/" + version
		if version == "/v1" {
			at = "/api/v1"
		}
		if n, ok := meta(o)["namespace"].(string); ok {
			at += "/namespaces/" + n
		}
		return at + "/" + resource + "/" + meta(o)["name"].(string)
	}
	panic(fmt.Sprint("no such resource: ", o["kind"]))
}

// store keeps an object and tells watches. With mu.
func (f *fakeAPI) store(path string, object map[string]any) {
	f.version++
	kind := "MODIFIED"
	if f.objects[path] == nil {
		kind = "ADDED"
	}
	object = maps.Clone(object)
	object["metadata"] = maps.Clone(meta(object))
	meta(object)["resourceVersion"] = strconv.Itoa(f.version)
	f.objects[path] = object
	f.changes = append(f.changes, fakeChange{f.version, kind, path, object})
	f.wake()
}

func (f *fakeAPI) remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	f.changes = append(f.changes, fakeChange{f.version, "DELETED", path, f.objects[path]})
	delete(f.objects, path)
	f.wake()
}

// until waits for something that holds with mu.
func (f *fakeAPI) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		f.mu.Lock()
		ok, news := holds(), f.news
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-news:
		case <-limit:
			t.Fatalf("not so: %s", what)
		}
	}
}

// statusOf is the status of an object, as JSON has it. With mu.
func (f *fakeAPI) statusOf(path string) string {
	js, _ := json.Marshal(f.objects[path]["status"])
	return string(js)
}

// kubeconfig is a file that leads to the server.
func (f *fakeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
		contexts: [{name: c, context: {cluster: c, namespace: gateways}}]}`, f.server.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testPace has everything happen soon.
var testPace = pace{
	settle: time.Millisecond, settleAtMost: 10 * time.Millisecond, look: 20 * time.Millisecond,
	retry: 5 * time.Millisecond, retryAtMost: 20 * time.Millisecond, named: 20 * time.Second,
	refused: 20 * time.Millisecond, stubborn: 50 * time.Millisecond,
}

// reading is a Cluster that leads to the server.
func (f *fakeAPI) reading(t *testing.T, c Config, log io.Writer) *Cluster {
	t.Helper()
	c.Enabled, c.Kubeconfig = true, f.kubeconfig(t)
	cluster, err := NewCluster(c, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo})))
	if err != nil {
		t.Fatal(err)
	}
	cluster.pace = testPace
	if cluster.lease != nil {
		cluster.lease.terms = terms{duration: time.Second, giveUp: 500 * time.Millisecond, retry: 10 * time.Millisecond}
	}
	return cluster
}
