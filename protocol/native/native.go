package native

import (
	"encoding/binary"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
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
	ErrTruncated   = codec.ErrTruncated
	ErrUnknownType = codec.ErrUnknownType
	ErrNested      = codec.ErrNested
	ErrTooLong     = codec.ErrTooLong
	ErrInvalid     = codec.ErrInvalid
)

// Error says which message could not be encoded or decoded, and where.
type Error = codec.Error

// Append appends the body of m to dst. It only reads m. The error is an
// *Error, because of ErrUnknownType (a Heartbeat too: it has no body), ErrNested,
// ErrTooLong or ErrInvalid; dst is then unchanged.
func Append(dst []byte, m protocol.Message) ([]byte, error) {
	c := coder{encoding: true, b: dst}
	c.typed(m)
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
