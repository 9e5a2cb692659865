package wiretap

import (
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// Errors of a Piece.
var (
	// ErrTruncated: the stream ends within a frame.
	ErrTruncated = errors.New("the frame is cut short")
	// ErrForeign: the stream begins with something that is no frame.
	ErrForeign = errors.New("another protocol")
	// ErrLost: where the next frame begins is not known.
	ErrLost = errors.New("what follows cannot be read")
)

// Piece is one frame of a stream, or why there is none.
type Piece struct {
	// Offset of the frame, or of what is none, from the start of the stream. An
	// *rpc.FrameError within Err counts from there.
	Offset int64
	// Frame is the bytes of one whole frame; it holds until the next call.
	Frame []byte
	Err   error
}

// Stream finds the frames in the bytes of one direction of a connection. The
// zero value is the start of one.
type Stream struct {
	inspector rpc.Inspector
	buf       []byte // what no frame was found in yet
	offset    int64  // of buf
	state     state
}

type state uint8

const (
	fresh     state = iota // nothing was read yet
	reading                // frames were read; buf begins with another one
	searching              // bytes are missing: frames begin again with some Feed
	lost                   // what comes is of no interest
)

// Feed takes the next bytes and emits what they complete.
func (s *Stream) Feed(b []byte, emit func(Piece)) {
	if s.state == searching && len(s.buf) == 0 && !beginsFrame(b) {
		s.offset += int64(len(b))
		return
	}
	if s.state == lost {
		s.offset += int64(len(b))
		return
	}
	s.buf = append(s.buf, b...)
	rest := s.buf
	for len(rest) > 0 {
		n, err := s.inspector.Cut(rest)
		if err != nil {
			s.giveUp(rest, err, emit)
			return
		}
		if n == 0 {
			break
		}
		s.state = reading
		emit(Piece{Offset: s.offset, Frame: rest[:n]})
		s.offset += int64(n)
		rest = rest[n:]
	}
	s.buf = append(s.buf[:0], rest...)
}

// beginsFrame tells whether b may be the start of a frame.
func beginsFrame(b []byte) bool {
	return len(b) >= frame.HeaderLen && b[0] == 0xda && b[1] == 0xda
}

func (s *Stream) giveUp(rest []byte, err error, emit func(Piece)) {
	switch s.state {
	case searching: // a guess that was wrong
	case fresh:
		emit(Piece{Offset: s.offset, Err: fmt.Errorf("%w: %w", ErrForeign, err)})
	default:
		emit(Piece{Offset: s.offset, Err: fmt.Errorf("%w; %w", err, ErrLost)})
	}
	if s.state != searching {
		s.state = lost
	}
	s.offset += int64(len(rest))
	s.buf = nil
}

// Skip says that n bytes are missing, or so many that nobody knows (0). Frames
// are looked for at the start of what is fed later.
func (s *Stream) Skip(n int64, emit func(Piece)) {
	if s.state == lost {
		return
	}
	if len(s.buf) > 0 {
		emit(Piece{Offset: s.offset, Err: fmt.Errorf("%w: the bytes after its first %d are missing", ErrTruncated, len(s.buf))})
	}
	s.offset += int64(len(s.buf)) + n
	s.buf, s.state = nil, searching
}

// Close ends the stream.
func (s *Stream) Close(emit func(Piece)) {
	if len(s.buf) > 0 {
		emit(Piece{Offset: s.offset, Err: fmt.Errorf("%w: %s", ErrTruncated, shortage(s.buf))})
	}
	s.buf, s.state = nil, lost
}

// shortage says what the start of a frame lacks.
func shortage(b []byte) string {
	if len(b) >= frame.HeaderLen0 && b[2] == frame.V0 {
		return fmt.Sprintf("of a message of version 0 only %d bytes are there", len(b)-frame.HeaderLen0)
	}
	if len(b) < frame.HeaderLen {
		return fmt.Sprintf("a header has %d bytes, only %d are there", frame.HeaderLen, len(b))
	}
	n, err := frame.Length(b, frame.MaxLen)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("it announces %d bytes, only %d are there", n, len(b))
}
