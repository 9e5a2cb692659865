package grpc

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// Fields of GrpcMessageProto.
const (
	fieldID          = 1
	fieldMessageType = 2
	fieldHead        = 3
	fieldBody        = 4
)

// Keys of the head map that stand for fields of a frame's header.
const (
	keyCodec      = "codec-type"
	keyCompressor = "compress-type"
)

// codecDefault is what a message without codec-type is in: Java's codec GRPC.
const codecDefault = 40

// errMessage: a message of the stream that cannot be a frame.
var errMessage = errors.New("malformed GrpcMessageProto")

// appendFrame appends the frame that the GrpcMessageProto b stands for. The
// error wraps errMessage or an error of package frame; dst is then unchanged.
func appendFrame(dst, b []byte) ([]byte, error) {
	f := frame.Frame{Version: frame.V1, Codec: codecDefault}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return dst, fmt.Errorf("%w: %w", errMessage, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return dst, fmt.Errorf("%w: field %d: %w", errMessage, number, protowire.ParseError(size))
		}
		if err := readField(&f, number, kind, b[n:n+size]); err != nil {
			return dst, err
		}
		b = b[n+size:]
	}
	if f.MessageType > frame.HeartbeatResponse {
		return dst, fmt.Errorf("%w: messageType %d, known are 0 to %d", errMessage, f.MessageType, frame.HeartbeatResponse)
	}
	if err := liftKeys(&f); err != nil {
		return dst, err
	}
	return frame.Append(dst, &f)
}

// readField takes over one field's value, which is known to be whole. Unknown
// fields are those of later versions.
func readField(f *frame.Frame, number protowire.Number, kind protowire.Type, value []byte) error {
	switch {
	case number == fieldID && kind == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		f.ID = int32(v)
	case number == fieldMessageType && kind == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(value)
		if v > uint64(frame.HeartbeatResponse) {
			return fmt.Errorf("%w: messageType %d, known are 0 to %d", errMessage, int32(v), frame.HeartbeatResponse)
		}
		f.MessageType = byte(v)
	case number == fieldHead && kind == protowire.BytesType:
		entry, _ := protowire.ConsumeBytes(value)
		key, text, err := readEntry(entry)
		if err != nil {
			return err
		}
		if f.Head == nil {
			f.Head = make(map[string]string)
		}
		f.Head[key] = text
	case number == fieldBody && kind == protowire.BytesType:
		f.Body, _ = protowire.ConsumeBytes(value)
	}
	return nil
}

// readEntry reads one pair of the head map.
func readEntry(b []byte) (key, value string, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", "", fmt.Errorf("%w: headMap: %w", errMessage, protowire.ParseError(n))
		}
		size := protowire.ConsumeFieldValue(number, kind, b[n:])
		if size < 0 {
			return "", "", fmt.Errorf("%w: headMap: %w", errMessage, protowire.ParseError(size))
		}
		if kind == protowire.BytesType && (number == 1 || number == 2) {
			text, _ := protowire.ConsumeBytes(b[n:])
			if !utf8.Valid(text) {
				return "", "", fmt.Errorf("%w: headMap: a text that is no UTF-8", errMessage)
			}
			if number == 1 {
				key = string(text)
			} else {
				value = string(text)
			}
		}
		b = b[n+size:]
	}
	return key, value, nil
}

// liftKeys moves codec and compressor from the head map to the header.
func liftKeys(f *frame.Frame) error {
	for key, field := range map[string]*byte{keyCodec: &f.Codec, keyCompressor: &f.Compressor} {
		text, ok := f.Head[key]
		if !ok {
			continue
		}
		delete(f.Head, key)
		if text == "" {
			continue
		}
		v, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return fmt.Errorf("%w: headMap %s=%q is no number from 0 to 255", errMessage, key, text)
		}
		*field = byte(v)
	}
	return nil
}

// appendMessage appends the GrpcMessageProto that stands for f.
func appendMessage(dst []byte, f *frame.Frame) []byte {
	if f.ID != 0 {
		dst = protowire.AppendTag(dst, fieldID, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(f.ID)) // negative ones take ten bytes, as in protobuf
	}
	if f.MessageType != 0 {
		dst = protowire.AppendTag(dst, fieldMessageType, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(f.MessageType))
	}
	dst = appendEntry(dst, keyCodec, strconv.Itoa(int(f.Codec)))
	dst = appendEntry(dst, keyCompressor, strconv.Itoa(int(f.Compressor)))
	for _, key := range slices.Sorted(maps.Keys(f.Head)) {
		dst = appendEntry(dst, key, f.Head[key])
	}
	if len(f.Body) > 0 {
		dst = protowire.AppendTag(dst, fieldBody, protowire.BytesType)
		dst = protowire.AppendBytes(dst, f.Body)
	}
	return dst
}

func appendEntry(dst []byte, key, value string) []byte {
	n := protowire.SizeTag(1) + protowire.SizeBytes(len(key)) + protowire.SizeTag(2) + protowire.SizeBytes(len(value))
	dst = protowire.AppendTag(dst, fieldHead, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(n))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendString(dst, key)
	dst = protowire.AppendTag(dst, 2, protowire.BytesType)
	return protowire.AppendString(dst, value)
}
