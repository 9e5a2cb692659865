// Package shapes has parameters of many shapes.
package shapes

import (
	"context"
	"math/big"
	when "time"
)

type nothing struct{}

type shapes interface {
	//qiao:tcc name=none confirm=none2 cancel=none2
	none(ctx context.Context) error
	none2(context.Context) error

	//qiao:tcc name=many confirm=Many2 cancel=Many2
	Many(ctx context.Context, a, b *big.Int, at when.Time, tags map[string][]when.Duration, n *nothing) error
	Many2(ctx context.Context, a, b *big.Int, at when.Time, tags map[string][]when.Duration, n *nothing) error

	//qiao:compensation name=pointer compensate=Pointer2 timeout=1s
	Pointer(ctx context.Context, a *big.Int) error
	Pointer2(ctx context.Context, b *big.Int) error

	//qiao:compensation name=type compensate=Slice
	Type(ctx context.Context, list []string) ([]*big.Rat, error)
	Slice(ctx context.Context, list []string) error
}

// Second has the same methods under other names.
type Second interface {
	//qiao:tcc name=second confirm=Many2 cancel=Many2
	Many(ctx context.Context, switch_ bool) error
	Many2(ctx context.Context, switch_ bool) error
}
