package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/pierrec/lz4/v4"
)

// The container of lz4-java's LZ4BlockOutputStream: blocks of a header and their
// bytes, ended by an empty block. All numbers are little endian.
const (
	lz4Magic = "LZ4Block"
	// Offsets in the header: the token, which is a method and the level of the
	// block size; the packed and the expanded length; the checksum.
	lz4Token, lz4Packed, lz4Expanded, lz4Sum, lz4HeaderLen = 8, 9, 13, 17, 21

	lz4Raw, lz4Compressed byte = 0x10, 0x20
	// Blocks of level n hold at most 1024<<n bytes. Seata writes level 0.
	lz4BlockLen     = 1 << 10
	lz4HighestLevel = 15
	// lz4Ratio: one byte of a length adds at most 255 bytes, and a block's header
	// counts among the packed bytes.
	lz4Ratio = 255

	lz4Seed    = 0x9747b28c
	lz4SumMask = 0x0fffffff
)

// lz4Block is one block of the container.
type lz4Block struct {
	method   byte
	packed   []byte
	expanded int
	sum      uint32
}

// nextLZ4 takes the first block off the packed bytes.
func nextLZ4(packed []byte) (b lz4Block, rest []byte, err error) {
	if len(packed) < lz4HeaderLen {
		return b, nil, fmt.Errorf("%d bytes where the header of a block has %d", len(packed), lz4HeaderLen)
	}
	if string(packed[:len(lz4Magic)]) != lz4Magic {
		return b, nil, fmt.Errorf("a block begins with %x", packed[:len(lz4Magic)])
	}
	token := packed[lz4Token]
	length := binary.LittleEndian.Uint32(packed[lz4Packed:])
	expanded := binary.LittleEndian.Uint32(packed[lz4Expanded:])
	b = lz4Block{method: token & 0xf0, expanded: int(expanded), sum: binary.LittleEndian.Uint32(packed[lz4Sum:])}
	packed = packed[lz4HeaderLen:]
	switch {
	case b.method != lz4Raw && b.method != lz4Compressed:
		return b, nil, fmt.Errorf("a block of method %#x", b.method)
	case uint64(length) > uint64(len(packed)):
		return b, nil, fmt.Errorf("a block of %d packed bytes, %d remain", length, len(packed))
	case uint64(expanded) > lz4BlockLen<<(token&lz4HighestLevel):
		return b, nil, fmt.Errorf("a block of %d bytes at level %d", expanded, token&lz4HighestLevel)
	case (length == 0) != (expanded == 0), b.method == lz4Raw && length != expanded:
		return b, nil, fmt.Errorf("a block of %d bytes in %d", expanded, length)
	}
	b.packed = packed[:length]
	return b, packed[length:], nil
}

func (p *Pool) unlz4(buf, packed []byte, limit int) ([]byte, error) {
	size, err := lz4Size(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	body, err := room(buf, size, packed, lz4Ratio, limit)
	if err != nil {
		return nil, err
	}
	for filled := 0; filled < len(body); {
		block, rest, err := nextLZ4(packed)
		if err == nil {
			err = block.expand(body[filled : filled+block.expanded : filled+block.expanded])
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		filled += block.expanded
		packed = rest
	}
	return body, nil
}

// lz4Size adds up what the blocks say, until the empty one, which must be the
// last.
func lz4Size(packed []byte) (size uint64, err error) {
	for {
		var block lz4Block
		if block, packed, err = nextLZ4(packed); err != nil {
			return 0, err
		}
		size += uint64(block.expanded)
		switch {
		case block.expanded > 0:
		case block.sum != 0:
			return 0, errors.New("an end with a checksum")
		case len(packed) > 0:
			return 0, fmt.Errorf("%d bytes after its end", len(packed))
		default:
			return size, nil
		}
	}
}

func (b *lz4Block) expand(dst []byte) error {
	if b.method == lz4Raw {
		copy(dst, b.packed)
	} else if n, err := lz4.UncompressBlock(b.packed, dst); err != nil {
		return err
	} else if n != len(dst) {
		return fmt.Errorf("a block of %d bytes where its header says %d", n, len(dst))
	}
	if xxh32(dst, lz4Seed)&lz4SumMask != b.sum {
		return errors.New("wrong checksum")
	}
	return nil
}

func (p *Pool) appendLZ4(dst, body []byte) ([]byte, error) {
	c, ok := p.lz4Compressors.Get().(*lz4.Compressor)
	if !ok {
		c = new(lz4.Compressor)
	}
	defer p.lz4Compressors.Put(c)
	b := dst
	for len(body) > 0 {
		block := body[:min(len(body), lz4BlockLen)]
		body = body[len(block):]
		var err error
		if b, err = appendLZ4Block(c, b, block); err != nil {
			return dst, err
		}
	}
	return appendLZ4Header(b, lz4Raw, 0, 0, 0), nil
}

func appendLZ4Block(c *lz4.Compressor, b, block []byte) ([]byte, error) {
	start := len(b)
	sum := xxh32(block, lz4Seed) & lz4SumMask
	b = append(b, make([]byte, lz4HeaderLen+lz4.CompressBlockBound(len(block)))...)
	n, err := c.CompressBlock(block, b[start+lz4HeaderLen:])
	if err != nil {
		return nil, err
	}
	if n == 0 || n >= len(block) { // it does not get shorter
		b = appendLZ4Header(b[:start], lz4Raw, len(block), len(block), sum)
		return append(b, block...), nil
	}
	appendLZ4Header(b[:start], lz4Compressed, n, len(block), sum)
	return b[:start+lz4HeaderLen+n], nil
}

func appendLZ4Header(b []byte, method byte, packed, expanded int, sum uint32) []byte {
	b = append(append(b, lz4Magic...), method)
	b = binary.LittleEndian.AppendUint32(b, uint32(packed))
	b = binary.LittleEndian.AppendUint32(b, uint32(expanded))
	return binary.LittleEndian.AppendUint32(b, sum)
}

// xxh32 is the checksum XXH32 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md).
func xxh32(b []byte, seed uint32) uint32 {
	const p1, p2, p3, p4, p5 uint32 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
	le := binary.LittleEndian
	h := seed + p5
	n := uint32(len(b))
	if len(b) >= 16 {
		// The sums wrap: constants of them would overflow.
		lanes := [4]uint32{seed, seed, seed, seed}
		lanes[0] += p1
		lanes[0] += p2
		lanes[1] += p2
		lanes[3] -= p1
		for ; len(b) >= 16; b = b[16:] {
			for i := range lanes {
				lanes[i] = bits.RotateLeft32(lanes[i]+le.Uint32(b[4*i:])*p2, 13) * p1
			}
		}
		h = bits.RotateLeft32(lanes[0], 1) + bits.RotateLeft32(lanes[1], 7) +
			bits.RotateLeft32(lanes[2], 12) + bits.RotateLeft32(lanes[3], 18)
	}
	h += n
	for ; len(b) >= 4; b = b[4:] {
		h = bits.RotateLeft32(h+le.Uint32(b)*p3, 17) * p4
	}
	for _, v := range b {
		h = bits.RotateLeft32(h+uint32(v)*p5, 11) * p1
	}
	h = (h ^ h>>15) * p2
	h = (h ^ h>>13) * p3
	return h ^ h>>16
}
