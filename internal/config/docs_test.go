package config

import (
	"bytes"
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-gateway/fairlead/internal/route"
	"github.com/fairlead-gateway/fairlead/internal/unit"
)

var update = flag.Bool("update", false, "write docs/config.md")

const (
	docsFile = "../../docs/config.md"
	module   = "github.com/fairlead-gateway/fairlead/"
)

const docsIntro = `# fairlead.yaml

<!-- Made from the doc comments of the code: go test ./internal/config -run TestDocs -update -->

Every key is optional, and ` + "`fairlead run`" + ` without a file serves the defaults. ` + "`fairlead check --config FILE`" + ` says what
` + "`fairlead run`" + ` would complain about: the file, line and column, the key, the cause and what to do.

- Unknown keys, keys that stand twice, and values of the wrong type are errors. All of a file's are told at once.
- Durations have a unit: ` + "`250ms`, `30s`, `1h30m`" + `. Sizes are bytes, or ` + "`64KiB`, `1MiB`, `2GiB`" + `.
- ` + "`${NAME}`" + ` in a value is the environment variable; ` + "`${NAME:-text}`" + ` is text where it is unset or empty; ` + "`$${`" + ` is
  ` + "`${`" + ` itself. A variable that is not set is an error. Inside ` + "`{ }` and `[ ]`" + ` put it in quotes. No other ` + "`$`" + ` means anything,
  so password hashes need no care.
- A key without a value is an error; a section or list without one (` + "`log:`" + `) is as if it were not there. ` + "`tls:`" + ` of a
  listener alone must be said, as ` + "`tls: {}`" + `.
- Files are named relative to the directory in which the process runs.
- Anchors, aliases, tags and second documents are refused. A file has at most 1 MiB and 10000 lines.
- A change of the file, or SIGHUP, reloads it: a bad file keeps the old one and says why; a key that needs a restart is
  named in the log.

This file holds every default:

`

// TestDocs holds docs/config.md to the doc comments of the sections.
func TestDocs(t *testing.T) {
	sample, err := os.ReadFile("testdata/sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString(docsIntro + "```yaml\n" + string(sample) + "```\n\n")
	b.WriteString("In the tables, `[]` stands for each item of a list.\n")
	g := &generator{t: t, packages: map[string]map[string]*ast.StructType{}}
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		text := g.doc(reflect.TypeFor[Config](), f)
		fmt.Fprintf(&b, "\n## %s\n\n", f.name)
		if kind := indirect(f.typ); kind.Kind() == reflect.Struct {
			fmt.Fprintf(&b, "%s\n\n", text)
			header(&b)
			g.rows(&b, kind, f.name)
			continue
		}
		header(&b)
		row(&b, f.name, f.typ, text)
	}
	if *update {
		if err := os.WriteFile(docsFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/config.md is stale: go test ./internal/config -run TestDocs -update")
	}
}

func header(b *bytes.Buffer) {
	b.WriteString("| key | type | default | meaning |\n|---|---|---|---|\n")
}

// generator reads doc comments by package directory and type name.
type generator struct {
	t        *testing.T
	packages map[string]map[string]*ast.StructType
}

// rows writes the keys of a section and those below them.
func (g *generator) rows(b *bytes.Buffer, t reflect.Type, key string) {
	for _, f := range fieldsOf(t) {
		full := join(key, f.name)
		row(b, full, f.typ, g.doc(t, f))
		inner := indirect(f.typ)
		if inner.Kind() == reflect.Slice {
			full += "[]"
			inner = indirect(inner.Elem())
		}
		if inner.Kind() == reflect.Struct && typeName(inner) == "section" {
			g.rows(b, inner, full)
		}
	}
}

var defaultSentence = regexp.MustCompile(`Default:? (.+?)\.(?: |$)`)

func row(b *bytes.Buffer, key string, t reflect.Type, text string) {
	standard := ""
	if m := defaultSentence.FindStringSubmatchIndex(text); m != nil {
		standard = text[m[2]:m[3]]
		text = strings.TrimSpace(text[:m[0]] + text[m[1]:])
	}
	cell := strings.NewReplacer("|", `\|`).Replace
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", key, typeName(t), cell(standard), cell(text))
}

func typeName(t reflect.Type) string {
	t = indirect(t)
	switch {
	case t == reflect.TypeFor[time.Duration](), t == reflect.TypeFor[route.SlowStart]():
		return "duration"
	case t == reflect.TypeFor[route.Attempts]():
		return "number"
	case t == reflect.TypeFor[unit.Size]():
		return "size"
	case t == reflect.TypeFor[unit.Rate]():
		return "rate"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "word"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return "list of sections"
	case t.Kind() == reflect.Slice:
		return "list"
	case t.Kind() == reflect.Struct:
		return "section"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "number"
	}
	return "text"
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// doc is the doc comment of a field as one paragraph, Go's names in it turned into keys.
func (g *generator) doc(t reflect.Type, f field) string {
	g.t.Helper()
	for len(f.index) > 1 { // an inlined struct
		t, f.index = t.Field(f.index[0]).Type, f.index[1:]
	}
	name := t.Field(f.index[0]).Name
	var before string // the field above, whose comment may hold for both
	for _, at := range g.structOf(t).Fields.List {
		if len(at.Names) == 0 {
			continue
		}
		if at.Names[0].Name == name {
			if at.Doc == nil && before != "" {
				return "See " + before + "."
			}
			if text := strings.Join(strings.Fields(at.Doc.Text()), " "); text != "" {
				return keysFor(t, name, text)
			}
			g.t.Errorf("%s.%s has no doc comment", t, name)
			return ""
		}
		if at.Doc != nil && strings.Contains(at.Doc.Text(), name) {
			before = "`" + keyOf(t, at.Names[0].Name) + "`"
		}
	}
	g.t.Errorf("%s.%s not found in its package", t, name)
	return ""
}

// keysFor replaces the field's own name at the beginning, and the other names of its struct
// that cannot be English.
func keysFor(t reflect.Type, own, text string) string {
	if rest, ok := strings.CutPrefix(text, own+" "); ok {
		text = "`" + keyOf(t, own) + "` " + rest
	}
	for i := range t.NumField() {
		name := t.Field(i).Name
		key := keyOf(t, name)
		if key != "" && key != strings.ToLower(name) {
			text = regexp.MustCompile("(^|[^`])\\b"+name+`\b`).ReplaceAllString(text, "$1`"+key+"`")
		}
	}
	return text
}

func keyOf(t reflect.Type, field string) string {
	f, _ := t.FieldByName(field)
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key
}

func (g *generator) structOf(t reflect.Type) *ast.StructType {
	g.t.Helper()
	dir := filepath.Join("../..", strings.TrimPrefix(t.PkgPath(), module))
	types, ok := g.packages[dir]
	if !ok {
		types = map[string]*ast.StructType{}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			g.t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				g.t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok {
					if s, ok := spec.Type.(*ast.StructType); ok {
						types[spec.Name.Name] = s
					}
				}
				return true
			})
		}
		g.packages[dir] = types
	}
	s := types[t.Name()]
	if s == nil {
		g.t.Fatalf("no struct %s in %s", t.Name(), dir)
	}
	return s
}
