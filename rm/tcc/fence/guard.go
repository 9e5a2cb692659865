package fence

import (
	"context"
	"database/sql"
	"time"

	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/action"
	"github.com/qiao-tx/qiao/rm/compensation"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// Action is a tcc.Action whose functions work in a local transaction that the
// fence begins and commits. They must use tx, and must not end it. Their context
// carries the branch (tcc.BranchFrom) but no global transaction.
type Action[T any] struct {
	Name                 string
	Try, Confirm, Cancel func(ctx context.Context, tx *sql.Tx, arg T) error
	// TryTimeout, Timeout and Retry are those of a tcc.Action.
	TryTimeout, Timeout time.Duration
	Retry               tcc.Retry
}

// Guard returns a, fenced by f, for tcc.Register.
func Guard[T any](f *Fence, a Action[T]) tcc.Action[T] {
	return tcc.Action[T]{
		Name:    a.Name,
		Fenced:  true,
		Try:     guard(f.Try, a.Try),
		Confirm: guard(f.Confirm, a.Confirm),
		Cancel:  guard(f.Cancel, a.Cancel),

		TryTimeout: a.TryTimeout, Timeout: a.Timeout, Retry: a.Retry,
	}
}

// Call is a compensation.Action whose functions work in a local transaction that
// the fence begins and commits, as those of an Action do.
type Call[T, R any] struct {
	Name       string
	Call       func(ctx context.Context, tx *sql.Tx, arg T) (R, error)
	Compensate func(ctx context.Context, tx *sql.Tx, arg T) error
	// CallTimeout, Timeout and Retry are those of a compensation.Action.
	CallTimeout, Timeout time.Duration
	Retry                compensation.Retry
}

// GuardCall returns c, fenced by f, for compensation.Register: its compensation
// acts once, does nothing for a call that has not run, and keeps out one that
// comes late. (Java 2.5's useFence guards the call alone, not the compensation.)
//
// A call's record stands for as long as the call does; CleanerConfig.Ended lets it
// go after the transaction's end.
func GuardCall[T, R any](f *Fence, c Call[T, R]) compensation.Action[T, R] {
	f.guardsCall(c.Name)
	a := compensation.Action[T, R]{
		Name: c.Name, Fenced: true, Compensate: guard(f.Cancel, c.Compensate),
		CallTimeout: c.CallTimeout, Timeout: c.Timeout, Retry: c.Retry,
	}
	if c.Call != nil {
		a.Call = func(ctx context.Context, arg T) (result R, err error) {
			branch, _ := action.BranchFrom(ctx)
			err = f.Try(ctx, branch, func(tx *sql.Tx) error {
				result, err = c.Call(outside(ctx), tx, arg)
				return err
			})
			return result, err
		}
	}
	return a
}

// guard wraps one function of an action; it leaves a missing one missing, for
// tcc.Register to complain of.
func guard[T any](
	fenced func(context.Context, rm.Branch, func(*sql.Tx) error) error,
	fn func(context.Context, *sql.Tx, T) error,
) func(context.Context, T) error {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, arg T) error {
		branch, _ := action.BranchFrom(ctx)
		return fenced(ctx, branch, func(tx *sql.Tx) error { return fn(outside(ctx), tx, arg) })
	}
}
