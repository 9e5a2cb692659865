package shop

import (
	"context"
	"database/sql"
	"net/http"
)

// taking asks the stock service for so many pieces of an item.
type taking struct {
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"`
}

// stockService keeps what can be sold.
type stockService struct{ db *sql.DB }

// take is plain SQL: that it is part of the caller's global transaction comes
// with the context.
func (s *stockService) take(ctx context.Context, t taking) error {
	result, err := s.db.ExecContext(ctx,
		"UPDATE stock SET quantity = quantity - ? WHERE item = ? AND quantity >= ?", t.Quantity, t.Item, t.Quantity)
	return changedOne(result, err, errNoStock)
}

func (s *stockService) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /take", handle(s.take))
	return mux
}
