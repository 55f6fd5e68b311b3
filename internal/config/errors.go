package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error is what is wrong at one place of the configuration.
type Error struct {
	File   string // empty: there is none
	Line   int    // from 1; 0: nowhere in the file
	Column int    // from 1, in characters
	Key    string // dotted, as gateway.listeners[0].address; may be empty
	Err    error  // the cause
	Hint   string // what to do about it; may be empty

	source string // the line in question; may be empty
}

// Error gives the place, the key and the cause on one line, then the line of the file with a
// mark below the column, then the hint.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.File == "":
		b.WriteString("default configuration: ")
	case e.Line == 0:
		fmt.Fprintf(&b, "%s: ", e.File)
	default:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	}
	cause, _, _ := strings.Cut(e.Err.Error(), hintMark)
	if e.Key != "" && !startsWithKey(cause, e.Key) {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	b.WriteString(cause)
	if e.source != "" {
		fmt.Fprintf(&b, "\n%5d | %s\n      | %s^", e.Line, e.source, strings.Repeat(" ", e.Column-1))
	}
	if hint := e.Remedy(); hint != "" {
		fmt.Fprintf(&b, "\nfairlead: hint: %s", hint)
	}
	return b.String()
}

// hintMark sets off a hint in the text of a cause.
const hintMark = "\nhint: "

// Remedy says what to do: the hint, or that of the cause, or what helps with any value.
func (e *Error) Remedy() string {
	_, hint, _ := strings.Cut(e.Err.Error(), hintMark)
	if hint = cmp.Or(e.Hint, hint); hint == "" && e.Key != "" && e.Line != 0 {
		return hintValue
	}
	return hint
}

// hintValue is what can be done about any value that is refused.
const hintValue = "correct the value, or remove the key, and its default holds"

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func startsWithKey(text, key string) bool {
	rest, ok := strings.CutPrefix(text, key)
	return ok && rest != "" && (rest[0] == ':' || rest[0] == ' ')
}

// Errors are all that was found, in the order of the file. It is never empty.
type Errors []*Error

// Error gives each on its own lines; those after the first begin as a command's message does.
func (es Errors) Error() string {
	texts := make([]string, len(es))
	for i, e := range es {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "\nfairlead: ")
}

// Unwrap serves errors.Is and errors.As.
func (es Errors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// ErrorAt says where in the configuration err is at home: an *Error with the place of key
// (gateway.listeners[0].address), or of what key is in, if key is not in the file. If the text
// of err begins with a key below key, that one is meant. hint may be empty.
func (c *Config) ErrorAt(key string, err error, hint string) error {
	return c.errorAt(key, err, hint)
}

func (c *Config) errorAt(key string, err error, hint string) *Error {
	if c.src == nil {
		return &Error{Key: key, Err: err, Hint: hint}
	}
	first, _, _ := strings.Cut(err.Error(), " ")
	if first = strings.TrimSuffix(first, ":"); strings.HasPrefix(first, key+".") {
		key = first
	}
	at := c.src.nearest(key)
	return c.src.errorAt(at, key, err, hint)
}

// place is where a key, or the value of a key, begins: line and column from 1. Zero: nowhere.
type place struct{ line, column int }

// source is the file that a Config was read from. It is constant once decoded.
type source struct {
	name   string
	places map[string]place // by dotted key
	lines  [][]byte
}

// nearest is the place of key, or of the innermost part of it that has one.
func (s *source) nearest(key string) place {
	for key != "" {
		if at, ok := s.places[key]; ok {
			return at
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return place{}
}

func (s *source) errorAt(at place, key string, err error, hint string) *Error {
	return &Error{
		File: s.name, Line: at.line, Column: at.column, Key: key, Err: err, Hint: hint,
		source: s.excerpt(at, key),
	}
}

// maxExcerpt bounds the line shown with an error, in bytes.
const maxExcerpt = 160

// excerpt is the line at a place, if it can be shown: printable, not too long, and not one
// that may hold a user's password or its hash. Errors reach logs.
func (s *source) excerpt(at place, key string) string {
	if at.line < 1 || at.line > len(s.lines) || strings.Contains(key, "users[") {
		return ""
	}
	line := bytes.TrimRight(s.lines[at.line-1], " \t\r")
	if len(line) > maxExcerpt || bytes.Contains(line, []byte("users")) || bytes.Contains(line, []byte("$2")) ||
		!utf8.Valid(line) || at.column < 1 || at.column > utf8.RuneCount(line)+1 {
		return ""
	}
	for _, r := range string(line) {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return string(line)
}
