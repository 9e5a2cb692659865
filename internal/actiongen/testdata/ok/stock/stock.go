// Package stock has an interface as an application may write it.
package stock

import "context"

//go:generate go run github.com/qiao-tx/qiao/cmd/qiao gen tcc

// Stock keeps goods.
type Stock interface {
	// Reserve sets pieces of an item aside.
	//
	// They stay reserved until Take or GiveBack.
	//
	//qiao:tcc name=stock-reserve confirm=Take cancel=GiveBack try-timeout=2s timeout=5s attempts=3 wait=250ms give-up-after=24h
	Reserve(ctx context.Context, item string, count int) error
	Take(ctx context.Context, item string, count int) error
	GiveBack(ctx context.Context, item string, count int) error

	//qiao:compensation name=stock-order compensate=CancelOrder
	Order(ctx context.Context, order Order) (number string, err error)
	CancelOrder(ctx context.Context, order Order) error

	// Level is no part of any transaction.
	Level(item string) int
}

// Order is an order at a supplier.
type Order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}
