package grpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	gogrpc "google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/qiao-tx/qiao/client/carry"
	qiaogrpc "github.com/qiao-tx/qiao/client/grpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is every message of the test's service.
type text = wrapperspb.StringValue

// handlers are the service qiao.Test: Ask, one message for one; Talk, streams both
// ways.
type handlers struct {
	ask  func(ctx context.Context, question string) (string, error)
	talk func(ctx context.Context, recv func() (string, error), send func(string) error) error
}

var talkDesc = gogrpc.StreamDesc{StreamName: "Talk", ClientStreams: true, ServerStreams: true,
	Handler: func(service any, stream gogrpc.ServerStream) error {
		recv := func() (string, error) {
			var m text
			err := stream.RecvMsg(&m)
			return m.GetValue(), err
		}
		send := func(s string) error { return stream.SendMsg(wrapperspb.String(s)) }
		return service.(*handlers).talk(stream.Context(), recv, send)
	}}

var serviceDesc = gogrpc.ServiceDesc{
	ServiceName: "qiao.Test", HandlerType: (*any)(nil), Streams: []gogrpc.StreamDesc{talkDesc},
	Methods: []gogrpc.MethodDesc{{MethodName: "Ask",
		Handler: func(service any, ctx context.Context, decode func(any) error, intercept gogrpc.UnaryServerInterceptor) (any, error) {
			var request text
			if err := decode(&request); err != nil {
				return nil, err
			}
			answer := func(ctx context.Context, request any) (any, error) {
				s, err := service.(*handlers).ask(ctx, request.(*text).GetValue())
				return wrapperspb.String(s), err
			}
			if intercept == nil {
				return answer(ctx, &request)
			}
			return intercept(ctx, &request, &gogrpc.UnaryServerInfo{Server: service, FullMethod: "/qiao.Test/Ask"}, answer)
		}}},
}

// serve runs the service until the test ends.
func serve(t *testing.T, h *handlers, p carry.Policy) (target string) {
	t.Helper()
	target, _ = serveUntil(t, h, p)
	return target
}

// serveUntil runs the service until stop or the end of the test.
func serveUntil(t *testing.T, h *handlers, p carry.Policy) (target string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := gogrpc.NewServer(qiaogrpc.ServerOptions(p)...)
	server.RegisterService(&serviceDesc, h)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-served)
	})
	return listener.Addr().String(), server.Stop
}

// dial returns a connection, by default with the interceptors.
func dial(t *testing.T, target string, opts ...gogrpc.DialOption) *gogrpc.ClientConn {
	t.Helper()
	if opts == nil {
		opts = qiaogrpc.DialOptions()
	}
	conn, err := gogrpc.NewClient(target, append(opts, gogrpc.WithTransportCredentials(insecure.NewCredentials()))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func ask(ctx context.Context, conn *gogrpc.ClientConn, question string) (string, error) {
	var answer text
	err := conn.Invoke(ctx, "/qiao.Test/Ask", wrapperspb.String(question), &answer)
	return answer.GetValue(), err
}

// stream is a client's end of Talk.
type stream struct{ gogrpc.ClientStream }

func talk(ctx context.Context, conn *gogrpc.ClientConn) (stream, error) {
	s, err := conn.NewStream(ctx, &talkDesc, "/qiao.Test/Talk")
	return stream{s}, err
}

// message is what a service of the test understands.
func message(s string) *text { return wrapperspb.String(s) }

func (s stream) say(word string) (string, error) {
	if err := s.SendMsg(wrapperspb.String(word)); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return s.hear() // EOF of a send: the reason comes with the receive
}

func (s stream) hear() (string, error) {
	var m text
	err := s.RecvMsg(&m)
	return m.GetValue(), err
}
