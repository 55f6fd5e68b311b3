package http1

import (
	"iter"
	"slices"
	"strings"
)

// A Field is one field line of a head or trailer section (RFC 9110, section 5). Name has the case and spelling it came
// with. Value has none of the optional whitespace around it; it may be empty.
type Field struct{ Name, Value string }

// Fields are field lines in the order they came. Names are compared without regard to ASCII case. The zero value is
// an empty section. Values are substrings of one head: a Field that is kept for long keeps the whole head
// (strings.Clone it).
type Fields []Field

// Get returns the first value of name, "" if there is none.
func (f Fields) Get(name string) string {
	for i := range f {
		if equalFold(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Values returns every value of name in order, nil if there is none. It allocates: [Fields.All] does not.
func (f Fields) Values(name string) []string {
	n := f.Count(name)
	if n == 0 {
		return nil
	}
	values := make([]string, 0, n)
	for i := range f {
		if equalFold(f[i].Name, name) {
			values = append(values, f[i].Value)
		}
	}
	return values
}

// All yields every value of name in order.
func (f Fields) All(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f {
			if equalFold(f[i].Name, name) && !yield(f[i].Value) {
				return
			}
		}
	}
}

// Tokens yields the elements of name's values read as comma-separated lists (RFC 9110, section 5.6.1), in order, without
// the whitespace around them and without empty ones. It knows no quoted strings: it is for Connection, Upgrade,
// Transfer-Encoding, Trailer and the like.
func (f Fields) Tokens(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for v := range f.All(name) {
			for more := true; more; {
				var element string
				element, v, more = strings.Cut(v, ",")
				if element = trimSpace(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// HasToken tells whether [Fields.Tokens] of name has token, without regard to ASCII case.
func (f Fields) HasToken(name, token string) bool {
	for t := range f.Tokens(name) {
		if equalFold(t, token) {
			return true
		}
	}
	return false
}

// Has tells whether there is a field called name.
func (f Fields) Has(name string) bool {
	for i := range f {
		if equalFold(f[i].Name, name) {
			return true
		}
	}
	return false
}

// Count tells how many fields are called name.
func (f Fields) Count(name string) int {
	n := 0
	for i := range f {
		if equalFold(f[i].Name, name) {
			n++
		}
	}
	return n
}

// Add appends a field.
func (f *Fields) Add(name, value string) {
	*f = append(*f, Field{name, value})
}

// Set gives the first field called name this value and spelling, where it stands, and deletes the others of that name.
// Without one it appends.
func (f *Fields) Set(name, value string) {
	for i := range *f {
		if equalFold((*f)[i].Name, name) {
			(*f)[i] = Field{name, value}
			rest := (*f)[i+1:]
			rest.Del(name)
			*f = (*f)[:i+1+len(rest)]
			return
		}
	}
	f.Add(name, value)
}

// Del deletes every field called name.
func (f *Fields) Del(name string) {
	f.Keep(func(field Field) bool { return !equalFold(field.Name, name) })
}

// Keep deletes, in place, the fields for which keep is false.
func (f *Fields) Keep(keep func(Field) bool) {
	*f = slices.DeleteFunc(*f, func(field Field) bool { return !keep(field) })
}

// Clone returns a copy that shares the strings, not the array; nil of nil.
func (f Fields) Clone() Fields { return slices.Clone(f) }

// Append appends the wire form of the fields to b: "Name: value" CRLF each, without the empty line that ends a section.
// What it writes is always exactly one field line per field: each control character in a value but HTAB becomes a
// space (RFC 9110, section 5.5, for CR, LF and NUL), and a field whose name is no token is left out.
func (f Fields) Append(b []byte) []byte {
	for i := range f {
		b = AppendField(b, f[i].Name, f[i].Value)
	}
	return b
}

// AppendField appends one field line as [Fields.Append] does.
func AppendField(b []byte, name, value string) []byte {
	if !isToken(name) {
		return b
	}
	if textEnd(value, 0) < len(value) {
		value = string(appendText(nil, value))
	}
	n := len(b)
	b = slices.Grow(b, len(name)+len(value)+len(": \r\n"))[:n+len(name)+len(value)+len(": \r\n")]
	n += copy(b[n:], name)
	b[n], b[n+1] = ':', ' '
	n += 2 + copy(b[n+2:], value)
	b[n], b[n+1] = '\r', '\n'
	return b
}
