package rpc

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
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

// codecOf returns the codec with the id for frames of the version. Its error
// wraps ErrCodec. It decodes bodies of codecNative in frames of version 0 not by
// itself: see bodyReader.decode.
func codecOf(version, id byte) (codec, error) {
	switch id {
	case codecNative:
		switch version {
		case frame.V0:
			return codec{appendBody: native.AppendFields}, nil
		case frame.V2:
			return codec{appendBody: native.AppendV2, decode: native.DecodeV2}, nil
		}
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
	names := [...]string{1: "seata", 2: "protobuf", 4: "kryo", 8: "fst"}
	if int(id) < len(names) && names[id] != "" {
		return names[id]
	}
	return "unknown"
}

// keepExpanded is the largest decompressed body whose memory a connection keeps.
const keepExpanded = 16 << 10

// bodyReader takes messages out of frames. It belongs to the reader goroutine.
type bodyReader struct {
	compressors *compress.Pool
	limit       int    // of a decompressed body, in bytes
	expanded    []byte // the memory of the last decompressed body
}

// message decodes f's body, of which the result keeps nothing. The error is a
// *BodyError.
func (r *bodyReader) message(f *frame.Frame) (protocol.Message, error) {
	m, err := r.decode(f)
	if err == nil {
		return m, nil
	}
	e := &BodyError{Codec: f.Codec, Compressor: f.Compressor, RequestID: f.ID, Err: err}
	var ne *native.Error
	if errors.As(err, &ne) {
		e.Type = ne.Type
	}
	return nil, e
}

func (r *bodyReader) decode(f *frame.Frame) (protocol.Message, error) {
	if f.Version == frame.V0 && f.Codec == codecNative {
		return decode0(f)
	}
	c, err := codecOf(f.Version, f.Codec)
	if err != nil {
		return nil, err
	}
	if f.Compressor == compress.None {
		return c.decode(f.Body)
	}
	body, err := r.compressors.Expand(r.expanded, f.Compressor, f.Body, r.limit)
	if err != nil {
		return nil, asCodecError(err)
	}
	if cap(body) <= keepExpanded {
		r.expanded = body
	}
	return c.decode(body)
}

// decode0 decodes the body of a frame of version 0, whose type is in the header.
func decode0(f *frame.Frame) (protocol.Message, error) {
	code := protocol.TypeCode(f.TypeCode)
	m, n, err := native.Next(code, f.Body)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, &native.Error{Op: "decode", Type: code, Offset: len(f.Body), Err: native.ErrTruncated}
	case n < len(f.Body):
		return nil, &native.Error{Op: "decode", Type: code, Offset: n, Err: fmt.Errorf("%w: bytes follow it", native.ErrInvalid)}
	}
	return m, nil
}

// pack returns the body of m in the codec, compressed.
func pack(compressors *compress.Pool, version, id, compressor byte, m protocol.Message) ([]byte, error) {
	c, err := codecOf(version, id)
	if err != nil {
		return nil, err
	}
	body, err := c.appendBody(nil, m)
	if err != nil {
		return nil, err
	}
	packed, err := compressors.Append(nil, compressor, body)
	return packed, asCodecError(err)
}

// asCodecError makes an unsupported compressor an ErrCodec too.
func asCodecError(err error) error {
	if errors.Is(err, compress.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrCodec, err)
	}
	return err
}
