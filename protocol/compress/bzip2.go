package compress

import (
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	bzip2writer "github.com/dsnet/compress/bzip2"
)

const (
	// bzip2Magic begins a bzip2 file. Java's CBZip2OutputStream leaves it to its
	// caller, and Seata does not write it.
	bzip2Magic = "BZ"
	// bzip2MinLen is the length of an empty stream.
	bzip2MinLen = 12
)

// bunzip2 reads with the smallest block that holds the body: a reader takes
// memory, 400 kB for each step of 100 kB, by the size that the packed bytes
// announce, and Java always announces 900 kB.
func (p *Pool) bunzip2(buf, packed []byte, limit int) ([]byte, error) {
	if len(packed) < bzip2MinLen {
		return nil, fmt.Errorf("%w: %d bytes, the shortest has %d", ErrDamaged, len(packed), bzip2MinLen)
	}
	if packed[0] != 'h' || packed[1] < '1' || packed[1] > '9' {
		return nil, fmt.Errorf("%w: it begins with %x", ErrDamaged, packed[:2])
	}
	body, err := bunzip2Blocks(buf, packed, '1', limit)
	var structural bzip2.StructuralError // a block that is too large is one
	if errors.As(err, &structural) && packed[1] != '1' {
		return bunzip2Blocks(buf, packed, packed[1], limit)
	}
	return body, err
}

// bunzip2Blocks reads blocks of at most the size: a digit, in units of 100 kB.
func bunzip2Blocks(buf, packed []byte, size byte, limit int) ([]byte, error) {
	return unsized(buf, limit, func() (io.Reader, error) {
		head := []byte{bzip2Magic[0], bzip2Magic[1], packed[0], size}
		r := bzip2.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(packed[2:])))
		return strict{r}, nil
	})
}

// appendBzip2 writes blocks of 100 kB: bodies are short, and working memory goes
// with the size of a block.
func (p *Pool) appendBzip2(dst, body []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	w, ok := p.bzip2Writers.Get().(*bzip2writer.Writer)
	var err error
	if ok {
		err = w.Reset(out)
	} else {
		w, err = bzip2writer.NewWriter(out, &bzip2writer.WriterConfig{Level: bzip2writer.BestSpeed})
	}
	if err != nil {
		return dst, err
	}
	if _, err := w.Write(body); err != nil {
		return dst, err
	}
	if err := w.Close(); err != nil {
		return dst, err
	}
	p.bzip2Writers.Put(w)
	packed := out.Bytes()
	return append(packed[:len(dst)], packed[len(dst)+len(bzip2Magic):]...), nil
}
