//go:build linux

package javapeer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// An unmodified client is spoken to as its settings say, and as nothing else:
// transport.serialization is also the list of what it decodes, so that with one
// codec alone it would drop an order in any other.
func TestJavaClientsChooseTheEncoding(t *testing.T) {
	tc := startCoordinator(t)
	for _, c := range []struct{ codec, compressor string }{
		{"protobuf", "none"},
		{"protobuf", "zip"},
		{"hessian", "lz4"},
		{"seata", "bzip2"},
		{"hessian", "deflater"},
	} {
		t.Run(c.codec+" "+c.compressor, func(t *testing.T) {
			codec, err := rpc.CodecByName(c.codec)
			require.NoError(t, err)
			compressor, err := compress.ByName(c.compressor)
			require.NoError(t, err)
			tap := startTap(t, tc.address)
			java := Start(t, tap.address, "java-"+c.codec+c.compressor,
				"transport.serialization="+c.codec, "transport.compressor="+c.compressor)
			t.Run("TCC", func(t *testing.T) { testTCC(t, java) })
			const nobody = "127.0.0.1:1:42"
			assert.Equal(t, "Finished", java.Must(Command{"op": "commit", "xid": nobody}).Status)
			assert.NotEmpty(t, java.Do(Command{"op": "try", "xid": nobody, "name": "debit"}).Error)
			tap.check(t, codec, compressor)
		})
	}
}

// tap stands between a client and the coordinator and notes the frames.
type tap struct {
	address string

	mu     sync.Mutex
	frames [2][]frame.Frame // from the client, from the coordinator
	err    error
}

func startTap(t *testing.T, target string) *tap {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	tp := &tap{address: listener.Addr().String()}
	var work sync.WaitGroup
	var conns []net.Conn // of the accepting goroutine until it has ended
	work.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				_ = client.Close()
				continue
			}
			conns = append(conns, client, server)
			work.Go(func() { tp.pass(0, client, server) })
			work.Go(func() { tp.pass(1, server, client) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		for _, c := range conns {
			_ = c.Close()
		}
		work.Wait()
	})
	return tp
}

// pass copies frames until one end closes.
func (tp *tap) pass(side int, from, to net.Conn) {
	defer func() { _ = from.Close(); _ = to.Close() }()
	r := bufio.NewReader(from)
	for {
		header, err := r.Peek(frame.HeaderLen)
		if err != nil {
			return
		}
		n, err := frame.Length(header, frame.MaxLen)
		b := make([]byte, n)
		var f frame.Frame
		if err == nil {
			_, err = io.ReadFull(r, b)
		}
		if err == nil {
			f, err = frame.Decode(b)
		}
		tp.mu.Lock()
		tp.frames[side] = append(tp.frames[side], f)
		if err != nil {
			tp.err = fmt.Errorf("side %d: %w", side, err)
		}
		tp.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(b); err != nil {
			return
		}
	}
}

// check demands that all messages were in the encoding, orders among them.
func (tp *tap) check(t *testing.T, codec, compressor byte) {
	t.Helper()
	tp.mu.Lock()
	defer tp.mu.Unlock()
	require.NoError(t, tp.err)
	kinds := map[string]int{}
	for side, frames := range tp.frames {
		for _, f := range frames {
			if len(f.Body) == 0 {
				continue // a heartbeat
			}
			kinds[fmt.Sprint(side, f.MessageType)]++
			require.Equal(t, codec, f.Codec, "side %d, type %d", side, f.MessageType)
			require.Equal(t, compressor, f.Compressor, "side %d, type %d", side, f.MessageType)
		}
	}
	for side, what := range map[string]string{"00": "requests", "01": "answers to orders", "10": "orders", "11": "answers"} {
		require.NotZero(t, kinds[string(side[0])+" "+string(side[1])], "no %s were seen: %v", what, kinds)
	}
}
