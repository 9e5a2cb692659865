// Package client connects an application to the transaction coordinator.
//
// Job: keep one connection to every coordinator node, register the application
// and its resources on each, send requests to a node that can take them and
// repeat them where that is safe, hand phase-two orders to the resources.
// Owner: the application opens one Client, and takes from it the transaction
// manager (TM) and what resources register with (RM).
// It must not know: how a transaction is decided, what a resource does, SQL.
//
//	c, err := client.Open(ctx, client.Config{
//		Addresses:     []string{"127.0.0.1:8091"},
//		ApplicationID: "order-service",
//	})
//	if err != nil { … }
//	defer c.Close(context.Background())
//	err = c.TM().Run(ctx, tm.Options{Name: "place-order"}, placeOrder)
package client
