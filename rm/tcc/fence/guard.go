package fence

import (
	"context"
	"database/sql"

	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// Action is a tcc.Action whose functions work in a local transaction that the
// fence begins and commits. They must use tx, and must not end it. Their context
// carries the branch (tcc.BranchFrom) but no global transaction.
type Action[T any] struct {
	Name                 string
	Try, Confirm, Cancel func(ctx context.Context, tx *sql.Tx, arg T) error
}

// Guard returns a, fenced by f, for tcc.Register.
func Guard[T any](f *Fence, a Action[T]) tcc.Action[T] {
	return tcc.Action[T]{
		Name:    a.Name,
		Fenced:  true,
		Try:     guard(f.Try, a.Try),
		Confirm: guard(f.Confirm, a.Confirm),
		Cancel:  guard(f.Cancel, a.Cancel),
	}
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
		branch, _ := tcc.BranchFrom(ctx)
		return fenced(ctx, branch, func(tx *sql.Tx) error { return fn(outside(ctx), tx, arg) })
	}
}
