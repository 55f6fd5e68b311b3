package kubernetes

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A document is one of the documents of a file.
type document struct {
	file *manifest
	line int // lines of the file before it
	text []byte

	cleaned bool // of the lines of a shell

	sum documentSum
}

// documentSum identifies what a document says.
type documentSum [sha256.Size]byte

// loadedDocument is what a document holds.
type loadedDocument struct {
	objects []*object
	errs    FileErrors
}

// split cuts a file at the lines that begin with ---. What has no content is left out.
func (m *manifest) split() []*document {
	text := bytes.TrimPrefix(m.data, []byte("\ufeff"))
	var docs []*document
	line, begin, beginLine := 0, 0, 0
	cut := func(end int) {
		if d := text[begin:end]; hasContent(d) {
			docs = append(docs, &document{file: m, line: beginLine, text: d})
		}
		begin, beginLine = end, line
	}
	for at := 0; at < len(text); line++ {
		if isSeparator(text[at:]) {
			cut(at)
		}
		end := bytes.IndexByte(text[at:], '\n')
		if end < 0 {
			break
		}
		at += end + 1
	}
	cut(len(text))
	return docs
}

// isSeparator tells whether text begins with the mark of a new document (YAML 1.2, 9.1.2).
func isSeparator(text []byte) bool {
	return bytes.HasPrefix(text, []byte("---")) && (len(text) == 3 || bytes.IndexByte([]byte(" \t\r\n"), text[3]) >= 0)
}

// hasContent tells whether there is more in text than comments and separators.
func hasContent(text []byte) bool {
	for l := range bytes.Lines(text) {
		if l = bytes.TrimSpace(l); len(l) > 0 && l[0] != '#' && !bytes.Equal(l, []byte("---")) && !bytes.Equal(l, []byte("...")) {
			return true
		}
	}
	return false
}

// decodeDocuments decodes documents, on every processor; those in known are as they were. The result is in their order.
func decodeDocuments(docs []*document, known map[documentSum]*loadedDocument) []*loadedDocument {
	loaded := make([]*loadedDocument, len(docs))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(docs)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(docs)); i = next.Add(1) - 1 {
				d := docs[i]
				d.sum = sha256.Sum256(d.text)
				if loaded[i] = known[d.sum]; loaded[i] == nil {
					l := d.load()
					loaded[i] = &l
				}
			}
		})
	}
	wg.Wait()
	return loaded
}

// load decodes the objects of a document.
func (d *document) load() (l loadedDocument) {
	defer func() {
		if r := recover(); r != nil { // the parser's own mistake must not end a gateway that reloads
			l = loadedDocument{errs: FileErrors{d.errorAt(1, 1, fmt.Errorf("not readable as YAML: %v", r), "")}}
		}
	}()
	if err := d.checkText(); err != nil {
		return loadedDocument{errs: FileErrors{err}}
	}
	next := d.yamlReader()
	if d.isJSON() {
		next = newJSONReader(d).next
	}
	for {
		root, err := next()
		var wrong *FileError
		switch {
		case errors.Is(err, io.EOF):
			return l
		case errors.As(err, &wrong):
			l.errs = append(l.errs, wrong)
			return l
		case err != nil:
			l.errs = append(l.errs, d.syntaxErrors(err)...)
			return l
		case isNull(root):
			continue
		}
		dec := &objectDecoder{doc: d, nodes: len(d.text) + maxAliased}
		dec.document(root)
		l.objects = append(l.objects, dec.objects...)
		l.errs = append(l.errs, dec.errs...)
	}
}

// yamlReader returns a function that reads the next value of a document: there is one, or none before io.EOF.
func (d *document) yamlReader() func() (*yaml.Node, error) {
	parser := yaml.NewDecoder(bytes.NewReader(d.text))
	return func() (*yaml.Node, error) {
		var root yaml.Node
		if err := parser.Decode(&root); err != nil || len(root.Content) == 0 {
			return nil, err
		}
		return root.Content[0], nil
	}
}

// checkText refuses bytes that are no text.
func (d *document) checkText() *FileError {
	if utf8.Valid(d.text) {
		return nil
	}
	line := 1
	for l := range bytes.Lines(d.text) {
		if !utf8.Valid(l) {
			return d.errorAt(line, 1, errors.New("this line is not UTF-8"), "save the file as UTF-8")
		}
		line++
	}
	return nil
}

// errorAt makes an error of a place in the document: line and column from 1.
func (d *document) errorAt(line, column int, err error, remedy string) *FileError {
	e := &FileError{File: d.file.name, Line: d.line + line, Column: column, Err: err, Remedy: remedy, order: d.file.order}
	if !bytes.Contains(d.text, []byte("Secret")) || !bytes.Contains(bytes.ToLower(d.text), []byte("data:")) { // errors reach logs
		e.source = excerpt(d.lineAt(line), column)
	}
	return e
}

// lineAt is a line of the document, counted from 1; empty if there is none.
func (d *document) lineAt(line int) string {
	text := d.text
	for ; line > 1; line-- {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			return ""
		}
		text = text[end+1:]
	}
	if end := bytes.IndexByte(text, '\n'); end >= 0 {
		text = text[:end]
	}
	return string(text)
}

var (
	yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	yamlName = regexp.MustCompile(`unknown anchor '(.*)'`)
	hereDoc  = regexp.MustCompile(`^\s*\$?\s*(?:kubectl|cat|k)\b.*<<-?\s*['"]?(\w+)['"]?\s*$`)
)

// syntaxErrors gives the parser's message its place and a remedy.
func (d *document) syntaxErrors(err error) FileErrors {
	if pasted, rest := d.shell(); pasted != nil {
		return append(pasted, rest.load().errs...)
	}
	line, text := 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
		if strings.HasPrefix(text, "did not find expected") {
			line++ // the parser, unlike the scanner, counts from 0
			text += ", in what begins here"
		}
	} else if m := yamlName.FindStringSubmatch(text); m != nil {
		line = d.lineOf("*" + m[1])
	}
	line = max(1, min(line, 1+bytes.Count(d.text, []byte("\n"))))
	at := d.lineAt(line)
	column := utf8.RuneCountInString(at) - utf8.RuneCountInString(strings.TrimLeft(at, " \t")) + 1
	return FileErrors{d.errorAt(line, column, errors.New("not YAML: "+text), syntaxRemedy(text, at))}
}

// lineOf is the first line with text in it, from 1.
func (d *document) lineOf(text string) int {
	before, _, ok := bytes.Cut(d.text, []byte(text))
	if !ok {
		return 1
	}
	return 1 + bytes.Count(before, []byte("\n"))
}

// syntaxRemedy says what is usually behind a message of the parser.
func syntaxRemedy(text, line string) string {
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	switch {
	case strings.Contains(indent, "\t"):
		return "YAML is indented with spaces, not with tabs"
	case strings.Contains(text, "mapping values are not allowed"):
		return `a value with ": " in it needs quotes; or this line is indented further than the one above it`
	case strings.Contains(text, "did not find expected key"), strings.Contains(text, "'-' indicator"):
		return "the fields of one object, and the items of one list, begin in the same column"
	case strings.Contains(text, "could not find expected ':'"):
		return "this line, or the one above it, is no \"key: value\""
	case strings.Contains(text, "expected ',' or"), strings.Contains(text, "end of stream"), strings.Contains(text, "node content"):
		return "a bracket, brace or quote is opened and not closed"
	case strings.Contains(text, "cannot start any token"):
		return "a value that begins with @, ` or % needs quotes"
	case strings.Contains(text, "unknown anchor"):
		return "a value that begins with * is the name of an anchor (&name); quote it if it is not"
	case strings.Contains(text, "escape"):
		return `in double quotes a backslash is written \\`
	}
	return ""
}

// shell finds the lines of a command that were pasted with a manifest, kubectl apply -f - <<EOF, and returns the document
// with these lines empty. Nil: there are none.
func (d *document) shell() (errs FileErrors, rest *document) {
	if d.cleaned {
		return nil, nil
	}
	word, line := "", 0
	var text []byte
	for l := range bytes.Lines(d.text) {
		line++
		l = bytes.TrimRight(l, "\r\n")
		var m [][]byte
		if len(errs) < maxFailures {
			m = hereDoc.FindSubmatch(l)
		}
		switch {
		case m != nil:
			word = string(m[1])
			errs = append(errs, d.errorAt(line, 1, errors.New("this line is a command of the shell, not YAML"),
				fmt.Sprintf("remove it, and the line %q at its end", word)))
		case word != "" && string(l) == word, word == "" && string(l) == "EOF" && len(errs) < maxFailures:
			errs = append(errs, d.errorAt(line, 1, fmt.Errorf("the line %q belongs to a command of the shell", l), "remove it"))
			word = ""
		default:
			text = append(text, l...)
		}
		text = append(text, '\n')
	}
	return errs, &document{file: d.file, line: d.line, text: text, cleaned: true}
}
