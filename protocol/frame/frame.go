package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of a frame, in bytes.
const (
	// HeaderLen is the length of the fixed header.
	HeaderLen = 16
	// MaxLen is the longest frame that Seata accepts.
	MaxLen = 8 << 20
	// MaxHeadLen is the longest header with its head map: Seata reads the
	// length as a signed 16-bit number.
	MaxHeadLen = 1<<15 - 1
)

// Frame versions. The first frame of a connection decides for both directions.
const (
	// V0 is spoken by Seata clients before 0.7.
	V0 byte = 0
	// V1 is spoken by Seata 0.7 and later.
	V1 byte = 1
	// V2 is spoken by Seata from 2.7: a frame as V1; only bodies differ.
	V2 byte = 2
)

// VersionLen is how many bytes of a frame tell its version.
const VersionLen = 3

const magic = 0xdada

// Message types.
const (
	Request           byte = 0
	Response          byte = 1
	OneWay            byte = 2
	HeartbeatRequest  byte = 3
	HeartbeatResponse byte = 4
)

// Errors of this package. All are final for the connection the bytes came
// from: where the next frame begins is no longer known.
var (
	// ErrMagic: the bytes are of another protocol.
	ErrMagic = errors.New("not a Seata frame")
	// ErrVersion: a frame of a version that is not spoken here.
	ErrVersion = errors.New("unsupported frame version")
	// ErrLength: lengths that contradict each other or the bytes.
	ErrLength = errors.New("wrong frame length")
	// ErrTooLarge: the frame is longer than allowed.
	ErrTooLarge = errors.New("frame too large")
	// ErrHead: a head map that cannot be read or written.
	ErrHead = errors.New("malformed head map")
)

// Frame is one frame taken apart.
type Frame struct {
	// Version is V0, V1 or V2. Mind that V0 is its zero value.
	Version byte
	// MessageType is Request, Response, ...; an unknown one is not an error here.
	MessageType byte
	Codec       byte
	Compressor  byte
	ID          int32
	// IDHigh is the upper half of the id: 64 bits in V0, whose peers expect
	// theirs back. Else 0.
	IDHigh int32
	// TypeCode names the message in a V0 frame of the codec seata, whose body
	// lacks the code that it begins with in later versions. Else 0.
	TypeCode int16
	// Head is nil when the frame has no head map. A null value, which the
	// format tells from an empty one, is read as empty.
	Head map[string]string
	Body []byte
}

// Append appends f to dst. The error wraps ErrVersion, ErrHead, ErrLength or
// ErrTooLarge; dst is then unchanged.
func Append(dst []byte, f *Frame) ([]byte, error) {
	start := len(dst)
	out, err := AppendHeader(dst, f)
	if err != nil {
		return dst, err
	}
	out = append(out, f.Body...)
	if err := Seal(out[start:]); err != nil {
		return dst, err
	}
	return out, nil
}

// AppendHeader appends f's header and head map to dst, for a caller that
// appends the body itself and then calls Seal on the whole frame. f.Body is
// not used. The error wraps ErrVersion, ErrLength or ErrHead; dst is then
// unchanged.
func AppendHeader(dst []byte, f *Frame) ([]byte, error) {
	if f.Version == V0 {
		return appendHeader0(dst, f)
	}
	if f.Version > V2 {
		return dst, fmt.Errorf("%w %d: versions 0 to 2 can be written", ErrVersion, f.Version)
	}
	start := len(dst)
	out := binary.BigEndian.AppendUint16(dst, magic)
	out = append(out, f.Version, 0, 0, 0, 0, 0, 0, f.MessageType, f.Codec, f.Compressor)
	out = binary.BigEndian.AppendUint32(out, uint32(f.ID))
	if len(f.Head) > 0 {
		var err error
		if out, err = appendHead(out, f.Head); err != nil {
			return dst, err
		}
	}
	n := len(out) - start
	if n > MaxHeadLen {
		return dst, fmt.Errorf("%w: %d bytes with the header, at most %d are allowed", ErrHead, n, MaxHeadLen)
	}
	binary.BigEndian.PutUint16(out[start+7:], uint16(n))
	return out, nil
}

// Seal writes the length of b, one whole frame begun by AppendHeader, into its
// header. The error wraps ErrTooLarge.
func Seal(b []byte) error {
	if len(b) > MaxLen {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed; split the work into smaller branches", ErrTooLarge, len(b), MaxLen)
	}
	if b[2] == V0 {
		return seal0(b)
	}
	binary.BigEndian.PutUint32(b[3:], uint32(len(b)))
	return nil
}

// VersionOf tells the version of the frame that begins with b. The error wraps
// ErrMagic, ErrVersion, or ErrLength when b is shorter than VersionLen.
func VersionOf(b []byte) (byte, error) {
	if len(b) < VersionLen {
		return 0, fmt.Errorf("%w: %d bytes, the version is in the first %d", ErrLength, len(b), VersionLen)
	}
	if m := binary.BigEndian.Uint16(b); m != magic {
		return 0, fmt.Errorf("%w: it begins with %#04x instead of %#04x; is the peer a Seata client or server?", ErrMagic, m, magic)
	}
	if v := b[2]; v > V2 {
		return 0, fmt.Errorf("%w %d: versions 0 to 2 are spoken here, those of all Seata releases to 2.7; use a peer of those", ErrVersion, v)
	}
	return b[2], nil
}

// Length checks the first HeaderLen bytes of a frame of version 1 or 2 and
// returns the length of the whole frame, which is at most max. Call it before
// making room for the frame. The error wraps ErrMagic, ErrVersion, ErrLength or
// ErrTooLarge. For version 0 see Header0.
func Length(header []byte, max int) (int, error) {
	if len(header) < HeaderLen {
		return 0, fmt.Errorf("%w: %d bytes, a header has %d", ErrLength, len(header), HeaderLen)
	}
	v, err := VersionOf(header)
	if err != nil {
		return 0, err
	}
	if v == V0 {
		return 0, fmt.Errorf("%w 0: the connection began with a later one", ErrVersion)
	}
	full := binary.BigEndian.Uint32(header[3:])
	head := binary.BigEndian.Uint16(header[7:])
	if head < HeaderLen || head > MaxHeadLen || uint32(head) > full {
		return 0, fmt.Errorf("%w: frame of %d bytes with a header of %d", ErrLength, full, head)
	}
	if uint64(full) > uint64(max) {
		return 0, fmt.Errorf("%w: %d bytes announced, at most %d are allowed", ErrTooLarge, full, max)
	}
	return int(full), nil
}

// Decode takes apart b, exactly one frame. Body is a part of b, not a copy.
// The error wraps one of the sentinels of this package.
func Decode(b []byte) (Frame, error) {
	if len(b) >= VersionLen && b[2] == V0 {
		return decode0(b)
	}
	n, err := Length(b, MaxLen)
	if err != nil {
		return Frame{}, err
	}
	if n != len(b) {
		return Frame{}, fmt.Errorf("%w: %d announced, %d present", ErrLength, n, len(b))
	}
	headLen := binary.BigEndian.Uint16(b[7:])
	head, err := decodeHead(b[HeaderLen:headLen])
	if err != nil {
		return Frame{}, err
	}
	return Frame{
		Version:     b[2],
		MessageType: b[9],
		Codec:       b[10],
		Compressor:  b[11],
		ID:          int32(binary.BigEndian.Uint32(b[12:])),
		Head:        head,
		Body:        b[headLen:],
	}, nil
}
