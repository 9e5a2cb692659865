package frame

import (
	"encoding/binary"
	"fmt"
	"math"
)

// HeaderLen0 is the length of the header of version 0.
const HeaderLen0 = 14

// Unmeasured is what Header0 returns for a body whose length only its content
// tells.
const Unmeasured = -1

// Flags of the header of version 0.
const (
	flagSeataCodec = 0x10
	flagHeartbeat  = 0x20
	flagOneWay     = 0x40
	flagRequest    = 0x80
	flagsKnown     = flagSeataCodec | flagHeartbeat | flagOneWay | flagRequest
)

// Codecs that version 0 tells apart.
const (
	codecSeata   = 1
	codecHessian = 22
)

// Header0 reads the first HeaderLen0 bytes of a frame of version 0 and returns
// how long the body after them is, or Unmeasured: a body of the codec seata
// does not tell. The Frame has no Body. The error wraps ErrMagic, ErrVersion or
// ErrLength.
func Header0(header []byte) (Frame, int, error) {
	if len(header) < HeaderLen0 {
		return Frame{}, 0, fmt.Errorf("%w: %d bytes, a header of version 0 has %d", ErrLength, len(header), HeaderLen0)
	}
	v, err := VersionOf(header)
	if err != nil {
		return Frame{}, 0, err
	}
	if v != V0 {
		return Frame{}, 0, fmt.Errorf("%w %d: the connection began with version 0", ErrVersion, v)
	}
	flags := header[3]
	if unknown := flags &^ flagsKnown; unknown != 0 {
		return Frame{}, 0, fmt.Errorf("%w 0 with the unknown flags %#02x", ErrVersion, unknown)
	}
	f := Frame{
		Version:     V0,
		MessageType: messageType0(flags),
		Codec:       codecHessian,
		IDHigh:      int32(binary.BigEndian.Uint32(header[6:])),
		ID:          int32(binary.BigEndian.Uint32(header[10:])),
	}
	number := int16(binary.BigEndian.Uint16(header[4:]))
	switch {
	case flags&flagHeartbeat != 0:
		f.Codec = codecSeata
		return f, 0, nil
	case flags&flagSeataCodec != 0:
		f.Codec, f.TypeCode = codecSeata, number
		return f, Unmeasured, nil
	case number < 0:
		return Frame{}, 0, fmt.Errorf("%w: a body of %d bytes", ErrLength, number)
	}
	return f, int(number), nil
}

// messageType0 is the later versions' name for the flags. Of an answer they say
// nothing else: whether it is one-way, which some set, has no meaning.
func messageType0(flags byte) byte {
	request := flags&flagRequest != 0
	switch {
	case flags&flagHeartbeat != 0 && request:
		return HeartbeatRequest
	case flags&flagHeartbeat != 0:
		return HeartbeatResponse
	case request && flags&flagOneWay != 0:
		return OneWay
	case request:
		return Request
	}
	return Response
}

// decode0 is Decode for version 0. That a body of the codec seata ends where b
// does is for whoever decodes it to check.
func decode0(b []byte) (Frame, error) {
	f, n, err := Header0(b)
	if err != nil {
		return Frame{}, err
	}
	if len(b) > MaxLen {
		return Frame{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(b), MaxLen)
	}
	f.Body = b[HeaderLen0:]
	if n != Unmeasured && n != len(f.Body) {
		return Frame{}, fmt.Errorf("%w: a body of %d bytes announced, %d present", ErrLength, n, len(f.Body))
	}
	return f, nil
}

// appendHeader0 is AppendHeader for version 0. Flags are set as Seata's own
// writers of that version do: those of a heartbeat name no codec.
func appendHeader0(dst []byte, f *Frame) ([]byte, error) {
	if len(f.Head) > 0 {
		return dst, fmt.Errorf("%w: version 0 has none", ErrHead)
	}
	if f.Compressor != 0 {
		return dst, fmt.Errorf("%w 0 with compressor %d: it knows no compression", ErrVersion, f.Compressor)
	}
	var flags byte
	switch f.MessageType {
	case Request:
		flags = flagRequest
	case OneWay:
		flags = flagRequest | flagOneWay
	case Response:
	case HeartbeatRequest:
		flags = flagRequest | flagOneWay | flagHeartbeat
	case HeartbeatResponse:
		flags = flagHeartbeat
	default:
		return dst, fmt.Errorf("%w 0 with message type %d: it has no flags for it", ErrVersion, f.MessageType)
	}
	number := f.TypeCode
	switch {
	case flags&flagHeartbeat != 0:
		number = 0
	case f.Codec == codecSeata:
		flags |= flagSeataCodec
	case f.Codec == codecHessian:
		number = 0 // the length, see seal0
	default:
		return dst, fmt.Errorf("%w 0 with codec %d: it knows seata (1) and hessian (22)", ErrVersion, f.Codec)
	}
	out := binary.BigEndian.AppendUint16(dst, magic)
	out = append(out, V0, flags)
	out = binary.BigEndian.AppendUint16(out, uint16(number))
	out = binary.BigEndian.AppendUint32(out, uint32(f.IDHigh))
	return binary.BigEndian.AppendUint32(out, uint32(f.ID)), nil
}

// seal0 is Seal for version 0, which has a length only where the codec is
// hessian.
func seal0(b []byte) error {
	if b[3]&(flagSeataCodec|flagHeartbeat) != 0 {
		return nil
	}
	n := len(b) - HeaderLen0
	if n > math.MaxInt16 {
		return fmt.Errorf("%w: a body of %d bytes, at most %d are allowed in version 0", ErrTooLarge, n, math.MaxInt16)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	return nil
}
