package native

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// Limits of the format.
const (
	// MaxText is the longest text, in bytes, of a field with a 2-byte length;
	// Seata reads that length as a signed number.
	MaxText = 1<<15 - 1
	// MaxMerged is the highest number of messages within one; Seata reads that
	// count as a signed 16-bit number.
	MaxMerged = 1<<15 - 1
)

// Errors of this package, always inside an *Error.
var (
	// ErrTruncated: the body ends within a field.
	ErrTruncated = errors.New("the body ends within a field")
	// ErrUnknownType: a message that this codec has no layout for.
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

// Append appends the body of m to dst. It only reads m. The error is an
// *Error, because of ErrUnknownType (a Heartbeat too: it has no body), ErrNested,
// ErrTooLong or ErrInvalid; dst is then unchanged.
func Append(dst []byte, m protocol.Message) ([]byte, error) {
	c := coder{encoding: true, b: dst}
	c.typed(m)
	return c.encoded(dst, m)
}

// encoded returns what c has appended to dst for m.
func (c *coder) encoded(dst []byte, m protocol.Message) ([]byte, error) {
	if c.err != nil {
		return dst, &Error{Op: "encode", Type: m.TypeCode(), Offset: len(c.b) - len(dst), Err: c.err}
	}
	return c.b, nil
}

// Decode reads the message of body, of which the result keeps nothing. The
// error is an *Error, because of ErrTruncated, ErrUnknownType, ErrNested,
// ErrTooLong or ErrInvalid.
func Decode(body []byte) (protocol.Message, error) {
	c := coder{b: body}
	return c.decoded()
}

// decoded reads the message of c's body.
func (c *coder) decoded() (protocol.Message, error) {
	body := c.b
	m := c.next()
	if c.err != nil {
		e := &Error{Op: "decode", Offset: c.pos, Err: c.err}
		if len(body) >= 2 {
			e.Type = protocol.TypeCode(binary.BigEndian.Uint16(body))
		}
		return nil, e
	}
	return m, nil
}
