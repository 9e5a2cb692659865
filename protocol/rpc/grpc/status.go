package grpc

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// code is a status of gRPC.
type code int

// The statuses that a stream is ended with.
const (
	codeOK                 code = 0
	codeInvalidArgument    code = 3
	codeResourceExhausted  code = 8
	codeFailedPrecondition code = 9
	codeUnimplemented      code = 12
	codeUnavailable        code = 14
)

// ErrUnavailable, when it is in the cause that a channel is closed with, tells
// the client to go to another coordinator, or come back later.
var ErrUnavailable = errors.New("the coordinator is not available")

// codeOf is the status for the cause that a channel is closed with.
func codeOf(cause error) code {
	var body *rpc.BodyError
	switch {
	case cause == nil, errors.Is(cause, io.EOF):
		return codeOK
	case errors.Is(cause, rpc.ErrCodec):
		return codeUnimplemented
	case errors.Is(cause, frame.ErrTooLarge):
		return codeResourceExhausted
	case errors.As(cause, &body), errors.Is(cause, errMessage), errors.Is(cause, frame.ErrHead):
		return codeInvalidArgument
	case errors.Is(cause, ErrUnavailable), errors.Is(cause, rpc.ErrIdle), errors.Is(cause, rpc.ErrOverloaded):
		return codeUnavailable
	}
	return codeFailedPrecondition
}

// encodeStatusMessage is how HTTP/2 carries the text of a status: printable
// ASCII, all else percent-encoded.
func encodeStatusMessage(s string) string {
	const longest = 1 << 10
	if len(s) > longest {
		s = s[:longest]
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
