// Package codec is what the codecs of message bodies have in common.
//
// Job: the error that every codec reports, and which of Java's two package names
// a peer uses.
// Owner: protocol/native, protocol/pb, protocol/hessian; protocol/rpc reads it.
// It must not know: any codec's format, frames, or connections.
package codec

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// Errors of codecs, always inside an *Error.
var (
	// ErrTruncated: the body ends within a field.
	ErrTruncated = errors.New("the body ends within a field")
	// ErrUnknownType: a message that the codec has no layout for.
	ErrUnknownType = errors.New("unknown message type")
	// ErrNested: a message inside a merged one that may not be there.
	ErrNested = errors.New("a merged message within a merged message")
	// ErrTooLong: a text or a list longer than the format allows.
	ErrTooLong = errors.New("too long for the format")
	// ErrInvalid: a value that the format does not define.
	ErrInvalid = errors.New("invalid value")
)

// Error says which message could not be encoded or decoded, and where.
type Error struct {
	// Op is "encode" or "decode".
	Op string
	// Type is the type of the outermost message; 0 when not even that is known.
	Type protocol.TypeCode
	// Offset counts bytes from the start of the body.
	Offset int
	// Err wraps one of the sentinels of this package.
	Err error
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s message type %v at byte %d: %v", e.Op, e.Type, e.Offset, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Names is the Java package that a peer's class and message names begin with.
// A peer understands only its own.
type Names uint8

// Values of Names.
const (
	// Apache: org.apache.seata, since Seata 2.1.
	Apache Names = iota
	// IO: io.seata, before it.
	IO
)

// String is the Java package.
func (n Names) String() string {
	if n == IO {
		return "io.seata"
	}
	return "org.apache.seata"
}
