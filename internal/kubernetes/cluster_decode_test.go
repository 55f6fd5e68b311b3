package kubernetes

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"go.yaml.in/yaml/v3"
)

// TestClusterObjectsAreAsFromFiles reads the same objects both ways: they have to be the same, with the defaults filled in.
func TestClusterObjectsAreAsFromFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/translate/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(err, "no files")
	}
	compared := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for docs := yaml.NewDecoder(strings.NewReader(string(text))); ; {
			var o map[string]any
			if err := docs.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			version, _ := o["apiVersion"].(string)
			name, _ := o["kind"].(string)
			group, v := groupVersion(version)
			kind := servedKinds[[2]string{group, name}]
			if kind == nil || o["stringData"] != nil {
				continue
			}
			want := fromFile(t, kind, o)
			if want == nil {
				continue
			}
			js, _ := json.Marshal(o)
			u := &unstructured.Unstructured{}
			if err := utiljson.Unmarshal(js, &u.Object); err != nil {
				t.Fatal(err)
			}
			u.SetNamespace(want.GetNamespace())
			u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl"}})
			u.Object["later"] = map[string]any{"a": int64(1)} // of a newer schema
			it := kind.read(u, v, false)
			if it.refused != "" || !reflect.DeepEqual(it.object, want) {
				t.Errorf("%s: %s %s: %s\nhave %+v\nwant %+v", path, name, want.GetName(), it.refused, it.object, want)
			}
			compared++
		}
	}
	if compared < 100 {
		t.Errorf("only %d objects were compared", compared)
	}
}

// fromFile is the one object of a document as Files has it; nil: it is refused there.
func fromFile(t *testing.T, kind *servedKind, o map[string]any) metav1.Object {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	d := (&manifest{name: "one.yaml", data: text}).split()
	if len(d) != 1 {
		t.Fatalf("%d documents in %s", len(d), text)
	}
	l := d[0].load()
	if len(l.errs) > 0 || len(l.objects) != 1 || l.objects[0].kind == nil || l.objects[0].kind.kind != kind.kind {
		return nil
	}
	return l.objects[0].meta
}
