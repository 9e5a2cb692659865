package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
)

// Context is what the function of a saga acts through. It may be used by that
// function only, not in steps and goroutines; a branch of a Group has its own.
type Context struct{ s *strand }

// ID is the saga's id, its XID under a coordinator.
func (c *Context) ID() string { return c.s.run.inst.ID }

// Now is the time of the last thing that happened in the saga, such as the end of a
// step. A replay gives the same.
func (c *Context) Now() time.Time {
	c.s.use()
	return c.s.run.now
}

// command is something that a function waits for.
type command struct {
	place  history.Place
	strand *strand
	row    *machine.Row
	// input goes into the row.
	input any
	// do makes the call of a step or of a saga in the saga.
	do func(ctx context.Context) ended
	// undo takes the call back, or is nil.
	undo func(ctx context.Context) error
	// due is when a timer or a wait ends; signal is what a wait is for.
	due    time.Time
	signal string
	// value is at once the result of what needs no waiting.
	value    string
	launched bool
}

// ended is how a command ended.
type ended struct {
	command *command
	value   string
	failure *machine.Failure
	status  machine.Status
	// signal is the row of the one that was delivered.
	signal *machine.Row
	// fatal is an error that is none of the saga: the run stops where it is.
	fatal error
}

// do waits for a command and returns its row.
func (c *Context) do(cmd *command) *machine.Row {
	cmd.strand = c.s
	c.s.run.fresh = append(c.s.run.fresh, cmd)
	c.s.park()
	return cmd.row
}

func (c *Context) place(kind history.Kind, name string) history.Place {
	c.s.use()
	if name == "" || len(name) > 100 {
		panic(fmt.Sprintf("saga: the name %q: want 1 to 100 bytes", name))
	}
	return history.Place{Path: c.s.next(), Kind: kind, Name: name}
}

// value reads the result of a row.
func value[T any](c *Context, r *machine.Row) (T, error) {
	var v T
	if r.Failure != nil {
		return v, &StepError{Name: r.Name, failure: r.Failure, names: c.s.run.cfg.ErrorNames}
	}
	if err := json.Unmarshal([]byte(history.Value(r)), &v); err != nil {
		return v, fmt.Errorf("%s: its result: %w", r.Name, err)
	}
	return v, nil
}

// StepError is the error of a step, or of a saga in the saga, as the log has it:
// the same when it happens and in a replay. So it does not wrap the error that the
// step returned; errors.Is knows the values of Config.ErrorNames.
type StepError struct {
	// Name is the step's.
	Name    string
	failure *machine.Failure
	names   map[string]error
}

func (e *StepError) Error() string { return e.Name + ": " + e.failure.Message }

// Failure is the error as the log has it: the names that it goes by, its message.
func (e *StepError) Failure() machine.Failure { return *e.failure }

// Is recognises the values of Config.ErrorNames.
func (e *StepError) Is(target error) bool {
	for name, known := range e.names {
		if known == target && e.failure.Matches(name) {
			return true
		}
	}
	return false
}

// notDone marks an error of a step that has certainly done nothing.
type notDone struct{ error }

func (e notDone) Unwrap() error { return e.error }

// NotDone says of the error of a step that it has certainly done nothing, so it is
// not undone. After any other error the step is in doubt.
func NotDone(err error) error {
	if err == nil {
		return nil
	}
	return notDone{err}
}

// halt marks an error that ends a saga without undoing it.
type halt struct{ error }

func (e halt) Unwrap() error { return e.error }

// Halt makes the error of a function end the saga in doubt (UN): nothing is undone.
// Engine.Forward, which a coordinator orders from time to time, runs the step again
// whose failure came last, and goes on.
func Halt(err error) error {
	if err == nil {
		return nil
	}
	return halt{err}
}

// Step calls do, at least once, and returns its result when that is in the log. If
// the saga fails later, or is ordered to be undone, undo is called with the result:
// the last step first. undo may be nil.
//
// After an error the step is in doubt: the function gets the error as a *StepError,
// and undo is called with the zero value, and must succeed if nothing was done. Wrap
// the error with NotDone if that is certain.
//
// FromContext has the key by which services recognise repetitions. The name appears
// in the log, and as a branch of the transaction.
func Step[T any](c *Context, name string, do func(ctx context.Context) (T, error), undo func(ctx context.Context, result T) error) (T, error) {
	cmd := &command{place: c.place(history.Step, name)}
	run := c.s.run
	cmd.do = func(ctx context.Context) ended {
		var text string
		err := run.guard(ctx, cmd.row, "", func(ctx context.Context) error {
			v, err := do(ctx)
			if err == nil {
				text, err = toJSON(v)
			}
			return err
		})
		if err == nil {
			return ended{value: text, status: machine.Succeeded}
		}
		f := run.failure(err)
		end := ended{failure: f, status: machine.Unknown}
		if errors.As(err, new(notDone)) || f.Network == machine.NotSent {
			end.status = machine.Failed
		}
		return end
	}
	if undo != nil {
		cmd.undo = func(ctx context.Context) error {
			var v T
			if cmd.row.Status == machine.Succeeded {
				if err := json.Unmarshal([]byte(history.Value(cmd.row)), &v); err != nil {
					return fmt.Errorf("the result that is to be undone: %w", err)
				}
			}
			return undo(ctx, v)
		}
	}
	return value[T](c, c.do(cmd))
}

// Sleep waits for a time, also over restarts.
func (c *Context) Sleep(d time.Duration) { c.Until(c.Now().Add(d)) }

// Until waits until a time, also over restarts.
func (c *Context) Until(t time.Time) {
	cmd := &command{place: c.place(history.Timer, "sleep"), due: t}
	cmd.input = map[string]any{"until": t.UTC().Format(time.RFC3339Nano)}
	c.do(cmd)
}

// Await waits for a signal that Engine.Signal gives to the saga, which may have come
// before. Each is delivered once, in the order of their arrival. With a timeout it
// gives up after that time with ErrNoSignal; zero waits without end.
func Await[T any](c *Context, name string, timeout time.Duration) (T, error) {
	cmd := &command{place: c.place(history.Wait, name), signal: name}
	if timeout > 0 {
		cmd.due = c.s.run.now.Add(timeout)
		cmd.input = map[string]any{"until": cmd.due.UTC().Format(time.RFC3339Nano)}
	}
	r := c.do(cmd)
	if r.Status != machine.Succeeded {
		var none T
		return none, fmt.Errorf("%s: %w within %v", name, ErrNoSignal, timeout)
	}
	return value[T](c, r)
}

// Call runs a saga in the saga and returns its result. Its error is a *StepError; it
// was undone then. If the outer saga fails later, the inner one is undone.
func (f *Flow[In, Out]) Call(c *Context, in In) (Out, error) {
	key := f.name + "@" + f.version
	cmd := &command{place: c.place(history.Child, key)}
	text, err := toJSON(in)
	if err != nil {
		var none Out
		return none, err
	}
	run := c.s.run
	cmd.input = map[string]any{codeIn: text}
	cmd.do = func(ctx context.Context) ended { return run.runInner(ctx, cmd, key, text) }
	cmd.undo = func(ctx context.Context) error { return run.undoInner(ctx, cmd, key) }
	return value[Out](c, c.do(cmd))
}

// Version tells which version of a change a saga goes with, so that code can change
// while its sagas run:
//
//	if c.Version("gift", 0, 1) >= 1 {
//		… // what is new
//	}
//
// A saga that passes the place for the first time goes with the newest version, one
// that had passed it before the change with 0; the answer stays. oldest is the oldest
// that the code still can do: a saga that goes with an older one is refused with
// ErrChanged.
func (c *Context) Version(change string, oldest, newest int) int {
	c.s.use()
	if change == "" || len(change) > 100 || oldest < 0 || oldest > newest {
		panic(fmt.Sprintf("saga: Version(%q, %d, %d): want a name of 1 to 100 bytes and 0 ≤ oldest ≤ newest", change, oldest, newest))
	}
	r := c.s.run
	n, known := r.versions[change]
	path := "version " + change
	switch {
	case known:
	case r.h.Has(path) || !r.h.Behind() && !r.undoing:
		cmd := &command{place: history.Place{Path: path, Kind: history.Version, Name: change}, value: fmt.Sprint(newest)}
		n, _ = value[int](c, c.do(cmd))
	}
	r.versions[change] = n
	if n < oldest || n > newest {
		r.refuse(history.Place{Path: path, Kind: history.Version, Name: fmt.Sprintf("%d of %q", n, change)},
			history.Place{Path: path, Kind: history.Version, Name: fmt.Sprintf("%d to %d of %q", oldest, newest, change)})
		c.s.park() // and never comes back
	}
	return n
}

// pathOfUndo marks the rows that undo others.
const pathOfUndo = "undo "
