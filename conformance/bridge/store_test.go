package bridge

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func httpRoute(uid string, spec, status any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{
			"namespace": "default", "name": "web", "uid": uid, "generation": int64(3), "resourceVersion": "7",
			"creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": []any{map[string]any{"manager": "test"}},
		},
		"spec": spec, "status": status,
	}}
}

func TestStore(t *testing.T) {
	s := store{changed: make(chan struct{}, 1), objects: map[key]*object{}}
	resource := resources[0]
	changed := func() bool {
		select {
		case <-s.changed:
			return true
		default:
			return false
		}
	}
	if err := s.put(resource, httpRoute("1", "a", nil)); err != nil || !changed() {
		t.Fatalf("a new object is no change; %v", err)
	}
	const want = `---
{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z",` +
		`"generation":3,"name":"web","namespace":"default","uid":"1"},"spec":"a"}` + "\n"
	if got := string(s.text()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := s.put(resource, httpRoute("1", "a", "status")); err != nil || changed() {
		t.Errorf("another status is a change; %v", err)
	}
	if err := s.put(resource, httpRoute("2", "b", nil)); err != nil || !changed() {
		t.Errorf("another spec is no change; %v", err)
	}
	if s.remove(httpRoute("1", "a", nil)); !strings.Contains(string(s.text()), `"spec":"b"`) {
		t.Error("an object went with the one that had its name before")
	}
	if s.remove(httpRoute("2", "b", nil)); len(s.text()) != 0 || !changed() {
		t.Error("a removed object is still there")
	}
}
