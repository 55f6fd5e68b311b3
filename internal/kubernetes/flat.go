package kubernetes

import (
	"errors"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxReindented bounds the lines that are shown of a document whose indentation was restored.
const maxReindented = 60

// isFlat tells whether the indentation of a document was lost on its way, as it is by copying from some web pages: its fields all
// begin in one column, those that have others below them are empty, and names stand twice.
func isFlat(n *yaml.Node) bool {
	meta := childOf(n, step{field: "metadata"})
	return meta != nil && isNull(meta) && textOf(n, "name") != ""
}

// flattened reports a document that isFlat. The remedy shows it as it probably was.
func (d *objectDecoder) flattened(n *yaml.Node, served *servedKind) {
	remedy := "indent the fields of metadata and of spec with two spaces, and so on"
	if text := reindent(n, reflect.TypeOf(served.new()).Elem()); text != "" {
		remedy = "it probably was:\n\n" + text
	}
	at := n
	if meta := childOf(n, step{field: "metadata"}); meta != nil && meta.Line > 0 {
		at = meta
	}
	d.name = objectName(d.name, "", textOf(n, "name"))
	d.fail(at, []step{{field: "metadata"}}, errors.New("the indentation of this document is lost: "+
		"name and namespace belong below metadata, and what follows spec below spec"), remedy)
}

// reindent puts each field of a flat mapping into the innermost struct that has one of its name and has not got it yet. It is
// empty if a field finds no place.
func reindent(n *yaml.Node, typ reflect.Type) string {
	type level struct {
		plan *typePlan
		have map[string]bool
	}
	stack := []level{{planOf(typ), map[string]bool{}}}
	var b strings.Builder
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if value.Kind != yaml.ScalarNode || i > 2*maxReindented {
			return ""
		}
		at := len(stack) - 1
		for ; at >= 0; at-- {
			if _, ok := stack[at].plan.byName[key.Value]; ok && !stack[at].have[key.Value] {
				break
			}
		}
		if at < 0 {
			return ""
		}
		stack = stack[:at+1]
		stack[at].have[key.Value] = true
		b.WriteString(strings.Repeat("  ", at) + key.Value + ":")
		if !isNull(value) {
			text, err := yaml.Marshal(value)
			if err != nil {
				return ""
			}
			b.WriteString(" " + string(text))
			continue
		}
		b.WriteByte('\n')
		field := stack[at].plan.fields[stack[at].plan.byName[key.Value]].typ
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if field.Kind() == reflect.Struct {
			stack = append(stack, level{planOf(field), map[string]bool{}})
		}
	}
	return b.String()
}
