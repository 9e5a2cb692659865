package tm_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/tm"
)

// What must happen only if the transaction commits is left to a hook of it.
func ExampleAddHook() {
	m := tm.New(newRecorder()) // in an application: m := c.TM(), of a client.Client
	order := func(ctx context.Context) error {
		tm.AddHook(ctx, tm.Hook{AfterCommit: func(context.Context, tm.Info) { fmt.Println("mail sent") }})
		return nil
	}
	fmt.Println(m.Run(context.Background(), tm.Options{Name: "order"}, order))
	// Output:
	// mail sent
	// <nil>
}

// A business error need not roll back, and an audit record must stay whatever
// becomes of the order.
func ExampleOptions() {
	m := tm.New(newRecorder())
	errEmpty := errors.New("nothing in the basket")
	err := m.Run(context.Background(), tm.Options{Name: "order", NoRollbackFor: []tm.ErrorRule{tm.Is(errEmpty)}},
		func(ctx context.Context) error {
			audit := func(ctx context.Context) error { return nil } // SQL with ctx
			if err := m.Run(ctx, tm.Options{Name: "audit", Propagation: tm.RequiresNew}, audit); err != nil {
				return err
			}
			return errEmpty // committed all the same
		})
	fmt.Println(err)
	// Output: nothing in the basket
}
