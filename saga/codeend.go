package saga

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// returned ends the instance after its function has.
func (r *codeRun) returned(ctx context.Context, err error) error {
	i := r.inst
	switch {
	case r.undoing:
		return r.undo(ctx, nil)
	case err == nil:
		i.Status, i.Failure = machine.Succeeded, nil
		i.EndParams = map[string]any{codeOut: r.out}
		return r.finish(ctx)
	}
	i.Failure = r.failure(err)
	var step *StepError
	if errors.As(err, &step) {
		i.Failure.Class, i.Failure.Also = step.failure.Class, step.failure.Also
	}
	if errors.As(err, new(halt)) {
		i.Status = machine.Unknown
		return r.finish(ctx)
	}
	return r.fail(ctx)
}

// interrupted undoes an instance whose function has not returned.
func (r *codeRun) interrupted(ctx context.Context) error {
	r.unwind()
	for r.calls > 0 { // each tells how it ended: that is what is undone
		end := <-r.results
		r.calls--
		if ctx.Err() != nil {
			return ErrClosed
		}
		if err := r.record(ctx, end); err != nil {
			return err
		}
	}
	if r.undoing {
		return r.undo(ctx, nil)
	}
	return r.fail(ctx)
}

// fail undoes an instance that has failed.
func (r *codeRun) fail(ctx context.Context) error {
	i := r.inst
	i.Status = machine.Failed
	todo, err := r.toUndo()
	if err != nil {
		return err
	}
	if len(todo) == 0 {
		return r.finish(ctx)
	}
	i.Compensation = machine.Running
	return r.undo(ctx, i)
}

// toUndo returns what is undone, the last first. A step without an undo is left out.
func (r *codeRun) toUndo() ([]*command, error) {
	var todo []*command
	for _, row := range r.h.ToUndo() {
		cmd := r.all[row.ServiceMethod]
		if cmd == nil {
			return nil, r.changed(&history.Difference{Logged: history.PlaceOf(row)})
		}
		if cmd.undo != nil {
			todo = append(todo, cmd)
		}
	}
	return todo, nil
}

// undo runs the compensations. note is the instance, if the log does not know yet
// that it is being undone.
func (r *codeRun) undo(ctx context.Context, note *machine.Instance) error {
	todo, err := r.toUndo()
	if err != nil {
		return err
	}
	r.inst.Compensation = machine.Succeeded
	for _, cmd := range todo {
		row, err := r.beginUndo(ctx, cmd, note)
		if err != nil {
			return err
		}
		note = nil
		failed, err := r.endUndo(ctx, cmd, row)
		if err != nil {
			return err
		}
		if failed {
			r.inst.Compensation = machine.Failed
			break
		}
	}
	return r.finish(ctx)
}

// beginUndo returns the row of a compensation: a new one, or one that had begun.
func (r *codeRun) beginUndo(ctx context.Context, cmd *command, note *machine.Instance) (*machine.Row, error) {
	if row := r.h.Undo(cmd.row); row != nil && !row.Finished() {
		return row, nil
	}
	row := &machine.Row{ID: r.rowID(), InstanceID: r.inst.ID, Name: cmd.row.Name, Type: cmd.row.Type, ServiceName: r.code.key(),
		ServiceMethod: pathOfUndo + cmd.row.ServiceMethod, CompensatedFor: cmd.row.ID, ForUpdate: true,
		Started: time.Now().UTC().Truncate(time.Millisecond), Status: machine.Running}
	r.h.Number(row)
	b := &machine.Batch{Begun: []*machine.Row{row}}
	if note != nil {
		own := *note
		own.Compensation = machine.Running
		b.Note = &own
	}
	if err := r.write(ctx, b); err != nil {
		return nil, err
	}
	r.h.Add(row)
	return row, nil
}

// fatal is an error that is none of the saga.
type fatal struct{ error }

func (e fatal) Unwrap() error { return e.error }

func (r *codeRun) endUndo(ctx context.Context, cmd *command, row *machine.Row) (failed bool, err error) {
	var why error
	if history.Kind(row.Type) == history.Child { // which has limits of its own
		why = cmd.undo(ctx)
	} else {
		why = r.guard(ctx, row, cmd.row.ID, cmd.undo)
	}
	var stopped fatal
	switch {
	case ctx.Err() != nil:
		return false, ErrClosed
	case errors.As(why, &stopped):
		return false, stopped.error
	}
	row.Status, row.Failure = machine.Succeeded, nil
	if why != nil {
		row.Status, row.Failure = machine.Failed, r.failure(why)
		r.cfg.Logger.Warn("saga: a step could not be undone", "saga", r.inst.ID, "step", row.Name, "error", why)
	}
	r.h.End(row, time.Now(), "null")
	return why != nil, r.write(ctx, &machine.Batch{Done: []*machine.Row{row}})
}

// finish writes the instance's end.
func (r *codeRun) finish(ctx context.Context) error {
	i := r.inst
	i.Live, i.Ended = false, time.Now().UTC().Truncate(time.Millisecond)
	return r.write(ctx, &machine.Batch{Finish: i})
}

// runInner runs the saga in a saga, or goes on with it.
func (r *codeRun) runInner(ctx context.Context, cmd *command, key, in string) ended {
	inner, err := r.begunInner(ctx, cmd, key)
	if err == nil && inner == nil {
		r.mu.Lock()
		c := r.codes[key]
		r.mu.Unlock()
		if c == nil {
			return ended{status: machine.Failed, failure: r.failure(fmt.Errorf("%s: %w; give it to Engine.Register", key, ErrNotRegistered))}
		}
		inst := r.newInstance(c, sagalog.NewID(time.Now()), in)
		inst.ParentID = childOf(cmd.row)
		if err = r.cfg.Store.Write(ctx, &machine.Batch{Insert: inst}); err == nil {
			inner = r.inner(c, inst, nil)
			err = inner.run(ctx)
		}
	} else if err == nil {
		inner, err = r.goOnInner(ctx, inner)
	}
	if err != nil {
		return ended{fatal: err}
	}
	i := inner.inst
	text, _ := i.EndParams[codeOut].(string)
	end := ended{value: text, status: machine.Succeeded, failure: i.Failure}
	switch {
	case i.Compensation == machine.Succeeded, i.Status == machine.Failed && i.Compensation == "":
		end.status = machine.Failed
	case i.Status != machine.Succeeded || i.Compensation != "":
		end.status = machine.Unknown
	}
	if end.status != machine.Succeeded && end.failure == nil {
		end.failure = &machine.Failure{Class: "Undone", Message: "it was undone"}
	}
	return end
}

// goOnInner takes up an inner saga that had begun. One that has halted goes on, as
// the outer one does.
func (r *codeRun) goOnInner(ctx context.Context, inner *codeRun) (*codeRun, error) {
	if !inner.inst.Live {
		log := &machine.Log{Instance: inner.inst, Rows: inner.h.Rows()}
		if log.Instance.Status != machine.Unknown || log.Instance.Compensation != "" {
			return inner, nil
		}
		b, err := restart(log, inner.code, codeForward)
		if err == nil {
			err = r.cfg.Store.Write(ctx, b)
		}
		if err != nil {
			return nil, err
		}
		inner = r.inner(inner.code, log.Instance, log.Rows)
	}
	return inner, inner.run(ctx)
}

// undoInner undoes the saga that a command has run.
func (r *codeRun) undoInner(ctx context.Context, cmd *command, key string) error {
	inner, err := r.begunInner(ctx, cmd, key)
	if err != nil {
		return fatal{err}
	}
	if inner == nil { // it had not begun
		return nil
	}
	if !inner.inst.Live || inner.inst.Compensation == "" {
		log := &machine.Log{Instance: inner.inst, Rows: inner.h.Rows()}
		if log.Instance.Live { // nobody else runs it: its outer saga is ours
			log.Instance.Live, log.Instance.Status = false, machine.Failed
		}
		b, err := restart(log, inner.code, codeCompensate)
		if err != nil {
			return fatal{err}
		}
		if b == nil {
			return nil
		}
		if err := r.cfg.Store.Write(ctx, b); err != nil {
			return fatal{err}
		}
		inner = r.inner(inner.code, log.Instance, log.Rows)
	}
	if err := inner.run(ctx); err != nil {
		return fatal{err}
	}
	if inner.inst.Compensation == machine.Failed {
		return fmt.Errorf("saga %s in the saga could not be undone", inner.inst.ID)
	}
	return nil
}

// begunInner reads the saga that a command has begun, or returns nil.
func (r *codeRun) begunInner(ctx context.Context, cmd *command, key string) (*codeRun, error) {
	ids, err := r.cfg.Store.Children(ctx, childOf(cmd.row))
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	log, p, err := r.load(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	if p.code == nil {
		return nil, fmt.Errorf("saga %s: it is not one of %s", ids[0], key)
	}
	if err := r.have(p.code, ids[0]); err != nil {
		return nil, err
	}
	return r.inner(p.code, log.Instance, log.Rows), nil
}

// inner returns a run within this one.
func (r *codeRun) inner(c *code, i *machine.Instance, rows []*machine.Row) *codeRun {
	inner := r.newRun(c, i, rows)
	inner.order, inner.xid, inner.limit = r.inside, r.xid, r.limit
	return inner
}
