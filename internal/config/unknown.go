package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/unit"
)

var errUnavailable = errors.New("not available in this version")

// laterKeys are keys that a later version will have, where no struct says so. "[]" stands for
// any item.
var laterKeys = []string{
	"limits.connectionsPerClient",
	"limits.handshakesPerSecond",
}

var itemNumber = regexp.MustCompile(`\[\d+\]`)

// unknown says what is to be said of a key that its section does not have.
func unknown(full, name string, fields []field) (hint string, err error) {
	if slices.Contains(laterKeys, itemNumber.ReplaceAllString(full, "[]")) {
		return "remove the key", errUnavailable
	}
	names := make([]string, 0, len(fields))
	for _, f := range fields {
		names = append(names, f.name)
	}
	hint = "the keys here are " + strings.Join(names, ", ")
	if guess := closest(name, names); guess != "" {
		hint = fmt.Sprintf("did you mean %q? %s", guess, hint)
	} else if home := elsewhere(reflect.TypeFor[Config](), "", name); home != "" {
		hint = fmt.Sprintf("did you mean %s? %s", home, hint)
	}
	return hint, errors.New("unknown key")
}

// closest is the name that was probably meant; empty if none is near.
func closest(name string, names []string) string {
	best, fewest := "", min(3, len(name)/2+1)
	for _, n := range names {
		if d := unit.Distance(strings.ToLower(name), strings.ToLower(n)); d < fewest {
			best, fewest = n, d
		}
	}
	return best
}

// elsewhere finds the one section that has the key; empty if there are none or several.
func elsewhere(t reflect.Type, section, name string) string {
	found, count := "", 0
	for _, f := range fieldsOf(t) {
		key := join(section, f.name)
		if f.name == name {
			found, count = key, count+1
		}
		typ := f.typ
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			if typ.Kind() == reflect.Slice {
				key += "[]"
			}
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Struct {
			if in := elsewhere(typ, key, name); in != "" {
				found, count = in, count+1
			}
		}
	}
	if count != 1 {
		return ""
	}
	return found
}
