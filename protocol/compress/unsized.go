package compress

import (
	"errors"
	"fmt"
	"io"
)

// firstTry is the memory that is taken for a body of unknown size, in bytes.
const firstTry = 4 << 10

// unsized reads the body of a format that does not say its size. open starts to
// read it, from its beginning each time; every error of a reader means damage. A
// body that fits buf, or firstTry bytes, is read once. A longer one is read twice,
// the first time for its size alone, so that what is too large costs no memory.
func unsized(buf []byte, limit int, open func() (io.Reader, error)) ([]byte, error) {
	if cap(buf) < firstTry {
		buf = make([]byte, firstTry)
	}
	buf = buf[:min(cap(buf), limit+1)]
	r, err := open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	n, err := io.ReadFull(r, buf)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return buf[:n:n], nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	more, err := io.Copy(io.Discard, io.LimitReader(r, int64(limit+1-n)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	size := n + int(more)
	if err := checkSize(uint64(size), limit); err != nil || size == n {
		return buf[:n:n], err
	}
	if r, err = open(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	body := make([]byte, size)
	if _, err = io.ReadFull(r, body); err == nil {
		_, err = io.Copy(io.Discard, r) // its end, with the checksum
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return body, nil
}

// errCut is the end of the packed bytes within the body. Readers report it as
// io.ErrUnexpectedEOF, which io.ReadFull also says of a body that fits.
var errCut = errors.New("the packed bytes end too early")

// strict is a reader that reports a cut as errCut.
type strict struct{ r io.Reader }

func (s strict) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
	}
	return n, err
}
