package interop

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every feature of the Gateway API that a GatewayClass claims has a sub-test of its name, and README.md says which test has it.
func TestGatewayFeatures(t *testing.T) {
	m := newManifests(t)
	m.write("class.yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: fairlead}\n"+
		"spec: {controllerName: fairlead.dev/gateway-controller}\n")
	out, code := m.check("--json")
	var list []struct {
		Status struct {
			SupportedFeatures []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 1 || len(list[0].Status.SupportedFeatures) == 0 {
		t.Fatalf("no features claimed: %d, %v: %s", code, err, out)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := subTests(t)
	for _, f := range list[0].Status.SupportedFeatures {
		in, ok := tests[f.Name]
		if !ok {
			t.Errorf("%s is claimed and has no test", f.Name)
		} else if row := rowOf(string(readme), in); !strings.Contains(row, "`"+f.Name+"`") {
			t.Errorf("README.md: the row of %s lacks `%s`: %q", in, f.Name, row)
		}
	}
}

// rowOf is the row of a test in the tables of README.md.
func rowOf(readme, test string) string {
	for line := range strings.Lines(readme) {
		if strings.HasPrefix(line, "| `"+test+"` |") {
			return line
		}
	}
	return ""
}

// subTests finds the sub-tests of the tests of manifests: the test that has each.
func subTests(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("manifests_*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, file := range slices.Sorted(slices.Values(files)) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			test, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "TestGateway") {
				continue
			}
			ast.Inspect(test, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 2 {
					return true
				}
				name, isText := call.Args[0].(*ast.BasicLit)
				if method, ok := call.Fun.(*ast.SelectorExpr); ok && isText && method.Sel.Name == "Run" {
					if text, err := strconv.Unquote(name.Value); err == nil {
						found[text] = test.Name.Name
					}
				}
				return true
			})
		}
	}
	return found
}
