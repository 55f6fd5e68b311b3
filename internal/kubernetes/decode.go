package kubernetes

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one document.
const (
	maxFailures = 100     // errors that are looked for
	maxAliased  = 100_000 // values that aliases add to those that are written
	maxDepth    = 64
)

// objectDecoder decodes one document, strictly, as an API server would with the schemas: fields that are not known, values of
// another type and keys that stand twice are errors. What a type's check says is applied as soon as the type is decoded.
type objectDecoder struct {
	doc     *document
	nodes   int // that may still be looked at
	objects []*object
	errs    FileErrors

	// Of the object that is decoded.
	name    string // "HTTPRoute default/web"
	version string // "v1alpha2"
	secret  bool   // no value of it may be shown
	lenient bool   // fields that are not known are left out: an API server has let them pass
	steps   []step // where in it
	structs []structFrame
}

// structFrame is a struct that is being decoded.
type structFrame struct {
	plan  *typePlan
	depth int // steps that lead to it
}

// A step leads from a node into it.
type step struct {
	field string
	index int // if field is empty
}

func pathOf(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		switch {
		case s.field == "":
			fmt.Fprintf(&b, "[%d]", s.index)
		case b.Len() == 0:
			b.WriteString(s.field)
		default:
			b.WriteString("." + s.field)
		}
	}
	return b.String()
}

// fail notes what is wrong at a node.
func (d *objectDecoder) fail(n *yaml.Node, steps []step, err error, remedy string) {
	if len(d.errs) >= maxFailures {
		d.nodes = 0
		return
	}
	e := d.doc.errorAt(max(n.Line, 1), max(n.Column, 1), err, remedy)
	e.Object, e.Path = d.name, pathOf(steps)
	if d.secret {
		e.source = ""
	}
	d.errs = append(d.errs, e)
}

func (d *objectDecoder) failHere(n *yaml.Node, remedy, format string, args ...any) {
	d.fail(n, d.steps, fmt.Errorf(format, args...), remedy)
}

// enter follows aliases and counts nodes; false if there is nothing to be decoded, which it has reported.
func (d *objectDecoder) enter(n *yaml.Node) (*yaml.Node, bool) {
	for range maxDepth {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	if d.nodes--; d.nodes == 0 {
		d.failHere(n, "write them out", "aliases (*name) stand for more than %d values", maxAliased)
	}
	if len(d.steps) > maxDepth {
		if d.nodes > 0 {
			d.failHere(n, "", "nested more than %d deep", maxDepth)
		}
		d.nodes = 0
	}
	return n, d.nodes > 0
}

// value decodes n into v.
func (d *objectDecoder) value(n *yaml.Node, v reflect.Value) {
	n, ok := d.enter(n)
	if !ok {
		return
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		d.value(n, p.Elem())
		v.Set(p)
		return
	}
	plan, errsBefore := planOf(v.Type()), len(d.errs)
	switch {
	case plan.custom:
		d.custom(n, v)
	case plan.bytes:
		d.bytes(n, v)
	default:
		switch v.Kind() {
		case reflect.Struct:
			d.structValue(n, v, plan)
		case reflect.Slice:
			d.slice(n, v)
		case reflect.Map:
			d.mapping(n, v)
		default:
			d.scalar(n, v)
		}
	}
	if plan.check != nil && len(d.errs) == errsBefore {
		plan.check(spot{d: d, node: n}, v.Addr().Interface())
	}
}

// pairs calls do with each key and value of a mapping, merge keys (<<) resolved.
func (d *objectDecoder) pairs(n *yaml.Node, do func(key, value *yaml.Node)) {
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merges = append(merges, n.Content[i+1])
			continue
		}
		do(n.Content[i], n.Content[i+1])
	}
	if merges != nil {
		d.merge(n, merges, do)
	}
}

// merge calls do with the pairs of merges that no earlier mapping has.
func (d *objectDecoder) merge(n *yaml.Node, merges []*yaml.Node, do func(key, value *yaml.Node)) {
	have := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		have[n.Content[i].Value] = true
	}
	var from func(m *yaml.Node, depth int)
	from = func(m *yaml.Node, depth int) {
		m, ok := d.enter(m)
		switch {
		case !ok:
		case depth > maxDepth:
			d.failHere(m, "", "merges itself")
		case m.Kind == yaml.SequenceNode:
			for _, item := range m.Content {
				from(item, depth+1)
			}
		case m.Kind == yaml.MappingNode:
			var nested []*yaml.Node
			for i := 0; i+1 < len(m.Content); i += 2 {
				switch key := m.Content[i]; {
				case key.ShortTag() == "!!merge":
					nested = append(nested, m.Content[i+1])
				case !have[key.Value]:
					have[key.Value] = true
					do(key, m.Content[i+1])
				}
			}
			for _, item := range nested {
				from(item, depth+1)
			}
		default:
			d.failHere(m, "<<: *name merges the fields of a mapping", "want a mapping to merge, have %s", d.describe(m))
		}
	}
	for _, m := range merges {
		from(m, 0)
	}
}

func (d *objectDecoder) structValue(n *yaml.Node, v reflect.Value, plan *typePlan) {
	if n.Kind != yaml.MappingNode {
		d.wantMapping(n, plan)
		return
	}
	seen, given := make([]*yaml.Node, len(plan.fields)), make([]bool, len(plan.fields))
	d.structs = append(d.structs, structFrame{plan, len(d.steps)})
	d.pairs(n, func(key, value *yaml.Node) {
		if d.nodes <= 0 {
			return
		}
		if key.Kind != yaml.ScalarNode {
			d.failHere(key, "write name: value", "the name of a field is no word")
			return
		}
		i, known := plan.byName[key.Value]
		d.steps = append(d.steps, step{field: key.Value})
		defer func() { d.steps = d.steps[:len(d.steps)-1] }()
		switch {
		case !known && d.lenient:
			return
		case !known:
			d.unknownField(key, plan)
			return
		case seen[i] != nil:
			d.failHere(key, "remove one of them", "stands twice: also in line %d", d.doc.line+seen[i].Line)
			return
		}
		seen[i], given[i] = key, !isNull(value)
		if f := &plan.fields[i]; !f.ignored && given[i] {
			d.value(value, v.FieldByIndex(f.index))
		}
	})
	d.structs = d.structs[:len(d.structs)-1]
	for _, name := range plan.required {
		if i := plan.byName[name]; !given[i] {
			at, remedy := n, "add "+name
			if seen[i] != nil {
				at, remedy = seen[i], "it is there without a value: what belongs to it is indented further"
			}
			d.fail(at, append(d.steps[:len(d.steps):len(d.steps)], step{field: name}), errors.New("is missing"), remedy)
		}
	}
}

func (d *objectDecoder) wantMapping(n *yaml.Node, plan *typePlan) {
	remedy := "the fields here are " + plan.names()
	if n.Kind == yaml.SequenceNode {
		remedy = "remove the - in front; " + remedy
	}
	d.failHere(n, remedy, "want fields, have %s", d.describe(n))
}

func (d *objectDecoder) slice(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.failHere(n, `begin each item with "- "`, "want a list, have %s", d.describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.steps = append(d.steps, step{index: i})
		if isNull(item) {
			d.failHere(item, "remove it, or give it a value", "the item is empty")
		} else {
			d.value(item, out.Index(i))
		}
		d.steps = d.steps[:len(d.steps)-1]
		if d.nodes <= 0 {
			return
		}
	}
	v.Set(out)
}

func (d *objectDecoder) mapping(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.failHere(n, "write name: value", "want names and values, have %s", d.describe(n))
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	elem := v.Type().Elem()
	d.pairs(n, func(key, value *yaml.Node) {
		if d.nodes <= 0 {
			return
		}
		name, ok := keyText(key)
		if !ok {
			d.failHere(key, fmt.Sprintf("quote it: %q", key.Value), "want a word, have %s", d.describe(key))
			return
		}
		d.steps = append(d.steps, step{field: name})
		defer func() { d.steps = d.steps[:len(d.steps)-1] }()
		k := reflect.ValueOf(name).Convert(v.Type().Key())
		if out.MapIndex(k).IsValid() {
			d.failHere(key, "remove one of them", "stands twice")
			return
		}
		item := reflect.New(elem).Elem()
		switch {
		case !isNull(value):
			d.value(value, item)
		case elem.Kind() == reflect.String:
			d.failHere(value, `write "" for an empty text`, "has no value")
			return
		}
		out.SetMapIndex(k, item)
	})
	v.Set(out)
}
