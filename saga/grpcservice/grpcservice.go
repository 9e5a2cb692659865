// Package grpcservice calls the services of sagas over gRPC, without code
// generated for them.
//
// Job: a state's call as a unary RPC, its answer as the result or as an error that
// Catch and Retry can name.
// Owner: the application puts an Invoker into saga.Config.Invokers, under the
// ServiceType that its machines use.
// It must not know: states, instances, the log.
package grpcservice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"google.golang.org/grpc/codes"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga"
)

// Metadata that every call has beside the XID.
const (
	// MetadataKey is saga.Call.Key: equal for all calls of one run of a state.
	MetadataKey = "idempotency-key"
	// MetadataInstance, MetadataState and MetadataCompensates are the fields of
	// saga.Call.
	MetadataInstance    = "qiao-saga"
	MetadataState       = "qiao-saga-state-bin" // a name may be of any letters
	MetadataCompensates = "qiao-saga-compensates"
)

// Config says how services are reached.
type Config struct {
	// Connections are those of services by their ServiceName, the full name of the
	// service ("shop.v1.Orders"). Whoever made them closes them.
	Connections map[string]grpc.ClientConnInterface
	// Descriptors describe the services, as protoc --descriptor_set_out
	// --include_imports writes them. A service that is missing is called with
	// messages in JSON (the content subtype "json").
	Descriptors *descriptorpb.FileDescriptorSet
}

// Invoker calls services over gRPC. ServiceMethod is the name of a unary method.
// The first Input is the request, in protobuf's JSON form; the result is the
// response in the same form. An error's class is "gRPC NotFound", and so on.
type Invoker struct {
	connections map[string]grpc.ClientConnInterface
	files       *protoregistry.Files
}

// New returns an Invoker. It fails if the descriptors are incomplete.
func New(cfg Config) (*Invoker, error) {
	i := &Invoker{connections: cfg.Connections, files: &protoregistry.Files{}}
	if cfg.Descriptors == nil {
		return i, nil
	}
	files, err := protodesc.NewFiles(cfg.Descriptors)
	if err != nil {
		return nil, fmt.Errorf("saga services over gRPC: descriptors: %w; make them with --include_imports", err)
	}
	i.files = files
	return i, nil
}

// Invoke implements saga.Invoker.
func (i *Invoker) Invoke(ctx context.Context, r saga.Request) (any, error) {
	connection := i.connections[r.Service]
	if connection == nil {
		return nil, wrong(fmt.Errorf("service %q: no connection; add it to grpcservice.Config.Connections", r.Service))
	}
	var request any = map[string]any{}
	if len(r.Input) > 0 && r.Input[0] != nil {
		request = r.Input[0]
	}
	text, err := json.Marshal(request)
	if err != nil {
		return nil, wrong(err)
	}
	ctx = withCall(ctx, r.Call)
	method := "/" + r.Service + "/" + r.Method
	described, err := i.files.FindDescriptorByName(protoreflect.FullName(r.Service))
	if errors.Is(err, protoregistry.NotFound) {
		return callJSON(ctx, connection, method, text)
	}
	service, ok := described.(protoreflect.ServiceDescriptor)
	if err != nil || !ok {
		return nil, wrong(fmt.Errorf("%q is no service in the descriptors", r.Service))
	}
	m := service.Methods().ByName(protoreflect.Name(r.Method))
	if m == nil || m.IsStreamingClient() || m.IsStreamingServer() {
		return nil, wrong(fmt.Errorf("service %q has no unary method %q", r.Service, r.Method))
	}
	return i.callProto(ctx, connection, method, m, text)
}

func wrong(err error) error {
	return &saga.Exception{Class: "java.lang.IllegalArgumentException", Message: err.Error(), Cause: err}
}

func (i *Invoker) callProto(ctx context.Context, c grpc.ClientConnInterface, method string, m protoreflect.MethodDescriptor, text []byte) (any, error) {
	in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
	types := dynamicpb.NewTypes(i.files)
	if err := (protojson.UnmarshalOptions{Resolver: types}).Unmarshal(text, in); err != nil {
		return nil, wrong(fmt.Errorf("%s: the input is no %s: %w", method, m.Input().FullName(), err))
	}
	if err := c.Invoke(ctx, method, proto.Message(in), proto.Message(out)); err != nil {
		return nil, refusal(method, err)
	}
	answer, err := (protojson.MarshalOptions{Resolver: types, EmitDefaultValues: true}).Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%s: the answer: %w", method, err)
	}
	return plain(method, answer)
}

func callJSON(ctx context.Context, c grpc.ClientConnInterface, method string, text []byte) (any, error) {
	var answer []byte
	if err := c.Invoke(ctx, method, text, &answer, grpc.ForceCodec(jsonCodec{})); err != nil {
		return nil, refusal(method, err)
	}
	return plain(method, answer)
}

func plain(method string, answer []byte) (any, error) {
	if len(answer) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(string(answer)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, &saga.Exception{Message: fmt.Sprintf("%s: the answer is no JSON: %v", method, err), NoAnswer: true, Cause: err}
	}
	return v, nil
}

// withCall adds the metadata; what ctx has already stays.
func withCall(ctx context.Context, c saga.Call) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	if md == nil {
		md = metadata.MD{}
	}
	if c.XID != "" {
		md.Set(xid.KeyBranchType, xid.TypeSaga)
	}
	for key, v := range map[string]string{xid.Key: c.XID, MetadataKey: c.Key, MetadataInstance: c.Instance,
		MetadataState: c.State, MetadataCompensates: c.Compensates} {
		if v != "" {
			md.Set(key, v)
		}
	}
	return metadata.NewOutgoingContext(ctx, md)
}

// refusal is the error of a call that failed.
func refusal(method string, err error) error {
	s := status.Convert(err)
	e := &saga.Exception{Class: "gRPC " + s.Code().String(), Also: []string{"io.grpc.StatusRuntimeException"}, Message: method + ": " + s.Message(), Cause: err}
	switch s.Code() {
	case codes.Unavailable:
		e.NotSent = strings.Contains(s.Message(), "while dialing")
		e.NoAnswer = !e.NotSent
	case codes.DeadlineExceeded, codes.Canceled, codes.Unknown, codes.Internal:
		e.NoAnswer = true
	}
	return e
}

// jsonCodec sends and receives JSON as it is.
type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	text, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("want JSON, found a %T", v)
	}
	return text, nil
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	text, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("want JSON, found a %T", v)
	}
	*text = append([]byte(nil), data...)
	return nil
}
