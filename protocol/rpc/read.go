package rpc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// readBuffer is the size of a connection's read buffer; frames that fit into
// it are decoded where they lie.
const readBuffer = 16 << 10

// read is the reader goroutine. It outlives the connection until every pending
// call has been failed.
func (c *Conn) read() {
	r := bufio.NewReaderSize(counted{c}, readBuffer)
	for {
		if err := c.readFrame(r); err != nil {
			c.Close(err)
			break
		}
	}
	c.failPending()
}

// counted reads from the connection and counts what it reads.
type counted struct{ c *Conn }

func (r counted) Read(p []byte) (int, error) {
	n, err := r.c.nc.Read(p)
	r.c.bytesRead.Add(uint64(n))
	return n, err
}

// readFrame reads one frame and acts on it.
func (c *Conn) readFrame(r *bufio.Reader) error {
	header, err := r.Peek(frame.HeaderLen)
	if err != nil {
		if len(header) > 0 {
			return unexpected(err)
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("by the peer: %w", err)
		}
		return err
	}
	n, err := frame.Length(header, c.o.MaxFrame)
	if err != nil {
		return err
	}
	if n <= r.Size() {
		b, err := r.Peek(n)
		if err != nil {
			return unexpected(err)
		}
		if err := c.dispatch(b); err != nil {
			return err
		}
		_, err = r.Discard(n)
		return err
	}
	var large bytes.Buffer // grows with what arrives, not with what is announced
	if _, err := io.CopyN(&large, r, int64(n)); err != nil {
		return unexpected(err)
	}
	return c.dispatch(large.Bytes())
}

// unexpected names the end of the stream within a frame.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// dispatch acts on the frame b, of which nothing is kept.
func (c *Conn) dispatch(b []byte) error {
	f, err := frame.Decode(b)
	if err != nil {
		return err
	}
	switch f.MessageType {
	case frame.Request, frame.OneWay, frame.Response:
	case frame.HeartbeatRequest:
		return c.pong(&f)
	case frame.HeartbeatResponse:
		return nil
	default:
		return fmt.Errorf("%w: %d", ErrMessageType, f.MessageType)
	}
	m, names, err := c.bodies.message(&f)
	if err != nil {
		return err
	}
	if f.MessageType == frame.Response {
		c.answer(f.ID, Response{Message: m, Head: f.Head})
	} else if c.o.Handler != nil {
		c.o.Handler(c, Request{
			ID: f.ID, OneWay: f.MessageType == frame.OneWay,
			Codec: f.Codec, Compressor: f.Compressor, Names: names, Head: f.Head, Message: m,
		})
	}
	return nil
}

// answer resolves the calls that a response answers: those that a BatchResult
// names, otherwise the one with the frame's id. The answer to a Merged request
// is a MergedResult in the order of its parts.
func (c *Conn) answer(id int32, r Response) {
	batch, ok := r.Message.(*protocol.BatchResult)
	if !ok {
		c.resolve(id, r)
		return
	}
	for i, m := range batch.Messages {
		c.resolve(batch.IDs[i], Response{Message: m, Head: r.Head})
	}
}
