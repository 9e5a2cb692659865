package saga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// driver carries out the steps of one execution.
type driver struct {
	transaction
	x *machine.Execution
	// depth is how many machines this one is inside of.
	depth int
}

// maxDepth bounds machines in machines, which may run each other without end.
const maxDepth = 100

func (e *Engine) driver(x *machine.Execution) *driver {
	return &driver{transaction: e.transactionOf(x.Instance, x.Machine().Name, x.Machine().Persist), x: x}
}

// Waits between attempts to reach a log that fails, and how many there are: a log
// that can be read and not written has the services called again each time.
const (
	firstLogWait = 100 * time.Millisecond
	longLogWait  = 5 * time.Second
	logAttempts  = 10
)

// drive takes an execution to its end, from what follow or the first commit came to.
// When the log fails it goes on from what the log has, as soon as it can be read. If that fails
// too often the saga is left to a later Recover.
func (d *driver) drive(ctx context.Context, err error) error {
	wait := firstLogWait
	for range logAttempts {
		if err == nil || final(err) || ctx.Err() != nil {
			break
		}
		d.cfg.Logger.Warn("saga: the log failed; trying to go on from it", "saga", d.x.Instance.ID, "error", err)
		if !sleep(ctx, wait) {
			break
		}
		err = d.again(ctx)
		wait = min(2*wait, longLogWait)
	}
	if err != nil && ctx.Err() != nil && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if err != nil {
		return fmt.Errorf("saga %s: %w", d.x.Instance.ID, err)
	}
	return nil
}

// final errors are not mended by trying again.
func final(err error) bool {
	for _, known := range []error{sagalog.ErrTaken, sagalog.ErrFenced, sagalog.ErrExists, sagalog.ErrNotFound, ErrFault, ErrClosed, ErrChanged, ErrNotRegistered} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// again reads the instance and resumes it.
func (d *driver) again(ctx context.Context) error {
	x, err := d.reload(ctx, d.x.Instance.ID)
	if err != nil {
		return err
	}
	d.x = x
	if !x.Instance.Live {
		return nil
	}
	step := x.Resume(time.Now())
	if err := d.commit(ctx, &step); err != nil {
		return err
	}
	return d.follow(ctx, step)
}

// errBrokeOff is the error of a call whose goroutine ended in the middle.
var errBrokeOff = errors.New("the code of the state ended its goroutine: runtime.Goexit, or a test's FailNow")

// follow makes the calls of committed steps until the execution has ended.
func (d *driver) follow(ctx context.Context, step machine.Step) error {
	results := make(chan machine.Result)
	active := 0
	defer func() { // calls that an end did not wait for, and those of a saga that stops
		for ; active > 0; active-- {
			<-results
		}
	}()
	for !step.Ended {
		active += len(step.Calls)
		for _, c := range step.Calls {
			go func() {
				result := machine.Result{Row: c.Row, Failure: d.failure(errBrokeOff)} // by runtime.Goexit
				defer func() { results <- result }()
				result = d.call(ctx, c)
			}()
		}
		result := <-results
		active--
		if ctx.Err() != nil { // what a call said while it was being stopped says nothing
			return ErrClosed
		}
		step = d.x.Returned(time.Now(), result)
		if err := d.commit(ctx, &step); err != nil {
			return err
		}
	}
	if step.Fault != nil {
		return fmt.Errorf("%w: %w", ErrFault, step.Fault)
	}
	return nil
}

// commit makes a step durable: new rows get their ids, the batch is written, the
// coordinator is told.
func (d *driver) commit(ctx context.Context, step *machine.Step) error {
	if err := d.identify(ctx, step); err != nil {
		*step = d.x.Refuse(time.Now(), *step, err)
	}
	if step.Batch.Empty() {
		return nil
	}
	if err := d.cfg.Store.Write(ctx, &step.Batch); err != nil {
		return err
	}
	d.tell(ctx, &step.Batch)
	return nil
}

// identify gives the new rows their ids.
func (d *driver) identify(ctx context.Context, step *machine.Step) *machine.Failure {
	for _, r := range step.Batch.Begun {
		if r.ID != "" {
			continue
		}
		id, err := d.branch(ctx, r.Name)
		if err != nil {
			f := d.failure(err)
			f.Message = fmt.Sprintf("state %s cannot begin: %s", r.Name, f.Message)
			return f
		}
		r.ID = id
	}
	for _, c := range step.Calls { // runs that are not logged
		if c.Row.ID == "" {
			c.Row.ID = d.rowID()
		}
	}
	return nil
}
