package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of the shape of a file. No configuration needs more; the YAML library takes time
// quadratic in some of them.
const (
	maxLines       = 10_000
	maxFlowDepth   = 16 // of [ and {
	maxBlockIndent = 64 // columns
)

// decode reads data into c and notes where each key stands. It reports everything that it
// finds; what is not YAML ends it at once.
func (s *source) decode(data []byte, c *Config, getenv func(string) (string, bool)) Errors {
	if err := s.checkText(data); err != nil {
		return Errors{err}
	}
	body, err := s.parse(data)
	if err != nil {
		return Errors{err}
	}
	if body == nil {
		return nil
	}
	d := &decoder{src: s, getenv: getenv}
	d.value(body, reflect.ValueOf(c).Elem(), "")
	return d.found()
}

// checkText refuses what YAML readers disagree about or describe badly: bytes that are no
// UTF-8, control characters, tabs as indentation.
func (s *source) checkText(data []byte) *Error {
	if n := len(s.lines); n > maxLines {
		return s.errorAt(place{}, "", fmt.Errorf("%d lines, at most %d are read", n, maxLines), "")
	}
	for i, line := range s.lines {
		line = bytes.TrimSuffix(line, []byte("\r"))
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		at := func(n int) place { return place{i + 1, utf8.RuneCount(line[:n]) + 1} }
		if n := bytes.IndexByte(indent, '\t'); n >= 0 && len(indent) < len(line) && line[len(indent)] != '#' {
			return s.errorAt(at(n), "", errors.New("tab in the indentation"), "YAML is indented with spaces")
		}
		for n := 0; n < len(line); {
			r, size := utf8.DecodeRune(line[n:])
			switch {
			case r == utf8.RuneError && size == 1:
				return s.errorAt(at(n), "", fmt.Errorf("byte 0x%02x is not UTF-8", line[n]), "save the file as UTF-8")
			case r < ' ' && r != '\t', r == 0x7f, 0x80 <= r && r <= 0x9f, r == '\u2028', r == '\u2029', r == '\ufeff' && (i > 0 || n > 0):
				return s.errorAt(at(n), "", fmt.Errorf("character U+%04X", r), `write it as an escape in double quotes, "\n"`)
			}
			n += size
		}
	}
	return nil
}

// parse returns the body of the one document; nil if there is nothing in it.
func (s *source) parse(data []byte) (body ast.Node, failed *Error) {
	defer func() {
		if r := recover(); r != nil { // the parser's own mistake must not end a gateway that reloads
			body, failed = nil, s.errorAt(place{}, "", fmt.Errorf("not readable as YAML: %v", r), "")
		}
	}()
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	tokens := lexer.Tokenize(text)
	if err := s.checkTokens(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, s.syntaxError(err)
	}
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			return nil, s.errorAt(begin(doc.Body), "", errors.New("a second document"), "one file holds one configuration: remove the ---")
		default:
			body = doc.Body
		}
	}
	if _, null := body.(*ast.NullNode); null {
		return nil, nil
	}
	return body, nil
}

// checkTokens refuses the parts of YAML that a configuration has no use for. With them go
// documents that are small as text and huge as a tree.
func (s *source) checkTokens(tokens token.Tokens) *Error {
	depth := 0
	for _, t := range tokens {
		var what, hint string
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			what, hint = "anchors, aliases and merge keys are not supported", "write the value out, or quote it"
		case token.TagType, token.DirectiveType:
			what, hint = "tags and directives are not supported", "remove it, or quote the value"
		case token.MappingKeyType:
			what, hint = "keys with ? are not supported", "write key: value"
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxFlowDepth {
				what = "nested too deeply"
			}
			if t.Type == token.MappingStartType && t.Prev != nil && strings.HasSuffix(t.Prev.Value, "$") {
				what, hint = "${...} inside { } or [ ] needs quotes", `write "${NAME}"`
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			if depth > 0 {
				what, hint = "list item with - inside { } or [ ]", "separate the items with commas"
			} else if t.Position.Column > maxBlockIndent {
				what = "nested too deeply"
			}
		case token.MappingValueType:
			if depth == 0 && t.Prev != nil && t.Prev.Position.Column > maxBlockIndent {
				what = "nested too deeply"
			}
		}
		if what != "" {
			return s.errorAt(placeOf(t), "", errors.New(what), hint)
		}
	}
	return nil
}

// syntaxError gives the parser's message its place.
func (s *source) syntaxError(err error) *Error {
	var syntax interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		return s.errorAt(place{}, "", fmt.Errorf("not YAML: %w", err), "")
	}
	return s.errorAt(placeOf(syntax.GetToken()), "", errors.New("not YAML: "+syntax.GetMessage()), "")
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// begin is where a node begins in the file.
func begin(n ast.Node) place {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return begin(n.Values[0])
		}
	case *ast.MappingValueNode:
		return begin(n.Key)
	}
	return placeOf(n.GetToken())
}
