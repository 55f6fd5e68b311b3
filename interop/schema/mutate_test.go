package schema

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
)

// mutator breaks objects, each time in another way.
type mutator struct {
	*rand.Rand
	words []string // values from everywhere
}

// at is a value in an object, with its schema.
type at struct {
	parent any // map[string]any or []any
	key    string
	index  int
	value  any
	schema *structuralschema.Structural
	put    func(any) // replaces the value
	drop   func()
}

// places lists every value below a mapping that the schema knows, and every field that is missing.
func places(object map[string]any, schema *structuralschema.Structural, list []at) []at {
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name]
		place := at{
			parent: object, key: name, value: object[name], schema: &property,
			put:  func(v any) { object[name] = v },
			drop: func() { delete(object, name) },
		}
		list = append(list, place)
		list = inside(place, list)
	}
	if a := schema.AdditionalProperties; a != nil && a.Structural != nil {
		for _, name := range slices.Sorted(maps.Keys(object)) {
			place := at{
				parent: object, key: name, value: object[name], schema: a.Structural,
				put: func(v any) { object[name] = v }, drop: func() { delete(object, name) },
			}
			list = inside(place, append(list, place))
		}
	}
	return list
}

func inside(place at, list []at) []at {
	switch v := place.value.(type) {
	case map[string]any:
		return places(v, place.schema, list)
	case []any:
		if place.schema.Items == nil {
			return list
		}
		for i := range v {
			item := at{
				parent: v, index: i, value: v[i], schema: place.schema.Items,
				put:  func(n any) { v[i] = n },
				drop: func() { place.put(slices.Delete(slices.Clone(v), i, i+1)) },
			}
			list = inside(item, append(list, item))
		}
	}
	return list
}

// mutate changes one value of an object.
func (m *mutator) mutate(object map[string]any, schema *structuralschema.Structural) {
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return
	}
	property := schema.Properties["spec"]
	list := places(spec, &property, nil)
	place := list[m.IntN(len(list))]
	if place.value == nil && m.IntN(3) > 0 { // fields that are missing are many
		place = list[m.IntN(len(list))]
	}
	switch m.IntN(10) {
	case 0:
		place.drop()
	case 1:
		place.put(nil)
	case 2:
		place.put(m.otherType(place.schema.Type))
	case 3:
		if items, ok := place.value.([]any); ok && len(items) > 0 {
			place.put(append(slices.Clone(items), clone(items[m.IntN(len(items))])))
			return
		}
		place.put(m.make(place.schema, 3))
	default:
		place.put(m.make(place.schema, 3))
	}
}

// make makes a value that may or may not fit a schema.
func (m *mutator) make(s *structuralschema.Structural, depth int) any {
	switch s.Type {
	case "object":
		object := map[string]any{}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
			for range m.IntN(4) {
				object[m.word()] = m.make(s.AdditionalProperties.Structural, depth-1)
			}
			return object
		}
		required := map[string]bool{}
		if s.ValueValidation != nil {
			for _, name := range s.ValueValidation.Required {
				required[name] = m.IntN(20) > 0
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if required[name] || depth > 0 && m.IntN(3) == 0 {
				property := s.Properties[name]
				object[name] = m.make(&property, depth-1)
			}
		}
		return object
	case "array":
		var items []any
		n := m.IntN(3)
		if v := s.ValueValidation; v != nil && m.IntN(6) == 0 {
			if v.MaxItems != nil && *v.MaxItems < 70 {
				n = int(*v.MaxItems) + m.IntN(2)
			} else if v.MinItems != nil {
				n = int(*v.MinItems) - m.IntN(2)
			}
		}
		for range n {
			items = append(items, m.make(s.Items, depth-1))
		}
		if items == nil {
			return []any{}
		}
		return items
	case "string":
		return m.text(s)
	case "integer":
		return m.number(s)
	case "boolean":
		return m.IntN(2) == 0
	}
	return m.word()
}

func (m *mutator) number(s *structuralschema.Structural) any {
	if v := s.ValueValidation; v != nil {
		switch {
		case len(v.Enum) > 0 && m.IntN(5) > 0:
			return v.Enum[m.IntN(len(v.Enum))].Object
		case v.Minimum != nil && m.IntN(3) == 0:
			return int64(*v.Minimum) - int64(m.IntN(2))
		case v.Maximum != nil && m.IntN(3) == 0:
			return int64(*v.Maximum) + int64(m.IntN(2))
		}
	}
	return []int64{0, 1, 2, 10, 80, 99, 100, 101, 302, 418, 500, 8080, 70000}[m.IntN(13)]
}

func (m *mutator) text(s *structuralschema.Structural) any {
	v := s.ValueValidation
	switch {
	case v != nil && len(v.Enum) > 0 && m.IntN(6) > 0:
		return v.Enum[m.IntN(len(v.Enum))].Object
	case v != nil && v.MaxLength != nil && m.IntN(12) == 0:
		return strings.Repeat("a", int(*v.MaxLength)+m.IntN(2))
	case m.IntN(25) == 0:
		return ""
	}
	return m.word()
}

func (m *mutator) word() string { return m.words[m.IntN(len(m.words))] }

func (m *mutator) otherType(of string) any {
	for {
		switch m.IntN(5) {
		case 0:
			if of != "string" {
				return "text"
			}
		case 1:
			if of != "integer" {
				return int64(7)
			}
		case 2:
			if of != "boolean" {
				return true
			}
		case 3:
			if of != "array" {
				return []any{"a"}
			}
		default:
			if of != "object" {
				return map[string]any{"a": "b"}
			}
		}
	}
}

// collect adds the texts of a value to the mutator's words.
func (m *mutator) collect(v any) {
	switch v := v.(type) {
	case string:
		m.words = append(m.words, v)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			m.collect(v[k])
		}
	case []any:
		for _, item := range v {
			m.collect(item)
		}
	}
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, item := range v {
			c[k] = clone(item)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = clone(v[i])
		}
		return c
	}
	return v
}
