package service

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/tm"
)

// orderTimeout is after how long an order that is not decided, perhaps because
// this service has died, is rolled back by the coordinator.
const orderTimeout = 5 * time.Second

// orderService takes orders.
type orderService struct {
	tm *tm.Manager
	// write notes the order in this service's own database.
	write func(context.Context, Order) error
	// calls are the other services.
	calls Calls
}

// place is the whole business: four changes in four databases, of which this
// service sees only its own. An error at any step undoes those before it.
func (s *orderService) place(ctx context.Context, o Order) error {
	return s.tm.Run(ctx, tm.Options{Name: "place-order", Timeout: orderTimeout}, func(ctx context.Context) error {
		if err := s.write(ctx, o); err != nil {
			return err
		}
		if err := s.calls.Take(ctx, Taking{o.Number, o.Item, o.Quantity}); err != nil {
			return err
		}
		if err := s.calls.Debit(ctx, Debit{o.Number, o.Customer, o.Price}); err != nil {
			return err
		}
		return s.calls.Award(ctx, Award{o.Number, o.Customer, o.Price})
	})
}

// unknown tells whether an order may have been placed although place failed.
func unknown(err error) bool {
	var away *tm.Unavailable
	return errors.Is(err, tm.ErrOutcomeUnknown) || errors.Is(err, errOpen) || (errors.As(err, &away) && away.Op == "commit" && !away.SafeToRetry)
}

// writeOrder, under AT and XA, is plain SQL: that it is part of the global transaction
// comes with the context.
func writeOrder(ctx context.Context, db statements, o Order) error {
	_, err := db.ExecContext(ctx,
		"INSERT INTO orders (number, customer, item, quantity, price) VALUES (?, ?, ?, ?, ?)",
		o.Number, o.Customer, o.Item, o.Quantity, o.Price)
	return err
}

// orderStep is writeOrder in a saga.
func orderStep() step[Order] {
	return step[Order]{
		operation: "write", order: func(o Order) int64 { return o.Number }, do: writeOrder,
		undo: func(ctx context.Context, db statements, o Order) error {
			_, err := db.ExecContext(ctx, "DELETE FROM orders WHERE number = ?", o.Number)
			return err
		},
	}
}

// orderAction is writeOrder under TCC: the order is pending until it is confirmed.
func orderAction() fence.Action[Order] {
	return fence.Action[Order]{
		Name: "order-write",
		Try: func(ctx context.Context, tx *sql.Tx, o Order) error {
			_, err := tx.ExecContext(ctx,
				"INSERT INTO orders (number, customer, item, quantity, price, pending) VALUES (?, ?, ?, ?, ?, 1)",
				o.Number, o.Customer, o.Item, o.Quantity, o.Price)
			return err
		},
		Confirm: func(ctx context.Context, tx *sql.Tx, o Order) error {
			_, err := tx.ExecContext(ctx, "UPDATE orders SET pending = 0 WHERE number = ?", o.Number)
			return err
		},
		Cancel: func(ctx context.Context, tx *sql.Tx, o Order) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM orders WHERE number = ?", o.Number)
			return err
		},
	}
}
