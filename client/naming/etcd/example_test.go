package etcd_test

import (
	"context"
	"log"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/client/naming"
	"github.com/qiao-tx/qiao/client/naming/etcd"
)

func Example() {
	r, err := etcd.New(etcd.Config{Endpoints: []string{"http://etcd.internal:2379"}})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close() // after the client
	c, err := client.Open(context.Background(), client.Config{
		// Remember, for a start while etcd is away.
		Resolver:      naming.Remember(r, "/var/lib/order/coordinators"),
		ApplicationID: "order",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(context.Background())
}
