// Package fenced has actions on an SQL database.
package fenced

import (
	"context"
	"database/sql"
)

// Account holds money.
type Account interface {
	//qiao:tcc name=debit confirm=Pay cancel=Unfreeze
	Freeze(ctx context.Context, tx *sql.Tx, user string, amount int64) error
	Pay(ctx context.Context, tx *sql.Tx, user string, amount int64) error
	Unfreeze(ctx context.Context, tx *sql.Tx, user string, amount int64) error

	// Bonus is booked at once.
	//qiao:compensation name=bonus compensate=TakeBonus timeout=1500ms
	Bonus(ctx context.Context, tx *sql.Tx, user string) (int64, error)
	TakeBonus(ctx context.Context, tx *sql.Tx, user string) error
}
