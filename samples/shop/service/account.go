package service

import (
	"context"
	"database/sql"

	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// debitAccount takes a customer's money.
func debitAccount(ctx context.Context, db statements, d Debit) error {
	result, err := db.ExecContext(ctx,
		"UPDATE account SET balance = balance - ? WHERE customer = ? AND balance >= ?", d.Amount, d.Customer, d.Amount)
	return changedOne(result, err, ErrNoMoney)
}

// accountStep is debitAccount in a saga.
func accountStep() step[Debit] {
	return step[Debit]{
		operation: "debit", order: func(d Debit) int64 { return d.Order }, do: debitAccount,
		undo: func(ctx context.Context, db statements, d Debit) error {
			_, err := db.ExecContext(ctx, "UPDATE account SET balance = balance + ? WHERE customer = ?", d.Amount, d.Customer)
			return err
		},
	}
}

// accountAction is debitAccount under TCC.
func accountAction() fence.Action[Debit] {
	return fence.Action[Debit]{
		Name: "account-debit",
		Try: func(ctx context.Context, tx *sql.Tx, d Debit) error {
			result, err := tx.ExecContext(ctx,
				"UPDATE account SET balance = balance - ?, reserved = reserved + ? WHERE customer = ? AND balance >= ?",
				d.Amount, d.Amount, d.Customer, d.Amount)
			return changedOne(result, err, ErrNoMoney)
		},
		Confirm: func(ctx context.Context, tx *sql.Tx, d Debit) error {
			_, err := tx.ExecContext(ctx, "UPDATE account SET reserved = reserved - ? WHERE customer = ?", d.Amount, d.Customer)
			return err
		},
		Cancel: func(ctx context.Context, tx *sql.Tx, d Debit) error {
			_, err := tx.ExecContext(ctx,
				"UPDATE account SET balance = balance + ?, reserved = reserved - ? WHERE customer = ?", d.Amount, d.Amount, d.Customer)
			return err
		},
	}
}
