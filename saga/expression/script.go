package expression

import (
	"fmt"
	"maps"
)

// Script is a parsed script of a ScriptTask, in the part of Groovy that glues
// states together: if and else, throw, return, variables and expressions. There
// are no loops, so every script ends. It may be used concurrently.
type Script struct{ body []statement }

// Thrown is the error of a script that threw an exception.
type Thrown struct {
	// Class is the name after new, such as RuntimeException.
	Class   string
	Message string
}

func (e *Thrown) Error() string { return e.Class + ": " + e.Message }

// ParseScript reads a script.
func ParseScript(source string) (*Script, error) {
	tokens, err := lex(source, true)
	if err != nil {
		return nil, err
	}
	p := &scriptParser{translator{source: source, tokens: tokens, groovy: true, focus: "root"}}
	body, err := p.block("")
	if err != nil {
		return nil, err
	}
	return &Script{body: body}, nil
}

// Run executes the script with variables, which it does not change. The result
// is that of return, or of the last statement.
func (s *Script) Run(variables map[string]any) (any, error) {
	own := maps.Clone(variables)
	if own == nil {
		own = map[string]any{}
	}
	result, _, err := execute(s.body, own)
	return Plain(result), err
}

// statement is one of: an expression or assignment, return, throw, if.
type statement struct {
	kind     string
	variable string // assigned
	class    string // thrown
	value    *program
	yes, no  []statement
}

func execute(body []statement, variables map[string]any) (result any, returned bool, err error) {
	for _, s := range body {
		var v any
		if s.value != nil {
			if v, err = s.value.run(variables); err != nil {
				return nil, true, err
			}
		}
		switch s.kind {
		case "return":
			return v, true, nil
		case "throw":
			message := ""
			if v != nil {
				message = Text(v)
			}
			return nil, true, &Thrown{Class: s.class, Message: message}
		case "if":
			branch := s.no
			if truth(v) {
				branch = s.yes
			}
			if result, returned, err = execute(branch, variables); returned || err != nil {
				return result, returned, err
			}
		default:
			if s.variable != "" {
				variables[s.variable] = v
			}
			result = v
		}
	}
	return result, false, nil
}

type scriptParser struct{ translator }

// block reads statements up to a closing sign, or to the end.
func (p *scriptParser) block(closing string) (body []statement, err error) {
	for {
		for p.accept(";") {
			continue
		}
		if closing != "" && p.accept(closing) || closing == "" && p.peek().kind == end {
			return body, nil
		}
		if p.peek().kind == end {
			return nil, p.bad(p.peek(), "want %q", closing)
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		body = append(body, s)
		if !p.is(";") && !(closing != "" && p.is(closing)) && !p.peek().line && s.kind != "if" {
			return nil, p.bad(p.peek(), "%s is not expected here", p.peek())
		}
	}
}

func (p *scriptParser) statement() (statement, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		return statement{}, p.bad(p.peek(), "nested more than %d deep", maxNesting)
	}
	first := p.peek()
	following := p.tokens[min(p.at+1, len(p.tokens)-1)]
	switch {
	case first.kind != name:
	case first.text == "if":
		p.take()
		return p.conditional()
	case first.text == "throw":
		p.take()
		return p.throw()
	case first.text == "return":
		p.take()
		if p.is(";", "}") || p.peek().line {
			return statement{kind: "return"}, nil
		}
		value, err := p.value()
		return statement{kind: "return", value: value}, err
	case first.text == "for", first.text == "while", first.text == "import", first.text == "class", first.text == "try", first.text == "switch":
		return statement{}, p.bad(first, "%q is not supported in a script; write a service for it", first.text)
	case first.text == "def" && following.kind == name:
		p.take()
		variable := p.take().text
		if err := p.want("="); err != nil {
			return statement{}, err
		}
		value, err := p.value()
		return statement{variable: variable, value: value}, err
	case following.kind == sign && following.text == "=":
		p.take()
		p.take()
		value, err := p.value()
		return statement{variable: first.text, value: value}, err
	}
	value, err := p.value()
	return statement{value: value}, err
}

// value compiles the expression that comes next.
func (p *scriptParser) value() (*program, error) {
	p.constants = nil
	code, err := p.expression()
	if err != nil {
		return nil, err
	}
	return p.program(code)
}

func (p *scriptParser) conditional() (statement, error) {
	s := statement{kind: "if"}
	err := p.want("(")
	if err == nil {
		s.value, err = p.value()
	}
	if err == nil {
		err = p.want(")")
	}
	if err == nil {
		s.yes, err = p.branch()
	}
	if err != nil {
		return s, err
	}
	if next := p.peek(); next.kind == name && next.text == "else" {
		p.take()
		s.no, err = p.branch()
	}
	return s, err
}

func (p *scriptParser) branch() ([]statement, error) {
	if p.accept("{") {
		return p.block("}")
	}
	s, err := p.statement()
	p.accept(";")
	return []statement{s}, err
}

// throw reads new Class(message).
func (p *scriptParser) throw() (statement, error) {
	s := statement{kind: "throw"}
	if word := p.take(); word.text != "new" {
		return s, p.bad(word, "want throw new …Exception(…)")
	}
	for {
		part := p.take()
		if part.kind != name {
			return s, p.bad(part, "want the name of an exception, found %s", part)
		}
		s.class += part.text
		if !p.accept(".") {
			break
		}
		s.class += "."
	}
	if err := p.want("("); err != nil {
		return s, err
	}
	if p.accept(")") {
		return s, nil
	}
	value, err := p.value()
	if err != nil {
		return s, err
	}
	s.value = value
	if err := p.want(")"); err != nil {
		return s, fmt.Errorf("%w; an exception takes one message", err)
	}
	return s, nil
}
