package grpc

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// conversation is what a client sends: its preface, settings, a channel with two
// messages, and the end.
func conversation(tb testing.TB, fields ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	require.NoError(tb, f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000}))
	var block sliceWriter
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(tb, e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	require.NoError(tb, f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}))
	begin := message(tb, frame.Request, 1, &protocol.GlobalBegin{Name: "n"}, map[string]string{"k": "v"})
	require.NoError(tb, f.WriteData(1, false, prefixed(begin)))
	require.NoError(tb, f.WriteWindowUpdate(0, 10))
	require.NoError(tb, f.WritePing(false, [8]byte{1}))
	require.NoError(tb, f.WriteData(1, true, prefixed(message(tb, frame.HeartbeatRequest, 2, nil, nil))))
	return b.Bytes()
}

func conversations(tb testing.TB) [][]byte {
	return [][]byte{
		conversation(tb, ":method", "POST", ":scheme", "http", ":path", method, "content-type", contentType),
		conversation(tb, ":status", "200", "grpc-status", "0", "content-type", contentType),
		conversation(tb, ":method", "GET", ":scheme", "http", ":path", "/health"),
	}
}

// serve gives b to a Carrier as all that a client sends, and fails unless it
// ends by itself and with it every goroutine it started.
func serve(tb testing.TB, b []byte) {
	ours, theirs := net.Pipe()
	c := NewCarrier(theirs, Options{Accept: func(stream net.Conn) { rpc.New(stream, rpc.Options{Handler: beginner}).Wait() }})
	ended := make(chan error, 1)
	go func() { ended <- c.Serve() }()
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(io.Discard, ours)
	}()
	_, _ = ours.Write(b) // it may be refused before it is all sent
	_ = ours.Close()
	select {
	case err := <-ended:
		require.Error(tb, err)
	case <-time.After(patience):
		tb.Fatalf("it does not end: %x", b)
	}
	<-read
}

// Whatever happened to what a client sends, the connection ends, no goroutine is
// left and nothing panics.
func TestDamagedConversations(t *testing.T) {
	const every = 17 // a prime: a sample with damage of every kind at every place
	n := 0
	for _, b := range conversations(t) {
		serve(t, b)
		for i := len(http2.ClientPreface); i < len(b); i++ {
			for bit := range 8 {
				if n++; n%every == 0 {
					b[i] ^= 1 << bit
					serve(t, b)
					b[i] ^= 1 << bit
				}
			}
			if n++; n%every == 0 {
				serve(t, b[:i])
			}
		}
	}
}

func FuzzConversation(f *testing.F) {
	for _, b := range conversations(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { serve(t, b) })
}
