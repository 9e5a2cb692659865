package machine

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/saga/expression"
	"github.com/qiao-tx/qiao/saga/statelang"
)

// begin runs a task, or each element of its loop.
func (x *Execution) begin(s *state) {
	if items := x.elements(s); len(items) > 0 {
		x.beginLoop(s, items)
		return
	}
	if f := x.launch(&task{state: s, vars: x.vars, element: -1}); f != nil {
		x.fail(f, true)
	}
}

// launch writes the row of a run and calls for it. It returns what is wrong with
// the machine.
func (x *Execution) launch(t *task) *Failure {
	s := t.state
	if x.settings.Timeout > 0 && x.now.Sub(x.Instance.Updated) > x.settings.Timeout {
		f := fault(fmt.Sprintf("the saga lasts longer than %v; it is stopped before state %s", x.settings.Timeout, s.Name))
		f.Expired = true
		return f
	}
	r := &Row{InstanceID: x.Instance.ID, Name: s.Name, Type: s.Type, ForUpdate: s.ForUpdate,
		ServiceName: s.ServiceName, ServiceMethod: s.ServiceMethod, ServiceType: s.ServiceType}
	input, err := x.input(s, t.vars, r)
	if err != nil {
		return fault(fmt.Sprintf("state %s: Input: %v", s.Name, err))
	}
	r.Input = input
	call := Call{State: s.State, Input: input, Mode: x.mode}
	switch s.Type {
	case statelang.ScriptTask: // has no row
		r.Status, r.Started = Running, x.now
		call.Kind = CallScript
	case statelang.CompensateSubMachine:
		call.Kind = CallUndoMachine
		r = x.record(t, r)
		call.Origin = x.Origin(x.row(r.CompensatedFor))
	case statelang.SubStateMachine:
		call.Kind = CallMachine
		r = x.record(t, r)
		call.Origin = x.Origin(r)
	default:
		r = x.record(t, r)
		call.Origin = x.Origin(r)
		if r.CompensatedFor != "" {
			call.Origin = x.Origin(x.row(r.CompensatedFor))
		}
	}
	if r.BusinessKey != "" {
		t.vars[s.Name+VarBusinessKey] = r.BusinessKey
	}
	call.Row, t.row = r, r
	x.tasks[r] = t
	x.step.Calls = append(x.step.Calls, call)
	if s.Type == statelang.ServiceTask && s.Async && x.undo == nil && t.element < 0 {
		x.goOn(t)
	}
	return nil
}

// input computes the arguments; the first id from a sequence is the run's
// business key.
func (x *Execution) input(s *state, vars map[string]any, r *Row) ([]any, error) {
	values := make([]any, 0, len(s.input))
	for _, v := range s.input {
		value, err := evaluate(v, vars, func(name string) string {
			id := x.settings.NewID(name)
			if r.BusinessKey == "" {
				r.BusinessKey = id
			}
			return id
		})
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// record adds the row to the log: a new one, or the row of the run before if
// the machine wants one row for all.
func (x *Execution) record(t *task, r *Row) *Row {
	switch {
	case x.undo != nil && x.undo.current != nil && t.state.ForCompensation:
		r.CompensatedFor = x.undo.current.ID
	case t.element >= 0:
		r.Name += loopMark + strconv.Itoa(t.element)
		if before := x.lastNamed(r.Name); before != nil && before.open() {
			r.RetriedFor = before.ID
		}
	case x.retried[r.Name] != nil:
		r.RetriedFor = x.retried[r.Name].ID
	case x.mode == Forwarding:
		if before := x.lastNamed(r.Name); before != nil && before.open() {
			r.RetriedFor = before.ID
		}
	}
	delete(x.retried, t.state.Name)
	if r.RetriedFor != "" {
		t.doubt = x.row(r.RetriedFor).Status != Failed
	}
	if used := x.reused(t.state, r); used != nil {
		return x.reuse(t.state, used, r)
	}
	switch {
	case r.RetriedFor != "":
		before := x.row(r.RetriedFor)
		before.Superseded = true
		n := 1
		for before.RetriedFor != "" {
			n = max(n, suffix(before.ID, ".")) + 1
			before = x.row(before.RetriedFor)
		}
		r.ID = before.ID + "." + strconv.Itoa(n)
	case r.CompensatedFor != "":
		n := 1
		for _, other := range x.Rows {
			if other.CompensatedFor == r.CompensatedFor {
				n = max(n, suffix(other.ID, "-")) + 1
			}
		}
		r.ID = r.CompensatedFor + "-" + strconv.Itoa(n)
		x.row(r.CompensatedFor).Compensation = Running
	}
	x.start(r)
	if x.persisted(t.state) {
		x.step.Batch.Begun = append(x.step.Batch.Begun, r)
	}
	return r
}

// reused returns the row to use again, if the machine keeps one row for all runs.
func (x *Execution) reused(s *state, r *Row) *Row {
	m := x.program.Machine
	switch {
	case r.RetriedFor != "" && decided(x.settings.RetryUpdate, m.RetryUpdate, s.RetryUpdate):
		return x.row(r.RetriedFor)
	case r.CompensatedFor != "" && decided(x.settings.CompensateUpdate, m.CompensateUpdate, s.CompensateUpdate):
		for _, other := range x.Rows {
			if other.CompensatedFor == r.CompensatedFor {
				return other
			}
		}
	}
	return nil
}

// decided returns the most particular answer that is given.
func decided(standard bool, answers ...*bool) bool {
	for _, a := range answers {
		if a != nil {
			standard = *a
		}
	}
	return standard
}

func (x *Execution) reuse(s *state, used, r *Row) *Row {
	used.Status, used.Ended, used.Failure, used.Output = Running, time.Time{}, nil, nil
	used.Input, used.Superseded = r.Input, false
	if used.BusinessKey == "" {
		used.BusinessKey = r.BusinessKey
	}
	if used.CompensatedFor != "" {
		x.row(used.CompensatedFor).Compensation = Running
	}
	if x.persisted(s) {
		x.step.Batch.Again = append(x.step.Batch.Again, used)
	}
	return used
}

func (x *Execution) lastNamed(name string) *Row {
	for i := len(x.Rows) - 1; i >= 0; i-- {
		if x.Rows[i].Name == name && !x.Rows[i].IsCompensation() {
			return x.Rows[i]
		}
	}
	return nil
}

// goOn leaves an asynchronous service to itself and runs what comes after.
func (x *Execution) goOn(t *task) {
	x.asyncs++
	x.next(t.state.Next)
}

// Returned takes the result of a call. An instance that has ended ignores it.
func (x *Execution) Returned(now time.Time, result Result) Step {
	x.open(now)
	t := x.tasks[result.Row]
	if t == nil || x.ended {
		return Step{Ended: x.ended}
	}
	delete(x.tasks, result.Row)
	if t.state.Async && t.state.Type == statelang.ServiceTask && x.undo == nil && t.element < 0 {
		x.asyncReturned(t, result)
	} else {
		x.returned(t, result)
	}
	return x.close()
}

// asyncReturned notes the end of a call that nobody waited for. As in Seata its
// error changes nothing.
func (x *Execution) asyncReturned(t *task, result Result) {
	x.asyncs--
	t.row.Status, t.row.Failure = Succeeded, result.Failure
	x.done(t)
	if x.ending && x.asyncs == 0 {
		x.end()
	}
}

func (x *Execution) returned(t *task, result Result) {
	r := t.row
	r.Failure = result.Failure
	if result.Output != nil {
		r.Output = result.Output
	}
	if result.Status != "" {
		r.Status = result.Status
	}
	wrong := x.decideTask(t)
	if wrong == nil && result.Output != nil {
		wrong = x.assign(t)
	}
	if t.state.Type != statelang.ScriptTask {
		x.done(t)
	}
	caught := x.caughtBy(t)
	if t.element >= 0 {
		x.loopReturned(t, caught, wrong)
		return
	}
	failed := r.Failure != nil && r.Status != Succeeded
	if failed {
		x.failure = r.Failure
	}
	switch {
	case wrong != nil:
		x.fail(wrong, true)
	case failed && caught == "":
		x.fail(r.Failure, false)
	case x.undo != nil:
		x.undoNext(r)
	case caught != "":
		x.next(caught)
	default:
		x.next(t.state.Next)
	}
}

// done writes the end of a run.
func (x *Execution) done(t *task) {
	r := t.row
	r.Ended = x.now
	if r.Ended.Before(r.Started) {
		r.Ended = r.Started
	}
	if r.CompensatedFor != "" {
		x.row(r.CompensatedFor).Compensation = r.Status
	}
	if x.persisted(t.state) {
		x.step.Batch.Done = append(x.step.Batch.Done, r)
	}
}

// assign sets the variables that Output names.
func (x *Execution) assign(t *task) *Failure {
	values, err := outputs(t.state, t.row.Output)
	if err != nil {
		return fault(fmt.Sprintf("state %s: Output: %v", t.state.Name, err))
	}
	if len(values) > 0 && !x.persisted(t.state) {
		x.snapshot = true
	}
	maps.Copy(t.vars, withoutNull(values))
	return nil
}

// outputs computes the values that a result gives to variables.
func outputs(s *state, result any) (map[string]any, error) {
	values := make(map[string]any, len(s.output))
	for _, o := range s.output {
		v, err := evaluate(o.value, result, func(string) string { return "" })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.name, err)
		}
		values[o.name] = v
	}
	return values, nil
}

// caughtBy returns the state that the run's error leads to, or "".
func (x *Execution) caughtBy(t *task) string {
	if t.row.Failure == nil {
		return ""
	}
	for _, c := range t.state.Catch {
		if t.row.Failure.isAny(c.Exceptions) {
			return c.Next
		}
	}
	return ""
}

// holds evaluates a rule of Status on the run.
func (r rule) holds(row *Row) (bool, error) {
	if r.when.Kind == expression.Exception {
		return row.Failure != nil && row.Failure.Matches(r.when.Argument), nil
	}
	return r.when.True(row.Output)
}
