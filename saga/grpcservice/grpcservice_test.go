package grpcservice_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/grpcservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// text is a message in JSON, for a service without generated code.
type text struct{ json.RawMessage }

type codec struct{}

func (codec) Name() string                  { return "json" }
func (codec) Marshal(v any) ([]byte, error) { return v.(*text).RawMessage, nil }
func (codec) Unmarshal(data []byte, v any) error {
	v.(*text).RawMessage = append(json.RawMessage{}, data...)
	return nil
}

// serve starts a server with the health service of gRPC, which speaks protobuf, and
// an echo in JSON.
func serve(t *testing.T) (address string, seen *metadata.MD) {
	t.Helper()
	seen = &metadata.MD{}
	echo := &grpc.ServiceDesc{ServiceName: "shop.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Say",
		Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in text
			if err := decode(&in); err != nil {
				return nil, err
			}
			*seen, _ = metadata.FromIncomingContext(ctx)
			if strings.Contains(string(in.RawMessage), "sold out") {
				return nil, status.Error(codes.FailedPrecondition, "sold out")
			}
			return &text{json.RawMessage(`{"said":` + string(in.RawMessage) + `}`)}, nil
		},
	}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	shop, checks := grpc.NewServer(grpc.ForceServerCodec(codec{})), grpc.NewServer()
	shop.RegisterService(echo, nil)
	healthpb.RegisterHealthServer(checks, health.NewServer())
	second, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = shop.Serve(l) }()
	go func() { _ = checks.Serve(second) }()
	t.Cleanup(shop.Stop)
	t.Cleanup(checks.Stop)
	return l.Addr().String() + "|" + second.Addr().String(), seen
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestCalls(t *testing.T) {
	addresses, seen := serve(t)
	shop, checks, _ := strings.Cut(addresses, "|")
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(healthpb.File_grpc_health_v1_health_proto)}}
	i, err := grpcservice.New(grpcservice.Config{Descriptors: set, Connections: map[string]grpc.ClientConnInterface{
		"shop.Echo": dial(t, shop), "grpc.health.v1.Health": dial(t, checks), "shop.Nobody": dial(t, nobody.Addr().String()),
	}})
	require.NoError(t, err)
	call := func(service, method string, input ...any) (any, *saga.Exception) {
		v, err := i.Invoke(t.Context(), saga.Request{Service: service, Method: method, Input: input,
			Call: saga.Call{Instance: "i", XID: "127.0.0.1:8091:7", State: "Größe", Key: "i:1", Compensates: "i:0"}})
		var e *saga.Exception
		if err != nil {
			require.True(t, errors.As(err, &e), "%v", err)
		}
		return v, e
	}
	v, e := call("shop.Echo", "Say", map[string]any{"n": 1})
	require.Nil(t, e)
	assert.Equal(t, map[string]any{"said": map[string]any{"n": json.Number("1")}}, v)
	assert.Equal(t, []string{"SAGA"}, seen.Get("tx_branch_type"))
	assert.Equal(t, []string{"127.0.0.1:8091:7", "i:1", "i", "Größe", "i:0"}, []string{seen.Get("tx_xid")[0], seen.Get(grpcservice.MetadataKey)[0],
		seen.Get(grpcservice.MetadataInstance)[0], seen.Get(grpcservice.MetadataState)[0], seen.Get(grpcservice.MetadataCompensates)[0]})

	v, e = call("grpc.health.v1.Health", "Check", map[string]any{"service": ""})
	require.Nil(t, e)
	assert.Equal(t, map[string]any{"status": "SERVING"}, v)

	for _, c := range []struct {
		service, method string
		input           any
		class           string
		notSent, lost   bool
	}{
		{"shop.Echo", "Say", "sold out", "gRPC FailedPrecondition", false, false},
		{"shop.Echo", "Sing", nil, "gRPC Unimplemented", false, false},
		{"grpc.health.v1.Health", "Check", map[string]any{"service": "x"}, "gRPC NotFound", false, false},
		{"grpc.health.v1.Health", "Check", map[string]any{"servant": "x"}, "java.lang.IllegalArgumentException", false, false},
		{"grpc.health.v1.Health", "Watch", nil, "java.lang.IllegalArgumentException", false, false},
		{"shop.Nobody", "Say", nil, "gRPC Unavailable", true, false},
		{"shop.Unknown", "Say", nil, "java.lang.IllegalArgumentException", false, false},
	} {
		_, e := call(c.service, c.method, c.input)
		require.NotNil(t, e, c.method)
		assert.Equal(t, c.class, e.Class)
		assert.Equal(t, c.notSent, e.NotSent, e.Message)
		assert.Equal(t, c.lost, e.NoAnswer, e.Message)
	}
	_, err = grpcservice.New(grpcservice.Config{Descriptors: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		{Name: proto.String("a.proto"), Dependency: []string{"b.proto"}}}}})
	assert.ErrorContains(t, err, "--include_imports")
}
