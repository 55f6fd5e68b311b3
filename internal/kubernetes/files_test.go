package kubernetes

import (
	"os"
	"path/filepath"
	"testing"
)

// write makes files in a new directory; names and contents alternate.
func write(t testing.TB, namesAndTexts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(namesAndTexts); i += 2 {
		name := filepath.Join(dir, namesAndTexts[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(namesAndTexts[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads one document.
func load(t testing.TB, text string) (*Set, error) {
	t.Helper()
	var source Source = &Files{Paths: []string{write(t, "in.yaml", text)}}
	return source.Load()
}

func TestFilesFillInDefaults(t *testing.T) {
	set, err := load(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - backendRefs: [{name: web, port: 80}]
`)
	if err != nil {
		t.Fatal(err)
	}
	r := set.HTTPRoutes[0]
	if m := r.Spec.Rules[0].Matches[0].Path; *m.Type != "PathPrefix" || *m.Value != "/" {
		t.Errorf("path %+v", m)
	}
	if b := r.Spec.Rules[0].BackendRefs[0]; *b.Kind != "Service" || *b.Group != "" || *b.Weight != 1 {
		t.Errorf("backend %+v", b)
	}
	if p := r.Spec.ParentRefs[0]; *p.Kind != "Gateway" || r.Namespace != "default" || r.Generation != 1 {
		t.Errorf("parent %+v of %+v", p, r.ObjectMeta)
	}
	if len(set.Namespaces) != 1 || set.Namespaces[0].Labels["kubernetes.io/metadata.name"] != "default" {
		t.Errorf("namespaces %+v", set.Namespaces)
	}
	if filepath.Base(set.Place(r)) != "in.yaml:2" {
		t.Errorf("place %s", set.Place(r))
	}
}
