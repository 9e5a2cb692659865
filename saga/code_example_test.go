package saga_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// Order is what somebody wants to buy.
type Order struct {
	Item string `json:"item"`
	N    int    `json:"n"`
}

// placeOrder reserves the goods, waits for the payment, and ships them. If nobody
// pays, or shipping fails, the goods go back.
func placeOrder(c *saga.Context, o Order) (parcel string, err error) {
	_, err = saga.Step(c, "reserve",
		func(ctx context.Context) (int, error) { fmt.Println("reserve", o.N, o.Item); return o.N, nil },
		func(ctx context.Context, n int) error { fmt.Println("release", n, o.Item); return nil })
	if err != nil {
		return "", err
	}
	payer, err := saga.Await[string](c, "paid", time.Minute)
	if err != nil {
		return "", err
	}
	return saga.Step(c, "ship",
		func(ctx context.Context) (string, error) {
			if payer == "nobody" {
				return "", saga.NotDone(errors.New("no address"))
			}
			return "parcel for " + payer, nil
		}, nil)
}

func ExampleCode() {
	ctx := context.Background()
	engine, err := saga.Open(ctx, saga.Config{Store: sagalog.NewMemory()}) // or sagalog.OpenSQL
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = engine.Close(ctx) }()
	order := saga.Code("order", "1", placeOrder)
	if err := engine.Register(ctx, order); err != nil {
		fmt.Println(err)
		return
	}
	for _, payer := range []string{"Li", "nobody"} {
		s, err := order.Start(ctx, engine, Order{Item: "tea", N: 2}, saga.StartOptions{})
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := engine.Signal(ctx, s.ID, "paid", payer, saga.SignalOptions{}); err != nil {
			fmt.Println(err)
			return
		}
		parcel, err := s.Wait(ctx)
		var failed *saga.FailedError
		if errors.As(err, &failed) {
			fmt.Println("failed:", failed.Saga.Failure.Message)
			continue
		}
		fmt.Println(parcel, err)
	}
	// Output:
	// reserve 2 tea
	// parcel for Li <nil>
	// reserve 2 tea
	// release 2 tea
	// failed: ship: no address
}
