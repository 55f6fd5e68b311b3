package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/fairlead-gateway/fairlead/internal/unit"
)

// decoder fills structs from YAML by their `yaml` tags. What it cannot, it notes and goes on.
type decoder struct {
	src    *source
	getenv func(string) (string, bool)
	errs   Errors
	more   int // errors beyond maxErrors
}

// maxErrors bounds how many errors are told at once.
const maxErrors = 20

// found is what went wrong, in the order of the file.
func (d *decoder) found() Errors {
	d.errs.sort()
	if d.more > 0 {
		d.errs = append(d.errs, &Error{File: d.src.name, Err: fmt.Errorf("%d more errors", d.more)})
	}
	return d.errs
}

const hintNoValue = "remove the key, and its default holds"

// value reads n into v, which stands at key.
func (d *decoder) value(n ast.Node, v reflect.Value, key string) {
	if _, null := n.(*ast.NullNode); null {
		d.null(n, v, key)
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if u, ok := v.Addr().Interface().(wordList); ok {
		if seq, list := n.(*ast.SequenceNode); list {
			d.words(seq, key, u)
			return
		}
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(n, key, "text", func(s string) error { return u.UnmarshalText([]byte(s)) })
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d.scalar(n, key, "a duration, as 30s", func(s string) error {
			t, err := unit.ParseDuration(s)
			v.SetInt(int64(t))
			return err
		})
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, key)
	case reflect.Slice:
		d.list(n, v, key)
	case reflect.String:
		d.scalar(n, key, "text", func(s string) error { v.SetString(s); return nil })
	case reflect.Bool:
		d.scalar(n, key, "true or false", func(s string) error {
			v.SetBool(s == "true")
			if s != "true" && s != "false" {
				return fmt.Errorf("%q: want true or false", s)
			}
			return nil
		})
	case reflect.Int:
		d.scalar(n, key, "a whole number", func(s string) error {
			i, err := strconv.Atoi(s)
			if err != nil {
				return fmt.Errorf("%q: want a whole number", s)
			}
			v.SetInt(int64(i))
			return nil
		})
	default:
		panic("config: no rule for " + v.Type().String()) // a field of a type that no test has loaded
	}
}

// A wordList is a word that may also be written as a list.
type wordList interface{ UnmarshalList(items []string) error }

func (d *decoder) words(seq *ast.SequenceNode, key string, u wordList) {
	items := make([]string, len(seq.Values))
	for i, item := range seq.Values {
		good := false
		d.scalar(item, key, "text", func(s string) error { items[i], good = s, true; return nil })
		if !good {
			return
		}
	}
	if err := u.UnmarshalList(items); err != nil {
		d.failAt(begin(seq), key, err, "")
	}
}

// null judges a key that has nothing behind it: an empty section or list is not said.
func (d *decoder) null(n ast.Node, v reflect.Value, key string) {
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		d.fail(n, key, errors.New("has no value"), "write {} to turn it on with its defaults, or remove the key")
	case v.Kind() != reflect.Struct && v.Kind() != reflect.Slice:
		d.fail(n, key, errors.New("has no value"), hintNoValue)
	}
}

// scalar expands the text of n and hands it to set.
func (d *decoder) scalar(n ast.Node, key, want string, set func(string) error) {
	text, ok := scalarText(n)
	if !ok {
		d.wrongType(n, key, want)
		return
	}
	expanded, err := expand(text, d.getenv)
	if err != nil {
		d.fail(n, key, err, "set it, or write ${NAME:-default}; $${ stands for ${ itself")
		return
	}
	if err := set(expanded); err != nil {
		d.fail(n, key, err, "")
	}
}

// scalarText is a scalar as it is written, without its quotes. YAML's own ideas of what is a
// number or a boolean do not matter: the field knows what it wants.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (d *decoder) wrongType(n ast.Node, key, want string) {
	found := "a value"
	switch n.(type) {
	case ast.MapNode:
		found = "keys and values"
	case *ast.SequenceNode:
		found = "a list"
	}
	d.fail(n, key, fmt.Errorf("want %s, found %s", want, found), "")
}

func (d *decoder) list(n ast.Node, v reflect.Value, key string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.wrongType(n, key, "a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, item := range seq.Values {
		itemKey := key + "[" + strconv.Itoa(i) + "]"
		d.src.places[itemKey] = begin(item)
		if _, null := item.(*ast.NullNode); null {
			if i < len(seq.Entries) { // the dash: nothing stands after it
				d.src.places[itemKey] = placeOf(seq.Entries[i].Start)
			}
			d.fail(item, itemKey, errors.New("has no value"), "remove the item")
			continue
		}
		d.value(item, v.Index(i), itemKey)
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.wrongType(n, key, "keys and values")
		return
	}
	fields := fieldsOf(v.Type())
	seen := map[string]place{}
	for it := m.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		at, full := begin(it.Key()), join(key, name)
		if first, twice := seen[name]; twice {
			d.failAt(at, full, fmt.Errorf("is there twice, first in line %d", first.line), "remove one of them")
			continue
		}
		seen[name] = at
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			hint, err := unknown(full, name, fields)
			d.failAt(at, full, err, hint)
			continue
		}
		d.src.places[full] = at
		if _, scalar := scalarText(it.Value()); scalar {
			d.src.places[full] = begin(it.Value())
		}
		d.value(it.Value(), v.FieldByIndex(fields[i].index), full)
	}
}

// fail notes an error about the value n of key.
func (d *decoder) fail(n ast.Node, key string, err error, hint string) {
	at, ok := d.src.places[key]
	if !ok {
		at = begin(n)
	}
	d.failAt(at, key, err, hint)
}

func (d *decoder) failAt(at place, key string, err error, hint string) {
	if len(d.errs) >= maxErrors {
		d.more++
		return
	}
	d.errs = append(d.errs, d.src.errorAt(at, key, err, hint))
}

// A field is a key of a section.
type field struct {
	name  string
	index []int // for reflect.Value.FieldByIndex
	typ   reflect.Type
}

// fieldsOf lists the keys of a section in the order of its struct, those of inlined structs
// in their place.
func fieldsOf(t reflect.Type) (all []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for _, in := range fieldsOf(f.Type) {
				all = append(all, field{in.name, append([]int{i}, in.index...), in.typ})
			}
		case name != "":
			all = append(all, field{name, []int{i}, f.Type})
		}
	}
	return all
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
