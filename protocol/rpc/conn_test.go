package rpc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
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

// newPair returns a client and a server Conn, which end with the test.
func newPair(tb testing.TB, client, server Options) (*Conn, *Conn) {
	tb.Helper()
	a, b := tcpPair(tb)
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

func TestACallReturnsItsAnswer(t *testing.T) {
	client, _ := newPair(t, Options{}, Options{Handler: beginner})
	r, err := client.Call(testContext(t), &protocol.GlobalBegin{Name: "x"}, nil)
	require.NoError(t, err)
	require.Equal(t, "x", r.Message.(*protocol.GlobalBeginResult).XID)
}
