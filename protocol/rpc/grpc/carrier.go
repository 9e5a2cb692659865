package grpc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// Limits of a Carrier.
const (
	// streamWindow is how many bytes a client may send on one stream before they
	// are read, connWindow on all that are under way to us.
	streamWindow = 1 << 20
	connWindow   = 4 << 20
	// defaultWindow and defaultFrame are what HTTP/2 begins with.
	defaultWindow = 1<<16 - 1
	defaultFrame  = 1 << 14
	// largestFrame is the longest DATA frame that is sent to a client that would
	// take longer ones.
	largestFrame = 1 << 20
	// maxHeaders bounds the header fields of a call.
	maxHeaders = 16 << 10
	// maxControl is how many bytes of answers to a client's pings and settings
	// may wait: beyond it the client sends such and does not read.
	maxControl = 1 << 20
	// lingering is how long a client has to read why it is left.
	lingering = time.Second
)

// Options are the settings of a Carrier.
type Options struct {
	// Accept serves one channel, a stream of SeataService.sendRequest, until it
	// has ended. It is called on a goroutine of its own.
	Accept func(stream net.Conn)
	// MaxStreams bounds the channels of one connection. Default 100.
	MaxStreams int
	// Idle is how long a connection may be without a channel. 0 is forever.
	Idle time.Duration
}

// Carrier is one connection of HTTP/2 and its streams.
type Carrier struct {
	nc      net.Conn
	o       Options
	serving sync.WaitGroup // of Accept and the writer

	framer *http2.Framer // its reading half is the reader's, the other under mu

	mu      sync.Mutex
	changed sync.Cond // anything below, for whoever waits for it
	err     error     // why the connection has ended
	leaving bool      // GOAWAY is sent
	streams map[uint32]*stream
	lastID  uint32 // of the client's newest stream
	served  int    // calls of Accept that have not returned

	out           bytes.Buffer // bytes to write
	queued, sent  uint64       // of all bytes ever in out
	control       uint64       // bytes of answers to the client since out was empty
	headers       *hpack.Encoder
	block         bytes.Buffer // what headers writes to
	window        int64        // what may be sent on the connection
	initialWindow int64        // of a new stream
	owed          uint32       // bytes that the client may send again
	frameMax      int
}

// NewCarrier prepares to serve nc, which begins with HTTP/2's preface. Serve
// runs it.
func NewCarrier(nc net.Conn, o Options) *Carrier {
	if o.MaxStreams <= 0 {
		o.MaxStreams = 100
	}
	c := &Carrier{
		nc: nc, o: o, streams: make(map[uint32]*stream),
		window: defaultWindow, initialWindow: defaultWindow, frameMax: defaultFrame,
	}
	c.changed.L = &c.mu
	c.headers = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(&c.out, bufio.NewReader(nc))
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = maxHeaders
	c.framer.SetMaxReadFrameSize(defaultFrame)
	return c
}

// Errors that end a connection.
var (
	errPreface = errors.New("the preface of HTTP/2 is wrong")
	errIdle    = errors.New("no channel was open for too long")
	errFlood   = errors.New("the client sends pings or settings and does not read the answers")
	errLeft    = errors.New("the connection was left")
)

// Serve serves the connection until it ends, and returns why: io.EOF when the
// client has gone, nil after Close or when no channel was open for too long. All
// channels have ended then.
func (c *Carrier) Serve() error {
	c.serving.Go(c.write)
	err := c.read()
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	err = c.err
	for _, s := range c.streams {
		s.end(err)
	}
	c.changed.Broadcast()
	c.mu.Unlock()
	// For a writer whose client does not read.
	_ = c.nc.SetDeadline(time.Now().Add(lingering))
	c.serving.Wait()
	// The error of closing a socket that is given up tells nothing.
	_ = c.nc.Close()
	if errors.Is(err, errIdle) || errors.Is(err, errLeft) {
		return nil
	}
	return err
}

// Close tells the client that no channel is served any more and ends the
// connection. Close the channels before, so that each learns why. It waits for
// nothing.
func (c *Carrier) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leave(http2.ErrCodeNo, "the coordinator is shutting down")
}

// leave sends GOAWAY, after which the writer ends the connection. The caller
// holds mu.
func (c *Carrier) leave(why http2.ErrCode, text string) {
	if c.leaving || c.err != nil {
		return
	}
	c.leaving = true
	c.put(func() error { return c.framer.WriteGoAway(c.lastID, why, []byte(text)) })
	// The writer closes its half; this bounds the wait for the client's.
	_ = c.nc.SetReadDeadline(time.Now().Add(lingering))
}

// put appends frames to what is written. Writing to a buffer has no error, but
// for frames against the rules, which none of ours is. The caller holds mu.
func (c *Carrier) put(frames func() error) {
	before := c.out.Len()
	if err := frames(); err != nil && c.err == nil {
		c.err = fmt.Errorf("write HTTP/2: %w", err)
	}
	c.queued += uint64(c.out.Len() - before)
	c.changed.Broadcast()
}

// putControl is put for an answer that the client provoked.
func (c *Carrier) putControl(frames func() error) {
	before := c.queued
	c.put(frames)
	c.control += c.queued - before
	if c.control > maxControl && c.err == nil {
		c.err = errFlood
	}
}

// write is the writer goroutine.
func (c *Carrier) write() {
	var b []byte
	for {
		c.mu.Lock()
		for c.out.Len() == 0 && c.err == nil && !c.leaving {
			c.changed.Wait()
		}
		b = append(b[:0], c.out.Bytes()...)
		c.out.Reset()
		c.control = 0
		ended := c.err != nil || c.leaving
		c.mu.Unlock()
		if len(b) > 0 {
			_, err := c.nc.Write(b)
			c.mu.Lock()
			if err != nil && c.err == nil {
				c.err = fmt.Errorf("write: %w", err)
			}
			ended = ended || err != nil
			c.sent += uint64(len(b))
			c.changed.Broadcast()
			c.mu.Unlock()
		}
		if ended {
			c.hangUp()
			return
		}
	}
}

// hangUp closes the connection, and lets the client read why it is left: to
// close with unread bytes would reset the connection and may take that away.
func (c *Carrier) hangUp() {
	c.mu.Lock()
	leaving := c.leaving
	c.mu.Unlock()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if ok && leaving && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.nc) // until the deadline that leave has set
	}
	_ = c.nc.Close()
}

// read is the reader: it acts on the client's frames until the connection ends.
func (c *Carrier) read() error {
	if err := c.greet(); err != nil {
		return err
	}
	for {
		f, err := c.framer.ReadFrame()
		var ofStream http2.StreamError
		switch {
		case errors.As(err, &ofStream):
			c.reset(ofStream.StreamID, ofStream.Code)
			continue
		case err != nil:
			return c.ended(err)
		}
		if err := c.act(f); err != nil {
			return c.ended(err)
		}
	}
}

// greet reads the preface and sends the settings.
func (c *Carrier) greet() error {
	c.mu.Lock()
	c.watchIdle()
	c.mu.Unlock()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.nc, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return errPreface
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(func() error {
		return c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.o.MaxStreams)},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders},
		)
	})
	c.put(func() error { return c.framer.WriteWindowUpdate(0, connWindow-defaultWindow) })
	return nil
}

// ended tells the client what it did wrong, and returns why the connection ends.
func (c *Carrier) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ofConn http2.ConnectionError
	switch {
	case c.err != nil:
		return c.err
	case c.leaving:
		return errLeft
	case errors.As(err, &ofConn):
		c.leave(http2.ErrCode(ofConn), err.Error())
		return fmt.Errorf("HTTP/2: %w", err)
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.leave(http2.ErrCodeFrameSize, err.Error())
		return fmt.Errorf("HTTP/2: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.leave(http2.ErrCodeNo, errIdle.Error())
		return fmt.Errorf("%w: %v", errIdle, c.o.Idle)
	}
	return err
}

// act does what a frame of the client asks for. Its error is final for the
// connection.
func (c *Carrier) act(f http2.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.call(f)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.widen(f)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.putControl(func() error { return c.framer.WritePing(true, f.Data) })
		}
	case *http2.RSTStreamFrame:
		if s := c.streams[f.StreamID]; s != nil {
			s.reset = true
			s.end(fmt.Errorf("%w: the client cancelled the call (%v)", io.EOF, f.ErrCode))
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return c.err
}

// settings takes over what the client can take.
func (c *Carrier) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingInitialWindowSize:
			grown := int64(s.Val) - c.initialWindow
			c.initialWindow = int64(s.Val)
			for _, open := range c.streams {
				open.window += grown
			}
		case http2.SettingMaxFrameSize:
			c.frameMax = min(int(s.Val), largestFrame)
		case http2.SettingHeaderTableSize:
			c.headers.SetMaxDynamicTableSizeLimit(s.Val)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.putControl(c.framer.WriteSettingsAck)
	return c.err
}

// maxWindow is the widest that HTTP/2 allows.
const maxWindow = 1<<31 - 1

// widen notes that the client can take more.
func (c *Carrier) widen(f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		c.window += int64(f.Increment)
		if c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
	} else if s := c.streams[f.StreamID]; s != nil {
		s.window += int64(f.Increment)
		if s.window > maxWindow {
			c.resetLocked(f.StreamID, http2.ErrCodeFlowControl)
		}
	}
	c.changed.Broadcast()
	return nil
}

// data takes in what the client sent on a stream.
func (c *Carrier) data(f *http2.DataFrame) error {
	if c.owed += f.Header().Length; c.owed >= connWindow/4 {
		owed := c.owed
		c.owed = 0
		c.put(func() error { return c.framer.WriteWindowUpdate(0, owed) })
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if f.StreamID > c.lastID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return c.err // of a call that has ended meanwhile
	}
	s.receive(f.Data(), int(f.Header().Length))
	if f.StreamEnded() {
		s.endOfStream()
	}
	return c.err
}

// reset ends a stream that the client broke.
func (c *Carrier) reset(id uint32, why http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID = max(c.lastID, id)
	c.resetLocked(id, why)
}

func (c *Carrier) resetLocked(id uint32, why http2.ErrCode) {
	c.putControl(func() error { return c.framer.WriteRSTStream(id, why) })
	if s := c.streams[id]; s != nil {
		s.reset = true
		s.end(fmt.Errorf("HTTP/2: %v", why))
	}
}

// watchIdle bounds the wait for a channel while there is none. The caller holds
// mu.
func (c *Carrier) watchIdle() {
	if c.leaving || c.o.Idle <= 0 {
		return
	}
	var until time.Time
	if c.served == 0 {
		until = time.Now().Add(c.o.Idle)
	}
	// It fails only on a closed connection.
	_ = c.nc.SetReadDeadline(until)
}

// maxMessage is the longest message, in bytes: the envelope is never much longer
// than the frame.
const maxMessage = frame.MaxLen + 64<<10
