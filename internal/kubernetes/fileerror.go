package kubernetes

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// FileError is one thing that is wrong in a file of objects.
type FileError struct {
	File   string
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1, in characters
	Object string // "HTTPRoute default/web"; empty: not known
	Path   string // of the field: "spec.rules[0].matches"; empty: the object as a whole
	Err    error
	Remedy string // what to do about it; may be empty

	source string // the line in question; may be empty

	order int // among the files that were read
}

// Error gives the place, the object, the field and the cause on one line, then the line of the file with a mark below
// the column, then the remedy.
func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Place())
	for _, part := range []string{e.Object, e.Path} {
		if part != "" {
			b.WriteString(": ")
			b.WriteString(part)
		}
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.source != "" {
		fmt.Fprintf(&b, "\n%5d | %s\n      | %s^", e.Line, e.source, strings.Repeat(" ", e.Column-1))
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "\nfairlead: hint: %s", e.Remedy)
	}
	return b.String()
}

// Place is file:line:column, or as much of it as is known.
func (e *FileError) Place() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// FileErrors are all that was found, in the order of reading. It is never empty.
type FileErrors []*FileError

// maxErrorsShown bounds how many errors a text holds.
const maxErrorsShown = 50

// Error gives each on its own lines; those after the first begin as a command's message does.
func (es FileErrors) Error() string {
	var texts []string
	for i, e := range es {
		if i == maxErrorsShown {
			texts = append(texts, fmt.Sprintf("and %d more errors", len(es)-i))
			break
		}
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "\nfairlead: ")
}

// Unwrap serves errors.Is and errors.As.
func (es FileErrors) Unwrap() []error {
	all := make([]error, len(es))
	for i, e := range es {
		all[i] = e
	}
	return all
}

func (es FileErrors) sort() {
	slices.SortStableFunc(es, func(a, b *FileError) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Err.Error(), b.Err.Error()))
	})
}

// maxExcerpt bounds the line shown with an error, in bytes.
const maxExcerpt = 160

// excerpt is line as it may be shown with a mark below column: printable and short. Else it is empty.
func excerpt(line string, column int) string {
	line = strings.TrimRight(line, " \t\r")
	if len(line) > maxExcerpt || !utf8.ValidString(line) || column < 1 || column > utf8.RuneCountInString(line)+1 {
		return ""
	}
	for _, r := range line {
		if !unicode.IsPrint(r) {
			return ""
		}
	}
	return line
}
