package native

import (
	"github.com/qiao-tx/qiao/protocol"
)

// AppendFields is Append without the type code that begins a body: frames of
// version 0 carry it in their header.
func AppendFields(dst []byte, m protocol.Message) ([]byte, error) {
	c := coder{encoding: true, b: dst}
	c.fields(m)
	return c.encoded(dst, m)
}

// Next reads the message of the type at the start of b, a stream of bytes in
// frames of version 0, and returns it with the n bytes that it took. When b ends
// within the message, m and err are nil and at least n more bytes are needed to
// tell more. The error is an *Error as Decode's.
func Next(code protocol.TypeCode, b []byte) (m protocol.Message, n int, err error) {
	c := coder{b: b, stream: true}
	m = c.message(code)
	switch {
	case c.missing > 0:
		return nil, c.missing, nil
	case c.err != nil:
		return nil, 0, &Error{Op: "decode", Type: code, Offset: c.pos, Err: c.err}
	case c.inMerged:
		return m, len(c.b), nil // b was cut to the length that the message told
	}
	return m, c.pos, nil
}

// AppendV2 is Append for frames of version 2, whose results of registrations
// begin with a result code, and its message when they failed.
func AppendV2(dst []byte, m protocol.Message) ([]byte, error) {
	c := coder{encoding: true, b: dst, v2: true}
	c.typed(m)
	return c.encoded(dst, m)
}

// DecodeV2 is Decode for frames of version 2; see AppendV2.
func DecodeV2(body []byte) (protocol.Message, error) {
	c := coder{b: body, v2: true}
	return c.decoded()
}
