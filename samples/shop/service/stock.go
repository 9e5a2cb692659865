package service

import (
	"context"
	"database/sql"

	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// takeStock, under AT and XA, is plain SQL: that it is part of the caller's global
// transaction comes with the context.
func takeStock(ctx context.Context, db statements, t Taking) error {
	result, err := db.ExecContext(ctx,
		"UPDATE stock SET quantity = quantity - ? WHERE item = ? AND quantity >= ?", t.Quantity, t.Item, t.Quantity)
	return changedOne(result, err, ErrNoStock)
}

// stockStep is takeStock in a saga.
func stockStep() step[Taking] {
	return step[Taking]{
		operation: "take", order: func(t Taking) int64 { return t.Order }, do: takeStock,
		undo: func(ctx context.Context, db statements, t Taking) error {
			_, err := db.ExecContext(ctx, "UPDATE stock SET quantity = quantity + ? WHERE item = ?", t.Quantity, t.Item)
			return err
		},
	}
}

// stockAction is takeStock under TCC. The fence sees to it that each function runs
// once at most, and that a cancel which came first keeps its try out.
func stockAction() fence.Action[Taking] {
	return fence.Action[Taking]{
		Name: "stock-take",
		Try: func(ctx context.Context, tx *sql.Tx, t Taking) error {
			result, err := tx.ExecContext(ctx,
				"UPDATE stock SET quantity = quantity - ?, reserved = reserved + ? WHERE item = ? AND quantity >= ?",
				t.Quantity, t.Quantity, t.Item, t.Quantity)
			return changedOne(result, err, ErrNoStock)
		},
		Confirm: func(ctx context.Context, tx *sql.Tx, t Taking) error {
			_, err := tx.ExecContext(ctx, "UPDATE stock SET reserved = reserved - ? WHERE item = ?", t.Quantity, t.Item)
			return err
		},
		Cancel: func(ctx context.Context, tx *sql.Tx, t Taking) error {
			_, err := tx.ExecContext(ctx,
				"UPDATE stock SET quantity = quantity + ?, reserved = reserved - ? WHERE item = ?", t.Quantity, t.Quantity, t.Item)
			return err
		},
	}
}

// changedOne wants a statement to have changed a row, and else answers the refusal.
func changedOne(result sql.Result, err, refusal error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return refusal
	}
	return err
}
