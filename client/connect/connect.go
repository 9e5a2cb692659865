// Package connect carries a global transaction over Connect, and with it over gRPC
// and gRPC-Web as Connect speaks them, unary calls and streams.
//
// Job: an interceptor that adds the transaction of a call's context to its headers,
// and that gives handlers a context in the transaction of the headers.
// Owner: the application gives it to its Connect clients and handlers.
// It must not know: connections to a coordinator, or what a transaction does.
//
//	interceptors := connect.WithInterceptors(qiaoconnect.Interceptor(carry.Policy{}))
//	path, handler := stockconnect.NewStockHandler(service, interceptors)
//	client := stockconnect.NewStockClient(http.DefaultClient, url, interceptors)
//
// A stream belongs to the transaction that its context carried when it was opened;
// what client/grpc says of streams holds here.
package connect

import (
	"context"
	nethttp "net/http"

	goconnect "connectrpc.com/connect"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// Interceptor works on both sides. A caller's other headers stay, and a call
// outside of a transaction is sent as it is. A handler's call that cannot be joined
// fails with CodeInvalidArgument and the reason, or is handled outside of any
// transaction, as p says; p is of no matter to a client.
func Interceptor(p carry.Policy) goconnect.Interceptor { return interceptor{p} }

type interceptor struct{ policy carry.Policy }

func (i interceptor) WrapUnary(next goconnect.UnaryFunc) goconnect.UnaryFunc {
	return func(ctx context.Context, request goconnect.AnyRequest) (goconnect.AnyResponse, error) {
		if request.Spec().IsClient {
			write(ctx, request.Header())
			return next(ctx, request)
		}
		ctx, err := i.join(ctx, request.Header())
		if err != nil {
			return nil, err
		}
		return next(ctx, request)
	}
}

func (interceptor) WrapStreamingClient(next goconnect.StreamingClientFunc) goconnect.StreamingClientFunc {
	return func(ctx context.Context, spec goconnect.Spec) goconnect.StreamingClientConn {
		conn := next(ctx, spec)
		write(ctx, conn.RequestHeader()) // sent with the first message
		return conn
	}
}

func (i interceptor) WrapStreamingHandler(next goconnect.StreamingHandlerFunc) goconnect.StreamingHandlerFunc {
	return func(ctx context.Context, conn goconnect.StreamingHandlerConn) error {
		ctx, err := i.join(ctx, conn.RequestHeader())
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func write(ctx context.Context, header nethttp.Header) {
	call, ok := carry.From(ctx)
	if !ok {
		return
	}
	for name := range header {
		if carry.IsKey(name) {
			delete(header, name)
		}
	}
	header[xid.Key] = []string{call.XID} // in the case that Seata writes
	header[xid.KeyBranchType] = []string{call.BranchType}
}

func (i interceptor) join(ctx context.Context, header nethttp.Header) (context.Context, error) {
	var received carry.Received
	for name, values := range header {
		received.Add(name, values)
	}
	ctx, err := i.policy.Join(ctx, &received)
	if err != nil {
		return nil, goconnect.NewError(goconnect.CodeInvalidArgument, err)
	}
	return ctx, nil
}
