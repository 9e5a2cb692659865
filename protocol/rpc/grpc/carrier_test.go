package grpc

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// A client of the gRPC library asks, answers an order of the coordinator, sends
// a heartbeat, and ends its half: everything that was asked is answered, and the
// call has succeeded.
func TestAChannel(t *testing.T) {
	asked := make(chan rpc.Request, 10)
	w := newWorld(t, Options{}, rpc.Options{Handler: func(c *rpc.Conn, r rpc.Request) { asked <- r }})
	c := w.call(w.dial(), method)
	conn := <-w.channels
	c.send(message(t, frame.HeartbeatRequest, 5, nil, nil))
	f, _ := c.receive()
	assert.Equal(t, frame.HeartbeatResponse, f.MessageType)
	assert.EqualValues(t, 5, f.ID)

	done := make(chan protocol.Message, 1)
	conn.Go(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "x"}}, patience, func(m protocol.Message, _ error) { done <- m })
	f, m := c.receive()
	require.Equal(t, "x", m.(*protocol.BranchCommit).XID)
	outcome := &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), XID: "x"}}
	c.send(message(t, frame.Response, f.ID, outcome, nil))
	require.Equal(t, outcome, <-done)

	const requests = 3
	for i := range requests {
		c.send(message(t, frame.Request, int32(i), &protocol.GlobalBegin{Name: fmt.Sprint(i)}, map[string]string{"qiao": "1"}))
	}
	require.NoError(t, c.CloseSend())
	for i := range requests {
		time.Sleep(10 * time.Millisecond) // the end of the half is there, and ends nothing
		beginner(conn, <-asked)
		f, m := c.receive()
		assert.EqualValues(t, i, f.ID)
		assert.Equal(t, map[string]string{"qiao": "1"}, f.Head)
		assert.Equal(t, fmt.Sprint(i), m.(*protocol.GlobalBeginResult).XID)
	}
	require.Equal(t, io.EOF, c.RecvMsg(new([]byte)))
	conn.Wait()
	require.ErrorIs(t, conn.Err(), io.EOF)
}

// What Java's client sends is no call of gRPC; and it reads a message only if
// that is whole in one DATA frame.
func TestJavasClient(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	b := w.bare()
	b.begin(3, ":status", "200", "grpc-status", "0", "content-type", "application/grpc")
	name := strings.Repeat("n", 10_000)
	require.NoError(t, b.WriteData(3, false, prefixed(message(t, frame.Request, 1, &protocol.GlobalBegin{Name: name}, nil))))
	headers := b.next().(*http2.MetaHeadersFrame)
	assert.Equal(t, "200", headers.PseudoValue("status"))
	data := b.next().(*http2.DataFrame)
	_, m := open(t, data.Data()[prefixLen:])
	assert.Equal(t, name, m.(*protocol.GlobalBeginResult).XID)

	require.NoError(t, b.WriteRSTStream(3, http2.ErrCodeCancel))
	conn := <-w.channels
	conn.Wait()
	require.ErrorIs(t, conn.Err(), io.EOF)
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-w.ended, io.EOF)
}

func TestCallsThatAreNotServed(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	conn := w.dial()
	for _, other := range []string{"/org.apache.seata.protocol.protobuf.SeataService/other", "/grpc.health.v1.Health/Watch"} {
		err := w.call(conn, other).RecvMsg(new([]byte))
		require.Equal(t, codes.Unimplemented, status.Code(err))
		require.ErrorContains(t, err, "unknown method "+other+"; this server has /org.apache")
	}
	c := w.call(conn, method, grpc.UseCompressor("gzip"))
	err := c.RecvMsg(new([]byte))
	require.Equal(t, codes.Unimplemented, status.Code(err))
	require.ErrorContains(t, err, `grpc-encoding "gzip"`)

	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	for _, test := range []struct {
		method, kind string
		status       int
		says         string
	}{
		{"GET", "", http.StatusUnsupportedMediaType, "health and metrics are on HTTP/1.1"},
		{"POST", "application/grpc-web", http.StatusUnsupportedMediaType, "application/grpc-web"},
		{"PUT", "application/grpc", http.StatusMethodNotAllowed, "gRPC uses POST"},
	} {
		r, err := http.NewRequest(test.method, "http://"+w.address+method, nil)
		require.NoError(t, err)
		r.Header.Set("Content-Type", test.kind)
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		assert.Equal(t, test.status, answer.StatusCode)
		assert.Contains(t, answer.Header.Get("grpc-message"), test.says)
	}
	require.Empty(t, w.channels)
}

// Each way to break a channel ends it with a status that says what was wrong,
// and no other channel of the connection.
func TestBrokenChannels(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	conn := w.dial()
	other := w.call(conn, method)
	for name, test := range map[string]struct {
		message []byte
		want    codes.Code
		says    string
	}{
		"no protobuf":       {[]byte{0xff}, codes.InvalidArgument, "malformed GrpcMessageProto"},
		"message type":      {unhex(t, "1009"), codes.InvalidArgument, "messageType 9"},
		"codec":             {appendMessage(nil, &frame.Frame{Codec: 50, Body: []byte{1}}), codes.Unimplemented, "codec 50 (jackson)"},
		"body":              {appendMessage(nil, &frame.Frame{Codec: 1, Body: []byte{0, 1}}), codes.InvalidArgument, "GlobalBegin"},
		"no body":           {appendMessage(nil, &frame.Frame{Codec: 1}), codes.InvalidArgument, "ends within a field"},
		"a message too big": {make([]byte, maxMessage+1), codes.ResourceExhausted, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.call(conn, method)
			// It may be refused while it is being sent.
			if err := c.SendMsg(&test.message); err != nil {
				require.Equal(t, io.EOF, err)
			}
			err := c.RecvMsg(new([]byte))
			require.Equal(t, test.want, status.Code(err), err)
			require.ErrorContains(t, err, test.says)
		})
	}
	other.send(message(t, frame.Request, 1, &protocol.GlobalBegin{Name: "still"}, nil))
	_, m := other.receive()
	require.Equal(t, "still", m.(*protocol.GlobalBeginResult).XID)

	b := w.bare()
	b.begin(1, ":method", "POST", ":scheme", "http", ":path", method, "content-type", "application/grpc+proto")
	require.NoError(t, b.WriteData(1, true, []byte{0, 0, 0, 0, 9, 1}))
	b.next()
	end := b.next().(*http2.MetaHeadersFrame)
	require.True(t, end.StreamEnded())
	require.Contains(t, fmt.Sprint(end.Fields), "the call ends within it")
}

// Messages longer than any window arrive, in both directions.
func TestLargeMessages(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{Handler: func(c *rpc.Conn, r rpc.Request) {
		m := r.Message.(*protocol.BranchRegister)
		c.Go(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{ApplicationData: m.LockKey}}, patience, func(protocol.Message, error) {})
	}})
	c := w.call(w.dial(), method)
	for _, n := range []int{100, 100_000, 7 << 20} {
		text := strings.Repeat("k", n)
		c.send(message(t, frame.Request, 1, &protocol.BranchRegister{LockKey: text}, nil))
		_, m := c.receive()
		require.Equal(t, text, m.(*protocol.BranchCommit).ApplicationData)
	}
}

// A client that allows little gets everything, in pieces that it allows, and
// nothing that it does not.
func TestSmallWindows(t *testing.T) {
	const window = 100
	w := newWorld(t, Options{}, rpc.Options{})
	b := w.bare(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	b.begin(1, ":method", "POST", ":scheme", "http", ":path", method, "content-type", contentType)
	name := strings.Repeat("n", 3000)
	require.NoError(t, b.WriteData(1, false, prefixed(message(t, frame.Request, 1, &protocol.GlobalBegin{Name: name}, nil))))
	b.next()
	var got []byte
	unread := 0
	for len(got) < len(name)+prefixLen {
		data := b.next().(*http2.DataFrame)
		got = append(got, data.Data()...)
		unread += len(data.Data())
		require.LessOrEqual(t, unread, window)
		if unread >= window/2 { // as late as a client may
			require.NoError(t, b.WriteWindowUpdate(1, uint32(unread)))
			unread = 0
		}
	}
	_, m := open(t, got[prefixLen:])
	require.Equal(t, name, m.(*protocol.GlobalBeginResult).XID)
}

func TestTooManyStreams(t *testing.T) {
	const limit = 3
	w := newWorld(t, Options{MaxStreams: limit}, rpc.Options{})
	b := w.bare()
	for id := uint32(1); id <= 2*limit+1; id += 2 {
		b.begin(id, ":method", "POST", ":scheme", "http", ":path", method, "content-type", contentType)
	}
	for range limit {
		require.IsType(t, &http2.MetaHeadersFrame{}, b.next())
	}
	refused := b.next().(*http2.RSTStreamFrame)
	require.EqualValues(t, 2*limit+1, refused.StreamID)
	require.Equal(t, http2.ErrCodeRefusedStream, refused.ErrCode)
	(<-w.channels).Close(nil)
	require.IsType(t, &http2.MetaHeadersFrame{}, b.next())
}

// Many channels of one connection work side by side.
func TestManyChannels(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	conn := w.dial()
	var running sync.WaitGroup
	for range 20 {
		c := w.call(conn, method)
		running.Go(func() {
			for i := range 200 {
				b := message(t, frame.Request, int32(i), &protocol.GlobalBegin{Name: fmt.Sprint(i)}, nil)
				if !assert.NoError(t, c.SendMsg(&b)) || !assert.NoError(t, c.RecvMsg(&b)) {
					return
				}
				_, m := open(t, b)
				assert.Equal(t, fmt.Sprint(i), m.(*protocol.GlobalBeginResult).XID)
			}
		})
	}
	running.Wait()
}

// Who is left without a channel is told, and so is whose channel is silent.
func TestIdle(t *testing.T) {
	w := newWorld(t, Options{Idle: 50 * time.Millisecond}, rpc.Options{ReadIdle: 300 * time.Millisecond})
	b := w.bare()
	goAway := b.next().(*http2.GoAwayFrame)
	require.Equal(t, http2.ErrCodeNo, goAway.ErrCode)
	require.NoError(t, b.Close())
	require.NoError(t, <-w.ended)

	err := w.call(w.dial(), method).RecvMsg(new([]byte))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "nothing was received for too long")
}

func TestClose(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	c := w.call(w.dial(), method)
	c.send(message(t, frame.Request, 1, &protocol.GlobalBegin{Name: "n"}, nil))
	c.receive()
	(<-w.channels).Close(fmt.Errorf("%w: it stops: 100%%\n", ErrUnavailable))
	(<-w.carriers).Close()
	err := c.RecvMsg(new([]byte))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.ErrorContains(t, err, "it stops: 100%\n")
	require.NoError(t, <-w.ended)
}

// HTTP/2 that is against its rules ends the connection, and the client is told.
func TestBrokenConnections(t *testing.T) {
	for name, test := range map[string]struct {
		bytes string
		want  string
	}{
		"a stream that was never begun": {"000001" + "00" + "00" + "00000005" + "00", "PROTOCOL_ERROR"},
		"an even stream":                {"000000" + "01" + "04" + "00000002", "PROTOCOL_ERROR"},
		"a frame too long":              {"100000" + "00" + "00" + "00000001", "FRAME_SIZE_ERROR"},
		"a window of 0":                 {"000004" + "08" + "00" + "00000000" + "00000000", "PROTOCOL_ERROR"},
		"damaged header fields":         {"000002" + "01" + "04" + "00000001" + "ffff", "COMPRESSION_ERROR"},
		"a push":                        {"000005" + "05" + "04" + "00000001" + "0000000282", "PROTOCOL_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{}, rpc.Options{})
			b := w.bare()
			_, err := b.Write(unhex(t, test.bytes))
			require.NoError(t, err)
			require.Equal(t, test.want, b.next().(*http2.GoAwayFrame).ErrCode.String())
			require.NoError(t, b.Close())
			require.Error(t, <-w.ended)
		})
	}
	w := newWorld(t, Options{}, rpc.Options{})
	b := w.bare()
	_, err := io.Copy(io.Discard, io.LimitReader(b, 1))
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.Error(t, <-w.ended)
}

// A client that asks for answers without reading them is given up.
func TestPingsThatNobodyReads(t *testing.T) {
	w := newWorld(t, Options{}, rpc.Options{})
	b := w.bare()
	ping := unhex(t, strings.Repeat("000008"+"06"+"00"+"00000000"+"0102030405060708", 1000))
	for {
		if _, err := b.Write(ping); err != nil {
			break
		}
	}
	err := <-w.ended
	require.True(t, errors.Is(err, errFlood), err)
}
