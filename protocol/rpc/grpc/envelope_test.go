package grpc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// javaRegisterTM and javaPing are what the client of Java Seata 2.5.0 sent over
// gRPC: messages in the codec GRPC (40).
const (
	javaRegisterTM = "08011a120a0d636f6d70726573732d747970651201301a100a0a636f6465632d747970651202343022fe010a4d747970652e676f6f676c65617069732e" +
		"636f6d2f6f72672e6170616368652e73656174612e70726f746f636f6c2e70726f746f6275662e5265676973746572544d5265717565737450726f746f12" +
		"ac010aa9010a0208651205322e352e301a03617070221064656661756c745f74785f67726f75702a8401616b3d6e756c6c0a6469676573743d6465666175" +
		"6c745f74785f67726f75702c3139322e302e322e322c313739353732353431303136390a74696d657374616d703d313739353732353431303136390a6175" +
		"746856657273696f6e3d56340a7667726f75703d64656661756c745f74785f67726f75700a69703d3139322e302e322e320a"
	javaPing = "080210031a120a0d636f6d70726573732d747970651201301a100a0a636f6465632d7479706512023430"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(tb, err)
	return b
}

func TestJavasMessagesAreFrames(t *testing.T) {
	b := unhex(t, javaRegisterTM)
	got, err := appendFrame(nil, b)
	require.NoError(t, err)
	f, err := frame.Decode(got)
	require.NoError(t, err)
	body := f.Body
	f.Body = nil
	assert.Equal(t, frame.Frame{Version: frame.V1, MessageType: frame.Request, Codec: 40, ID: 1, Head: nil}, f)
	assert.True(t, bytes.HasSuffix(b, body))
	assert.Len(t, body, 0xfe)

	got, err = appendFrame(nil, unhex(t, javaPing))
	require.NoError(t, err)
	f, err = frame.Decode(got)
	require.NoError(t, err)
	assert.Equal(t, frame.Frame{Version: frame.V1, MessageType: frame.HeartbeatRequest, Codec: 40, ID: 2, Body: []byte{}}, f)
}

func TestEveryFieldSurvivesTheEnvelope(t *testing.T) {
	for _, f := range []frame.Frame{
		{Version: frame.V1, MessageType: frame.OneWay, Codec: 2, Compressor: 7, ID: -9, Head: map[string]string{"qiao": "1", "": "文"}, Body: []byte{1, 2}},
		{Version: frame.V1, Body: []byte{}},
	} {
		b, err := appendFrame([]byte("before"), appendMessage(nil, &f))
		require.NoError(t, err)
		got, err := frame.Decode(b[6:])
		require.NoError(t, err)
		assert.Equal(t, f, got)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	long := frame.Frame{Version: frame.V1, Head: map[string]string{"k": string(make([]byte, frame.MaxHeadLen))}}
	for name, c := range map[string]struct {
		b    []byte
		want error
		says string
	}{
		"half a tag":            {[]byte{0xff}, errMessage, "EOF"},
		"half a body":           {unhex(t, "2205aa"), errMessage, "field 4"},
		"an unknown type":       {unhex(t, "1005"), errMessage, "messageType 5"},
		"a negative type":       {unhex(t, "10ffffffffffffffffff01"), errMessage, "messageType -1"},
		"a codec that is text":  {unhex(t, "1a0f0a0a636f6465632d7479706512"+"0178"), errMessage, `codec-type="x"`},
		"a damaged pair":        {unhex(t, "1a020a05"), errMessage, "headMap"},
		"a key that is no text": {unhex(t, "1a030a01ff"), errMessage, "UTF-8"},
		"a long head map":       {appendMessage(nil, &long), frame.ErrHead, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := appendFrame([]byte("before"), c.b)
			require.ErrorIs(t, err, c.want)
			assert.ErrorContains(t, err, c.says)
			assert.Equal(t, "before", string(b))
		})
	}
}

// check turns foreign bytes into a frame or a typed error; a frame stays what it
// is when it goes back and forth.
func check(tb testing.TB, b []byte) {
	got, err := appendFrame(nil, b)
	if err != nil {
		if !errors.Is(err, errMessage) && !errors.Is(err, frame.ErrHead) && !errors.Is(err, frame.ErrTooLarge) {
			tb.Fatalf("%x: untyped error %v", b, err)
		}
		return
	}
	f, err := frame.Decode(got)
	require.NoError(tb, err)
	again, err := appendFrame(nil, appendMessage(nil, &f))
	require.NoError(tb, err)
	require.Equal(tb, got, again)
}

func TestDamagedMessages(t *testing.T) {
	whole := appendMessage(nil, &frame.Frame{MessageType: 2, ID: -1, Codec: 1, Head: map[string]string{"k": "v"}, Body: []byte("body")})
	for _, b := range [][]byte{unhex(t, javaRegisterTM), unhex(t, javaPing), whole} {
		for n := range b {
			check(t, b[:n])
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				check(t, b)
				b[i] ^= 1 << bit
			}
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add(unhex(f, javaRegisterTM))
	f.Add(unhex(f, javaPing))
	f.Add(appendMessage(nil, &frame.Frame{ID: -1, Codec: 1, Head: map[string]string{"k": "v"}, Body: []byte("body")}))
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}
