package pb

import (
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// AppendAny is Append in codec 40, Java's GrpcSerializer: the message in a
// google.protobuf.Any, which is all the difference.
func AppendAny(dst []byte, m protocol.Message, names codec.Names) ([]byte, error) {
	c := coder{encoding: true, b: dst, names: names}
	if name := nameOf(m.TypeCode()); name != "" {
		c.named(m, name)
	} else {
		c.fail(codec.ErrUnknownType, "%T has no body in protobuf", m)
	}
	if c.err != nil {
		return dst, &codec.Error{Op: "encode", Type: m.TypeCode(), Offset: len(c.b) - len(dst), Err: c.err}
	}
	return c.b, nil
}

// DecodeAny is Decode in codec 40; see AppendAny.
func DecodeAny(body []byte) (protocol.Message, codec.Names, error) {
	c := coder{b: body}
	m := c.readAny(field{end: len(body)})
	if c.err != nil {
		e := &codec.Error{Op: "decode", Offset: c.pos, Err: c.err}
		if m != nil {
			e.Type = m.TypeCode()
		}
		return nil, c.names, e
	}
	return m, c.names, nil
}
