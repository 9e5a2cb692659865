package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair returns both ends of a TCP connection over the loopback interface.
func tcpPair(tb testing.TB) (client, server net.Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		defer close(accepted)
		if nc, err := l.Accept(); err == nil {
			accepted <- nc
		}
	}()
	client, err = net.Dial("tcp", l.Addr().String())
	require.NoError(tb, err)
	server, ok := <-accepted
	require.True(tb, ok)
	return client, server
}

// newPair returns a client and a server Conn over TCP, which end with the test.
func newPair(tb testing.TB, client, server Options) (*Conn, *Conn) {
	tb.Helper()
	a, b := tcpPair(tb)
	return start(tb, a, client), start(tb, b, server)
}

// newPipe is newPair in memory, for tests in a synctest bubble.
func newPipe(tb testing.TB, client, server Options) (*Conn, *Conn) {
	tb.Helper()
	a, b := net.Pipe()
	return start(tb, a, client), start(tb, b, server)
}

func start(tb testing.TB, nc net.Conn, o Options) *Conn {
	tb.Helper()
	c := New(nc, o)
	tb.Cleanup(func() {
		c.Close(nil)
		c.Wait()
	})
	return c
}

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

// beginner answers every GlobalBegin with its name as the XID.
func beginner(c *Conn, r Request) {
	if m, ok := r.Message.(*protocol.GlobalBegin); ok {
		_ = c.Reply(r, &protocol.GlobalBeginResult{TxResult: protocol.OK(), XID: m.Name}, nil)
	}
}

func TestClosingFailsPendingAndLaterCalls(t *testing.T) {
	cause := errors.New("shutting down")
	asked := make(chan struct{})
	client, _ := newPair(t, Options{}, Options{Handler: func(*Conn, Request) { close(asked) }})
	require.NoError(t, client.Err())
	ended := make(chan error, 2)
	client.Go(&protocol.GlobalBegin{}, time.Minute, func(_ protocol.Message, err error) { ended <- err })
	<-asked
	client.Close(cause)
	client.Close(errors.New("a second cause does not count"))
	client.Wait()
	<-client.Done()
	require.ErrorIs(t, client.Err(), ErrClosed)
	require.ErrorIs(t, client.Err(), cause)
	err := <-ended
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, err, cause)
	assert.False(t, SafeToRetry(err), "the peer has the request")

	_, err = client.Call(testContext(t), &protocol.GlobalBegin{}, nil)
	require.ErrorIs(t, err, ErrClosed)
	assert.True(t, SafeToRetry(err))
	require.ErrorIs(t, client.Send(&protocol.UndoLogDelete{}), ErrClosed)
	client.Go(&protocol.GlobalBegin{}, time.Minute, func(_ protocol.Message, err error) { ended <- err })
	require.ErrorIs(t, <-ended, ErrClosed)
}

// Only a request whose bytes were never handed to the socket may be repeated
// elsewhere without a thought.
func TestClosingTellsWhichCallsHaveNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, silent := net.Pipe() // nobody reads: the first write blocks
		defer silent.Close()
		c := start(t, nc, Options{})
		ended := make([]error, 2)
		for i := range ended {
			c.Go(&protocol.GlobalBegin{}, time.Minute, func(_ protocol.Message, err error) { ended[i] = err })
			synctest.Wait() // the writer has taken what it can take
		}
		c.Close(nil)
		c.Wait()
		require.ErrorIs(t, ended[0], ErrClosed)
		assert.False(t, SafeToRetry(ended[0]))
		require.ErrorIs(t, ended[1], ErrClosed)
		assert.True(t, SafeToRetry(ended[1]))
	})
}

func TestTheHandlerMayClose(t *testing.T) {
	refused := errors.New("not registered")
	client, server := newPair(t, Options{}, Options{Handler: func(c *Conn, _ Request) { c.Close(refused) }})
	_, err := client.Call(testContext(t), &protocol.GlobalBegin{}, nil)
	require.ErrorIs(t, err, ErrClosed)
	server.Wait()
	require.ErrorIs(t, server.Err(), refused)
}

func TestThePeersEndIsTheCause(t *testing.T) {
	client, server := newPair(t, Options{}, Options{})
	client.Close(nil)
	server.Wait()
	require.ErrorIs(t, server.Err(), io.EOF)
	assert.EqualError(t, server.Err(), "the connection is closed: by the peer: EOF")
	assert.Equal(t, ErrClosed, client.Err())
}

func TestASlowReaderOverloadsItsOwnConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1000
		nc, peer := net.Pipe()
		c := start(t, nc, Options{QueueBytes: limit})
		var err error
		sent := 0
		for ; err == nil && sent < limit; sent++ {
			err = c.Send(&protocol.UndoLogDelete{})
			synctest.Wait()
		}
		require.ErrorIs(t, err, ErrOverloaded)
		assert.True(t, SafeToRetry(err))
		assert.InDelta(t, limit, (sent-1)*23, 23, "frames of 23 bytes up to the limit")

		go func() { _, _ = io.Copy(io.Discard, peer) }()
		require.NoError(t, c.Flush(t.Context()))
		require.NoError(t, c.Send(&protocol.UndoLogDelete{}), "it goes on once the peer reads")
		require.NoError(t, c.Flush(t.Context()))
		peer.Close()
		c.Wait()
	})
}

func TestFlushEndsWithItsContextAndWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := start(t, nc, Options{})
		require.NoError(t, c.Flush(t.Context()), "nothing is queued")
		require.NoError(t, c.Send(&protocol.UndoLogDelete{}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Flush(ctx), context.DeadlineExceeded)
		time.AfterFunc(time.Second, func() { c.Close(nil) })
		require.ErrorIs(t, c.Flush(t.Context()), ErrClosed)
		require.ErrorIs(t, c.Flush(t.Context()), ErrClosed)
	})
}

func TestHeartbeatsKeepAnIdleConnectionOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newPipe(t,
			Options{WriteIdle: 5 * time.Second, ReadIdle: 15 * time.Second},
			Options{ReadIdle: 15 * time.Second})
		time.Sleep(time.Hour) // of the bubble's clock
		require.NoError(t, client.Err())
		require.NoError(t, server.Err())
	})
}

func TestAHeartbeatIsWhatJavaSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := start(t, nc, Options{WriteIdle: 5 * time.Second})
		started := time.Now()
		assert.Equal(t, "dada0100000010001003010000000001", readHex(t, peer, 16))
		assert.InDelta(t, 5*time.Second, time.Since(started), float64(tickEvery))
		writeHex(t, peer, "dada0100000010001004010000000001") // our pong changes nothing
		writeHex(t, peer, "dada0100000010001003010000000007")
		assert.Equal(t, "dada0100000010001004010000000007", readHex(t, peer, 16))
		require.NoError(t, c.Err())
	})
}

func TestAnIdlePeerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		started := time.Now()
		c := start(t, nc, Options{ReadIdle: 15 * time.Second})
		<-c.Done()
		assert.InDelta(t, 15*time.Second, time.Since(started), float64(tickEvery))
		require.ErrorIs(t, c.Err(), ErrIdle)
	})
}

// A large frame arrives in many reads, one byte a second here: that is no idle peer.
func TestASlowFrameIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		got := make(chan Request, 1)
		start(t, nc, Options{ReadIdle: 2 * time.Second, Handler: func(_ *Conn, r Request) { got <- r }})
		body, err := native.Append(nil, &protocol.GlobalBegin{Name: "slow"})
		require.NoError(t, err)
		b, err := frame.Append(nil, &frame.Frame{Codec: 1, Body: body})
		require.NoError(t, err)
		for i := range b {
			time.Sleep(time.Second)
			_, err := peer.Write(b[i : i+1])
			require.NoError(t, err)
		}
		assert.Equal(t, "slow", (<-got).Message.(*protocol.GlobalBegin).Name)
	})
}

func TestForeignBytesCloseWithTheirCause(t *testing.T) {
	cases := []struct {
		name, bytes string
		want        error
		says        string
	}{
		{"HTTP", hex.EncodeToString([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")), frame.ErrMagic, "0x4745"},
		{"another version", "dada0200000010001003010000000001", frame.ErrVersion, "version 2"},
		{"a frame beyond the limit", "dada017fffffff001000010000000001", frame.ErrTooLarge, "2147483647"},
		{"a broken head map", "dada010000001100110001000000000100", frame.ErrHead, "length"},
		{"an unknown message type", "dada0100000010001009010000000001", ErrMessageType, "9"},
		{"kryo", "dada0100000012001000040000000001 0000", ErrCodec, "codec 4 (kryo) is refused because its bodies choose the Java classes to build and have no fixed layout; set seata.transport.serialization to seata, protobuf or hessian"},
		{"fst", "dada0100000012001000080000000001 0000", ErrCodec, "codec 8 (fst) is refused"},
		{"jackson", "dada0100000012001000320000000001 0000", ErrCodec, "codec 50 (jackson) is refused"},
		{"fury", "dada0100000012001000560000000001 0000", ErrCodec, "codec 86 (fury) is refused"},
		{"fory", "dada0100000012001000570000000001 0000", ErrCodec, "codec 87 (fory) is refused"},
		{"fastjson2", "dada0100000012001000640000000001 0000", ErrCodec, "codec 100 (fastjson2) is refused"},
		{"broken protobuf", "dada0100000012001000020000000001 0000", codec.ErrTruncated, "codec 2"},
		{"an unknown codec", "dada0100000012001000c80000000001 0000", ErrCodec, "codec 200 (unknown)"},
		{"a compressor", "dada0100000012001000010300000001 0000", ErrCodec, "compressor 3 (sevenz); set seata.transport.compressor to none, gzip, zip, bzip2, lz4, deflater or zstd"},
		{"damaged gzip", "dada0100000012001000010100000001 0000", compress.ErrDamaged, "gzip"},
		{"a body that ends early", "dada0100000013001000010000000005 000100", native.ErrTruncated, "message type GlobalBegin, request id 5, codec 1"},
		{"no body", "dada0100000010001000010000000005", native.ErrTruncated, "message type 0"},
		{"an unknown message", "dada0100000012001001010000000001 004d", native.ErrUnknownType, "77"},
		{"an end within a header", "dada0100", io.ErrUnexpectedEOF, ""},
		{"an end within a frame", "dada0100000020001001010000000001 004d", io.ErrUnexpectedEOF, ""},
		{"an end within a large frame", "dada0100700000001001010000000001 004d", io.ErrUnexpectedEOF, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a, b := tcpPair(t)
			called := false
			conn := start(t, a, Options{Handler: func(*Conn, Request) { called = true }})
			writeHex(t, b, strings.ReplaceAll(c.bytes, " ", ""))
			require.NoError(t, b.Close())
			conn.Wait()
			require.ErrorIs(t, conn.Err(), c.want)
			assert.ErrorContains(t, conn.Err(), c.says)
			assert.False(t, called)
		})
	}
}

func TestABodyErrorNamesTheRequest(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	conn := start(t, a, Options{})
	writeHex(t, b, "dada0100000013001000010000000005000100")
	conn.Wait()
	var e *BodyError
	require.ErrorAs(t, conn.Err(), &e)
	assert.Equal(t, protocol.TypeGlobalBegin, e.Type)
	assert.Equal(t, int32(5), e.RequestID)
	assert.Equal(t, byte(1), e.Codec)
}

func TestMessagesLargerThanTheReadBuffer(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: func(c *Conn, r Request) {
		m := r.Message.(*protocol.BranchRegister)
		_ = c.Reply(r, &protocol.BranchRegisterResult{TxResult: protocol.OK(), BranchID: int64(len(m.LockKey))}, nil)
	}})
	for _, n := range []int{readBuffer - 100, readBuffer, 7 << 20} {
		r, err := client.Call(testContext(t), &protocol.BranchRegister{LockKey: strings.Repeat("k", n)}, nil)
		require.NoError(t, err)
		assert.Equal(t, int64(n), r.Message.(*protocol.BranchRegisterResult).BranchID)
	}
	_, err := client.Call(testContext(t), &protocol.BranchRegister{LockKey: strings.Repeat("k", frame.MaxLen)}, nil)
	require.ErrorIs(t, err, frame.ErrTooLarge)
	assert.True(t, SafeToRetry(err))
}

func TestTheFrameLimitIsTheReceivers(t *testing.T) {
	client, server := newPair(t, Options{}, Options{MaxFrame: 100})
	require.NoError(t, client.Send(&protocol.BranchRegister{LockKey: strings.Repeat("k", 100)}))
	server.Wait()
	require.ErrorIs(t, server.Err(), frame.ErrTooLarge)
	_, err := client.Call(testContext(t), &protocol.GlobalBegin{}, nil)
	require.ErrorIs(t, err, ErrClosed)
}

func TestAddresses(t *testing.T) {
	client, server := newPair(t, Options{}, Options{})
	assert.Equal(t, client.LocalAddr().String(), server.RemoteAddr().String())
	assert.Equal(t, client.RemoteAddr().String(), server.LocalAddr().String())
}

func readHex(tb testing.TB, r io.Reader, n int) string {
	tb.Helper()
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	require.NoError(tb, err)
	return hex.EncodeToString(b)
}

func writeHex(tb testing.TB, w io.Writer, s string) {
	tb.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(tb, err)
	_, err = w.Write(b)
	require.NoError(tb, err)
}
