package storage

import (
	"fmt"
	"math"
)

// decoder reads varints and texts. Texts are substrings of the one it reads, so
// a decoded value costs one allocation for all of them. After the first error
// it returns zeros.
type decoder struct {
	text string
	pos  int
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s at byte %d of %d", ErrBadEncoding, what, d.pos, len(d.text))
	}
}

// end fails unless everything was read.
func (d *decoder) end() error {
	if d.pos != len(d.text) {
		d.fail("bytes left over")
	}
	return d.err
}

func (d *decoder) version() {
	if v := d.byte(); d.err == nil && v != codecVersion {
		d.fail(fmt.Sprintf("version %d, want %d (written by another version of the program?)", v, codecVersion))
	}
}

func (d *decoder) byte() byte {
	if d.err != nil || d.pos == len(d.text) {
		d.fail("end of data")
		return 0
	}
	b := d.text[d.pos]
	d.pos++
	return b
}

func (d *decoder) bool() bool {
	b := d.byte()
	if b > 1 {
		d.fail("neither true nor false")
	}
	return b == 1
}

// uvarint reads the shortest form only: equal values have equal encodings.
func (d *decoder) uvarint() uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		b := d.byte()
		if d.err != nil {
			return 0
		}
		if (shift == 63 && b > 1) || (shift > 0 && b == 0) {
			d.fail("number too long")
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) int32() int32 {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail("number out of range")
		return 0
	}
	return int32(v)
}

// count reads the length of a list whose elements take at least size bytes.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64((len(d.text)-d.pos)/size) {
		d.fail("list longer than the data")
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.text)-d.pos) {
		d.fail("text longer than the data")
		return ""
	}
	s := d.text[d.pos : d.pos+int(n)]
	d.pos += int(n)
	return s
}
