package kubernetes

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// typeCheck is what a type's schema says beyond its fields: defaults and rules.
type typeCheck struct {
	required []string // fields
	check    func(at spot, v any)
}

// on makes the entry of typeChecks for T. check runs on what was decoded without an error, after the checks of what is
// in it; it fills in defaults and refuses what the schema refuses. It may be nil.
func on[T any](check func(at spot, v *T), required ...string) (reflect.Type, typeCheck) {
	c := typeCheck{required: required}
	if check != nil {
		c.check = func(at spot, v any) { check(at, v.(*T)) }
	}
	return reflect.TypeFor[T](), c
}

// checkTable is how typeChecks is written.
type checkTable map[reflect.Type]typeCheck

func (t checkTable) add(typ reflect.Type, c typeCheck) { t[typ] = c }

// spot is where a value was decoded.
type spot struct {
	d     *objectDecoder
	node  *yaml.Node
	steps []step // from the decoder's own place to node
}

// at leads to a field (a string) or an item (an int) of the spot. What is not in the file has its parent's place.
func (s spot) at(path ...any) spot {
	for _, p := range path {
		var next step
		switch p := p.(type) {
		case string:
			next.field = p
		case int:
			next.index = p
		}
		s.steps = append(slices.Clip(s.steps), next)
		if n := childOf(s.node, next); n != nil {
			s.node = n
		}
	}
	return s
}

// childOf is the value of a field, or an item, of n; nil if it has none.
func childOf(n *yaml.Node, s step) *yaml.Node {
	for range maxDepth {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	switch {
	case s.field == "" && n.Kind == yaml.SequenceNode && s.index < len(n.Content):
		return n.Content[s.index]
	case s.field != "" && n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == s.field {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// refuse reports that the value may not be so.
func (s spot) refuse(remedy, format string, args ...any) {
	s.d.fail(s.node, append(slices.Clip(s.d.steps), s.steps...), fmt.Errorf(format, args...), remedy)
}

// items checks the length of a list, and tells whether it is good. most 0: no bound.
func (s spot) items(n, least, most int) bool {
	if n < least {
		s.refuse("", "has no item: want at least one")
		return false
	}
	if most == 1 && n > most {
		s.refuse("", "want one item, have %d", n)
		return false
	}
	if most > 0 && n > most {
		s.refuse("", "want at most %d items, have %d", most, n)
		return false
	}
	return true
}

// length checks the length of a text, in characters. most 0: no bound.
func (s spot) length(text string, least, most int) bool {
	n := utf8.RuneCountInString(text)
	switch {
	case n < least && n == 0:
		s.refuse("", "is empty")
	case n < least:
		s.refuse("", "want at least %d characters, have %d", least, n)
	case most > 0 && n > most:
		s.refuse("", "want at most %d characters, have %d", most, n)
	default:
		return true
	}
	return false
}

// between checks a number.
func between[T ~int | ~int32 | ~int64](s spot, n *T, least, most T) {
	if n != nil && (*n < least || *n > most) {
		s.refuse("", "want a number from %d to %d, have %d", least, most, *n)
	}
}

// atLeast checks a number that has no upper bound.
func atLeast[T ~int | ~int32 | ~int64](s spot, n *T, least T) {
	if n != nil && *n < least {
		s.refuse("", "want at least %d, have %d", least, *n)
	}
}

// within checks that a number is between least and most.
func within(s spot, n *int32, least, most int32) {
	if n != nil && (*n < least || *n > most) {
		s.refuse("", "want %d to %d, have %d", least, most, *n)
	}
}

// port checks the number of a port.
func (s spot) port(p *int32) {
	if p != nil && (*p < 1 || *p > 65535) {
		s.refuse("", "want a port from 1 to 65535, have %d", *p)
	}
}

// enum checks that a text is one of values.
func enum[T ~string](s spot, v T, values ...T) {
	if slices.Contains(values, v) {
		return
	}
	names := make([]string, len(values))
	for i, name := range values {
		names[i] = string(name)
		if name == "" {
			names[i] = `""`
		}
	}
	remedy := ""
	if guess := nearest(string(v), names); guess != "" {
		remedy = fmt.Sprintf("did you mean %s?", guess)
	}
	s.refuse(remedy, "%s: want %s", shown(string(v), true), strings.Join(names, " or "))
}

// enumOf makes the check of a type that has only some values.
func enumOf[T ~string](values ...T) func(at spot, v *T) {
	return func(at spot, v *T) { enum(at, *v, values...) }
}

// unique checks that no two items have the same key; what names the key.
func unique[T any, K comparable](s spot, items []T, what string, key func(*T) K) {
	if len(items) < 2 {
		return
	}
	first := make(map[K]int, len(items))
	for i := range items {
		k := key(&items[i])
		if j, ok := first[k]; ok {
			s.at(i).refuse("remove one of them", "has the %s of item %d", what, j)
			continue
		}
		first[k] = i
	}
}

// setDefault fills in what was not said.
func setDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

// same is a key for lists of which every item is different.
func same[T comparable](v *T) T { return *v }
