package main

import (
	"context"

	"github.com/qiao-tx/qiao/samples/shop/service"
)

// Stock is the stock service as dubbo-go publishes it: exported types and methods
// only. A Java caller knows the method as take.
type Stock struct {
	take func(context.Context, service.Taking) error
}

// Take takes pieces of an item out of stock. The result is empty, or the reason
// of a refusal: errors are no two languages' same thing.
func (s *Stock) Take(ctx context.Context, item string, quantity int64) (string, error) {
	return answer(s.take(ctx, service.Taking{Item: item, Quantity: quantity}))
}

// Account is the account service.
type Account struct {
	debit func(context.Context, service.Debit) error
}

// Debit takes a customer's money, with the result of Take.
func (s *Account) Debit(ctx context.Context, customer string, amount int64) (string, error) {
	return answer(s.debit(ctx, service.Debit{Customer: customer, Amount: amount}))
}

// Points is the points service.
type Points struct {
	award func(context.Context, service.Award) error
}

// Award gives a customer points, with the result of Take.
func (s *Points) Award(ctx context.Context, customer string, points int64) (string, error) {
	return answer(s.award(ctx, service.Award{Customer: customer, Points: points}))
}

func answer(err error) (string, error) {
	if refusal := service.RefusalIn(err); refusal != nil {
		return refusal.Error(), nil
	}
	return "", err
}
