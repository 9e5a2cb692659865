package main

import (
	"context"
	"database/sql"
	"errors"
)

const stockInterface = "sample.Stock"

// Stock is a service under AT: it changes rows as it would without a transaction,
// and they change back when the caller's transaction rolls back.
type Stock struct{ db *sql.DB }

// Take removes n pieces of an item and returns how many are left.
func (s *Stock) Take(ctx context.Context, item string, n int32) (int32, error) {
	result, err := s.db.ExecContext(ctx, "UPDATE stock SET n = n - ? WHERE item = ? AND n >= ?", n, item, n)
	if err != nil {
		return 0, err
	}
	if changed, err := result.RowsAffected(); err != nil || changed != 1 {
		return 0, errors.Join(err, errors.New("not enough in stock"))
	}
	var left int32
	err = s.db.QueryRowContext(ctx, "SELECT n FROM stock WHERE item = ?", item).Scan(&left)
	return left, err
}
