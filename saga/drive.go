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
	*Engine
	x *machine.Execution
	// ctx ends with the engine and has the values of whoever asked for the run.
	ctx context.Context
	// xid is the global transaction of the outermost saga, or empty.
	xid string
}

// driver makes one for x. The values of ctx, such as a trace, reach the services.
func (e *Engine) driver(ctx context.Context, x *machine.Execution) *driver {
	d := &driver{Engine: e, x: x, ctx: engineContext{e.ctx, ctx}}
	if e.cfg.Coordinator != nil && x.Machine().Persist {
		d.xid = rootID(x.Instance)
	}
	return d
}

// engineContext has the life of one context and the values of another.
type engineContext struct {
	context.Context
	values context.Context
}

func (c engineContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// Waits between attempts to reach a log that fails.
const (
	firstLogWait = 100 * time.Millisecond
	longLogWait  = 5 * time.Second
)

// drive takes an execution, whose first step is committed, to its end. When the log
// fails it goes on from what the log has, as soon as it can be read.
func (d *driver) drive(step machine.Step) error {
	err := d.follow(step)
	for wait := firstLogWait; err != nil && !final(err) && d.ctx.Err() == nil; wait = min(2*wait, longLogWait) {
		d.cfg.Logger.Warn("saga: the log failed; trying to go on from it", "saga", d.x.Instance.ID, "error", err)
		if !sleep(d.ctx, wait) {
			break
		}
		err = d.again()
	}
	if err != nil && d.ctx.Err() != nil && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	if err != nil {
		return fmt.Errorf("saga %s: %w", d.x.Instance.ID, err)
	}
	return nil
}

// final errors are not mended by trying again.
func final(err error) bool {
	for _, known := range []error{sagalog.ErrTaken, sagalog.ErrFenced, sagalog.ErrExists, ErrFault, ErrClosed} {
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
func (d *driver) again() error {
	log, err := d.cfg.Store.Load(d.ctx, d.x.Instance.ID)
	if err != nil {
		return err
	}
	p, err := d.programByID(d.ctx, log.Instance.MachineID)
	if err != nil {
		return err
	}
	x, err := machine.Reload(p.Program, d.settings(), log)
	if err != nil {
		return err
	}
	d.x = x
	if !log.Instance.Live {
		return nil
	}
	step := x.Resume(time.Now())
	if err := d.commit(&step); err != nil {
		return err
	}
	return d.follow(step)
}

// follow makes the calls of committed steps until the execution has ended.
func (d *driver) follow(step machine.Step) error {
	results := make(chan machine.Result)
	over := make(chan struct{})
	defer close(over)
	active := 0
	for !step.Ended {
		var result machine.Result
		if len(step.Calls) == 1 && active == 0 {
			result = d.call(step.Calls[0])
		} else {
			active += len(step.Calls)
			for _, c := range step.Calls {
				d.calls.Go(func() {
					r := d.call(c)
					select {
					case results <- r:
					case <-over:
					}
				})
			}
			select {
			case result = <-results:
				active--
			case <-d.ctx.Done():
				return ErrClosed
			}
		}
		if d.ctx.Err() != nil { // what a call said while it was being stopped says nothing
			return ErrClosed
		}
		step = d.x.Returned(time.Now(), result)
		if err := d.commit(&step); err != nil {
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
func (d *driver) commit(step *machine.Step) error {
	if err := d.identify(step); err != nil {
		*step = d.x.Refuse(time.Now(), *step, err)
	}
	if step.Batch.Empty() {
		return nil
	}
	if err := d.cfg.Store.Write(d.ctx, &step.Batch); err != nil {
		return err
	}
	d.tell(&step.Batch)
	return nil
}

// identify gives the new rows their ids.
func (d *driver) identify(step *machine.Step) *machine.Failure {
	for _, r := range step.Batch.Begun {
		if r.ID != "" {
			continue
		}
		id, err := d.branch(r)
		if err != nil {
			f := d.failure(err)
			f.Message = fmt.Sprintf("state %s cannot begin: %s", r.Name, f.Message)
			return f
		}
		r.ID = id
	}
	for _, c := range step.Calls { // runs that are not logged
		if c.Row.ID == "" {
			c.Row.ID = sagalog.NewID(time.Now())
		}
	}
	return nil
}
