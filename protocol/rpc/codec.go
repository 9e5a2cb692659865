package rpc

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// codecNative is the id of the codec that a Conn's own requests are in.
const codecNative = 1

// codec turns messages into bodies and back. appendBody appends to dst and
// leaves it unchanged on an error; decode keeps nothing of body.
type codec struct {
	appendBody func(dst []byte, m protocol.Message) ([]byte, error)
	decode     func(body []byte) (protocol.Message, error)
}

// codecOf returns the codec with the id. Its error wraps ErrCodec.
func codecOf(id, compressor byte) (codec, error) {
	if compressor != 0 {
		return codec{}, fmt.Errorf("%w: compressor %d (%s); set seata.transport.compressor=none at the peer",
			ErrCodec, compressor, nameOf(compressor, "none", "gzip", "zip", "sevenz", "bzip2", "lz4", "deflater", "zstd"))
	}
	switch id {
	case codecNative:
		return codec{appendBody: native.Append, decode: native.Decode}, nil
	default:
		return codec{}, fmt.Errorf("%w: codec %d (%s); set seata.transport.serialization=seata at the peer",
			ErrCodec, id, codecName(id))
	}
}

func codecName(id byte) string {
	switch id {
	case 22:
		return "hessian"
	case 50:
		return "jackson"
	case 86, 87:
		return "fury"
	case 100:
		return "fastjson2"
	}
	return nameOf(id, "", "seata", "protobuf", "", "kryo", "", "", "", "fst")
}

func nameOf(id byte, names ...string) string {
	if int(id) < len(names) && names[id] != "" {
		return names[id]
	}
	return "unknown"
}

func decodeBody(f *frame.Frame) (protocol.Message, error) {
	c, err := codecOf(f.Codec, f.Compressor)
	if err == nil {
		var m protocol.Message
		if m, err = c.decode(f.Body); err == nil {
			return m, nil
		}
	}
	e := &BodyError{Codec: f.Codec, Compressor: f.Compressor, RequestID: f.ID, Err: err}
	var ne *native.Error
	if errors.As(err, &ne) {
		e.Type = ne.Type
	}
	return nil, e
}
