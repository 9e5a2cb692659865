package grpc_test

import (
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/qiao-tx/qiao/client/carry"
	qiaogrpc "github.com/qiao-tx/qiao/client/grpc"
)

// Both sides of gRPC: calls made with a context of tm.Run take the transaction
// along, and handlers take part in that of their caller.
func Example() {
	conn, err := grpc.NewClient("stock.example.com:443",
		append(qiaogrpc.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	server := grpc.NewServer(qiaogrpc.ServerOptions(carry.Policy{})...)
	defer server.Stop()
}
