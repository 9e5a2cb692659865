package rpc

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// defaultQueueBytes is the default of Options.QueueBytes.
const defaultQueueBytes = 64 << 20

// Options are the settings of a Conn.
type Options struct {
	// Handler is called for every incoming request and one-way message, in the
	// order of arrival. It runs on the goroutine that also resolves answers: it
	// must not block and must not wait for a Call. Nil drops requests.
	Handler func(c *Conn, r Request)
	// WriteIdle: send a heartbeat after this long without a write. 0 is never.
	// Seata's clients use 5 s.
	WriteIdle time.Duration
	// ReadIdle: close the connection with ErrIdle after this long without a
	// byte received. 0 is never. Seata's server uses 15 s.
	ReadIdle time.Duration
	// MaxFrame is the longest frame accepted, in bytes, and the longest body
	// after decompression. Default and highest value: frame.MaxLen, 8 MiB.
	MaxFrame int
	// Compressors is the working memory for peers that compress, best shared by
	// all connections of a process. Default: one for this connection.
	Compressors *compress.Pool
	// Codec and Compressor are what this side's own requests are in; Reply
	// answers in kind, whatever they say. Defaults: CodecSeata and compress.None.
	// SpeakAs changes them. A request fails with ErrCodec when they are not
	// spoken here.
	Codec, Compressor byte
	// QueueBytes is how many bytes may wait to be written; beyond it sending
	// fails with ErrOverloaded. Default: 64 MiB.
	QueueBytes int
}

// Request is an incoming message that is no answer.
type Request struct {
	ID int32
	// OneWay: the peer does not wait for an answer to this id. A merged request
	// is one-way and yet its parts are answered.
	OneWay bool
	// Codec and Compressor are the peer's choice, and Names is the Java package
	// of its classes; Reply answers in kind.
	Codec, Compressor byte
	Names             codec.Names
	// Head is the frame's head map, nil when it has none.
	Head    map[string]string
	Message protocol.Message
}

// Response is an answer.
type Response struct {
	Message protocol.Message
	// Head is the frame's head map, nil when it has none.
	Head map[string]string
}

// Conn is one connection. Its methods may be called by any goroutine.
type Conn struct {
	nc   net.Conn
	o    Options
	done chan struct{}
	wake chan struct{} // capacity 1: the queue has bytes
	wg   sync.WaitGroup

	bodies bodyReader

	bytesRead    atomic.Uint64
	bytesWritten atomic.Uint64

	calls sync.Pool // of *call

	own atomic.Pointer[encoding] // of this side's own requests

	mu      sync.Mutex
	err     error // why the connection is closed; nil while it is open
	lastID  int32
	pending map[int32]*call
	queue   queue
}

// New takes over nc and starts the connection's goroutines. Whoever calls New
// must call Close.
func New(nc net.Conn, o Options) *Conn {
	if o.MaxFrame <= 0 || o.MaxFrame > frame.MaxLen {
		o.MaxFrame = frame.MaxLen
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = defaultQueueBytes
	}
	if o.Compressors == nil {
		o.Compressors = new(compress.Pool)
	}
	if o.Codec == 0 {
		o.Codec = CodecSeata
	}
	c := &Conn{
		nc:      nc,
		bodies:  bodyReader{compressors: o.Compressors, limit: o.MaxFrame},
		o:       o,
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		pending: make(map[int32]*call),
	}
	c.own.Store(&encoding{codec: o.Codec, compressor: o.Compressor})
	c.calls.New = func() any { return &call{answered: make(chan struct{}, 1)} }
	c.wg.Go(c.read)
	c.wg.Go(c.write)
	c.wg.Go(c.tick)
	return c
}

// Close closes the connection and fails its pending calls with ErrClosed. The
// first cause counts; nil means that this side ended it on purpose. Bytes that
// still wait are dropped: see Flush. Close waits for nothing.
func (c *Conn) Close(cause error) {
	err := ErrClosed
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
	}
	c.mu.Unlock()
	if first {
		close(c.done)
		// The error of closing a socket that is given up tells nothing.
		_ = c.nc.Close()
	}
}

// Wait waits until the connection is closed and its goroutines have ended,
// which means that the handler and every callback have returned. Do not call
// it from one of those.
func (c *Conn) Wait() { c.wg.Wait() }

// Done is closed when the connection is.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is nil while the connection is open; then it wraps ErrClosed and the
// cause: io.EOF when the peer closed it, ErrIdle, a *BodyError, an error of
// package frame or net, or what Close was given.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr is this side's address.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// SpeakAs puts this side's later requests into the codec, the compressor and the
// Java package of r, which are therefore understood at the other end.
func (c *Conn) SpeakAs(r Request) {
	c.own.Store(&encoding{r.Codec, r.Compressor, r.Names})
}

// Send sends a one-way request. The error is an *Error; nil says only that the
// message is queued.
func (c *Conn) Send(m protocol.Message) error {
	own := c.own.Load()
	f, rest, err := c.frameOf(frame.OneWay, *own, m)
	if err != nil {
		return &Error{Op: "send", Type: m.TypeCode(), Err: err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.ID = c.nextID()
	if err := c.enqueue(&f, rest, own.names); err != nil {
		return &Error{Op: "send", Type: m.TypeCode(), Err: err}
	}
	return nil
}

// Reply answers r with m, in r's codec, compressor and Java package and with r's
// id. To answer a part of a merged request, give r that part's id. The error is
// an *Error; nil says only that the answer is queued.
func (c *Conn) Reply(r Request, m protocol.Message, head map[string]string) error {
	f, rest, err := c.frameOf(frame.Response, encoding{r.Codec, r.Compressor, r.Names}, m)
	if err != nil {
		return &Error{Op: "reply", Type: m.TypeCode(), Err: err}
	}
	f.ID, f.Head = r.ID, head
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enqueue(&f, rest, r.Names); err != nil {
		return &Error{Op: "reply", Type: m.TypeCode(), Err: err}
	}
	return nil
}
