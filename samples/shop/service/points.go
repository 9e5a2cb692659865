package service

import (
	"context"
	"database/sql"
	"errors"

	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// errStranger: points are for customers who are known. It is a failure: the
// account service has known the customer.
var errStranger = errors.New("the points service does not know the customer")

// awardPoints gives a customer points.
func awardPoints(ctx context.Context, db statements, a Award) error {
	result, err := db.ExecContext(ctx, "UPDATE points SET points = points + ? WHERE customer = ?", a.Points, a.Customer)
	return changedOne(result, err, errStranger)
}

// pointsStep is awardPoints in a saga.
func pointsStep() step[Award] {
	return step[Award]{
		operation: "award", order: func(a Award) int64 { return a.Order }, do: awardPoints,
		undo: func(ctx context.Context, db statements, a Award) error {
			_, err := db.ExecContext(ctx, "UPDATE points SET points = points - ? WHERE customer = ?", a.Points, a.Customer)
			return err
		},
	}
}

// pointsAction is awardPoints under TCC: points that are reserved cannot be spent yet.
func pointsAction() fence.Action[Award] {
	return fence.Action[Award]{
		Name: "points-award",
		Try: func(ctx context.Context, tx *sql.Tx, a Award) error {
			result, err := tx.ExecContext(ctx, "UPDATE points SET reserved = reserved + ? WHERE customer = ?", a.Points, a.Customer)
			return changedOne(result, err, errStranger)
		},
		Confirm: func(ctx context.Context, tx *sql.Tx, a Award) error {
			_, err := tx.ExecContext(ctx,
				"UPDATE points SET points = points + ?, reserved = reserved - ? WHERE customer = ?", a.Points, a.Points, a.Customer)
			return err
		},
		Cancel: func(ctx context.Context, tx *sql.Tx, a Award) error {
			_, err := tx.ExecContext(ctx, "UPDATE points SET reserved = reserved - ? WHERE customer = ?", a.Points, a.Customer)
			return err
		},
	}
}
