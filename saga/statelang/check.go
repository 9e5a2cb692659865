package statelang

import (
	"fmt"
	"slices"
	"strings"
)

// check holds a machine to the rules between its states.
func (p *parser) check(m *Machine) {
	if m.States[m.StartState] == nil {
		p.add(m, &p.problems, "$.StartState", "there is no state %q%s", m.StartState, near(m, m.StartState))
	}
	for _, name := range m.Order {
		s := m.States[name]
		for _, r := range s.Successors() {
			if m.States[r.State] == nil {
				p.add(m, &p.problems, r.Path, "there is no state %q%s", r.State, near(m, r.State))
			}
		}
		if s.CompensateState != "" {
			undo := m.States[s.CompensateState]
			switch {
			case undo == nil: // Seata reads such a machine, and one of its own tests has one
				p.add(m, &p.warnings, s.Path+".CompensateState", "there is no state %q%s: a compensation will stop at this state and not succeed", s.CompensateState, near(m, s.CompensateState))
			case !undo.IsTask():
				p.add(m, &p.problems, s.Path+".CompensateState", "%q is a %s; a compensation is a task", s.CompensateState, undo.Type)
			}
		}
		if s.Type == SubStateMachine && s.StateMachineName == m.Name {
			p.add(m, &p.problems, s.Path+".StateMachineName", "the machine would run itself without end")
		}
	}
	if len(p.problems) == 0 {
		p.checkEnd(m)
	}
}

func (p *parser) add(m *Machine, list *[]Problem, path, format string, args ...any) {
	*list = append(*list, m.Problem(path, fmt.Sprintf(format, args...)))
}

// near suggests the state that differs in letter case only.
func near(m *Machine, name string) string {
	for _, other := range m.Order {
		if strings.EqualFold(other, name) {
			return "; did you mean \"" + other + "\"?"
		}
	}
	return ""
}

// checkEnd finds states that are reached from the start and from which no state
// without a successor can be reached: an instance would run for ever.
func (p *parser) checkEnd(m *Machine) {
	reached := reach(m, []string{m.StartState}, func(s *State) []Reference { return s.Successors() })
	before := map[string][]Reference{}
	var ends []string
	for name := range reached {
		next := m.States[name].Successors()
		if len(next) == 0 || m.States[name].Type != Choice && m.States[name].Next == "" {
			ends = append(ends, name)
		}
		for _, r := range next {
			before[r.State] = append(before[r.State], Reference{State: name})
		}
	}
	ending := reach(m, ends, func(s *State) []Reference { return before[s.Name] })
	var endless []string
	for name := range reached {
		if !ending[name] {
			endless = append(endless, name)
		}
	}
	if len(endless) > 0 {
		slices.Sort(endless)
		p.add(m, &p.problems, m.States[endless[0]].Path, "no end can be reached from %s: an instance would run for ever; lead one of them to a Succeed or Fail state",
			strings.Join(endless, ", "))
	}
}

func reach(m *Machine, from []string, next func(*State) []Reference) map[string]bool {
	seen := map[string]bool{}
	for len(from) > 0 {
		name := from[len(from)-1]
		from = from[:len(from)-1]
		if seen[name] {
			continue
		}
		seen[name] = true
		for _, r := range next(m.States[name]) {
			from = append(from, r.State)
		}
	}
	return seen
}
