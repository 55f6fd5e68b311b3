package fairlead

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// generator returns the built controller-gen of tools/controller-gen; the test is skipped where it cannot be built.
func generator(t *testing.T) string {
	t.Helper()
	if built := filepath.Join(".tools", "controller-gen"); newer(built, filepath.Join("tools", "controller-gen", "go.mod")) {
		path, err := filepath.Abs(built)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(t.TempDir(), "controller-gen")
	build := exec.CommandContext(t.Context(), "go", "-C", filepath.Join("tools", "controller-gen"), "build", "-o", path,
		"sigs.k8s.io/controller-tools/cmd/controller-gen")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("controller-gen cannot be built here: config/crd is not compared with api: %v\n%s", err, out)
	}
	return path
}

func newer(file, than string) bool {
	a, err := os.Stat(file)
	if err != nil {
		return false
	}
	b, err := os.Stat(than)
	return err == nil && !a.ModTime().Before(b.ModTime())
}

// TestGenerated holds config/crd and the deep copies of api to the types: `make generate` makes them.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a tool")
	}
	dir := t.TempDir()
	crds := filepath.Join(dir, "crd")
	gen := exec.CommandContext(t.Context(), generator(t), "crd", "paths=./api/...",
		"output:crd:dir="+crds)
	if out, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	same(t, filepath.Join("config", "crd"), crds)
	for _, pkg := range []string{"api/alb/v1", "api/fairlead/v1alpha1"} {
		object := filepath.Join(dir, filepath.Base(pkg))
		gen := exec.CommandContext(t.Context(), generator(t), "object", "paths=./"+pkg, "output:object:dir="+object)
		if out, err := gen.CombinedOutput(); err != nil {
			t.Fatalf("controller-gen: %v\n%s", err, out)
		}
		compare(t, filepath.Join(pkg, "zz_generated.deepcopy.go"), filepath.Join(object, "zz_generated.deepcopy.go"))
	}
}

// same compares the files of two directories.
func same(t *testing.T, have, want string) {
	t.Helper()
	for _, dir := range []string{have, want} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				compare(t, filepath.Join(have, d.Name()), filepath.Join(want, d.Name()))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, have, want string) {
	t.Helper()
	a, errA := os.ReadFile(have)
	b, errB := os.ReadFile(want)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("%s is not what the types say: run make generate", have)
	}
}
