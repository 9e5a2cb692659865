package main

import (
	"context"
	"errors"

	"github.com/qiao-tx/qiao/samples/shop/service"
)

// Stock is the stock service as dubbo-go publishes it: exported types and methods
// only. A Java caller knows the methods as take and putBack.
type Stock struct {
	take, putBack func(context.Context, service.Taking) error
}

// Take takes pieces of an item out of stock. The result is empty, or the reason
// of a refusal: errors are no two languages' same thing.
func (s *Stock) Take(ctx context.Context, order int64, item string, quantity int64) (string, error) {
	return serve(ctx, s.take, service.Taking{Order: order, Item: item, Quantity: quantity})
}

// PutBack undoes Take.
func (s *Stock) PutBack(ctx context.Context, order int64, item string, quantity int64) (string, error) {
	return serve(ctx, s.putBack, service.Taking{Order: order, Item: item, Quantity: quantity})
}

// Account is the account service.
type Account struct {
	debit, refund func(context.Context, service.Debit) error
}

// Debit takes a customer's money, with the result of Take.
func (s *Account) Debit(ctx context.Context, order int64, customer string, amount int64) (string, error) {
	return serve(ctx, s.debit, service.Debit{Order: order, Customer: customer, Amount: amount})
}

// Refund undoes Debit.
func (s *Account) Refund(ctx context.Context, order int64, customer string, amount int64) (string, error) {
	return serve(ctx, s.refund, service.Debit{Order: order, Customer: customer, Amount: amount})
}

// Points is the points service.
type Points struct {
	award, revoke func(context.Context, service.Award) error
}

// Award gives a customer points, with the result of Take.
func (s *Points) Award(ctx context.Context, order int64, customer string, points int64) (string, error) {
	return serve(ctx, s.award, service.Award{Order: order, Customer: customer, Points: points})
}

// Revoke undoes Award.
func (s *Points) Revoke(ctx context.Context, order int64, customer string, points int64) (string, error) {
	return serve(ctx, s.revoke, service.Award{Order: order, Customer: customer, Points: points})
}

// serve answers a call; one that undoes another is there in mode saga only.
func serve[T any](ctx context.Context, do func(context.Context, T) error, argument T) (string, error) {
	if do == nil {
		return "", errors.New("only in mode saga")
	}
	err := do(ctx, argument)
	if refusal := service.RefusalIn(err); refusal != nil {
		return refusal.Error(), nil
	}
	return "", err
}
