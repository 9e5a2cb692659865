package grpc

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; it is met only when something is wrong.
const patience = 30 * time.Second

// world is a server of Carriers whose channels answer GlobalBegin with its name
// as the XID.
type world struct {
	t       testing.TB
	address string
	// carriers are those that were accepted, ended what their Serve returned.
	carriers chan *Carrier
	ended    chan error
	// channels are the open ones.
	channels chan *rpc.Conn
}

func newWorld(t testing.TB, o Options, ro rpc.Options) *world {
	t.Helper()
	w := &world{t: t, carriers: make(chan *Carrier, 100), ended: make(chan error, 100), channels: make(chan *rpc.Conn, 10_000)}
	if ro.Handler == nil {
		ro.Handler = beginner
	}
	o.Accept = func(stream net.Conn) {
		conn := rpc.New(stream, ro)
		w.channels <- conn
		conn.Wait()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.address = l.Addr().String()
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			c := NewCarrier(nc, o)
			w.carriers <- c
			go func() { w.ended <- c.Serve() }()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-accepting
	})
	return w
}

// beginner answers every GlobalBegin with its name as the XID.
func beginner(c *rpc.Conn, r rpc.Request) {
	if m, ok := r.Message.(*protocol.GlobalBegin); ok {
		_ = c.Reply(r, &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: m.Name}, r.Head)
	}
}

// raw leaves messages as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}
func (raw) Name() string { return "proto" }

var _ encoding.Codec = raw{}

// dial is a client of the gRPC library.
func (w *world) dial() *grpc.ClientConn {
	w.t.Helper()
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// call is a channel of it.
type call struct {
	grpc.ClientStream
	t testing.TB
}

func (w *world) call(conn *grpc.ClientConn, method string, options ...grpc.CallOption) *call {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	options = append(options, grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(2*maxMessage))
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, options...)
	require.NoError(w.t, err)
	return &call{s, w.t}
}

// message is m in the envelope.
func message(t testing.TB, kind byte, id int32, m protocol.Message, head map[string]string) []byte {
	t.Helper()
	f := frame.Frame{MessageType: kind, Codec: 1, ID: id, Head: head}
	if m != nil {
		var err error
		f.Body, err = native.Append(nil, m)
		require.NoError(t, err)
	}
	return appendMessage(nil, &f)
}

func (c *call) send(b []byte) {
	c.t.Helper()
	require.NoError(c.t, c.SendMsg(&b))
}

func open(t testing.TB, b []byte) (frame.Frame, protocol.Message) {
	t.Helper()
	b, err := appendFrame(nil, b)
	require.NoError(t, err)
	f, err := frame.Decode(b)
	require.NoError(t, err)
	if len(f.Body) == 0 {
		return f, nil
	}
	m, err := native.Decode(f.Body)
	require.NoError(t, err)
	return f, m
}

func (c *call) receive() (frame.Frame, protocol.Message) {
	c.t.Helper()
	var b []byte
	require.NoError(c.t, c.RecvMsg(&b))
	return open(c.t, b)
}

// bare is a client of HTTP/2's frames.
type bare struct {
	net.Conn
	*http2.Framer
	t testing.TB
}

func (w *world) bare(settings ...http2.Setting) *bare {
	w.t.Helper()
	nc, err := net.Dial("tcp", w.address)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = nc.Close() })
	require.NoError(w.t, nc.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(nc, http2.ClientPreface)
	require.NoError(w.t, err)
	b := &bare{Conn: nc, Framer: http2.NewFramer(nc, nc), t: w.t}
	b.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(w.t, b.WriteSettings(settings...))
	return b
}

// begin begins a stream with header fields, which alternate with their values.
func (b *bare) begin(id uint32, fields ...string) {
	b.t.Helper()
	var block sliceWriter
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(b.t, e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	require.NoError(b.t, b.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true}))
}

type sliceWriter []byte

func (s *sliceWriter) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

// prefixed is a message as it lies in DATA frames.
func prefixed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// next is the next frame that is no settings and no window update.
func (b *bare) next() http2.Frame {
	b.t.Helper()
	for {
		f, err := b.ReadFrame()
		require.NoError(b.t, err)
		switch f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
		default:
			return f
		}
	}
}
