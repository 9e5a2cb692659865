package machine

import (
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/saga/expression"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// Program is a definition with its expressions parsed. It is not changed after
// Compile and may run many instances.
type Program struct {
	Machine *statelang.Machine
	states  map[string]*state
}

// state is a state with its expressions.
type state struct {
	*statelang.State
	input     []value
	output    []output
	status    []rule
	arms      []arm
	items     value
	condition *expression.Expression
}

type output struct {
	name  string
	value value
}

type rule struct {
	when   *expression.Expression
	status Status
}

type arm struct {
	when *expression.Expression
	next string
}

// Compile parses every expression of a definition. The error is a
// *statelang.Error with all that cannot be parsed.
func Compile(m *statelang.Machine) (*Program, error) {
	c := &compiler{machine: m}
	p := &Program{Machine: m, states: make(map[string]*state, len(m.States))}
	for name, s := range m.States {
		p.states[name] = c.state(s)
	}
	if len(c.problems) > 0 {
		return nil, &statelang.Error{Problems: c.problems}
	}
	return p, nil
}

type compiler struct {
	machine  *statelang.Machine
	problems []statelang.Problem
}

func (c *compiler) expression(path, text string) *expression.Expression {
	e, err := expression.Parse(text)
	if err != nil {
		c.problems = append(c.problems, c.machine.Problem(path, err.Error()))
	}
	return e
}

func (c *compiler) state(s *statelang.State) *state {
	compiled := &state{State: s}
	for i, v := range s.Input {
		compiled.input = append(compiled.input, c.value(fmt.Sprintf("%s.Input[%d]", s.Path, i), v))
	}
	for _, a := range s.Output {
		compiled.output = append(compiled.output, output{a.Name, c.value(s.Path+".Output."+a.Name, a.Value)})
	}
	for _, r := range s.Status {
		compiled.status = append(compiled.status, rule{c.expression(s.Path+".Status["+strconv.Quote(r.Expression)+"]", r.Expression), Status(r.Status)})
	}
	for i, b := range s.Choices {
		if b.Expression == "" { // the designer saves them; they never hold
			continue
		}
		compiled.arms = append(compiled.arms, arm{c.expression(fmt.Sprintf("%s.Choices[%d].Expression", s.Path, i), b.Expression), b.Next})
	}
	if l := s.Loop; l != nil {
		compiled.items = c.value(s.Path+".Loop.Collection", l.Collection)
		compiled.condition = c.expression(s.Path+".Loop.CompletionCondition", l.CompletionCondition)
	}
	if s.Type == statelang.ScriptTask && s.ScriptType == Groovy {
		if _, err := expression.ParseScript(s.ScriptContent); err != nil {
			c.problems = append(c.problems, c.machine.Problem(s.Path+".ScriptContent", err.Error()))
		}
	}
	return compiled
}

// Groovy is the ScriptType that needs nobody's help.
const Groovy = "groovy"

// value is a constant with expressions in it: nil, a scalar, *expression.Expression,
// []value or map[string]value.
type value any

func (c *compiler) value(path string, v any) value {
	switch v := v.(type) {
	case string:
		if len(v) > 0 && v[0] == '$' {
			return c.expression(path, v)
		}
	case []any:
		list := make([]value, len(v))
		for i, item := range v {
			list[i] = c.value(path+"["+strconv.Itoa(i)+"]", item)
		}
		return list
	case map[string]any:
		m := make(map[string]value, len(v))
		for key, item := range v {
			m[key] = c.value(path+"."+key, item)
		}
		return m
	}
	return v
}

// evaluate computes a value on root; sequence makes the ids of $Sequence.
func evaluate(v value, root any, sequence func(name string) string) (any, error) {
	switch v := v.(type) {
	case *expression.Expression:
		if v.Kind == expression.Sequence {
			return sequence(v.Argument), nil
		}
		return v.Eval(root)
	case []value:
		list := make([]any, len(v))
		for i, item := range v {
			x, err := evaluate(item, root, sequence)
			if err != nil {
				return nil, err
			}
			list[i] = x
		}
		return list, nil
	case map[string]value:
		m := make(map[string]any, len(v))
		for key, item := range v {
			x, err := evaluate(item, root, sequence)
			if err != nil {
				return nil, err
			}
			if x != nil { // as in Seata, what is null is left out
				m[key] = x
			}
		}
		return m, nil
	}
	return v, nil
}
