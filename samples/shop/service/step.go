package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A saga's log calls a service again whenever it does not know how a call ended, and
// it may undo a call that has never arrived. The table saga_step is what makes a
// service fit for that: a row for each order and operation, done or undone, written
// in the same local transaction as the change itself.

// errUndone: the call was overtaken by the one that undoes it, for good.
var errUndone = errors.New("this step of the order was undone before it came")

// step is a service's change under a saga, and the one that undoes it.
type step[T any] struct {
	operation string
	order     func(T) int64
	do, undo  func(context.Context, statements, T) error
}

// in returns both in a database. Either may be called any number of times, undo also
// first, and at the same time: two that collide fail, one of them, and it is called
// again.
func (s step[T]) in(db *sql.DB) (do, undo func(context.Context, T) error) {
	return func(ctx context.Context, arg T) error {
			return locally(ctx, db, func(tx *sql.Tx) error { return s.doOnce(ctx, tx, arg) })
		}, func(ctx context.Context, arg T) error {
			return locally(ctx, db, func(tx *sql.Tx) error { return s.undoOnce(ctx, tx, arg) })
		}
}

func (s step[T]) doOnce(ctx context.Context, tx *sql.Tx, arg T) error {
	state, err := s.note(ctx, tx, arg, "done")
	switch {
	case err != nil:
		return err
	case state == "done":
		return nil
	case state == "undone":
		return errUndone
	}
	return s.do(ctx, tx, arg) // a refusal takes the row back
}

func (s step[T]) undoOnce(ctx context.Context, tx *sql.Tx, arg T) error {
	state, err := s.note(ctx, tx, arg, "undone")
	if err != nil || state != "done" {
		return err // nothing to undo, now and later; or undone already
	}
	result, err := tx.ExecContext(ctx,
		"UPDATE saga_step SET state = 'undone' WHERE order_number = ? AND operation = ? AND state = 'done'", s.order(arg), s.operation)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // another call was quicker
	}
	return s.undo(ctx, tx, arg)
}

// note writes the step's row, or returns the state of the one that is there.
func (s step[T]) note(ctx context.Context, tx *sql.Tx, arg T, state string) (string, error) {
	_, failure := tx.ExecContext(ctx,
		"INSERT INTO saga_step (order_number, operation, state) VALUES (?, ?, ?)", s.order(arg), s.operation, state)
	if failure == nil {
		return "", nil
	}
	var there string
	err := tx.QueryRowContext(ctx,
		"SELECT state FROM saga_step WHERE order_number = ? AND operation = ?", s.order(arg), s.operation).Scan(&there)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("note the step %s of order %d: %w", s.operation, s.order(arg), failure)
	}
	return there, err
}

// locally runs work in a transaction of this database alone.
func locally(ctx context.Context, db *sql.DB, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}
