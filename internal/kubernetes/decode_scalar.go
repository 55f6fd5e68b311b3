package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *objectDecoder) scalar(n *yaml.Node, v reflect.Value) {
	s, ok := resolveScalar(n)
	if !ok {
		d.failHere(n, "", "want %s, have %s", kindName(v.Kind()), d.describe(n))
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s.kind != scalarString {
			d.failHere(n, d.quote(n), "want a text, have %s", d.describe(n))
			return
		}
		v.SetString(s.text)
	case reflect.Bool:
		if s.kind != scalarBool {
			d.failHere(n, "write true or false, without quotes", "want true or false, have %s", d.describe(n))
			return
		}
		v.SetBool(s.bool)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		d.integer(n, v, s, func() bool { return s.big || v.OverflowInt(s.int) }, func() { v.SetInt(s.int) })
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.integer(n, v, s, func() bool { return s.big || s.int < 0 || v.OverflowUint(uint64(s.int)) }, func() { v.SetUint(uint64(s.int)) })
	default:
		d.failHere(n, "", "a value of type %s cannot be read from a file", v.Type())
	}
}

func (d *objectDecoder) integer(n *yaml.Node, v reflect.Value, s scalarValue, overflows func() bool, set func()) {
	switch {
	case s.kind != scalarInt:
		remedy := ""
		if _, err := strconv.Atoi(n.Value); err == nil {
			remedy = "remove the quotes"
		}
		d.failHere(n, remedy, "want a whole number, have %s", d.describe(n))
	case overflows():
		d.failHere(n, "", "%s is out of the range of %s", n.Value, v.Type().Kind())
	default:
		set()
	}
}

func (d *objectDecoder) quote(n *yaml.Node) string {
	if d.secret || n.Kind != yaml.ScalarNode {
		return "quote it"
	}
	return fmt.Sprintf("quote it: %q", n.Value)
}

// bytes decodes base64 into a []byte.
func (d *objectDecoder) bytes(n *yaml.Node, v reflect.Value) {
	s, ok := resolveScalar(n)
	if !ok || s.kind != scalarString {
		d.failHere(n, "write it in base64; in a Secret, stringData takes it as it is", "want a text in base64, have %s", d.describe(n))
		return
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s.text))
	if err != nil {
		d.failHere(n, "in a Secret, stringData takes a value as it is", "is not base64")
		return
	}
	v.SetBytes(raw)
}

// custom decodes a type that reads JSON by itself.
func (d *objectDecoder) custom(n *yaml.Node, v reflect.Value) {
	generic, ok := d.generic(n)
	if !ok {
		return
	}
	text, err := json.Marshal(generic)
	if err == nil {
		err = v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text)
	}
	if err != nil {
		want, remedy := customForm(v.Type())
		d.failHere(n, remedy, "want %s, have %s", want, d.describe(n))
	}
}

// customForm says how a type that reads JSON by itself is written.
func customForm(t reflect.Type) (want, remedy string) {
	switch t.Name() {
	case "Duration":
		return "a duration", `write a number with its unit: "500ms", "30s", "5m"`
	case "Time", "MicroTime":
		return "a time", `write it as "2026-11-21T15:04:05Z"`
	case "IntOrString":
		return "a number or a name", ""
	}
	return "a " + t.Name(), ""
}

// generic makes what encoding/json makes of the same value.
func (d *objectDecoder) generic(n *yaml.Node) (any, bool) {
	n, ok := d.enter(n)
	if !ok {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		d.pairs(n, func(key, value *yaml.Node) {
			name, isText := keyText(key)
			d.steps = append(d.steps, step{field: name})
			v, got := d.generic(value)
			d.steps = d.steps[:len(d.steps)-1]
			ok = ok && isText && got
			m[name] = v
		})
		return m, ok
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			d.steps = append(d.steps, step{index: i})
			v, got := d.generic(item)
			d.steps = d.steps[:len(d.steps)-1]
			if ok = ok && got; !ok {
				break
			}
			list[i] = v
		}
		return list, ok
	}
	s, ok := resolveScalar(n)
	if !ok {
		d.failHere(n, "", "a value of this kind cannot be read: %s", d.describe(n))
		return nil, false
	}
	return s.generic(), true
}
