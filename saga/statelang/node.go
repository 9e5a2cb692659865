package statelang

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

const (
	// maxBytes bounds a definition; Seata's column takes 64 KiB.
	maxBytes = 1 << 20
	maxDepth = 100
)

// Problem is a mistake in a definition.
type Problem struct {
	// Path leads to the value, as in $.States.Pay.Next.
	Path string
	// Line and Column begin at 1; both are 0 if the value is missing altogether
	// or stands in a layout of Seata's designer.
	Line, Column int
	Text         string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Text
	}
	return fmt.Sprintf("%d:%d: %s: %s", p.Line, p.Column, p.Path, p.Text)
}

// Error is the error of Parse: all the problems that it found.
type Error struct{ Problems []Problem }

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return "state machine: " + strings.Join(lines, "\n")
}

// node is a JSON value with its place; objects keep their order.
type node struct {
	path    string
	offset  int64
	value   any // string, json.Number, bool or nil for a scalar
	members []member
	items   []*node
	kind    kind
}

type member struct {
	key string
	*node
}

type kind uint8

const (
	scalar kind = iota
	object
	array
)

func (n *node) get(key string) *node {
	for _, m := range n.members {
		if m.key == key {
			return m.node
		}
	}
	return nil
}

// plain returns the value as encoding/json would, with whole numbers as int64.
func (n *node) plain() any {
	switch n.kind {
	case object:
		m := make(map[string]any, len(n.members))
		for _, x := range n.members {
			m[x.key] = x.plain()
		}
		return m
	case array:
		list := make([]any, len(n.items))
		for i, x := range n.items {
			list[i] = x.plain()
		}
		return list
	}
	if number, ok := n.value.(json.Number); ok {
		if whole, err := strconv.ParseInt(string(number), 10, 64); err == nil {
			return whole
		}
		f, _ := number.Float64()
		return f
	}
	return n.value
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// child is the path of a key.
func child(path, key string) string {
	simple := key != "" && strings.IndexFunc(key, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	}) < 0
	if simple {
		return path + "." + key
	}
	return path + "[" + strconv.Quote(key) + "]"
}

// reader turns a text into nodes.
type reader struct {
	text    []byte
	decoder *json.Decoder
}

// read parses text or returns the one problem that stops it.
func read(text []byte) (*node, *Problem) {
	if len(text) > maxBytes {
		return nil, &Problem{Path: "$", Text: fmt.Sprintf("%d bytes; a state machine may have %d at most", len(text), maxBytes)}
	}
	r := &reader{text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	r.decoder.UseNumber()
	root, problem := r.value("$", 0)
	if problem != nil {
		return nil, problem
	}
	if _, err := r.decoder.Token(); err != io.EOF {
		return nil, r.problem("$", r.decoder.InputOffset(), "text after the end of the state machine")
	}
	return root, nil
}

func (r *reader) problem(path string, offset int64, text string) *Problem {
	line, column := place(r.text, offset)
	return &Problem{Path: path, Line: line, Column: column, Text: text}
}

// place turns an offset into line and column, skipping what may stand before a value.
func place(text []byte, offset int64) (line, column int) {
	offset = min(offset, int64(len(text)))
	for offset < int64(len(text)) && strings.IndexByte(" \t\r\n,:", text[offset]) >= 0 {
		offset++
	}
	before := text[:offset]
	return bytes.Count(before, []byte{'\n'}) + 1, int(offset) - bytes.LastIndexByte(before, '\n')
}

func (r *reader) value(path string, depth int) (*node, *Problem) {
	n := &node{path: path, offset: r.decoder.InputOffset()}
	if depth > maxDepth {
		return nil, r.problem(path, n.offset, fmt.Sprintf("nested more than %d deep", maxDepth))
	}
	token, err := r.decoder.Token()
	if err != nil {
		return nil, r.syntax(path, n.offset, err)
	}
	switch token {
	case json.Delim('{'):
		n.kind = object
		return n, r.object(n, depth)
	case json.Delim('['):
		n.kind = array
		return n, r.array(n, depth)
	}
	n.value = token
	return n, nil
}

func (r *reader) object(n *node, depth int) *Problem {
	for r.decoder.More() {
		at := r.decoder.InputOffset()
		token, err := r.decoder.Token()
		if err != nil {
			return r.syntax(n.path, at, err)
		}
		key := token.(string) // the decoder accepts nothing else as a key
		if n.get(key) != nil {
			return r.problem(child(n.path, key), at, "the key stands here twice; rename or remove one")
		}
		v, problem := r.value(child(n.path, key), depth+1)
		if problem != nil {
			return problem
		}
		n.members = append(n.members, member{key, v})
	}
	return r.close(n)
}

func (r *reader) array(n *node, depth int) *Problem {
	for r.decoder.More() {
		v, problem := r.value(index(n.path, len(n.items)), depth+1)
		if problem != nil {
			return problem
		}
		n.items = append(n.items, v)
	}
	return r.close(n)
}

func (r *reader) close(n *node) *Problem {
	at := r.decoder.InputOffset()
	if _, err := r.decoder.Token(); err != nil {
		return r.syntax(n.path, at, err)
	}
	return nil
}

func (r *reader) syntax(path string, offset int64, err error) *Problem {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset = max(syntax.Offset-1, 0)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.problem(path, int64(len(r.text)), "the text ends in the middle of a value; it may be cut off")
	}
	return r.problem(path, offset, "this is no JSON: "+err.Error())
}
