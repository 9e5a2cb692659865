package grpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// prefixLen is the length of what precedes a message: whether it is compressed,
// and how long it is.
const prefixLen = 5

// stream is one channel: a net.Conn of frames of version 1. All fields are under
// carrier.mu but those of Write.
type stream struct {
	carrier *Carrier
	id      uint32

	partial []byte // the beginning of a message
	in      []byte // frames that nobody has read
	taken   int    // how many bytes of in were read
	owed    int    // bytes that the client may send again once in is read
	ended   error  // why no more will come
	half    bool   // the client has ended its half, see endOfStream
	waiting int    // requests without an answer
	reset   bool   // the stream needs no end: there is none to tell
	closed  bool

	window int64 // what may be sent

	scratch []byte // of Write
}

// receive takes in data of the client, which took size bytes of its window. The
// caller holds mu.
func (s *stream) receive(data []byte, size int) {
	if s.ended != nil {
		return
	}
	s.owed += size
	if len(s.partial) > 0 {
		s.partial = append(s.partial, data...)
		data = s.partial
	}
	for len(data) >= prefixLen {
		if data[0] != 0 {
			s.end(fmt.Errorf("%w: it is compressed; use the key %s of headMap instead", errMessage, keyCompressor))
			return
		}
		size := binary.BigEndian.Uint32(data[1:])
		if size > maxMessage {
			s.end(fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", frame.ErrTooLarge, size, maxMessage))
			return
		}
		n := prefixLen + int(size)
		if len(data) < n {
			break
		}
		if err := s.message(data[prefixLen:n]); err != nil {
			s.end(err)
			return
		}
		data = data[n:]
	}
	if len(data) != len(s.partial) { // else data is partial, or both are empty
		s.partial = append(s.partial[:0], data...)
	}
	if s.taken == len(s.in) {
		s.credit() // of a message that is not whole
	}
	s.carrier.changed.Broadcast()
}

// message takes in one message. The caller holds mu.
func (s *stream) message(b []byte) error {
	start := len(s.in)
	in, err := appendFrame(s.in, b)
	if err != nil {
		return err
	}
	if s.in = in; frameType(in[start:]) == frame.Request {
		s.waiting++
	}
	return nil
}

// frameType is the message type of the frame b.
func frameType(b []byte) byte { return b[9] }

// endOfStream notes that the client has ended its half, as gRPC's do when they
// have asked everything. It ends the channel once all that is answered: the
// channel itself takes the end for that of both halves. The caller holds mu.
func (s *stream) endOfStream() {
	s.half = true
	s.carrier.changed.Broadcast()
}

// credit lets the client send more. The caller holds mu.
func (s *stream) credit() {
	if s.owed < streamWindow/4 || s.ended != nil || s.closed {
		return
	}
	owed := uint32(s.owed)
	s.owed = 0
	s.carrier.put(func() error { return s.carrier.framer.WriteWindowUpdate(s.id, owed) })
}

// end notes that no more will come. The caller holds mu.
func (s *stream) end(why error) {
	if s.ended == nil {
		s.ended = why
	}
	s.carrier.changed.Broadcast()
}

// Read reads frames.
func (s *stream) Read(p []byte) (int, error) {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.taken == len(s.in) && s.ended == nil && !s.closed && !(s.half && s.waiting == 0) {
		c.changed.Wait()
	}
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case s.taken < len(s.in):
	case s.ended != nil:
		return 0, s.ended
	case len(s.partial) > 0:
		return 0, fmt.Errorf("%w: the call ends within it", errMessage)
	default:
		return 0, io.EOF
	}
	n := copy(p, s.in[s.taken:])
	if s.taken += n; s.taken == len(s.in) {
		s.in, s.taken = s.in[:0], 0
		if cap(s.in) > streamWindow {
			s.in = nil
		}
		s.credit()
	}
	return n, nil
}

// Write sends whole frames, each as one message, and returns when the operating
// system has them.
func (s *stream) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n, err := frame.Length(rest, frame.MaxLen)
		if err != nil {
			return 0, err
		}
		if n > len(rest) {
			return 0, io.ErrShortWrite
		}
		f, err := frame.Decode(rest[:n])
		if err != nil {
			return 0, err
		}
		b := appendMessage(append(s.scratch[:0], 0, 0, 0, 0, 0), &f)
		binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefixLen))
		if err := s.send(b, f.MessageType); err != nil {
			return 0, err
		}
		if s.scratch = b; cap(b) > largestFrame {
			s.scratch = nil
		}
		rest = rest[n:]
	}
	return len(p), s.flush()
}

// send queues one message, in one DATA frame if the client's limits allow.
func (s *stream) send(b []byte, messageType byte) error {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 {
		n := int64(min(len(b), c.frameMax))
		// A client gives the window back when it has read half of it at the
		// latest: to wait for more than that might be in vain.
		want := min(n, max(1, c.initialWindow/2))
		for c.err == nil && !s.closed && !s.reset && (s.window < want || c.window < want) {
			c.changed.Wait()
			want = min(n, max(1, c.initialWindow/2))
		}
		if err := s.unwritable(); err != nil {
			return err
		}
		n = min(n, s.window, c.window)
		s.window -= n
		c.window -= n
		c.put(func() error { return c.framer.WriteData(s.id, false, b[:n]) })
		b = b[n:]
	}
	if messageType == frame.Response && s.waiting > 0 {
		s.waiting--
		c.changed.Broadcast()
	}
	return nil
}

// flush waits until all that was queued is written.
func (s *stream) flush() error {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	for end := c.queued; c.sent < end; c.changed.Wait() {
		if err := s.unwritable(); err != nil {
			return err
		}
	}
	return nil
}

// unwritable is why nothing can be sent. The caller holds mu.
func (s *stream) unwritable() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.reset:
		return s.ended
	}
	return s.carrier.err
}

// Close ends the channel on purpose.
func (s *stream) Close() error { return s.CloseCause(nil) }

// CloseCause ends the channel and tells the client why, as a status of gRPC.
func (s *stream) CloseCause(cause error) error {
	c := s.carrier
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	delete(c.streams, s.id)
	if !s.reset && c.err == nil {
		c.put(func() error { return s.writeEnd(cause) })
	}
	c.changed.Broadcast()
	return nil
}

// writeEnd sends the status. The caller holds mu.
func (s *stream) writeEnd(cause error) error {
	fields := []string{"grpc-status", strconv.Itoa(int(codeOf(cause)))}
	if codeOf(cause) != codeOK {
		fields = append(fields, "grpc-message", encodeStatusMessage(cause.Error()))
	}
	err := s.carrier.writeHeaders(s.id, true, fields...)
	if err == nil && !s.half {
		err = s.carrier.framer.WriteRSTStream(s.id, http2.ErrCodeNo)
	}
	return err
}

// RemoteAddr is the connection's: all its channels have one address.
func (s *stream) RemoteAddr() net.Addr { return s.carrier.nc.RemoteAddr() }

// LocalAddr is the connection's.
func (s *stream) LocalAddr() net.Addr { return s.carrier.nc.LocalAddr() }

// SetDeadline is not supported: package rpc needs none.
func (s *stream) SetDeadline(time.Time) error { return errors.ErrUnsupported }

// SetReadDeadline is not supported.
func (s *stream) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

// SetWriteDeadline is not supported.
func (s *stream) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }
