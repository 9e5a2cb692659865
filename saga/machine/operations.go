package machine

import (
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// Errors of operations on an instance.
var (
	// ErrDenied: the instance's status does not allow the operation.
	ErrDenied = errors.New("the instance's status does not allow this")
	// ErrDone: there is nothing left to do.
	ErrDone = errors.New("there is nothing left to do")
)

// Forward runs an instance that did not succeed on: the last state again, or,
// with skip, the one after it. params replace variables. child tells the
// compensation status of a row's machine in the machine.
func (x *Execution) Forward(now time.Time, params map[string]any, skip bool, child func(origin *Row) (Status, error)) (Step, error) {
	i := x.Instance
	if i.Status == Succeeded && i.Compensation == "" {
		return Step{}, ErrDone
	}
	if i.Status != Failed && i.Status != Unknown && i.Status != Running {
		return Step{}, fmt.Errorf("forward %s: %w: it is %s", i.ID, ErrDenied, i.Status)
	}
	last, err := x.lastForward(child)
	if err != nil {
		return Step{}, err
	}
	name, element := last.State()
	s := x.program.states[name]
	if s == nil {
		return Step{}, fmt.Errorf("forward %s: the log has a state %q that machine %q does not have", i.ID, name, x.program.Machine.Name)
	}
	if element >= 0 && last.Status == Succeeded {
		last = x.unsuccessful(name, last)
	}
	if (skip || last.Status == Succeeded) && s.Next == "" {
		return Step{}, ErrDone
	}
	x.restart(now, Forwarding, params)
	i.Status, i.Failure = Running, nil
	if !skip && last.Status != Succeeded {
		x.retried[name] = last
		last.Superseded = element < 0
		x.inLoop = element >= 0
		x.begin(s)
		x.inLoop = false
		return x.close(), nil
	}
	if last.Status != Succeeded {
		x.skipRun(s, last)
	}
	x.enter(s.Next)
	return x.close(), nil
}

// skipRun marks a run as skipped, in the log too.
func (x *Execution) skipRun(s *state, r *Row) {
	r.Status = Skipped
	if r.Ended.IsZero() {
		r.Ended = x.now
	}
	if x.persisted(s) {
		x.step.Batch.Done = append(x.step.Batch.Done, r)
	}
}

// lastForward finds the last run that was not undone.
func (x *Execution) lastForward(child func(origin *Row) (Status, error)) (*Row, error) {
	for n := len(x.Rows) - 1; n >= 0; n-- {
		r := x.Rows[n]
		if r.IsCompensation() || r.Compensation == Succeeded {
			continue
		}
		undone := r.Compensation
		if r.Type == statelang.SubStateMachine && child != nil {
			var err error
			if undone, err = child(x.Origin(r)); err != nil {
				return nil, fmt.Errorf("forward %s: state %s: %w", x.Instance.ID, r.Name, err)
			}
		}
		switch undone {
		case Succeeded:
			continue
		case Unknown:
			return nil, fmt.Errorf("forward %s: %w: whether state %s is undone is not known; compensate it first", x.Instance.ID, ErrDenied, r.Name)
		}
		return r, nil
	}
	return nil, fmt.Errorf("forward %s: %w: its log has no state to run on from; start a new instance", x.Instance.ID, ErrDenied)
}

// unsuccessful finds the last run of a loop that did not succeed.
func (x *Execution) unsuccessful(name string, last *Row) *Row {
	for i := len(x.Rows) - 1; i >= 0; i-- {
		if other, _ := x.Rows[i].State(); other == name && x.Rows[i].Status != Succeeded && !x.Rows[i].Superseded && !x.Rows[i].IsCompensation() {
			return x.Rows[i]
		}
	}
	return last
}

// Compensate undoes what an instance did. params replace variables.
func (x *Execution) Compensate(now time.Time, params map[string]any) (Step, error) {
	i := x.Instance
	if i.Compensation == Succeeded {
		return Step{}, ErrDone
	}
	x.restart(now, Compensating, params)
	x.compensate(nameOfSomeone)
	return x.close(), nil
}
