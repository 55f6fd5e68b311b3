package eureka

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of the shape of a YAML file: its parser takes time quadratic in some of them.
const (
	maxStaticLines  = 10000
	maxStaticDepth  = 16
	maxStaticColumn = 200 // where a list or a key may begin
)

// node is a value in a YAML file and the line where it stands: a text, a list or members. None of them: null.
type node struct {
	line    int
	text    *string
	list    []node
	members []member
}

// member is a key with its value.
type member struct {
	key  string
	line int
	node
}

// member is the value of a key; absent is null.
func (n node) member(key string) node {
	for _, m := range n.members {
		if m.key == key {
			return m.node
		}
	}
	return node{line: n.line}
}

func (n node) null() bool { return n.text == nil && n.list == nil && n.members == nil }

// lineError is an error and the line of the file where it is.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func (n node) errorf(format string, args ...any) error {
	return &lineError{n.line, fmt.Errorf(format, args...)}
}

// parseTree reads a YAML file: its documents, in order. Anchors, aliases and tags are refused. Its errors are lineErrors.
func parseTree(data []byte) (docs []node, err error) {
	defer func() {
		if r := recover(); r != nil { // the parser's own mistake must not end a gateway that reads a file again
			docs, err = nil, &lineError{1, fmt.Errorf("not readable as YAML: %v", r)}
		}
	}()
	if n := bytes.Count(data, []byte("\n")); n > maxStaticLines {
		return nil, &lineError{1, fmt.Errorf("%d lines, at most %d are read", n, maxStaticLines)}
	}
	if !utf8.Valid(data) {
		return nil, &lineError{1, errors.New("it is not UTF-8")}
	}
	tokens := lexer.Tokenize(strings.ReplaceAll(string(trimMark(data)), "\r\n", "\n"))
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax interface {
			GetMessage() string
			GetToken() *token.Token
		}
		if !errors.As(err, &syntax) || syntax.GetToken() == nil {
			return nil, &lineError{1, fmt.Errorf("not YAML: %w", err)}
		}
		return nil, &lineError{syntax.GetToken().Position.Line, errors.New("not YAML: " + syntax.GetMessage())}
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		n, err := treeOf(doc.Body)
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
	return docs, nil
}

// checkTokens refuses what would make a small text a huge tree, or a deep one.
func checkTokens(tokens token.Tokens) error {
	depth := 0
	for _, t := range tokens {
		what := ""
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType, token.MappingKeyType:
			what = "anchors, aliases, tags and keys with ? are not supported: write the value out, or quote it"
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxStaticDepth {
				what = "nested too deeply"
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType, token.MappingValueType:
			if depth == 0 && t.Prev != nil && t.Prev.Position.Column > maxStaticColumn {
				what = "nested too deeply"
			}
		}
		if what != "" {
			return &lineError{t.Position.Line, errors.New(what)}
		}
	}
	return nil
}

func treeOf(n ast.Node) (node, error) {
	out := node{line: n.GetToken().Position.Line}
	switch n := n.(type) {
	case *ast.NullNode:
		return out, nil
	case *ast.StringNode:
		out.text = &n.Value
	case *ast.LiteralNode:
		out.text = &n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.text = &n.GetToken().Value
	case *ast.SequenceNode:
		out.list = []node{}
		for _, item := range n.Values {
			v, err := treeOf(item)
			if err != nil {
				return out, err
			}
			out.list = append(out.list, v)
		}
	case ast.MapNode:
		out.members = []member{}
		for it := n.MapRange(); it.Next(); {
			m := member{key: it.Key().GetToken().Value, line: it.Key().GetToken().Position.Line}
			var err error
			if m.node, err = treeOf(it.Value()); err != nil {
				return out, err
			}
			if !out.member(m.key).null() {
				return out, &lineError{m.line, fmt.Errorf("key %s stands twice", quoted(m.key))}
			}
			if len(out.members) == 0 {
				out.line = m.line
			}
			m.node.line = m.line
			out.members = append(out.members, m)
		}
	default:
		return out, out.errorf("want text, a list or keys and values")
	}
	return out, nil
}
