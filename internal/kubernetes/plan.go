package kubernetes

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// typePlan is how a type is decoded. It is constant.
type typePlan struct {
	typ      reflect.Type
	custom   bool // reads JSON by itself
	bytes    bool // []byte
	fields   []fieldPlan
	byName   map[string]int
	required []string
	check    func(at spot, v any) // v is a pointer to the type
}

// fieldPlan is a field as it is on the wire; those of inlined structs belong to the outer one.
type fieldPlan struct {
	name    string
	index   []int
	typ     reflect.Type
	ignored bool // known, and not decoded: status
}

// plans caches planOf.
var plans sync.Map // reflect.Type → *typePlan

func planOf(t reflect.Type) *typePlan {
	if p, ok := plans.Load(t); ok {
		return p.(*typePlan)
	}
	p := &typePlan{
		typ:    t,
		custom: reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()),
		bytes:  t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8,
	}
	if c, ok := typeChecks[t]; ok {
		p.check, p.required = c.check, c.required
	}
	if t.Kind() == reflect.Struct && !p.custom {
		p.addFields(t, nil)
		p.byName = make(map[string]int, len(p.fields))
		for i, f := range p.fields {
			p.byName[f.name] = i
		}
	}
	actual, _ := plans.LoadOrStore(t, p)
	return actual.(*typePlan)
}

func (p *typePlan) addFields(t reflect.Type, index []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := append(slices.Clone(index), i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case name == "" && (f.Anonymous || strings.Contains(options, "inline")):
			p.addFields(f.Type, at)
		case name != "":
			p.fields = append(p.fields, fieldPlan{name: name, index: at, typ: f.Type, ignored: len(at) == 1 && f.Name == "Status"})
		}
	}
}

// names lists the fields.
func (p *typePlan) names() string {
	names := make([]string, 0, len(p.fields))
	for _, f := range p.fields {
		if !f.ignored {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ", ")
}

// unknownField reports a field that the innermost struct does not have, with what was probably meant.
func (d *objectDecoder) unknownField(key *yaml.Node, plan *typePlan) {
	name := key.Value
	names := make([]string, len(plan.fields))
	for i, f := range plan.fields {
		names[i] = f.name
	}
	remedy := "the fields here are " + plan.names()
	if guess := nearest(name, names); guess != "" {
		remedy = fmt.Sprintf("did you mean %q? %s", guess, remedy)
	} else if within := plan.fieldWith(name); within != "" {
		remedy = fmt.Sprintf("did you mean %s.%s? Indent it below %s", within, name, within)
	} else if outer := d.outerWith(name); outer != "" {
		remedy = fmt.Sprintf("%s is a field of %s: indent it less", name, outer)
	}
	d.failHere(key, remedy, "unknown field")
}

// fieldWith is the one field of a struct that itself has a field of that name; empty if none or several have.
func (p *typePlan) fieldWith(name string) string {
	found := ""
	for _, f := range p.fields {
		t := f.typ
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || f.ignored {
			continue
		}
		if _, ok := planOf(t).byName[name]; ok {
			if found != "" {
				return ""
			}
			found = f.name
		}
	}
	return found
}

// outerWith is the path of the innermost struct around the current one that has the field; empty if none has.
func (d *objectDecoder) outerWith(name string) string {
	for i := len(d.structs) - 2; i >= 0; i-- {
		outer := d.structs[i]
		if _, ok := outer.plan.byName[name]; !ok {
			continue
		}
		if outer.depth == 0 {
			return "the object itself"
		}
		return pathOf(d.steps[:outer.depth])
	}
	return ""
}

// nearest is the name that was probably meant; empty if none is near.
func nearest(name string, names []string) string {
	best, fewest := "", min(3, len(name)/2+1)
	for _, n := range names {
		if d := unit.Distance(strings.ToLower(name), strings.ToLower(n)); d < fewest {
			best, fewest = n, d
		}
	}
	return best
}
