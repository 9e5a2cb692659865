package machine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// loop is a task that runs for each element of a list.
type loop struct {
	state *state
	items []any
	// redo are the elements that run whatever the condition says, as they have
	// run before; queue are the others, the next first.
	redo, queue       []int
	active, completed int
	failed, satisfied bool
	runs              map[int]*iteration
}

// iteration is the run for one element.
type iteration struct {
	row    *Row
	failed *Failure
	caught string
}

// elements returns the list that a state loops over, or nil. As in Seata a task
// whose list is empty, or is none, runs once without an element.
func (x *Execution) elements(s *state) []any {
	if s.Loop == nil || s.Type == statelang.CompensateSubMachine || x.undo != nil {
		return nil
	}
	v, err := evaluate(s.items, x.vars, x.settings.NewID)
	if err != nil {
		return nil
	}
	items, _ := v.([]any)
	return items
}

func (x *Execution) beginLoop(s *state, items []any) {
	l := &loop{state: s, items: items, runs: map[int]*iteration{}}
	x.loop = l
	for i := range items {
		l.queue = append(l.queue, i)
	}
	if x.inLoop {
		x.inLoop = false
		x.reloadLoop(l)
	}
	x.loopNext()
}

// reloadLoop takes over what the log has of the loop. A crash leaves runs whose
// end is not known, and they run again; a forward repeats those that failed too.
func (x *Execution) reloadLoop(l *loop) {
	for _, r := range x.visit(l.state.Name) {
		_, n := r.State()
		if n < 0 || n >= len(l.items) || r.Superseded {
			continue
		}
		l.queue = slices.DeleteFunc(l.queue, func(i int) bool { return i == n })
		switch {
		case r.Finished() && r.Status == Succeeded:
			l.completed++
			l.runs[n] = &iteration{row: r}
		case r.Finished() && x.mode == Recovering:
			l.failed = true
			t := &task{state: l.state, row: r}
			l.runs[n] = &iteration{row: r, failed: r.Failure, caught: x.caughtBy(t)}
		default:
			l.redo = append(l.redo, n)
		}
	}
}

// visit returns the rows that a state's last visit has left, in the order of their
// start: a machine may come to a loop several times.
func (x *Execution) visit(name string) (rows []*Row) {
	repeated := map[string]string{} // the rows that those of the visit repeat, by name
	for _, r := range slices.Backward(x.Rows) {
		if s := x.program.states[stateName(r)]; r.IsCompensation() || s != nil && s.Async {
			continue
		}
		before, seen := repeated[r.Name]
		if stateName(r) != name || seen && before != r.ID {
			break
		}
		repeated[r.Name] = r.RetriedFor
		rows = append(rows, r)
	}
	slices.Reverse(rows)
	return rows
}

func stateName(r *Row) string {
	name, _ := r.State()
	return name
}

// loopNext begins as many runs as may be under way, and ends the loop when none is.
func (x *Execution) loopNext() {
	l := x.loop
	for l.active < l.state.Loop.Parallel && !x.ended {
		var n int
		switch {
		case len(l.redo) > 0:
			n, l.redo = l.redo[0], l.redo[1:]
		case l.failed || len(l.queue) == 0 || x.loopSatisfied():
			n = -1
		default:
			n, l.queue = l.queue[0], l.queue[1:]
		}
		if n < 0 {
			break
		}
		x.loopLaunch(n)
	}
	if l.active == 0 && !x.ended {
		x.endLoop()
	}
}

func (x *Execution) loopLaunch(n int) {
	l := x.loop
	t := &task{state: l.state, vars: withElement(l.state, x.vars, n, l.items[n]), element: n}
	if f := x.launch(t); f != nil {
		l.failed = true
		l.runs[n] = &iteration{failed: f}
		return
	}
	l.active++
	l.runs[n] = &iteration{row: t.row}
}

// withElement returns the variables with those of a loop's element.
func withElement(s *state, vars map[string]any, n int, element any) map[string]any {
	own := maps.Clone(vars)
	own[s.Loop.ElementIndex] = int64(n)
	delete(own, s.Loop.ElementVariable)
	if element != nil {
		own[s.Loop.ElementVariable] = element
	}
	return own
}

// loopSatisfied evaluates the CompletionCondition. Its numbers are of the kind
// that divides into fractions.
func (x *Execution) loopSatisfied() bool {
	l := x.loop
	if l.satisfied {
		return true
	}
	x.vars[varInstances] = float64(len(l.items))
	x.vars[varActive] = float64(l.active)
	x.vars[varCompleted] = float64(l.completed)
	holds, err := l.state.condition.True(x.vars)
	if err != nil {
		x.fail(fault(fmt.Sprintf("state %s: CompletionCondition: %v", l.state.Name, err)), true)
		return true
	}
	l.satisfied = holds || l.completed >= len(l.items)
	return l.satisfied
}

func (x *Execution) loopReturned(t *task, caught string, wrong *Failure) {
	l := x.loop
	l.active--
	run := l.runs[t.element]
	run.failed, run.caught = t.row.Failure, caught
	if wrong != nil {
		run.failed, run.caught = wrong, ""
	}
	switch {
	case wrong != nil, t.row.Status != Succeeded:
		l.failed = true
	default:
		run.failed = nil
		l.completed++
	}
	x.loopNext()
}

// endLoop collects the outputs and goes on. If a run failed, the error leads to
// a CompensationTrigger if any run's does, else where the first leads.
func (x *Execution) endLoop() {
	l := x.loop
	x.loop = nil
	var results []any
	route := ""
	var failure *Failure
	for _, n := range slices.Sorted(maps.Keys(l.runs)) {
		run := l.runs[n]
		results = append(results, loopOutput(l.state, run))
		if failure == nil {
			failure = run.failed
		}
		if run.caught == "" {
			continue
		}
		s := x.program.states[run.caught]
		if route == "" || s.Type == statelang.CompensationTrigger && x.program.states[route].Type != statelang.CompensationTrigger {
			route = run.caught
		}
	}
	x.vars[VarLoopResult] = results
	x.keepElements(l)
	x.snapshot = true
	switch {
	case route != "":
		x.failure = failure
		x.next(route)
	case l.failed && failure != nil:
		x.fail(failure, false)
	default:
		x.next(l.state.Next)
	}
}

// keepElements notes which row was for which element, for its compensation: the
// list's variable may have another value by then.
func (x *Execution) keepElements(l *loop) {
	if l.state.CompensateState == "" {
		return
	}
	kept := map[string]any{}
	if before, ok := x.vars[VarElements].(map[string]any); ok {
		maps.Copy(kept, before)
	}
	for n, run := range l.runs {
		if run.row != nil {
			kept[run.row.ID] = l.items[n]
		}
	}
	x.vars[VarElements] = kept
}

func loopOutput(s *state, run *iteration) map[string]any {
	var result any
	if run.row != nil {
		result = run.row.Output
	}
	values, err := outputs(s, result)
	if err == nil {
		return values
	}
	values = make(map[string]any, len(s.output)) // a run without a result has none to give
	for _, o := range s.output {
		values[o.name] = nil
	}
	return values
}
