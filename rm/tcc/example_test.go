package tcc_test

import (
	"context"
	"fmt"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// An action reserves in its try. When the transaction ends, the coordinator has
// the reservation used or given back.
func ExampleRegister() {
	ctx := context.Background()
	coordinator := &registry{} // in an application: client.Client's RM()
	step := func(name string) func(context.Context, reservation) error {
		return func(_ context.Context, r reservation) error {
			fmt.Println(name, r.Count, r.Item)
			return nil
		}
	}
	reserve, err := tcc.Register(ctx, coordinator, tcc.Action[reservation]{
		Name: "stock-reserve",
		Try:  step("reserve"), Confirm: step("take"), Cancel: step("give back"),
		Retry: tcc.Retry{Attempts: 3},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	inside := xid.NewContext(ctx, theXID) // in an application: what tm.Run gives
	fmt.Println(reserve.Try(inside, reservation{"hat", 2}))
	_, err = coordinator.resource.Commit(ctx, coordinator.branch(0)) // in an application: by the coordinator
	fmt.Println(err)
	// Output:
	// reserve 2 hat
	// <nil>
	// take 2 hat
	// <nil>
}
