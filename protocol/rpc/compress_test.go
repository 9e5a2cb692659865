package rpc

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
)

// packedFrame is a frame whose body a peer compressed.
func packedFrame(tb testing.TB, kind, compressor byte, id int32, m protocol.Message) []byte {
	tb.Helper()
	body, err := pack(new(compress.Pool), encoding{codec: CodecSeata, compressor: compressor}, m)
	require.NoError(tb, err)
	b, err := frame.Append(nil, &frame.Frame{MessageType: kind, Codec: CodecSeata, Compressor: compressor, ID: id, Body: body})
	require.NoError(tb, err)
	return b
}

func readFrame(tb testing.TB, r io.Reader) (frame.Frame, protocol.Message) {
	tb.Helper()
	header := make([]byte, frame.HeaderLen)
	_, err := io.ReadFull(r, header)
	require.NoError(tb, err)
	n, err := frame.Length(header, frame.MaxLen)
	require.NoError(tb, err)
	b := append(header, make([]byte, n-len(header))...)
	_, err = io.ReadFull(r, b[len(header):])
	require.NoError(tb, err)
	f, err := frame.Decode(b)
	require.NoError(tb, err)
	bodies := bodyReader{compressors: new(compress.Pool), limit: frame.MaxLen}
	m, _, err := bodies.message(&f)
	require.NoError(tb, err)
	return f, m
}

// The choice is the peer's, for each request; what was not asked for in a
// compressor is sent in none.
func TestAnswersAreCompressedAsTheRequestWas(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	c := start(t, a, Options{Handler: beginner})
	for i, compressor := range []byte{compress.Gzip, compress.None, compress.Zstd, compress.Gzip} {
		// The second and later bodies lie in the memory of the first.
		name := strings.Repeat("name", 100*(4-i))
		_, err := b.Write(packedFrame(t, frame.Request, compressor, int32(i), &protocol.GlobalBegin{Name: name}))
		require.NoError(t, err)
		f, m := readFrame(t, b)
		assert.Equal(t, frame.Response, f.MessageType)
		assert.Equal(t, compressor, f.Compressor)
		assert.EqualValues(t, i, f.ID)
		assert.Equal(t, name, m.(*protocol.GlobalBeginResult).XID)
	}
	require.NoError(t, c.Send(&protocol.UndoLogDelete{ResourceID: "r"}))
	f, _ := readFrame(t, b)
	assert.Equal(t, compress.None, f.Compressor)
}

func TestACompressedAnswerEndsTheCall(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	c := start(t, a, Options{})
	ended := make(chan outcome, 1)
	c.Go(&protocol.BranchCommit{}, time.Minute, func(m protocol.Message, err error) { ended <- outcome{m, err} })
	f, _ := readFrame(t, b)
	want := &protocol.BranchCommitResult{BranchOutcome: protocol.BranchOutcome{TxResult: protocol.OK(), BranchID: 7}}
	_, err := b.Write(packedFrame(t, frame.Response, compress.Zstd, f.ID, want))
	require.NoError(t, err)
	got := <-ended
	require.NoError(t, got.err)
	assert.Equal(t, want, got.m)
}

// The limit of a connection holds for what its peer compressed as well.
func TestABombClosesTheConnection(t *testing.T) {
	for _, compressor := range []byte{compress.Gzip, compress.Zstd} {
		a, b := tcpPair(t)
		defer b.Close()
		c := start(t, a, Options{MaxFrame: 1000})
		bomb := packedFrame(t, frame.Request, compressor, 1, &protocol.BranchRegister{LockKey: strings.Repeat("k", 2000)})
		require.Less(t, len(bomb), 1000)
		_, err := b.Write(bomb)
		require.NoError(t, err)
		select {
		case <-c.Done():
		case <-testContext(t).Done():
			t.Fatal("the bomb went off")
		}
		require.ErrorIs(t, c.Err(), compress.ErrTooLarge)
	}
}

func TestAnAnswerThatCannotBePackedIsAnError(t *testing.T) {
	c, _ := newPair(t, Options{}, Options{})
	for _, r := range []Request{{Codec: CodecSeata, Compressor: 3}, {Codec: 4, Compressor: compress.Gzip}} {
		err := c.Reply(r, &protocol.GlobalBeginResult{}, nil)
		require.ErrorIs(t, err, ErrCodec)
		assert.True(t, SafeToRetry(err))
	}
	err := c.Reply(Request{Codec: CodecSeata, Compressor: compress.Gzip}, &protocol.GlobalBeginResult{XID: strings.Repeat("x", 1<<16)}, nil)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "reply", e.Op)
}
