package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"

	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// callTimeout bounds each call; an order has 5 s in all.
const callTimeout = 3 * time.Second

// The Java interfaces that services of either language provide.
const (
	stockInterface   = "shop.dubbo.StockService"
	accountInterface = "shop.dubbo.AccountService"
	pointsInterface  = "shop.dubbo.PointsService"
)

// dialect is how dubbo-go is told which protocol to speak.
type dialect struct {
	scheme   string
	provider protocol.Option
	consumer []client.ReferenceOption
}

var (
	overDubbo = dialect{
		constant.DubboProtocol, protocol.WithDubbo(),
		[]client.ReferenceOption{client.WithProtocolDubbo()},
	}
	overTriple = dialect{
		constant.TriProtocol, protocol.WithTriple(),
		//lint:ignore SA1019 without it the Triple client of dubbo-go v3.3.2 sends no arguments
		[]client.ReferenceOption{client.WithProtocolTriple(), client.WithIDL(constant.NONIDL)},
	}
)

// transport carries calls over Dubbo or Triple. It is a service.Transport.
type transport struct{ dialect }

// application keeps dubbo-go's metadata service from listening on every interface.
func application() *global.ApplicationConfig {
	return &global.ApplicationConfig{Name: "shop", MetadataType: constant.RemoteMetadataStorageType}
}

// Serve implements service.Transport.
func (t transport) Serve(ctx context.Context, address string, own service.Calls) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := server.NewServer(server.SetServerApplication(application()),
		server.WithServerProtocol(t.provider.(protocol.ServerOption), protocol.WithIp(host), protocol.WithPort(number)))
	if err != nil {
		return err
	}
	publish := func(name string, handler any) error {
		// The filter lets the handlers take part in the caller's transaction.
		return s.RegisterService(handler, server.WithInterface(name), server.WithFilter(dubbo.ProviderFilters),
			server.WithSerialization(constant.Hessian2Serialization))
	}
	switch {
	case own.Take != nil:
		err = publish(stockInterface, &Stock{own.Take, own.PutBack})
	case own.Debit != nil:
		err = publish(accountInterface, &Account{own.Debit, own.Refund})
	case own.Award != nil:
		err = publish(pointsInterface, &Points{own.Award, own.Revoke})
	}
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve() }() // ends with the process: dubbo-go's servers do not before
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return errors.Join(errors.New("the dubbo-go server has ended"), err)
	}
}

// Dial implements service.Transport.
func (t transport) Dial(_ context.Context, to service.Addresses) (service.Calls, func() error, error) {
	cli, err := client.NewClient(client.SetClientApplication(application()))
	if err != nil {
		return service.Calls{}, nil, err
	}
	dial := func(name, address string) (call, error) {
		// The filter takes the transaction along to the services called.
		conn, err := cli.Dial(name, append([]client.ReferenceOption{
			client.WithURL(t.scheme + "://" + address), client.WithFilter(dubbo.ConsumerFilter),
			client.WithSerialization(constant.Hessian2Serialization),
		}, t.consumer...)...)
		return call{conn}, err
	}
	stock, err1 := dial(stockInterface, to.Stock)
	account, err2 := dial(accountInterface, to.Account)
	points, err3 := dial(pointsInterface, to.Points)
	if err := errors.Join(err1, err2, err3); err != nil {
		return service.Calls{}, nil, err
	}
	taking := func(method string) func(context.Context, service.Taking) error {
		return func(ctx context.Context, t service.Taking) error {
			return stock.do(ctx, method, t.Order, t.Item, t.Quantity)
		}
	}
	debiting := func(method string) func(context.Context, service.Debit) error {
		return func(ctx context.Context, d service.Debit) error {
			return account.do(ctx, method, d.Order, d.Customer, d.Amount)
		}
	}
	awarding := func(method string) func(context.Context, service.Award) error {
		return func(ctx context.Context, a service.Award) error {
			return points.do(ctx, method, a.Order, a.Customer, a.Points)
		}
	}
	return service.Calls{
		Take: taking("take"), PutBack: taking("putBack"),
		Debit: debiting("debit"), Refund: debiting("refund"),
		Award: awarding("award"), Revoke: awarding("revoke"),
	}, func() error { return nil }, nil
}

// call calls the methods of one service.
type call struct{ conn *client.Connection }

// do calls a method whose result is empty, or the reason of a refusal.
func (c call) do(ctx context.Context, method string, arguments ...any) error {
	var reason string
	if err := c.conn.CallUnary(ctx, arguments, &reason, method, client.WithCallRequestTimeout(callTimeout)); err != nil {
		return err
	}
	if refusal := service.Refusal(reason); refusal != nil {
		return refusal
	}
	if reason != "" {
		return errors.New(reason)
	}
	return nil
}
