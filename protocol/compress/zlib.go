package compress

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
)

// zlibReader is a reader with the bytes that it reads.
type zlibReader struct {
	packed bytes.Reader
	z      io.ReadCloser
}

// unzlib reads what Java's Deflater writes: a zlib stream.
func (p *Pool) unzlib(buf, packed []byte, limit int) ([]byte, error) {
	r, ok := p.zlibReaders.Get().(*zlibReader)
	if !ok {
		r = new(zlibReader)
	}
	body, err := unsized(buf, limit, func() (io.Reader, error) { return r.open(packed) })
	if err == nil && r.packed.Len() > 0 {
		err = fmt.Errorf("%w: %d bytes after its end", ErrDamaged, r.packed.Len())
	}
	r.packed.Reset(nil)
	if r.z != nil {
		p.zlibReaders.Put(r)
	}
	return body, err
}

func (r *zlibReader) open(packed []byte) (io.Reader, error) {
	r.packed.Reset(packed)
	var err error
	if r.z == nil {
		r.z, err = zlib.NewReader(&r.packed)
	} else {
		err = r.z.(zlib.Resetter).Reset(&r.packed, nil)
	}
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return strict{r.z}, err
}

// appendZlib writes for speed, as appendGzip does.
func (p *Pool) appendZlib(dst, body []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := p.zlibWriters.Get().(*zlib.Writer)
	if ok {
		w.Reset(out)
	} else {
		var err error
		if w, err = zlib.NewWriterLevel(out, zlib.BestSpeed); err != nil {
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
	p.zlibWriters.Put(w)
	return out.Bytes(), nil
}
