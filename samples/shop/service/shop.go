package service

import (
	"context"
	"errors"
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

// Taking asks the stock service for so many pieces of an item.
type Taking struct {
	Order    int64  `json:"order"` // its number, by which a saga's services know repetitions
	Item     string `json:"item"`
	Quantity int64  `json:"quantity"`
}

// Debit asks the account service for a customer's money.
type Debit struct {
	Order    int64  `json:"order"`
	Customer string `json:"customer"`
	Amount   int64  `json:"amount"`
}

// Award asks the points service to thank a customer.
type Award struct {
	Order    int64  `json:"order"`
	Customer string `json:"customer"`
	Points   int64  `json:"points"`
}

// Refusals are answers, not failures. Their texts travel between services of
// either language.
var (
	ErrNoStock = errors.New("no stock")
	ErrNoMoney = errors.New("no money")
)

// Refusal returns the error of a refusal that arrived as its text, or nil.
func Refusal(text string) error {
	for _, refusal := range []error{ErrNoStock, ErrNoMoney} {
		if text == refusal.Error() {
			return refusal
		}
	}
	return nil
}

// RefusalIn returns the refusal that an error wraps, or nil.
func RefusalIn(err error) error {
	for _, refusal := range []error{ErrNoStock, ErrNoMoney} {
		if errors.Is(err, refusal) {
			return refusal
		}
	}
	return nil
}

// Calls are what services ask of each other. Stock publishes Take, account Debit
// and points Award; the order service calls all three. In mode saga each has one
// that undoes it: PutBack, Refund and Revoke. They may be called for calls that have
// not arrived, and any number of times.
type Calls struct {
	Take, PutBack func(context.Context, Taking) error
	Debit, Refund func(context.Context, Debit) error
	Award, Revoke func(context.Context, Award) error
}

// Transport carries calls from service to service, and the global transaction
// with them.
type Transport interface {
	// Serve answers calls at host:port until ctx ends. Calls that the service
	// does not publish are nil.
	Serve(ctx context.Context, address string, own Calls) error
	// Dial returns the calls of the services at these addresses, and what
	// releases their connections.
	Dial(ctx context.Context, to Addresses) (Calls, func() error, error)
}

// Addresses are where the services are, host:port.
type Addresses struct{ Stock, Account, Points string }
