package shop

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"time"

	"github.com/qiao-tx/qiao/tm"
)

// Order is what a customer asks for.
type Order struct {
	// Number is the customer's own: the same order placed twice is refused.
	Number   int64  `json:"number"`
	Customer string `json:"customer"`
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"`
	Price    int64  `json:"price"` // of all pieces together
}

// orderTimeout is after how long an order that is not decided, perhaps because
// this service has died, is rolled back by the coordinator.
const orderTimeout = 5 * time.Second

// orderService takes orders.
type orderService struct {
	tm      *tm.Manager
	db      *sql.DB
	stock   peer
	account peer
}

// place is the whole business: three changes in three databases, of which this
// service sees only its own. An error at any step undoes those before it.
func (s *orderService) place(ctx context.Context, o Order) error {
	return s.tm.Run(ctx, tm.Options{Name: "place-order", Timeout: orderTimeout}, func(ctx context.Context) error {
		if _, err := s.db.ExecContext(ctx,
			"INSERT INTO orders (number, customer, item, quantity, price) VALUES (?, ?, ?, ?, ?)",
			o.Number, o.Customer, o.Item, o.Quantity, o.Price); err != nil {
			return err
		}
		if err := s.stock.call(ctx, "/take", taking{o.Item, o.Quantity}); err != nil {
			return err
		}
		return s.account.call(ctx, "/debit", debit{o.Customer, o.Price})
	})
}

func (s *orderService) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /orders", handle(s.place))
	return mux
}

// unknown tells whether an order may have been placed although place failed.
func unknown(err error) bool {
	var away *tm.Unavailable
	return errors.Is(err, tm.ErrOutcomeUnknown) || (errors.As(err, &away) && away.Op == "commit" && !away.SafeToRetry)
}
