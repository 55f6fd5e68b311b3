// Package fairlead holds the rules of docs/architecture.md to the code.
package fairlead

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fairlead-gateway/fairlead/"

// mayImport is the package table of docs/architecture.md: what each package may import of
// this module, in its non-test files. The order is the table's: a row imports rows above it.
var mayImport = []struct {
	pkg     string
	imports []string
}{
	{"internal/unit", nil},
	{"internal/accesslog", nil},
	{"internal/auth", nil},
	{"internal/websocket", nil},
	{"internal/upstream", []string{"internal/websocket"}},
	{"internal/loop", nil},
	{"internal/relay", []string{"internal/loop", "internal/websocket"}},
	{"internal/http1", []string{"internal/loop"}},
	{"internal/route", []string{"internal/unit", "internal/upstream"}},
	{"internal/eureka", []string{"internal/unit", "internal/auth", "internal/route", "internal/upstream"}},
	{"api/alb/v1", nil},
	{"api/fairlead/v1alpha1", []string{"api/alb/v1"}},
	{"internal/kubernetes", []string{"internal/unit", "internal/route", "internal/upstream", "api/alb/v1", "api/fairlead/v1alpha1"}},
	{"internal/provider", []string{"internal/route", "internal/upstream"}},
	{"internal/proxy", []string{
		"internal/unit", "internal/accesslog", "internal/auth", "internal/websocket", "internal/upstream",
		"internal/loop", "internal/relay", "internal/http1", "internal/route",
	}},
	{"internal/admin", []string{
		"internal/unit", "internal/accesslog", "internal/auth", "internal/websocket", "internal/upstream", "internal/loop",
		"internal/relay", "internal/http1", "internal/route", "internal/eureka", "internal/provider", "internal/proxy",
	}},
	{"internal/metrics", []string{"internal/upstream", "internal/route", "internal/eureka", "internal/proxy"}},
	{"internal/sample", nil},
	{"internal/config", []string{
		"internal/unit", "internal/accesslog", "internal/auth", "internal/upstream", "internal/route", "internal/eureka",
		"internal/kubernetes", "internal/proxy", "internal/admin",
	}},
}

// longestChain bounds the imports from cmd/fairlead down.
const longestChain = 7

// importsOf returns what the non-test files of dir import of this module.
func importsOf(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	for _, f := range parseDir(t, dir) {
		for _, im := range f.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if name, ok := strings.CutPrefix(path, module); ok && !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
	}
	return found
}

func parseDir(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = f
	}
	return files
}

// packageDirs returns every directory below internal that holds non-test Go files.
func packageDirs(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() != "testdata" && len(parseDir(t, path)) > 0 {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestImportGraph(t *testing.T) {
	depth := map[string]int{}
	listed := map[string]bool{}
	for i, row := range mayImport {
		listed[row.pkg] = true
		for _, im := range row.imports {
			if !slices.ContainsFunc(mayImport[:i], func(r struct {
				pkg     string
				imports []string
			},
			) bool {
				return r.pkg == im
			}) {
				t.Errorf("the table itself lets %s import %s, which is not above it", row.pkg, im)
			}
		}
		for _, im := range importsOf(t, row.pkg) {
			if !slices.Contains(row.imports, im) {
				t.Errorf("%s imports %s: the table does not allow it; change the table and docs/architecture.md if it should", row.pkg, im)
			}
			depth[row.pkg] = max(depth[row.pkg], depth[im])
		}
		depth[row.pkg]++
		if depth[row.pkg] > longestChain-1 { // cmd/fairlead is one more
			t.Errorf("%s stands at the end of a chain of %d imports; %d at most with the command", row.pkg, depth[row.pkg], longestChain)
		}
	}
	for _, dir := range packageDirs(t) {
		if !listed[filepath.ToSlash(dir)] {
			t.Errorf("%s is not in the package table", dir)
		}
	}
}

func TestNoInitFunctions(t *testing.T) {
	for _, dir := range append(packageDirs(t), "cmd/fairlead") {
		for name, f := range parseDir(t, dir) {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s has an init function", name)
				}
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	for _, dir := range append(packageDirs(t), "cmd/fairlead") {
		for name := range parseDir(t, dir) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > 500 {
				t.Errorf("%s has %d lines: is there a second idea in it?", name, n)
			}
		}
	}
}
