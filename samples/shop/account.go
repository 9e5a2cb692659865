package shop

import (
	"context"
	"database/sql"
	"net/http"
)

// debit asks the account service for a customer's money.
type debit struct {
	Customer string `json:"customer"`
	Amount   int64  `json:"amount"`
}

// accountService keeps the customers' money.
type accountService struct{ db *sql.DB }

func (s *accountService) debit(ctx context.Context, d debit) error {
	result, err := s.db.ExecContext(ctx,
		"UPDATE account SET balance = balance - ? WHERE customer = ? AND balance >= ?", d.Amount, d.Customer, d.Amount)
	return changedOne(result, err, errNoMoney)
}

func (s *accountService) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /debit", handle(s.debit))
	return mux
}
