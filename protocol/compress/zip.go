package compress

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Java's stream is one entry of a zip file: a header, the deflated body and a
// descriptor with its sizes. The directory that ends a file never leaves Java's
// ZipOutputStream. Its ZipInputStream needs none, and neither does this.
const (
	zipHeaderMagic     = "PK\x03\x04"
	zipDescriptorMagic = "PK\x07\x08"
	zipHeaderLen       = 30 // before the name
	zipDescriptorLen   = 16
	zipMinLen          = zipHeaderLen + zipDescriptorLen

	zipVersion      = 20 // the first with deflate
	zipSizesFollow  = 1 << 3
	zipNamesAreUTF8 = 1 << 11
	zipDeflated     = 8
	zipNewYear1980  = 1<<5 | 1
	zipName         = "zip"
)

// flateReader is a reader with the bytes that it reads.
type flateReader struct {
	packed bytes.Reader
	z      io.ReadCloser
}

// unzip reads one entry. Java would read several as one; no peer writes them.
func (p *Pool) unzip(buf, packed []byte, limit int) ([]byte, error) {
	deflated, err := zipContent(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	descriptor := packed[len(packed)-zipDescriptorLen:]
	size := binary.LittleEndian.Uint32(descriptor[12:])
	body, err := room(buf, uint64(size), packed, gzipRatio, limit)
	if err != nil {
		return nil, err
	}
	r, ok := p.flateReaders.Get().(*flateReader)
	if !ok {
		r = &flateReader{z: flate.NewReader(nil)}
	}
	r.packed.Reset(deflated)
	err = r.fill(body)
	r.packed.Reset(nil)
	p.flateReaders.Put(r)
	if err == nil && crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(descriptor[4:]) {
		err = errors.New("wrong checksum")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, nil
}

// zipContent returns what is between the header and the descriptor.
func zipContent(packed []byte) ([]byte, error) {
	if len(packed) < zipMinLen {
		return nil, fmt.Errorf("%d bytes, the shortest has %d", len(packed), zipMinLen)
	}
	if string(packed[:4]) != zipHeaderMagic {
		return nil, fmt.Errorf("it begins with %x", packed[:4])
	}
	flags, method := binary.LittleEndian.Uint16(packed[6:]), binary.LittleEndian.Uint16(packed[8:])
	if flags&^zipNamesAreUTF8 != zipSizesFollow || method != zipDeflated {
		return nil, fmt.Errorf("flags %#x and method %d, Java writes a deflated entry with its sizes behind it", flags, method)
	}
	start := zipHeaderLen + int(binary.LittleEndian.Uint16(packed[26:])) + int(binary.LittleEndian.Uint16(packed[28:]))
	end := len(packed) - zipDescriptorLen
	if start > end || string(packed[end:end+4]) != zipDescriptorMagic {
		return nil, errors.New("it does not end with a descriptor")
	}
	if size := binary.LittleEndian.Uint32(packed[end+8:]); uint64(size) != uint64(end-start) {
		return nil, fmt.Errorf("%d packed bytes where its descriptor says %d", end-start, size)
	}
	return packed[start:end], nil
}

// fill reads body, and then nothing more may follow.
func (r *flateReader) fill(body []byte) error {
	if err := r.z.(flate.Resetter).Reset(&r.packed, nil); err != nil {
		return err
	}
	return readWhole(r.z, &r.packed, body, "descriptor")
}

// appendZip writes what Java does, but for the time, which nobody reads.
func (p *Pool) appendZip(dst, body []byte) ([]byte, error) {
	le := binary.LittleEndian
	b := append(dst, zipHeaderMagic...)
	b = le.AppendUint16(b, zipVersion)
	b = le.AppendUint16(b, zipSizesFollow|zipNamesAreUTF8)
	b = le.AppendUint16(b, zipDeflated)
	b = le.AppendUint16(b, 0) // the time
	b = le.AppendUint16(b, zipNewYear1980)
	b = append(b, make([]byte, 12)...) // checksum and sizes: they follow
	b = le.AppendUint16(b, uint16(len(zipName)))
	b = le.AppendUint16(b, 0) // no extra field
	b = append(b, zipName...)
	start := len(b)
	b, err := p.appendFlate(b, body)
	if err != nil {
		return dst, err
	}
	size := len(b) - start
	b = append(b, zipDescriptorMagic...)
	b = le.AppendUint32(b, crc32.ChecksumIEEE(body))
	b = le.AppendUint32(b, uint32(size))
	return le.AppendUint32(b, uint32(len(body))), nil
}

// appendFlate writes for speed, as appendGzip does.
func (p *Pool) appendFlate(dst, body []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := p.flateWriters.Get().(*flate.Writer)
	if ok {
		w.Reset(out)
	} else {
		var err error
		if w, err = flate.NewWriter(out, flate.BestSpeed); err != nil {
			return dst, err
		}
	}
	if _, err := w.Write(body); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	w.Reset(nil) // the pool keeps no message alive
	p.flateWriters.Put(w)
	return out.Bytes(), nil
}
