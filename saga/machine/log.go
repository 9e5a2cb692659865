package machine

import (
	"strconv"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// Status of an instance, a compensation or a state's run.
type Status string

// The statuses, as they stand in the tables.
const (
	Running   Status = "RU"
	Succeeded Status = "SU"
	Failed    Status = "FA"
	Unknown   Status = "UN"
	Skipped   Status = "SK"
)

// Instance is a row of seata_state_machine_inst.
type Instance struct {
	ID, MachineID, Tenant string
	// ParentID of an instance in an instance is "instance:state row".
	ParentID    string
	BusinessKey string
	Started     time.Time
	Ended       time.Time
	// Updated changes when an instance is started or taken up again. A write that
	// finds another value comes from an engine that lost the instance.
	Updated     time.Time
	StartParams map[string]any
	// EndParams are the variables at the end. Before the end they are set only if
	// the rows of states alone would not give the variables back.
	EndParams            map[string]any
	Failure              *Failure
	Status, Compensation Status
	// Live is the column is_running.
	Live bool
}

// Row is a row of seata_state_inst: one run of a state.
type Row struct {
	// ID is empty until the driver of the execution has given one, before the
	// row is stored.
	ID, InstanceID, Name, Type              string
	ServiceName, ServiceMethod, ServiceType string
	BusinessKey                             string
	// CompensatedFor and RetriedFor are the rows that this one undoes or repeats.
	CompensatedFor, RetriedFor string
	ForUpdate                  bool
	Started, Ended             time.Time
	Input                      any
	Output                     any
	Status                     Status
	Failure                    *Failure

	// Compensation is the status of the last row that undoes this one.
	Compensation Status
	// Superseded: another row repeats this one, so its status counts no more.
	Superseded bool
}

// IsCompensation tells whether the row undoes another one.
func (r *Row) IsCompensation() bool { return r.CompensatedFor != "" }

// Finished tells whether the run's end is known.
func (r *Row) Finished() bool { return !r.Ended.IsZero() }

// open tells whether a later run of the state repeats this one. A run that stands is
// not repeated: the machine has come to its state another time.
func (r *Row) open() bool { return r.Status != Succeeded || r.Compensation == Succeeded }

// loopMark stands between a state's name and the number of the loop's element.
const loopMark = "-loop-"

// State returns the name of the state that the row ran, and the number of the
// loop's element, or -1.
func (r *Row) State() (name string, element int) {
	if i := strings.LastIndex(r.Name, loopMark); i >= 0 {
		if n, err := strconv.Atoi(r.Name[i+len(loopMark):]); err == nil {
			return r.Name[:i], n
		}
	}
	return r.Name, -1
}

// Batch is what a Step changes in the log, all of it or nothing.
type Batch struct {
	// Insert is the new instance.
	Insert *Instance
	// Restart takes up an instance whose row still has the time Before.
	Restart *Instance
	Before  time.Time
	// Note writes the instance's statuses and EndParams in the middle of a run.
	Note *Instance
	// Finish writes the instance's end.
	Finish *Instance
	// Guard is the instance of a Batch of rows alone, which is written only if the
	// instance still has its time Updated: an engine that has lost it begins nothing.
	Guard *Instance
	// Begun rows are new. Again rows are used for another run. Done rows have ended.
	Begun, Again, Done []*Row
}

// Empty tells whether there is nothing to write.
func (b *Batch) Empty() bool {
	return b.Insert == nil && b.Restart == nil && b.Note == nil && b.Finish == nil &&
		len(b.Begun)+len(b.Again)+len(b.Done) == 0
}

// CallKind says what a Call runs.
type CallKind uint8

// The kinds of calls.
const (
	CallService CallKind = iota
	CallScript
	// CallMachine runs another machine, or takes up the one that Origin ran.
	CallMachine
	// CallUndoMachine compensates the instance that Undoes ran.
	CallUndoMachine
)

// Call is something to do once the Batch is durable. Its result goes to
// Execution.Returned, in any order.
type Call struct {
	Kind  CallKind
	Row   *Row
	State *statelang.State
	Input []any
	// Origin is the first of the rows that Row repeats, or Row itself, or of those
	// that Row undoes: its id names the children of a machine.
	Origin *Row
	// Mode says how to take up a child that exists already.
	Mode Mode
}

// Mode is why an execution runs.
type Mode uint8

// The modes of an execution.
const (
	Starting Mode = iota
	// Recovering goes on after a crash.
	Recovering
	// Forwarding runs what did not succeed again.
	Forwarding
	// Compensating undoes what succeeded.
	Compensating
)

// Result is how a Call ended.
type Result struct {
	Row *Row
	// Output is made of JSON's values (expression.Plain).
	Output  any
	Failure *Failure
	// Status is what a machine in the machine came to; empty for other calls.
	Status Status
}

// Step is what to do next: store Batch, then make the Calls.
type Step struct {
	Batch Batch
	Calls []Call
	// Ended: the instance has come to its end with this Batch.
	Ended bool
	// Fault is set when the machine itself is at fault, not a service: Seata's
	// engine throws it to whoever started the instance.
	Fault *Failure
}
