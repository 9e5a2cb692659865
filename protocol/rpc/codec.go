package rpc

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/hessian"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/protocol/pb"
)

// Ids of the codecs that are spoken (org.apache.seata.core.serializer.SerializerType).
const (
	CodecSeata    byte = 1
	CodecProtobuf byte = 2
	CodecHessian  byte = 22
)

// coding turns messages into bodies and back. appendBody appends to dst and
// leaves it unchanged on an error; decode keeps nothing of body. Codecs whose
// bodies name Java's classes read and write those of a Java package.
type coding struct {
	appendBody func(dst []byte, m protocol.Message, names codec.Names) ([]byte, error)
	decode     func(body []byte) (protocol.Message, codec.Names, error)
}

// codingOf returns the codec with the id. Its error wraps ErrCodec.
func codingOf(id byte) (coding, error) {
	switch id {
	case CodecSeata:
		return coding{appendNative, decodeNative}, nil
	case CodecProtobuf:
		return coding{pb.Append, pb.Decode}, nil
	case CodecHessian:
		return coding{hessian.Append, hessian.Decode}, nil
	}
	return coding{}, fmt.Errorf("%w: codec %d (%s)%s; set seata.transport.serialization to seata, protobuf or hessian at the peer",
		ErrCodec, id, codecName(id), whyNot(id))
}

func appendNative(dst []byte, m protocol.Message, _ codec.Names) ([]byte, error) {
	return native.Append(dst, m)
}

func decodeNative(body []byte) (protocol.Message, codec.Names, error) {
	m, err := native.Decode(body)
	return m, codec.Apache, err
}

// CodecNames are the names of the codecs that are spoken, as Seata's setting
// transport.serialization has them.
func CodecNames() []string { return []string{"seata", "protobuf", "hessian"} }

// CodecByName returns the id of the codec with the name, in any letter case.
// The error wraps ErrCodec and lists the valid names.
func CodecByName(name string) (byte, error) {
	for id := range byte(math.MaxUint8) {
		if !strings.EqualFold(codecName(id), name) {
			continue
		}
		if _, err := codingOf(id); err == nil {
			return id, nil
		}
		return 0, fmt.Errorf("%w: %q%s; valid are %s", ErrCodec, name, whyNot(id), strings.Join(CodecNames(), ", "))
	}
	return 0, fmt.Errorf("%w: %q; valid are %s", ErrCodec, name, strings.Join(CodecNames(), ", "))
}

// whyNot explains why a codec of Seata's is not spoken: in the body of each the
// sender names the classes that the receiver builds, and what it may name is
// known to a Java process only. Such bodies have a history of running code of
// the sender's choice, and no layout that could be checked.
func whyNot(id byte) string {
	if codecName(id) == "unknown" {
		return ""
	}
	return " is refused because its bodies choose the Java classes to build and have no fixed layout"
}

func codecName(id byte) string {
	switch id {
	case CodecSeata:
		return "seata"
	case CodecProtobuf:
		return "protobuf"
	case CodecHessian:
		return "hessian"
	case 4:
		return "kryo"
	case 8:
		return "fst"
	case 50:
		return "jackson"
	case 86:
		return "fury"
	case 87:
		return "fory"
	case 100:
		return "fastjson2"
	}
	return "unknown"
}

// encoding is how the messages of one side are written.
type encoding struct {
	codec, compressor byte
	names             codec.Names
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
func (r *bodyReader) message(f *frame.Frame) (protocol.Message, codec.Names, error) {
	m, names, err := r.decode(f)
	if err == nil {
		return m, names, nil
	}
	e := &BodyError{Codec: f.Codec, Compressor: f.Compressor, RequestID: f.ID, Err: err}
	var ce *codec.Error
	if errors.As(err, &ce) {
		e.Type = ce.Type
	}
	return nil, names, e
}

func (r *bodyReader) decode(f *frame.Frame) (protocol.Message, codec.Names, error) {
	c, err := codingOf(f.Codec)
	if err != nil {
		return nil, 0, err
	}
	if f.Compressor == compress.None {
		return c.decode(f.Body)
	}
	body, err := r.compressors.Expand(r.expanded, f.Compressor, f.Body, r.limit)
	if err != nil {
		return nil, 0, asCodecError(err)
	}
	if cap(body) <= keepExpanded {
		r.expanded = body
	}
	return c.decode(body)
}

// pack returns the body of m in the encoding.
func pack(compressors *compress.Pool, e encoding, m protocol.Message) ([]byte, error) {
	c, err := codingOf(e.codec)
	if err != nil {
		return nil, err
	}
	body, err := c.appendBody(nil, m, e.names)
	if err != nil {
		return nil, err
	}
	packed, err := compressors.Append(nil, e.compressor, body)
	return packed, asCodecError(err)
}

// asCodecError makes an unsupported compressor an ErrCodec too.
func asCodecError(err error) error {
	if errors.Is(err, compress.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrCodec, err)
	}
	return err
}
