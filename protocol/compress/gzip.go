package compress

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// gzipMinLen is the length of a gzip member of nothing: header and trailer.
	gzipMinLen = 18
	// gzipRatio: deflate's longest match, 258 bytes, takes at least two bits.
	gzipRatio = 1032
)

// gzipReader is a reader with the bytes that it reads.
type gzipReader struct {
	packed bytes.Reader
	z      gzip.Reader
}

// gunzip reads one member. Java would read several as one; no peer writes them.
func (p *Pool) gunzip(buf, packed []byte, limit int) ([]byte, error) {
	if len(packed) < gzipMinLen {
		return nil, fmt.Errorf("%w: %d bytes, the shortest has %d", ErrDamaged, len(packed), gzipMinLen)
	}
	size := binary.LittleEndian.Uint32(packed[len(packed)-4:])
	body, err := room(buf, uint64(size), packed, gzipRatio, limit)
	if err != nil {
		return nil, err
	}
	r, ok := p.gzipReaders.Get().(*gzipReader)
	if !ok {
		r = new(gzipReader)
	}
	r.packed.Reset(packed)
	err = r.fill(body)
	r.packed.Reset(nil)
	p.gzipReaders.Put(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, nil
}

// fill reads body, and then nothing more may follow.
func (r *gzipReader) fill(body []byte) error {
	if err := r.z.Reset(&r.packed); err != nil {
		return err
	}
	r.z.Multistream(false)
	return readWhole(&r.z, &r.packed, body, "trailer")
}

// readWhole reads body from z, which unpacks packed, and then nothing more may
// follow. The length of body is what the packed form's sizes says.
func readWhole(z io.Reader, packed *bytes.Reader, body []byte, sizes string) error {
	if _, err := io.ReadFull(z, body); err != nil {
		return err
	}
	var more [1]byte
	switch _, err := io.ReadFull(z, more[:]); {
	case err == nil:
		return fmt.Errorf("it is longer than its %s says", sizes)
	case !errors.Is(err, io.EOF):
		return err
	case packed.Len() > 0:
		return fmt.Errorf("%d bytes after its end", packed.Len())
	}
	return nil
}

// appendGzip writes for speed: bodies are short, and most of one is texts that
// occur once.
func (p *Pool) appendGzip(dst, body []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := p.gzipWriters.Get().(*gzip.Writer)
	if ok {
		w.Reset(out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(out, gzip.BestSpeed); err != nil {
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
	p.gzipWriters.Put(w)
	return out.Bytes(), nil
}
