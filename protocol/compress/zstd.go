package compress

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// zstdRatio: a block of four bytes, the shortest that is not empty, becomes
	// at most 128 KiB.
	zstdRatio = 32 << 10
	// zstdMaxWindow covers every undo record: a body in one segment is its own
	// window. No memory is taken for it, only for the body.
	zstdMaxWindow = 256 << 20
)

// unzstd wants the size in the header, as Java does.
func (p *Pool) unzstd(buf, packed []byte, limit int) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(packed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if !header.HasFCS {
		return nil, fmt.Errorf("%w: its header does not say its size", ErrDamaged)
	}
	body, err := room(buf, header.FrameContentSize, packed, zstdRatio, limit)
	if err != nil {
		return nil, err
	}
	d, ok := p.zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		d, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(zstdMaxWindow))
		if err != nil {
			return nil, err
		}
	}
	out, err := d.DecodeAll(packed, body[:0])
	p.zstdDecoders.Put(d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if len(out) != len(body) {
		return nil, fmt.Errorf("%w: %d bytes where %d are announced", ErrDamaged, len(out), len(body))
	}
	return out, nil
}

// appendZstd writes a single segment, because only then is the size of a short
// body in the header, without which Java reads it as empty. Java writes no
// checksum either.
func (p *Pool) appendZstd(dst, body []byte) ([]byte, error) {
	e, ok := p.zstdEncoders.Get().(*zstd.Encoder)
	if !ok {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true))
		if err != nil {
			return dst, err
		}
	}
	dst = e.EncodeAll(body, dst)
	p.zstdEncoders.Put(e)
	return dst, nil
}
