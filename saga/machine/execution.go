package machine

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// Settings are what an engine decides for all its executions.
type Settings struct {
	// Timeout ends an instance that was begun, or taken up again, longer ago, at
	// its next task. Zero means never.
	Timeout time.Duration
	// RetryUpdate and CompensateUpdate are for machines that do not say.
	RetryUpdate, CompensateUpdate bool
	// NewID makes the ids of $Sequence. It is called with the sequence's name.
	NewID func(sequence string) string
}

// Variables with a meaning of their own; the names are Seata's.
const (
	VarBusinessKey   = "_business_key_"
	VarErrorCode     = "_statemachine_error_code_"
	VarErrorMessage  = "_statemachine_error_message_"
	VarSubStatus     = "_sub_statemachine_execution_status_"
	VarLoopResult    = "loopResult"
	VarElements      = "_loop_elements_" // ours: by row
	varInstances     = "nrOfInstances"
	varActive        = "nrOfActiveInstances"
	varCompleted     = "nrOfCompletedInstances"
	varCompensating  = "_is_compensating_"
	nameOfSomeone    = "by request"
	nothingToRunNext = ""
)

// Execution is one run of an instance: from its start, or from where a crash or a
// failure left it, to its end. It is not safe for concurrent use: one driver
// feeds it and carries its Steps out.
type Execution struct {
	Instance *Instance
	// Rows are all runs of states, in the order of their start.
	Rows []*Row

	program  *Program
	settings Settings
	mode     Mode
	vars     map[string]any
	now      time.Time
	step     Step

	// tasks are the calls under way.
	tasks map[*Row]*task
	// asyncs is how many of them nobody waits for, except the end.
	asyncs int
	// failure is the last error of a task.
	failure *Failure
	loop    *loop
	undo    *undoing
	// inLoop: the next task is a loop that has begun already, as the log says.
	inLoop bool
	// retried is the row that the next run of a state repeats.
	retried map[string]*Row
	// snapshot: the rows alone no longer give the variables back.
	snapshot     bool
	cameFromFail bool
	// ending: the end waits for asynchronous calls.
	ending, ended bool
}

// task is a call under way.
type task struct {
	state   *state
	row     *Row
	vars    map[string]any
	element int // of a loop, or -1
	// doubt: the run repeats one that may have done its work.
	doubt bool
}

// New returns an execution of an instance that is not in the log yet. Begin
// starts it.
func New(p *Program, s Settings, inst *Instance) *Execution {
	x := newExecution(p, s, inst)
	x.vars = withoutNull(inst.StartParams)
	return x
}

func newExecution(p *Program, s Settings, inst *Instance) *Execution {
	return &Execution{Instance: inst, program: p, settings: s, tasks: map[*Row]*task{}, retried: map[string]*Row{}}
}

func withoutNull(m map[string]any) map[string]any {
	own := make(map[string]any, len(m))
	for key, v := range m {
		if v != nil {
			own[key] = v
		}
	}
	return own
}

// Variables returns the variables as they are. The caller must not change them.
func (x *Execution) Variables() map[string]any { return x.vars }

// Machine returns the definition.
func (x *Execution) Machine() *statelang.Machine { return x.program.Machine }

// open begins a step at the time now.
func (x *Execution) open(now time.Time) {
	x.now, x.step = now.UTC().Truncate(time.Millisecond), Step{}
}

// close hands the step out.
func (x *Execution) close() Step {
	if x.snapshot && !x.ended && !x.step.Batch.Empty() {
		x.Instance.EndParams = maps.Clone(x.vars)
		x.step.Batch.Note = x.Instance
	}
	if b := &x.step.Batch; !b.Empty() && b.Insert == nil && b.Restart == nil && b.Note == nil && b.Finish == nil {
		b.Guard = x.Instance
	}
	x.step.Ended = x.ended
	if !x.program.Machine.Persist {
		x.step.Batch = Batch{}
	}
	return x.step
}

// Begin starts the instance.
func (x *Execution) Begin(now time.Time) Step {
	x.open(now)
	i := x.Instance
	i.Started, i.Updated, i.Status, i.Live = x.now, x.now, Running, true
	if i.BusinessKey != "" {
		x.vars[VarBusinessKey] = i.BusinessKey
		i.StartParams = maps.Clone(x.vars)
	}
	x.step.Batch.Insert = i
	x.enter(x.program.Machine.StartState)
	return x.close()
}

// enter runs a state and those after it until a task is called or the end comes.
func (x *Execution) enter(name string) {
	// Choices change nothing, so coming to more of them than there are states
	// means going round for ever.
	for range len(x.program.states) + 1 {
		s := x.program.states[name]
		if s == nil {
			x.fail(fault(fmt.Sprintf("the state %q does not exist", name)), true)
			return
		}
		switch s.Type {
		case statelang.Choice:
			if name = x.choose(s); name == nothingToRunNext {
				return
			}
		case statelang.Succeed:
			x.end()
			return
		case statelang.Fail:
			x.cameFromFail = true
			x.set(VarErrorCode, s.ErrorCode)
			x.set(VarErrorMessage, s.Message)
			x.end()
			return
		case statelang.CompensationTrigger:
			x.compensate(s.Name)
			return
		default:
			x.begin(s)
			return
		}
	}
	x.fail(fault("the Choice states lead in a circle"), true)
}

func (x *Execution) set(name string, v any) {
	if v != nil && v != "" {
		x.vars[name] = v
	}
}

// choose returns the next state, or ends the instance and returns "".
func (x *Execution) choose(s *state) string {
	for _, a := range s.arms {
		holds, err := a.when.True(x.vars)
		if err != nil {
			x.fail(fault(fmt.Sprintf("choice %s: %v", s.Name, err)), true)
			return nothingToRunNext
		}
		if holds {
			return a.next
		}
	}
	if s.Default == "" {
		x.fail(fault(fmt.Sprintf("choice %s: no expression is true and there is no Default", s.Name)), true)
	}
	return s.Default
}

// next goes on after a task.
func (x *Execution) next(name string) {
	if name == nothingToRunNext {
		x.end()
		return
	}
	x.enter(name)
}

// end finishes the instance, once no asynchronous call is under way.
func (x *Execution) end() {
	if x.asyncs > 0 {
		x.ending = true
		return
	}
	if x.failure != nil {
		x.Instance.Failure = x.failure
	}
	x.decideEnd()
	x.finish()
}

// fail ends the instance because of f; thrown: the machine is at fault.
func (x *Execution) fail(f *Failure, thrown bool) {
	if x.ended {
		return
	}
	x.decideFailure(f)
	x.Instance.Failure = f
	if thrown {
		x.step.Fault = f
	}
	x.finish()
}

func (x *Execution) finish() {
	i := x.Instance
	delete(x.vars, varCompensating)
	if i.EndParams == nil {
		i.EndParams = map[string]any{}
	}
	delete(i.EndParams, varCompensating)
	maps.Copy(i.EndParams, x.vars)
	if i.Status == Succeeded {
		i.Failure = nil
	}
	i.Live, i.Ended = false, x.now
	x.step.Batch.Finish, x.step.Batch.Note = i, nil
	x.ended = true
}

// start gives the row of a new run its time: later than that of the row before,
// since the tables keep milliseconds and the order of rows is read from them.
func (x *Execution) start(r *Row) {
	r.Started, r.Status = x.now, Running
	if n := len(x.Rows); n > 0 && !r.Started.After(x.Rows[n-1].Started) {
		r.Started = x.Rows[n-1].Started.Add(time.Millisecond)
	}
	x.Rows = append(x.Rows, r)
}

// row finds a row by its id.
func (x *Execution) row(id string) *Row {
	for _, r := range x.Rows {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// Origin returns the first of the rows that r repeats.
func (x *Execution) Origin(r *Row) *Row {
	for r.RetriedFor != "" && r.RetriedFor != r.ID {
		before := x.row(r.RetriedFor)
		if before == nil {
			break
		}
		r = before
	}
	return r
}

// persisted tells whether runs of a state are logged.
func (x *Execution) persisted(s *state) bool { return s.Persist && x.program.Machine.Persist }

// suffix reads the number behind the last separator of a row's id.
func suffix(id, separator string) int {
	i := strings.LastIndex(id, separator)
	n := 0
	if i > 0 {
		_, _ = fmt.Sscanf(id[i+len(separator):], "%d", &n)
	}
	return n
}

// Refuse ends the instance instead of making a step whose rows could not be given
// their ids, for the reason f. What the step has of earlier runs stays.
func (x *Execution) Refuse(now time.Time, step Step, f *Failure) Step {
	x.open(now)
	x.step = step
	x.step.Calls, x.step.Batch.Begun = nil, nil
	kept := x.Rows[:0]
	for _, r := range x.Rows {
		if r.ID != "" {
			kept = append(kept, r)
		}
	}
	x.Rows, x.loop = kept, nil
	clear(x.tasks)
	x.fail(f, true)
	return x.close()
}
