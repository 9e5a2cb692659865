// Package overgrpc carries the calls of the shop over gRPC.
//
// Job: a service.Transport whose calls are those of proto/shop.proto.
// Owner: samples/shop.
// It must not know: what the calls do.
package overgrpc

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/qiao-tx/qiao/client/carry"
	qiaogrpc "github.com/qiao-tx/qiao/client/grpc"
	"github.com/qiao-tx/qiao/samples/shop/overgrpc/shoppb"
	"github.com/qiao-tx/qiao/samples/shop/service"
)

// callTimeout bounds each call; an order has 5 s in all.
const callTimeout = 3 * time.Second

// Transport carries calls over gRPC. It is a service.Transport.
type Transport struct{}

// Serve implements service.Transport.
func (Transport) Serve(ctx context.Context, address string, own service.Calls) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	// These options let the handlers take part in the caller's transaction.
	s := grpc.NewServer(qiaogrpc.ServerOptions(carry.Policy{})...)
	if own.Take != nil {
		shoppb.RegisterStockServer(s, &stock{take: own.Take, putBack: own.PutBack})
	}
	if own.Debit != nil {
		shoppb.RegisterAccountServer(s, &account{debit: own.Debit, refund: own.Refund})
	}
	if own.Award != nil {
		shoppb.RegisterPointsServer(s, &points{award: own.Award, revoke: own.Revoke})
	}
	stop := context.AfterFunc(ctx, s.GracefulStop)
	defer stop()
	return s.Serve(listener)
}

// Dial implements service.Transport.
func (Transport) Dial(_ context.Context, to service.Addresses) (service.Calls, func() error, error) {
	// The first options take the transaction along to the services called. A service
	// that is just starting again is waited for, until a call's deadline.
	options := append(qiaogrpc.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	var conns [3]*grpc.ClientConn
	hangUp := func() error {
		var errs []error
		for _, conn := range conns {
			if conn != nil {
				errs = append(errs, conn.Close())
			}
		}
		return errors.Join(errs...)
	}
	for i, address := range []string{to.Stock, to.Account, to.Points} {
		var err error
		if conns[i], err = grpc.NewClient(address, options...); err != nil {
			return service.Calls{}, hangUp, errors.Join(err, hangUp())
		}
	}
	stock, account, points := shoppb.NewStockClient(conns[0]), shoppb.NewAccountClient(conns[1]), shoppb.NewPointsClient(conns[2])
	return service.Calls{
		Take: calling(stock.Take, taking), PutBack: calling(stock.PutBack, taking),
		Debit: calling(account.Debit, debiting), Refund: calling(account.Refund, debiting),
		Award: calling(points.Award, awarding), Revoke: calling(points.Revoke, awarding),
	}, hangUp, nil
}

func taking(t service.Taking) *shoppb.Taking {
	return &shoppb.Taking{Order: t.Order, Item: t.Item, Quantity: t.Quantity}
}

func debiting(d service.Debit) *shoppb.Debiting {
	return &shoppb.Debiting{Order: d.Order, Customer: d.Customer, Amount: d.Amount}
}

func awarding(a service.Award) *shoppb.Awarding {
	return &shoppb.Awarding{Order: a.Order, Customer: a.Customer, Points: a.Points}
}

// calling makes a method of a stub a call of the shop.
func calling[T, M any](method func(context.Context, *M, ...grpc.CallOption) (*shoppb.Done, error), message func(T) *M) func(context.Context, T) error {
	return func(ctx context.Context, argument T) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		_, err := method(ctx, message(argument))
		return fromStatus(err)
	}
}

type stock struct {
	shoppb.UnimplementedStockServer
	take, putBack func(context.Context, service.Taking) error
}

func (s *stock) Take(ctx context.Context, t *shoppb.Taking) (*shoppb.Done, error) {
	return serving(ctx, s.take, service.Taking{Order: t.Order, Item: t.Item, Quantity: t.Quantity})
}

func (s *stock) PutBack(ctx context.Context, t *shoppb.Taking) (*shoppb.Done, error) {
	return serving(ctx, s.putBack, service.Taking{Order: t.Order, Item: t.Item, Quantity: t.Quantity})
}

type account struct {
	shoppb.UnimplementedAccountServer
	debit, refund func(context.Context, service.Debit) error
}

func (s *account) Debit(ctx context.Context, d *shoppb.Debiting) (*shoppb.Done, error) {
	return serving(ctx, s.debit, service.Debit{Order: d.Order, Customer: d.Customer, Amount: d.Amount})
}

func (s *account) Refund(ctx context.Context, d *shoppb.Debiting) (*shoppb.Done, error) {
	return serving(ctx, s.refund, service.Debit{Order: d.Order, Customer: d.Customer, Amount: d.Amount})
}

type points struct {
	shoppb.UnimplementedPointsServer
	award, revoke func(context.Context, service.Award) error
}

func (s *points) Award(ctx context.Context, a *shoppb.Awarding) (*shoppb.Done, error) {
	return serving(ctx, s.award, service.Award{Order: a.Order, Customer: a.Customer, Points: a.Points})
}

func (s *points) Revoke(ctx context.Context, a *shoppb.Awarding) (*shoppb.Done, error) {
	return serving(ctx, s.revoke, service.Award{Order: a.Order, Customer: a.Customer, Points: a.Points})
}

// serving answers a call; one that undoes another is there in mode saga only.
func serving[T any](ctx context.Context, do func(context.Context, T) error, argument T) (*shoppb.Done, error) {
	if do == nil {
		return nil, status.Error(codes.Unimplemented, "only in mode saga")
	}
	return &shoppb.Done{}, toStatus(do(ctx, argument))
}

// toStatus makes an error a status: a refusal has a code of its own.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if refusal := service.RefusalIn(err); refusal != nil {
		return status.Error(codes.FailedPrecondition, refusal.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

// fromStatus is the other end of toStatus.
func fromStatus(err error) error {
	if s := status.Convert(err); s.Code() == codes.FailedPrecondition {
		if refusal := service.Refusal(s.Message()); refusal != nil {
			return refusal
		}
	}
	return err
}
