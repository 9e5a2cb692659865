package rpc

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// Errors of a connection. Those of sending arrive inside an *Error.
var (
	// ErrClosed: the connection is closed. Conn.Err has the cause.
	ErrClosed = errors.New("the connection is closed")
	// ErrTimeout: no answer came in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrOverloaded: the peer reads too slowly; the queue of bytes to write is
	// full. Try again later, or close the connection.
	ErrOverloaded = errors.New("too many bytes wait to be written")
	// ErrIdle closes a connection on which nothing arrived for too long.
	ErrIdle = errors.New("nothing was received for too long")
	// ErrCodec closes a connection on which a body arrived in a codec or with a
	// compressor that is not spoken here.
	ErrCodec = errors.New("unsupported codec or compressor")
	// ErrMessageType closes a connection on which a frame of unknown message
	// type arrived.
	ErrMessageType = errors.New("unknown frame message type")
)

// Error is why a message was not sent, or a request not answered.
type Error struct {
	// Op is "call", "send" or "reply".
	Op string
	// Type is the message's type.
	Type protocol.TypeCode
	// Sent: the message may have left, so the peer may have acted on it. When
	// false it certainly has not, and the request may be repeated elsewhere.
	Sent bool
	// Err wraps ErrClosed, ErrTimeout, ErrOverloaded, the context's error, or
	// says why the message could not be encoded.
	Err error
}

func (e *Error) Error() string {
	sent := "it was not sent"
	if e.Sent {
		sent = "it may have been sent"
	}
	return fmt.Sprintf("%s %v: %v; %s", e.Op, e.Type, e.Err, sent)
}

func (e *Error) Unwrap() error { return e.Err }

// SafeToRetry tells whether err says that the message certainly did not leave.
func SafeToRetry(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Sent
}

// BodyError closes a connection on which a frame arrived whose body cannot be
// read: the peer is broken, or speaks something else.
type BodyError struct {
	// Type is the message type code at the head of the body, if it has one.
	Type       protocol.TypeCode
	Codec      byte
	Compressor byte
	// RequestID is the frame's id.
	RequestID int32
	// Err wraps ErrCodec or the codec's error.
	Err error
}

func (e *BodyError) Error() string {
	if errors.Is(e.Err, ErrCodec) {
		return fmt.Sprintf("request id %d: %v", e.RequestID, e.Err)
	}
	return fmt.Sprintf("message type %v, request id %d, codec %d: %v", e.Type, e.RequestID, e.Codec, e.Err)
}

func (e *BodyError) Unwrap() error { return e.Err }
