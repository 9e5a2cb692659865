package machine

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// Log is an instance as it was read from the tables.
type Log struct {
	Instance *Instance
	Rows     []*Row
}

// Reload returns an execution of an instance from the log. Resume, Forward or
// Compensate takes it up.
func Reload(p *Program, s Settings, log *Log) (*Execution, error) {
	x := newExecution(p, s, log.Instance)
	x.Rows = log.Rows
	slices.SortStableFunc(x.Rows, func(a, b *Row) int { return a.Started.Compare(b.Started) })
	byID := make(map[string]*Row, len(x.Rows))
	for _, r := range x.Rows {
		byID[r.ID] = r
	}
	for _, r := range x.Rows {
		if before := byID[r.RetriedFor]; before != nil && before != r {
			before.Superseded = true
		}
		if undone := byID[r.CompensatedFor]; undone != nil {
			undone.Compensation = r.Status
		}
	}
	if len(log.Instance.EndParams) > 0 {
		x.vars, x.snapshot = withoutNull(log.Instance.EndParams), true
		return x, nil
	}
	return x, x.replay()
}

// replay computes the variables from the parameters and the outputs in the log.
func (x *Execution) replay() error {
	x.vars = withoutNull(x.Instance.StartParams)
	if x.Instance.BusinessKey != "" {
		x.vars[VarBusinessKey] = x.Instance.BusinessKey
	}
	for _, r := range x.Rows {
		name, _ := r.State()
		s := x.program.states[name]
		if s == nil {
			return fmt.Errorf("instance %s: its log has a state %q that machine %q does not have", x.Instance.ID, name, x.program.Machine.Name)
		}
		if r.BusinessKey != "" {
			x.vars[name+VarBusinessKey] = r.BusinessKey
		}
		if r.Output == nil || !r.Finished() {
			continue
		}
		values, err := outputs(s, r.Output)
		if err != nil {
			return fmt.Errorf("instance %s: state %s: Output: %w", x.Instance.ID, r.Name, err)
		}
		maps.Copy(x.vars, withoutNull(values))
	}
	return nil
}

// restart opens a step that takes the instance up again.
func (x *Execution) restart(now time.Time, mode Mode, params map[string]any) {
	x.open(now)
	x.mode = mode
	i := x.Instance
	maps.Copy(x.vars, withoutNull(params))
	if len(params) > 0 {
		x.snapshot = true
	}
	x.step.Batch.Before = i.Updated
	if !x.now.After(i.Updated) {
		x.now = i.Updated.Add(time.Millisecond)
	}
	i.Updated, i.Live, i.Ended = x.now, true, time.Time{}
	x.step.Batch.Restart = i
}

// Resume goes on where a crash stopped the instance, as if there had been none:
// what had ended is not run again, what had begun is.
func (x *Execution) Resume(now time.Time) Step {
	x.restart(now, Recovering, nil)
	x.resumeAsyncs()
	if x.Instance.Compensation == Running {
		x.resumeUndo()
		return x.close()
	}
	x.resumeForward()
	return x.close()
}

// resumeAsyncs calls again what nobody waits for.
func (x *Execution) resumeAsyncs() {
	for _, r := range slices.Clone(x.Rows) {
		name, element := r.State()
		s := x.program.states[name]
		if s == nil || !s.Async || r.Finished() || r.Superseded || r.IsCompensation() || element >= 0 {
			continue
		}
		x.asyncs++
		x.tasks[r] = &task{state: s, row: r, vars: x.vars, element: -1}
		input, _ := r.Input.([]any)
		x.step.Calls = append(x.step.Calls, Call{Kind: CallService, Row: r, State: s.State, Input: input, Origin: x.Origin(r), Mode: x.mode})
	}
}

func (x *Execution) resumeUndo() {
	trigger, _ := x.vars[varCompensating].(string)
	last := x.lastRow()
	if trigger == "" && last != nil && !last.IsCompensation() { // the compensation was over
		x.continueAfter(last)
		return
	}
	rows, f := x.ToCompensate()
	if f != nil {
		x.fail(f, true)
		return
	}
	x.undo = &undoing{trigger: trigger, stack: rows}
	x.undoNext(nil)
}

func (x *Execution) lastRow() *Row {
	if len(x.Rows) == 0 {
		return nil
	}
	return x.Rows[len(x.Rows)-1]
}

func (x *Execution) resumeForward() {
	for i := len(x.Rows) - 1; i >= 0; i-- {
		r := x.Rows[i]
		if !r.IsCompensation() && !r.Superseded {
			x.continueAfter(r)
			return
		}
	}
	x.enter(x.program.Machine.StartState)
}

// continueAfter goes on from the last row of the log.
func (x *Execution) continueAfter(r *Row) {
	name, element := r.State()
	s := x.program.states[name]
	switch {
	case s == nil:
		x.fail(fault(fmt.Sprintf("the log has a state %q that the machine does not have", name)), true)
	case element >= 0:
		if items := x.elements(s); len(items) > 0 {
			x.inLoop = true
			x.beginLoop(s, items)
			return
		}
		x.fail(fault(fmt.Sprintf("state %s: the list of its loop is gone", name)), true)
	case s.Async && s.Type == statelang.ServiceTask:
		x.next(s.Next)
	case !r.Finished():
		x.retried[name] = r
		x.begin(s)
	default:
		x.route(&task{state: s, row: r, element: -1})
	}
}

// route goes on after a run that the log says has ended.
func (x *Execution) route(t *task) {
	caught := x.caughtBy(t)
	failed := t.row.Failure != nil && t.row.Status != Succeeded
	if failed {
		x.failure = t.row.Failure
	}
	switch {
	case failed && caught == "":
		x.fail(t.row.Failure, false)
	case caught != "":
		x.next(caught)
	default:
		x.next(t.state.Next)
	}
}
