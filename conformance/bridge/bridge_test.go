package bridge

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
)

var routes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// await asks again and again until ok, or fails.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to this: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestBridge carries an object to the file, a change of it, and statuses back: that of the
// object, and none that is of another object of its name.
func TestBridge(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	kinds := map[schema.GroupVersionResource]string{}
	for _, r := range resources {
		kinds[r] = "List"
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds)
	web := httpRoute("1", map[string]any{"hostnames": []any{"a"}}, nil)
	if _, err := client.Resource(routes).Namespace("default").Create(ctx, web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	fairlead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		const one = `{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute",` +
			`"metadata":{"namespace":"default","name":"web","uid":"%s"},"status":{"parents":[{"controllerName":"fairlead.dev/gateway-controller","parentRef":{"name":%q}}]}}`
		_, _ = fmt.Fprintf(w, "["+one+","+one+"]", "1", "mine", "2", "another's")
	}))
	defer fairlead.Close()
	dir := filepath.Join(t.TempDir(), "manifests")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &Bridge{Client: client, Manifests: dir, Objects: fairlead.URL, HTTP: fairlead.Client(), Logf: t.Logf}
	if err := b.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	written := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "cluster.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if !strings.Contains(written(), `"hostnames":["a"]`) {
		t.Errorf("the first file lacks the object: %s", written())
	}

	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	current := func() *unstructured.Unstructured {
		u, err := client.Resource(routes).Namespace("default").Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	await(t, "its status is written", func() bool { return strings.Contains(fmt.Sprint(current().Object["status"]), "mine") })
	changed := current()
	changed.Object["spec"] = map[string]any{"hostnames": []any{"b"}}
	if _, err := client.Resource(routes).Namespace("default").Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the change is in the file", func() bool { return strings.Contains(written(), `"hostnames":["b"]`) })
	if status := fmt.Sprint(current().Object["status"]); strings.Contains(status, "another's") {
		t.Errorf("the status of another object was written: %s", status)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("other files beside the manifests: %v, %v", entries, err)
	}
	cancel()
	<-done
}
