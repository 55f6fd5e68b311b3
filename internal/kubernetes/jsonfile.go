package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// isJSON tells whether a document is to be read as JSON, which YAML's readers do not know to the last escape.
func (d *document) isJSON() bool {
	text := bytes.TrimSpace(d.text)
	return len(text) > 0 && text[0] == '{' && (strings.HasSuffix(strings.ToLower(d.file.name), ".json") || json.Valid(text))
}

// jsonReader makes the nodes that YAML would make of JSON.
type jsonReader struct {
	doc  *document
	dec  *json.Decoder
	line int   // of the place up to which text was looked at, from 1
	from int64 // where that line begins
	at   int64 // that place
}

func newJSONReader(d *document) *jsonReader {
	r := &jsonReader{doc: d, dec: json.NewDecoder(bytes.NewReader(d.text)), line: 1}
	r.dec.UseNumber()
	return r
}

// next returns the next value; io.EOF if there is none.
func (r *jsonReader) next() (*yaml.Node, error) {
	n, err := r.value(0)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	var syntax *json.SyntaxError
	offset := r.dec.InputOffset()
	if errors.As(err, &syntax) {
		offset = syntax.Offset - 1
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		offset = int64(len(r.doc.text))
	}
	line, column := r.place(min(max(offset, r.at), int64(len(r.doc.text))))
	return nil, r.doc.errorAt(line, column, fmt.Errorf("not JSON: %w", err), "")
}

// place is the line and column of an offset that is not before the one of the last call.
func (r *jsonReader) place(offset int64) (line, column int) {
	for {
		i := bytes.IndexByte(r.doc.text[r.at:offset], '\n')
		if i < 0 {
			break
		}
		r.at += int64(i) + 1
		r.line, r.from = r.line+1, r.at
	}
	r.at = offset
	return r.line, utf8.RuneCount(r.doc.text[r.from:offset]) + 1
}

// token returns the next token and a node at its place.
func (r *jsonReader) token() (json.Token, *yaml.Node, error) {
	text := r.doc.text
	begin := r.dec.InputOffset()
	for begin < int64(len(text)) && bytes.IndexByte([]byte(" \t\r\n:,"), text[begin]) >= 0 {
		begin++
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = r.place(begin)
	return t, n, nil
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	t, n, err := r.token()
	if err != nil {
		if depth > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		return n, r.inside(t, n, depth)
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!int", t.String()
		if strings.ContainsAny(n.Value, ".eE") {
			n.Tag = "!!float"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	case nil:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

// inside reads what an opened object or array holds, and its end.
func (r *jsonReader) inside(open json.Delim, n *yaml.Node, depth int) error {
	n.Kind, n.Tag = yaml.MappingNode, "!!map"
	if open == '[' {
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
	}
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	for r.dec.More() {
		item, err := r.value(depth + 1) // in an object, names and values in turn
		if err != nil {
			return err
		}
		n.Content = append(n.Content, item)
	}
	_, _, err := r.token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
