package rpc

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// Header is what a frame says besides its message.
type Header struct {
	Version     byte
	MessageType byte
	Codec       byte
	Compressor  byte
	// Names is the Java package of the names in the body, where the codec has any.
	Names codec.Names
	ID    int64
	// Head is the head map, nil when there is none.
	Head map[string]string
}

// FrameError says where the bytes of a frame cannot be read.
type FrameError struct {
	// Offset counts bytes from the start of the frame. Within a compressed body
	// it is that of the body.
	Offset int
	// Err wraps a sentinel of package frame, ErrCodec, ErrMessageType, one of
	// package compress, or is the codec's.
	Err error
}

func (e *FrameError) Error() string { return e.Err.Error() }

func (e *FrameError) Unwrap() error { return e.Err }

// Inspector takes frames apart and puts them together as a Conn does, for tools
// that have bytes and no connection. The zero value is ready for use, by one
// goroutine.
type Inspector struct {
	compressors compress.Pool
}

// Cut returns the length of the frame that b begins with, or 0 when b ends
// within it. The error is a *FrameError.
func (i *Inspector) Cut(b []byte) (int, error) {
	if len(b) < frame.HeaderLen {
		// What is there already may be of another protocol.
		if len(b) >= 2 && (b[0] != 0xda || b[1] != 0xda) {
			return 0, &FrameError{0, fmt.Errorf("%w: it begins with %#02x%02x instead of 0xdada", frame.ErrMagic, b[0], b[1])}
		}
		return 0, nil
	}
	n, err := frame.Length(b, frame.MaxLen)
	if err != nil {
		return 0, &FrameError{headerOffset(err, len(b)), err}
	}
	if n > len(b) {
		return 0, nil
	}
	return n, nil
}

// Decode reads b, exactly one frame. The message is a *protocol.Heartbeat in
// frames of the two heartbeat types. The error is a *FrameError.
func (i *Inspector) Decode(b []byte) (Header, protocol.Message, error) {
	f, err := frame.Decode(b)
	if err != nil {
		return Header{}, nil, &FrameError{headerOffset(err, len(b)), err}
	}
	h := Header{
		Version: frame.Version, MessageType: f.MessageType,
		Codec: f.Codec, Compressor: f.Compressor, ID: int64(f.ID), Head: f.Head,
	}
	if isHeartbeat(f.MessageType) {
		return h, new(protocol.Heartbeat), nil
	}
	if f.MessageType > frame.HeartbeatResponse {
		return h, nil, &FrameError{9, fmt.Errorf("%w: %d", ErrMessageType, f.MessageType)}
	}
	bodies := bodyReader{compressors: &i.compressors, limit: frame.MaxLen}
	m, names, err := bodies.decode(&f)
	h.Names = names
	if err != nil {
		return h, nil, &FrameError{bodyOffset(&f, len(b), err), err}
	}
	return h, m, nil
}

// Append appends the frame of h and m to dst. On an error, which wraps that of
// the codec, of package frame, ErrCodec or ErrMessageType, dst is unchanged.
func (i *Inspector) Append(dst []byte, h *Header, m protocol.Message) ([]byte, error) {
	f := frame.Frame{MessageType: h.MessageType, Codec: h.Codec, Compressor: h.Compressor, ID: int32(h.ID), Head: h.Head}
	if h.Version != frame.Version {
		return dst, fmt.Errorf("%w %d: version %d can be written", frame.ErrVersion, h.Version, frame.Version)
	}
	if int64(f.ID) != h.ID {
		return dst, fmt.Errorf("request id %d: want one of 32 bits in frames of version %d", h.ID, h.Version)
	}
	if f.MessageType > frame.HeartbeatResponse {
		return dst, fmt.Errorf("%w: %d: want 0 (request), 1 (response), 2 (one-way request), 3 (ping) or 4 (pong)", ErrMessageType, f.MessageType)
	}
	_, beats := m.(*protocol.Heartbeat)
	if beats != isHeartbeat(f.MessageType) {
		return dst, fmt.Errorf("%w: %d does not go with a %v: 3 (ping) and 4 (pong) are those of heartbeats", ErrMessageType, f.MessageType, m.TypeCode())
	}
	if !beats {
		var err error
		if f.Body, err = pack(&i.compressors, encoding{f.Codec, f.Compressor, h.Names}, m); err != nil {
			return dst, err
		}
	}
	return frame.Append(dst, &f)
}

// CodecName is the name of a codec in Seata's settings, or "unknown".
func CodecName(id byte) string { return codecName(id) }

func isHeartbeat(messageType byte) bool {
	return messageType == frame.HeartbeatRequest || messageType == frame.HeartbeatResponse
}

// headerOffset is where in n bytes the field is that frame's error is about.
func headerOffset(err error, n int) int {
	at := 0
	switch {
	case errors.Is(err, frame.ErrVersion):
		at = 2
	case errors.Is(err, frame.ErrLength), errors.Is(err, frame.ErrTooLarge):
		at = 3
	case errors.Is(err, frame.ErrHead):
		at = frame.HeaderLen
	}
	return min(at, n)
}

// bodyOffset is where in a frame of n bytes the error of its body is.
func bodyOffset(f *frame.Frame, n int, err error) int {
	body := n - len(f.Body)
	var at *codec.Error
	switch {
	case errors.As(err, &at) && f.Compressor == compress.None:
		return body + at.Offset
	case errors.Is(err, compress.ErrUnsupported):
		return 11
	case errors.Is(err, ErrCodec):
		return 10
	}
	return body
}
