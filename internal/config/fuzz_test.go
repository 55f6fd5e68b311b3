package config

import (
	"encoding"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// encode writes a Config as YAML that must read back as the same, every scalar in quotes.
// What is zero is left out, but for pointers and empty lists, which say something.
func encode(b *strings.Builder, v reflect.Value) {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic(err)
		}
		quoteTo(b, string(text))
		return
	}
	if d, ok := v.Interface().(time.Duration); ok {
		quoteTo(b, d.String())
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		encode(b, v.Elem())
	case reflect.Struct:
		b.WriteString("{")
		for _, f := range fieldsOf(v.Type()) {
			if v.FieldByIndex(f.index).IsZero() {
				continue
			}
			b.WriteString(f.name + ": ")
			encode(b, v.FieldByIndex(f.index))
			b.WriteString(", ")
		}
		b.WriteString("}")
	case reflect.Slice:
		b.WriteString("[")
		for i := range v.Len() {
			encode(b, v.Index(i))
			b.WriteString(", ")
		}
		b.WriteString("]")
	case reflect.String:
		quoteTo(b, v.String())
	default:
		quoteTo(b, fmt.Sprint(v.Interface()))
	}
}

func quoteTo(b *strings.Builder, text string) {
	text = strings.ReplaceAll(text, "${", "$${")
	for _, r := range strconv.QuoteToASCII(text) {
		b.WriteRune(r)
	}
}

// checkPlaces holds the place of every key to the file: no blank and no end of line is there,
// and before it nothing that could be a part of it.
func checkPlaces(t *testing.T, text string, s *source) {
	t.Helper()
	for key, at := range s.places {
		line := []rune(strings.TrimPrefix(string(s.lines[at.line-1]), "\ufeff"))
		if at.column > len(line) || strings.ContainsRune(" \t,:]}", line[at.column-1]) && key[len(key)-1] == ']' {
			t.Errorf("%q: %s is not at %d:%d", text, key, at.line, at.column)
			continue
		}
		if at.column > 1 && !strings.ContainsRune(" \t{[,:", line[at.column-2]) {
			t.Errorf("%q: %s does not begin at %d:%d", text, key, at.line, at.column)
		}
	}
}

// FuzzParse holds Parse to three laws: it never panics, what it accepts, written out in full,
// is accepted again as the same, and every key is where it says.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/design.yaml", "testdata/sample.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"", "a: [", "log: {level: debug}", "dataDir: |\n  x\n  y\n", "dataDir: $${x}${PORT}$", "{}", "admin: {users: ['" + hash + "']}",
		"gateway: {listeners: [{address: ':1', tls: {minVersion: 1.3}}], trustedProxies: []}", "dataDir: \"\\u00e9\\x01\\n\\\"\"", "- - a", "? a", "a: &b *b",
		"registry: {enabled: false, bodyLimit: 1MiB, forgetAfter: 1h0m1.5s}", "defaults: {websocket: {allowedOrigins: ['*'], maxFrameSize: 7}, timeouts: {connect: 1ms}}",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "File") {
			t.Skip() // leave the file system alone
		}
		first, err := Parse("f.yaml", []byte(text), env)
		if err != nil {
			_ = err.Error()
			return
		}
		checkPlaces(t, text, first.src)
		var b strings.Builder
		encode(&b, reflect.ValueOf(*first))
		second, err := Parse("f.yaml", []byte(b.String()), env)
		if err != nil {
			t.Fatalf("%q was accepted, but not %s: %v", text, &b, err)
		}
		diff("", reflect.ValueOf(*first), reflect.ValueOf(*second), func(key string) {
			t.Errorf("%q: %s is another after %s", text, key, &b)
		})
	})
}

// FuzzExpand holds expand to the law that what has no variable in it, or has them all
// escaped, comes out as it was.
func FuzzExpand(f *testing.F) {
	for _, text := range []string{"", "$", "${", "$${", "$$${A}", "}{$", "$2y$10$x", "${A}${B:-c}"} {
		f.Add(text)
	}
	none := func(string) (string, bool) { return "", false }
	f.Fuzz(func(t *testing.T, text string) {
		if have, err := expand(strings.ReplaceAll(text, "${", "$${"), none); err != nil || have != text {
			t.Errorf("%q: %q, %v", text, have, err)
		}
		_, _ = expand(text, none)
	})
}
