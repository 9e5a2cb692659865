package expression

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// Kind tells what an Expression does.
type Kind uint8

// The kinds of expressions.
const (
	// Evaluated: Eval returns its value.
	Evaluated Kind = iota
	// Sequence asks whoever evaluates for a new id of the sequence that Argument names.
	Sequence
	// Exception is true for errors of the class that Argument names.
	Exception
)

// Expression is a parsed text. It may be used concurrently.
type Expression struct {
	Text     string
	Kind     Kind
	Argument string
	program  *program
}

// Parse reads a text as a state machine holds it. The error says what is wrong
// and at which character.
func Parse(text string) (*Expression, error) {
	e := &Expression{Text: text}
	kind, content, err := split(text)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == "":
		e.program, err = compile(content, false)
		return e, err
	case kind == "Sequence":
		e.Kind, e.Argument = Sequence, content
	case strings.EqualFold(kind, "Exception"):
		e.Kind, e.Argument = Exception, content
	default:
		return nil, fmt.Errorf("%q: there is no kind of expression %q; want $.…, $Sequence.… or $Exception{…}", text, "$"+kind)
	}
	if content == "" {
		return nil, fmt.Errorf("%q: nothing follows %q", text, "$"+kind)
	}
	return e, nil
}

func split(text string) (kind, content string, err error) {
	if !strings.HasPrefix(text, "$") {
		return "", text, nil
	}
	end := strings.IndexAny(text, ".{")
	if end < 0 {
		return "", "", fmt.Errorf("%q: want $.expression, $Sequence.name|rule or $Exception{class}", text)
	}
	kind, content = text[1:end], text[end+1:]
	if text[end] == '{' {
		closing := strings.IndexByte(content, '}')
		if closing < 0 {
			return "", "", fmt.Errorf("%q: the { is not closed", text)
		}
		content = content[:closing]
	}
	return kind, content, nil
}

// Eval computes the value on root, which is #root. Only an expression of the
// kind Evaluated has one.
func (e *Expression) Eval(root any) (any, error) {
	if e.Kind != Evaluated {
		return nil, fmt.Errorf("%q has no value of its own", e.Text)
	}
	v, err := e.program.run(root)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", e.Text, err)
	}
	return v, nil
}

// True evaluates a condition. As in Seata, what is no boolean is not true.
func (e *Expression) True(root any) (bool, error) {
	v, err := e.Eval(root)
	return v == true, err
}

// program is translated code.
type program struct {
	code      *vm.Program
	constants []any
}

// environment is what translated code sees.
type environment struct {
	Root any   `expr:"root"`
	K    []any `expr:"k"`
}

// compile translates a text; groovy is the dialect of scripts.
func compile(text string, groovy bool) (*program, error) {
	tokens, err := lex(text, groovy)
	if err != nil {
		return nil, err
	}
	t := &translator{source: text, tokens: tokens, groovy: groovy, focus: "root"}
	code, err := t.whole()
	if err != nil {
		return nil, err
	}
	return t.program(code)
}

func (t *translator) program(code string) (*program, error) {
	options := append(operators(), expr.Env(environment{}), expr.DisableAllBuiltins(),
		expr.EnableBuiltin("filter"), expr.EnableBuiltin("map"))
	compiled, err := expr.Compile(code, options...)
	if err != nil {
		return nil, fmt.Errorf("%q cannot be evaluated: %w", t.source, err)
	}
	return &program{code: compiled, constants: t.constants}, nil
}

func (p *program) run(root any) (any, error) {
	v, err := expr.Run(p.code, environment{Root: root, K: p.constants})
	if err != nil {
		return nil, plainError(err)
	}
	return Plain(v), nil
}

// plainError drops expr's picture of the translated code, which nobody wrote.
func plainError(err error) error {
	text, _, _ := strings.Cut(err.Error(), " (1:")
	return fmt.Errorf("%s", text)
}
