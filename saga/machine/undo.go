package machine

import (
	"fmt"
	"maps"
)

// undoing is a compensation under way.
type undoing struct {
	// trigger is the CompensationTrigger, or nameOfSomeone.
	trigger string
	// stack are the rows to undo, the last one first to go.
	stack []*Row
	// current is the row that is being undone.
	current *Row
}

// ToCompensate returns the rows that a compensation has to undo, the last one to
// be undone first. It fails when a state that changed data has no compensation.
func (x *Execution) ToCompensate() ([]*Row, *Failure) {
	var rows []*Row
	for _, r := range x.Rows {
		if r.Superseded || r.IsCompensation() || r.Status == Failed || r.Status == Skipped || r.Compensation == Succeeded {
			continue
		}
		name, _ := r.State()
		s := x.program.states[name]
		if s == nil || s.ForCompensation {
			continue
		}
		if s.CompensateState != "" {
			rows = append(rows, r)
		} else if r.ForUpdate {
			return nil, fault(fmt.Sprintf("state %s changed data and has no CompensateState", r.Name))
		}
	}
	return rows, nil
}

// compensate begins to undo what the rows say was done.
func (x *Execution) compensate(trigger string) {
	rows, f := x.ToCompensate()
	if f != nil {
		x.fail(f, true)
		return
	}
	if len(rows) == 0 {
		x.end()
		return
	}
	i := x.Instance
	if x.failure != nil {
		i.Failure, x.failure = x.failure, nil
	}
	if i.Status == "" || i.Status == Running {
		i.Status = Unknown
	}
	i.Compensation = Running
	x.undo = &undoing{trigger: trigger, stack: rows}
	x.noteCompensation()
	x.undoNext(nil)
}

// noteCompensation puts into the log that the instance compensates, and where it
// goes on after that.
func (x *Execution) noteCompensation() {
	x.vars[varCompensating] = x.undo.trigger
	x.Instance.EndParams = maps.Clone(x.vars)
	x.step.Batch.Note = x.Instance
	x.snapshot = true
}

// undoNext undoes the next row; done is the compensation that has just ended.
func (x *Execution) undoNext(done *Row) {
	u := x.undo
	if done != nil && done.Status != Succeeded {
		x.end()
		return
	}
	if n := len(u.stack); n > 0 {
		u.current, u.stack = u.stack[n-1], u.stack[:n-1]
		x.undoRow(u.current)
		return
	}
	x.undo = nil
	delete(x.vars, varCompensating)
	next := nothingToRunNext
	if s := x.program.states[u.trigger]; s != nil {
		next = s.Next
	}
	x.next(next)
}

func (x *Execution) undoRow(r *Row) {
	name, element := r.State()
	s := x.program.states[name]
	undo := x.program.states[s.CompensateState]
	if undo == nil { // what cannot be undone is not
		x.undo.stack = append(x.undo.stack, r)
		x.end()
		return
	}
	vars := x.vars
	if element >= 0 && s.Loop != nil {
		if v, ok := x.elementOf(r, s, element); ok {
			vars = withElement(s, x.vars, element, v)
		}
	}
	if f := x.launch(&task{state: undo, vars: vars, element: -1}); f != nil {
		x.fail(f, true)
	}
}

// elementOf returns the element of a loop that a row was for.
func (x *Execution) elementOf(r *Row, s *state, n int) (element any, ok bool) {
	kept, _ := x.vars[VarElements].(map[string]any)
	if element, ok = kept[r.ID]; ok {
		return element, true
	}
	v, err := evaluate(s.items, x.vars, x.settings.NewID) // the loop has not ended, or ran on Seata's engine
	items, _ := v.([]any)
	if err != nil || n >= len(items) {
		return nil, false
	}
	return items[n], true
}
