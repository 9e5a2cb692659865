package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// encodings are all that a peer may choose.
func encodings() []encoding {
	var all []encoding
	for _, name := range CodecNames() {
		id, err := CodecByName(name)
		if err != nil {
			panic(err)
		}
		for _, compressor := range []byte{compress.None, compress.Gzip} {
			for _, names := range []codec.Names{codec.Apache, codec.IO} {
				if id != CodecSeata || names == codec.Apache {
					all = append(all, encoding{id, compressor, names})
				}
			}
		}
	}
	return all
}

// frameIn is a frame in an encoding of a peer.
func frameIn(t *testing.T, e encoding, kind byte, id int32, m protocol.Message) []byte {
	t.Helper()
	body, err := pack(new(compress.Pool), e, m)
	require.NoError(t, err)
	b, err := frame.Append(nil, &frame.Frame{MessageType: kind, Codec: e.codec, Compressor: e.compressor, ID: id, Body: body})
	require.NoError(t, err)
	return b
}

// An answer, and after SpeakAs a request and a one-way message too, are in the
// encoding of the peer's request; a peer understands no other with certainty.
func TestThePeerIsSpokenToAsItSpeaks(t *testing.T) {
	for _, e := range encodings() {
		a, b := tcpPair(t)
		c := start(t, a, Options{Handler: func(c *Conn, r Request) {
			beginner(c, r)
			c.SpeakAs(r)
			c.Go(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "x"}}, time.Minute, func(protocol.Message, error) {})
			assert.NoError(t, c.Send(&protocol.UndoLogDelete{ResourceID: "r"}))
		}})
		_, err := b.Write(frameIn(t, e, frame.Request, 7, &protocol.GlobalBegin{Name: "name"}))
		require.NoError(t, err)
		for range 3 {
			f, m := readFrame(t, b)
			assert.Equal(t, e.codec, f.Codec, "%T", m)
			assert.Equal(t, e.compressor, f.Compressor, "%T", m)
			bodies := bodyReader{compressors: new(compress.Pool), limit: frame.MaxLen}
			_, names, err := bodies.message(&f)
			require.NoError(t, err)
			assert.Equal(t, e.names, names, "%T", m)
		}
		require.NoError(t, b.Close())
		c.Wait()
	}
}

// Both ends of this project understand each other in whatever one of them was
// told to speak.
func TestCallsInEveryEncoding(t *testing.T) {
	for _, e := range encodings() {
		client, _ := newPair(t, Options{Codec: e.codec, Compressor: e.compressor}, Options{Handler: beginner})
		r, err := client.Call(testContext(t), &protocol.GlobalBegin{Name: "name"}, map[string]string{"k": "v"})
		require.NoError(t, err)
		assert.Equal(t, "name", r.Message.(*protocol.GlobalBeginResult).XID)
	}
}

// A request that the codec cannot carry has not left.
func TestARequestThatCannotBeEncodedIsAnError(t *testing.T) {
	for _, o := range []Options{{Codec: CodecProtobuf}, {Codec: CodecProtobuf, Compressor: compress.Gzip}} {
		client, _ := newPair(t, o, Options{})
		_, err := client.Call(testContext(t), &protocol.BranchRegister{LockKey: "t:\xff"}, nil)
		require.ErrorIs(t, err, codec.ErrInvalid)
		assert.True(t, SafeToRetry(err))
		require.ErrorIs(t, client.Send(&protocol.UnregisterRM{}), codec.ErrUnknownType)
	}
	client, _ := newPair(t, Options{Codec: 4}, Options{})
	_, err := client.Call(testContext(t), &protocol.GlobalBegin{}, nil)
	require.ErrorIs(t, err, ErrCodec)
}

func TestCodecByName(t *testing.T) {
	for name, id := range map[string]byte{"seata": CodecSeata, "SEATA": CodecSeata, "protobuf": CodecProtobuf, "Hessian": CodecHessian} {
		got, err := CodecByName(name)
		require.NoError(t, err)
		assert.Equal(t, id, got)
	}
	_, err := CodecByName("kryo")
	require.ErrorIs(t, err, ErrCodec)
	assert.ErrorContains(t, err, `"kryo" is refused because its bodies choose the Java classes to build and have no fixed layout; valid are seata, protobuf, hessian`)
	for _, name := range []string{"", "json", "unknown"} {
		_, err = CodecByName(name)
		require.ErrorIs(t, err, ErrCodec)
		assert.ErrorContains(t, err, "valid are seata, protobuf, hessian")
		assert.NotContains(t, err.Error(), "refused")
	}
}
