// Package grpc carries a global transaction over gRPC, unary calls and streams.
//
// Job: interceptors that add the transaction of a call's context to its metadata,
// and that give handlers a context in the transaction of the metadata.
// Owner: the application gives DialOptions to its grpc.NewClient and ServerOptions
// to its grpc.NewServer.
// It must not know: connections to a coordinator, or what a transaction does.
//
// The metadata are those of Java Seata's gRPC interceptors, so that either end may
// be a Java one: tx_xid and tx_branch_type, lower case as HTTP/2 wants.
//
//	conn, err := grpc.NewClient(target, append(qiaogrpc.DialOptions(), grpc.WithTransportCredentials(creds))...)
//	server := grpc.NewServer(qiaogrpc.ServerOptions(carry.Policy{})...)
//
// A stream belongs to the transaction that its context carried when it was opened,
// from its first message to its last. A stream that breaks in the middle ends its
// handler's context as always in gRPC, and fails the caller's next Recv: let tm.Run
// return that error, and what the handler had done is rolled back with the rest.
// What a handler does after the transaction has ended fails: the coordinator
// registers no more branches for it. So the caller must have read the stream's end
// (io.EOF, or CloseAndRecv's answer) before its function returns nil.
package grpc

import (
	"context"

	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// DialOptions are UnaryClient and StreamClient, added to a client's interceptors.
func DialOptions() []gogrpc.DialOption {
	return []gogrpc.DialOption{
		gogrpc.WithChainUnaryInterceptor(UnaryClient),
		gogrpc.WithChainStreamInterceptor(StreamClient),
	}
}

// ServerOptions are UnaryServer and StreamServer, added to a server's interceptors.
func ServerOptions(p carry.Policy) []gogrpc.ServerOption {
	return []gogrpc.ServerOption{
		gogrpc.ChainUnaryInterceptor(UnaryServer(p)),
		gogrpc.ChainStreamInterceptor(StreamServer(p)),
	}
}

// UnaryClient is a grpc.UnaryClientInterceptor: it joins the callee to the global
// transaction of ctx. A call without one, and all other metadata, are passed on as
// they are.
func UnaryClient(ctx context.Context, method string, request, reply any, conn *gogrpc.ClientConn, invoke gogrpc.UnaryInvoker, opts ...gogrpc.CallOption) error {
	return invoke(outgoing(ctx), method, request, reply, conn, opts...)
}

// StreamClient is a grpc.StreamClientInterceptor: UnaryClient for streams.
func StreamClient(ctx context.Context, desc *gogrpc.StreamDesc, conn *gogrpc.ClientConn, method string, open gogrpc.Streamer, opts ...gogrpc.CallOption) (gogrpc.ClientStream, error) {
	return open(outgoing(ctx), desc, conn, method, opts...)
}

// UnaryServer returns an interceptor that calls the handler with a context in the
// transaction of the call's metadata, in any letter case. A call without one
// reaches the handler as it is. One that cannot be joined fails with
// INVALID_ARGUMENT and the reason, or reaches the handler outside of any
// transaction, as p says.
func UnaryServer(p carry.Policy) gogrpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *gogrpc.UnaryServerInfo, handle gogrpc.UnaryHandler) (any, error) {
		ctx, err := incoming(ctx, p)
		if err != nil {
			return nil, err
		}
		return handle(ctx, request)
	}
}

// StreamServer returns an interceptor that is UnaryServer for streams.
func StreamServer(p carry.Policy) gogrpc.StreamServerInterceptor {
	return func(service any, stream gogrpc.ServerStream, _ *gogrpc.StreamServerInfo, handle gogrpc.StreamHandler) error {
		ctx, err := incoming(stream.Context(), p)
		if err != nil {
			return err
		}
		return handle(service, joined{stream, func() context.Context { return ctx }})
	}
}

// joined is a stream whose context is in a transaction.
type joined struct {
	gogrpc.ServerStream
	context func() context.Context
}

func (j joined) Context() context.Context { return j.context() }

// outgoing returns ctx with the metadata for a call made with it.
func outgoing(ctx context.Context) context.Context {
	call, ok := carry.From(ctx)
	if !ok {
		return ctx
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = make(metadata.MD, 2)
	}
	for key := range md {
		if carry.IsKey(key) { // forwarded from another call
			delete(md, key)
		}
	}
	md.Set(xid.Key, call.XID)
	md.Set(xid.KeyBranchType, call.BranchType)
	return metadata.NewOutgoingContext(ctx, md)
}

// incoming returns the context for the handler of a call. The error is a status.
func incoming(ctx context.Context, p carry.Policy) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var received carry.Received
	for key, values := range md {
		received.Add(key, values)
	}
	ctx, err := p.Join(ctx, &received)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return ctx, nil
}
