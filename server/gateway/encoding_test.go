package gateway

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// An order is in the codec and the compressor of the client's last registration;
// a client that allows that codec alone would drop any other.
func TestOrdersAreWrittenAsTheClientRegistered(t *testing.T) {
	w := newWorld(t, nil)
	received := make(chan rpc.Request, 10)
	nc, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	c := rpc.New(nc, rpc.Options{Codec: rpc.CodecProtobuf, Compressor: compress.LZ4, Handler: func(c *rpc.Conn, r rpc.Request) {
		received <- r
		assert.NoError(t, c.Reply(r, &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{
			TxResult: protocol.OK(), XID: "x", BranchID: 1, Status: protocol.BranchPhaseTwoCommitted,
		}}, nil))
	}})
	t.Cleanup(func() { c.Close(nil); c.Wait() })
	who := protocol.Identity{Version: "2.5.0", ApplicationID: "app", Group: "g"}
	register := func() {
		answer, err := c.Call(t.Context(), &protocol.RegisterRM{Identity: who, ResourceIDs: "db"}, nil)
		require.NoError(t, err)
		require.True(t, answer.Message.(*protocol.RegisterRMResult).Identified)
	}
	order := func() rpc.Request {
		answered := make(chan error, 1)
		w.cfg.Peers.Send("db", "", false, &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "x", BranchID: 1, ResourceID: "db"}},
			time.Minute, func(_ protocol.Message, err error) { answered <- err })
		require.NoError(t, <-answered)
		return <-received
	}
	register()
	got := order()
	assert.Equal(t, rpc.CodecProtobuf, got.Codec)
	assert.Equal(t, compress.LZ4, got.Compressor)

	c.SpeakAs(rpc.Request{Codec: rpc.CodecSeata})
	got = order()
	assert.Equal(t, rpc.CodecProtobuf, got.Codec, "other requests change nothing")
	register()
	got = order()
	assert.Equal(t, rpc.CodecSeata, got.Codec)
	assert.Equal(t, compress.None, got.Compressor)
}
