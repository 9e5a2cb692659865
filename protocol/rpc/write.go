package rpc

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// keepBytes is the largest queue buffer that is kept for reuse.
const keepBytes = 1 << 20

// queue holds encoded frames until the writer takes them all at once.
type queue struct {
	buf   []byte
	spare []byte
	// taken counts the bytes that the writer ever took, flushed those that it
	// has written.
	taken, flushed uint64
	waiters        []waiter
}

// waiter is told when the byte before position is written.
type waiter struct {
	position uint64
	written  chan struct{}
}

// end is the position behind the last byte queued.
func (q *queue) end() uint64 { return q.taken + uint64(len(q.buf)) }

// take empties the queue.
func (q *queue) take() []byte {
	b := q.buf
	q.buf, q.spare = q.spare[:0], nil
	q.taken += uint64(len(b))
	return b
}

// wrote takes back the buffer b of take, now written.
func (q *queue) wrote(b []byte) {
	q.flushed += uint64(len(b))
	if cap(b) <= keepBytes {
		q.spare = b
	}
	kept := q.waiters[:0]
	for _, w := range q.waiters {
		if w.position <= q.flushed {
			close(w.written)
		} else {
			kept = append(kept, w)
		}
	}
	q.waiters = kept
}

// enqueue appends the frame f to the queue, or leaves the queue as it is. Its
// body is f.Body and then m, if not nil, in f's codec with names. The caller
// holds mu.
func (c *Conn) enqueue(f *frame.Frame, m protocol.Message, names codec.Names) error {
	if c.err != nil {
		return c.err
	}
	start := len(c.queue.buf)
	buf, err := frame.AppendHeader(c.queue.buf, f)
	if err == nil {
		buf = append(buf, f.Body...)
		if m != nil {
			buf, err = appendBody(buf, f, m, names)
		}
	}
	if err == nil {
		err = frame.Seal(buf[start:])
	}
	if err != nil {
		return err
	}
	waiting := c.queue.taken - c.queue.flushed + uint64(len(buf))
	if waiting > uint64(c.o.QueueBytes) {
		return fmt.Errorf("%w: %d, at most %d are allowed", ErrOverloaded, waiting, c.o.QueueBytes)
	}
	c.queue.buf = buf
	if start == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

func appendBody(dst []byte, f *frame.Frame, m protocol.Message, names codec.Names) ([]byte, error) {
	k, err := codingOf(f.Codec)
	if err != nil {
		return dst, err
	}
	return k.appendBody(dst, m, names)
}

// frameOf prepares a frame for m in the encoding. With a compressor the body is
// made here, because that takes its time and others may send meanwhile; rest is
// what is left for enqueue to encode.
func (c *Conn) frameOf(kind byte, e encoding, m protocol.Message) (f frame.Frame, rest protocol.Message, err error) {
	f = frame.Frame{MessageType: kind, Codec: e.codec, Compressor: e.compressor}
	if e.compressor == compress.None {
		return f, m, nil
	}
	f.Body, err = pack(c.o.Compressors, e, m)
	return f, nil, err
}

// write is the writer goroutine.
func (c *Conn) write() {
	for {
		select {
		case <-c.wake:
			// Goroutines that are about to send get to do so: their frames
			// leave in the same write. With 64 callers this halves the CPU time
			// of a call; with one it costs nothing.
			runtime.Gosched()
		case <-c.done:
			return
		}
		if err := c.writeQueued(); err != nil {
			c.Close(fmt.Errorf("write: %w", err))
			return
		}
	}
}

// writeQueued writes until the queue is empty.
func (c *Conn) writeQueued() error {
	for {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return net.ErrClosed
		}
		b := c.queue.take()
		c.mu.Unlock()
		if len(b) == 0 {
			return nil
		}
		n, err := c.nc.Write(b)
		c.bytesWritten.Add(uint64(n))
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.queue.wrote(b)
		c.mu.Unlock()
	}
}

// Flush waits until everything queued before it has been handed to the
// operating system. Call it before Close when the last answers matter. The
// error is ctx's, or that of the closed connection.
func (c *Conn) Flush(ctx context.Context) error {
	c.mu.Lock()
	if c.err != nil || c.queue.end() == c.queue.flushed {
		defer c.mu.Unlock()
		return c.err
	}
	w := waiter{position: c.queue.end(), written: make(chan struct{})}
	c.queue.waiters = append(c.queue.waiters, w)
	c.mu.Unlock()
	select {
	case <-w.written:
		return nil
	case <-c.done:
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
