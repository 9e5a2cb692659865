package sagaservice

import (
	"errors"
	"strings"

	"dubbo.apache.org/dubbo-go/v3/protocol/base"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"dubbo.apache.org/dubbo-go/v3/protocol/triple/triple_protocol"
	getty "github.com/apache/dubbo-getty"
	"google.golang.org/grpc/codes"

	"github.com/qiao-tx/qiao/saga"
)

// Names that errors go by.
const (
	illegalArgument  = "java.lang.IllegalArgumentException"
	rpcException     = "org.apache.dubbo.rpc.RpcException"
	connectException = "java.net.ConnectException"
	socketTimeout    = "java.net.SocketTimeoutException"
	ioException      = "java.io.IOException"
)

func wrong(err error) error {
	return &saga.Exception{Class: illegalArgument, Message: err.Error(), Cause: err}
}

// notSent is the error of a call that has certainly reached nobody.
func notSent(err error) error {
	return &saga.Exception{Class: connectException, Also: []string{rpcException, ioException}, Message: err.Error(), NotSent: true, Cause: err}
}

// refusal is the error of a call that failed.
func refusal(r saga.Request, err error) error {
	message := r.Service + "." + r.Method + ": "
	if thrown, ok := hessian2.ToGenericException(err); ok {
		return &saga.Exception{Class: thrown.ExceptionClass, Message: message + thrown.ExceptionMessage, Cause: err}
	}
	var status *triple_protocol.Error
	if errors.As(err, &status) {
		return ofTriple(message, status)
	}
	text := err.Error()
	e := &saga.Exception{Class: rpcException, Message: message + text, Cause: err}
	switch {
	case errors.Is(err, base.ErrClientClosed), errors.Is(err, base.ErrDestroyedInvoker), errors.Is(err, getty.ErrSessionClosed), neverLeft(text):
		return notSent(errors.New(e.Message))
	case strings.HasPrefix(text, "maybe the client read timeout"):
		e.Also = []string{socketTimeout, ioException}
	}
	e.NoAnswer = true
	return e
}

// neverLeft knows, by their texts, errors that dubbo-go gives before it sends
// anything: it does not export them.
func neverLeft(text string) bool {
	return text == "session not exist" || text == "client have been closed" ||
		strings.HasPrefix(text, "Failed to connect server ") ||
		strings.Contains(text, "No provider available for the service")
}

// ofTriple is an error over triple. It has no class, but that of a provider in Go
// may say one in its text.
func ofTriple(message string, status *triple_protocol.Error) error {
	text := status.Message()
	if said, ok := strings.CutPrefix(text, "java exception: "); ok {
		if class, rest, ok := strings.Cut(said, " - "); ok {
			return &saga.Exception{Class: class, Message: message + rest, Cause: status}
		}
	}
	code := codes.Code(status.Code())
	e := &saga.Exception{Class: "gRPC " + code.String(), Also: []string{rpcException}, Message: message + text, Cause: status}
	switch code {
	case codes.Unavailable:
		e.NotSent = strings.Contains(text, "connection refused")
		e.NoAnswer = !e.NotSent
	case codes.DeadlineExceeded:
		e.Also = append(e.Also, socketTimeout, ioException)
		e.NoAnswer = true
	case codes.Canceled, codes.Internal:
		e.NoAnswer = true
	}
	return e
}
