package rpc

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// readFrame0 reads one frame of version 0 and acts on it. Only a message itself
// tells where it ends, so it is tried as bytes arrive; each try that fails says
// how many more it needs at least, so that there are no more tries than fields.
func (c *Conn) readFrame0(r *bufio.Reader) error {
	header, err := peekHeader(r, frame.HeaderLen0)
	if err != nil {
		return err
	}
	f, n, err := frame.Header0(header)
	if err != nil {
		return err
	}
	if n != frame.Unmeasured {
		return c.dispatchNext(r, frame.HeaderLen0+n)
	}
	b, err := r.Peek(r.Buffered())
	for err == nil {
		n, enough, failed := measure0(&f, b)
		switch {
		case failed != nil:
			return &BodyError{Type: protocol.TypeCode(f.TypeCode), Codec: f.Codec, RequestID: f.ID, Err: failed}
		case n > c.o.MaxFrame:
			return fmt.Errorf("%w: %d bytes or more, at most %d are allowed", frame.ErrTooLarge, n, c.o.MaxFrame)
		case enough:
			return c.dispatchNext(r, n)
		case n > r.Size():
			return c.readLarge0(r, &f, n)
		}
		if _, err = r.Peek(n); err == nil {
			b, err = r.Peek(r.Buffered())
		}
	}
	return unexpected(err)
}

// measure0 tells how long the frame is that b begins with, or, if that is not
// enough of it, how many bytes it has at least.
func measure0(f *frame.Frame, b []byte) (n int, enough bool, err error) {
	m, n, err := native.Next(protocol.TypeCode(f.TypeCode), b[frame.HeaderLen0:])
	if err != nil {
		return 0, false, err
	}
	if m == nil {
		return len(b) + n, false, nil
	}
	return frame.HeaderLen0 + n, true, nil
}

// readLarge0 goes on with a frame of at least n bytes that r has no room for.
func (c *Conn) readLarge0(r *bufio.Reader, f *frame.Frame, n int) error {
	var large bytes.Buffer // grows with what arrives, not with what is announced
	for {
		if n > c.o.MaxFrame {
			return fmt.Errorf("%w: %d bytes or more, at most %d are allowed", frame.ErrTooLarge, n, c.o.MaxFrame)
		}
		if _, err := io.CopyN(&large, r, int64(n-large.Len())); err != nil {
			return unexpected(err)
		}
		atLeast, enough, err := measure0(f, large.Bytes())
		switch {
		case err != nil:
			return &BodyError{Type: protocol.TypeCode(f.TypeCode), Codec: f.Codec, RequestID: f.ID, Err: err}
		case enough:
			return c.dispatch(large.Bytes())
		}
		n = atLeast
	}
}
