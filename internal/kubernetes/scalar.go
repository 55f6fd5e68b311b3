package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A scalarKind is what a scalar is.
type scalarKind uint8

const (
	scalarString scalarKind = iota
	scalarBool
	scalarInt
	scalarFloat
	scalarNull
)

// scalarValue is a scalar of YAML as kubectl reads it: with the words of YAML 1.1.
type scalarValue struct {
	kind  scalarKind
	text  string // of a string
	bool  bool
	int   int64
	big   bool // the int is beyond int64
	float float64
}

// resolveScalar reads a scalar; false if n is none.
func resolveScalar(n *yaml.Node) (scalarValue, bool) {
	if n.Kind != yaml.ScalarNode {
		return scalarValue{}, false
	}
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	switch n.ShortTag() {
	case "!!binary":
		raw, err := base64.StdEncoding.DecodeString(n.Value)
		return scalarValue{text: string(raw)}, err == nil
	case "!!str", "!!timestamp", "!!merge":
		if plain && n.Style&yaml.TaggedStyle == 0 {
			if b, ok := yaml11Bool(n.Value); ok {
				return scalarValue{kind: scalarBool, bool: b}, true
			}
		}
		return scalarValue{text: n.Value}, true
	case "!!null":
		return scalarValue{kind: scalarNull}, true
	case "!!bool":
		b, ok := yaml11Bool(n.Value)
		return scalarValue{kind: scalarBool, bool: b}, ok
	case "!!int":
		return integerOf(n.Value)
	case "!!float":
		return floatOf(n.Value)
	}
	return scalarValue{}, false
}

// yaml11Bool knows the words for true and false.
func yaml11Bool(s string) (b, ok bool) {
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

func integerOf(s string) (scalarValue, bool) {
	plain := strings.ReplaceAll(s, "_", "")
	if i, err := strconv.ParseInt(plain, 0, 64); err == nil {
		return scalarValue{kind: scalarInt, int: i}, true
	}
	if _, err := strconv.ParseUint(plain, 0, 64); err == nil {
		return scalarValue{kind: scalarInt, big: true, float: math.NaN()}, true
	}
	return floatOf(plain) // larger than any integer
}

func floatOf(s string) (scalarValue, bool) {
	var f float64
	switch strings.ToLower(s) {
	case ".inf", "+.inf":
		f = math.Inf(1)
	case "-.inf":
		f = math.Inf(-1)
	case ".nan":
		f = math.NaN()
	default:
		var err error
		if f, err = strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64); err != nil {
			return scalarValue{}, false
		}
	}
	return scalarValue{kind: scalarFloat, float: f}, true
}

// generic is what encoding/json makes of the same value.
func (s scalarValue) generic() any {
	switch s.kind {
	case scalarBool:
		return s.bool
	case scalarInt:
		if s.big {
			return s.float
		}
		return json.Number(strconv.FormatInt(s.int, 10))
	case scalarFloat:
		return s.float
	case scalarNull:
		return nil
	}
	return s.text
}

// isNull tells whether there is no value: an API server takes the field for absent.
func isNull(n *yaml.Node) bool {
	for range maxDepth {
		if n == nil || n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// keyText is a mapping's key as JSON has it.
func keyText(key *yaml.Node) (string, bool) {
	s, ok := resolveScalar(key)
	if !ok {
		return "", false
	}
	switch {
	case s.kind == scalarString:
		return s.text, true
	case s.kind == scalarInt && !s.big:
		return strconv.FormatInt(s.int, 10), true
	}
	return "", false
}

// describe says what a node is, and its value where that may be shown.
func (d *objectDecoder) describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "fields"
	case yaml.SequenceNode:
		return "a list"
	}
	what := "a value"
	s, ok := resolveScalar(n)
	if ok {
		switch s.kind {
		case scalarString:
			what = "the text"
		case scalarBool:
			what = "the boolean"
		case scalarInt, scalarFloat:
			what = "the number"
		case scalarNull:
			return "nothing"
		}
	}
	if d.secret {
		return strings.Replace(what, "the ", "a ", 1)
	}
	return what + " " + shown(n.Value, s.kind == scalarString)
}

// maxShown bounds how much of a value a message repeats, in bytes.
const maxShown = 60

func shown(value string, quoted bool) string {
	if len(value) > maxShown {
		value = strings.ToValidUTF8(value[:maxShown], "") + "…"
	}
	if quoted {
		return strconv.Quote(value)
	}
	return value
}

func kindName(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32:
		return "a whole number"
	}
	return fmt.Sprintf("a %s", k)
}
