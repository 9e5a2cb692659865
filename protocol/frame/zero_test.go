package frame_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/frame"
)

// golden0 is a frame of version 0 that a Java encoder wrote.
type golden0 struct{ By, Name, Hex string }

func loadGolden0(tb testing.TB) []golden0 {
	tb.Helper()
	data, err := os.ReadFile("../testdata/v0/frames.jsonl")
	require.NoError(tb, err)
	var all []golden0
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var g golden0
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &g))
		all = append(all, g)
	}
	require.NoError(tb, lines.Err())
	require.Len(tb, all, 15)
	return all
}

// What Java's encoders wrote is read with the right header fields, and written
// back to the same bytes but for the one-way flag of answers, which Seata 0.6
// set and 2.5 does not.
func TestGoldenFramesOfVersion0(t *testing.T) {
	headers := map[string]frame.Frame{
		"RegisterTM":           {MessageType: frame.Request, ID: 1, TypeCode: 101},
		"RegisterRM":           {MessageType: frame.Request, ID: 2, TypeCode: 103},
		"GlobalBegin":          {MessageType: frame.Request, ID: 3, TypeCode: 1},
		"Merged":               {MessageType: frame.OneWay, ID: 9, TypeCode: 59},
		"BranchCommitResult":   {MessageType: frame.Response, ID: 77, TypeCode: 4},
		"BranchRollbackResult": {MessageType: frame.Response, ID: 78, TypeCode: 6},
		"HeartbeatRequest":     {MessageType: frame.HeartbeatRequest, ID: 5},
		"HeartbeatResponse":    {MessageType: frame.HeartbeatResponse, ID: 5},
		"GlobalStatus":         {MessageType: frame.Request, IDHigh: 0x12345678, ID: -0x6f543211, TypeCode: 15},
		"RegisterTMResult":     {MessageType: frame.Response, ID: 1, TypeCode: 102},
		"RegisterRMResult":     {MessageType: frame.Response, ID: 2, TypeCode: 104},
		"MergedResult":         {MessageType: frame.Response, ID: 9, TypeCode: 60},
		"BranchCommit":         {MessageType: frame.Request, ID: 77, TypeCode: 3},
		"BranchRollback":       {MessageType: frame.Request, ID: 78, TypeCode: 5},
	}
	const flags, oneWay = 3, 0x40
	for _, g := range loadGolden0(t) {
		t.Run(g.By+" "+g.Name, func(t *testing.T) {
			b := unhex(t, g.Hex)
			version, err := frame.VersionOf(b)
			require.NoError(t, err)
			require.Equal(t, frame.V0, version)
			f, err := frame.Decode(b)
			require.NoError(t, err)
			want, ok := headers[g.Name]
			require.True(t, ok)
			want.Codec, want.Body = 1, b[frame.HeaderLen0:]
			require.Equal(t, want, f)

			back, err := frame.Append(nil, &f)
			require.NoError(t, err)
			if g.By == "0.6.1" && f.MessageType != frame.Request && f.MessageType != frame.OneWay && f.MessageType != frame.HeartbeatRequest {
				require.NotZero(t, b[flags]&oneWay)
				b[flags] &^= oneWay
			}
			require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(back))
		})
	}
}

func TestHessianBodiesOfVersion0HaveALength(t *testing.T) {
	f := frame.Frame{Version: frame.V0, MessageType: frame.OneWay, Codec: 22, IDHigh: 1, ID: 2, Body: []byte{7, 8, 9}}
	b, err := frame.Append(nil, &f)
	require.NoError(t, err)
	require.Equal(t, "dada"+"00c0"+"0003"+"0000000100000002"+"070809", hex.EncodeToString(b))
	header, n, err := frame.Header0(b)
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	assert.Equal(t, f.MessageType, header.MessageType)
	back, err := frame.Decode(b)
	require.NoError(t, err)
	assert.Equal(t, f, back)
}

func TestWhatVersion0CannotWrite(t *testing.T) {
	for name, c := range map[string]struct {
		f    frame.Frame
		want error
	}{
		"a head map":             {frame.Frame{Codec: 1, Head: map[string]string{"k": "v"}}, frame.ErrHead},
		"a compressor":           {frame.Frame{Codec: 1, Compressor: 1}, frame.ErrVersion},
		"codec 2":                {frame.Frame{Codec: 2}, frame.ErrVersion},
		"message type 5":         {frame.Frame{Codec: 1, MessageType: 5}, frame.ErrVersion},
		"a long body of hessian": {frame.Frame{Codec: 22, Body: make([]byte, 1<<15)}, frame.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			dst, err := frame.Append([]byte("before"), &c.f)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(dst))
		})
	}
}

// A connection keeps to the version of its first frame.
func TestVersionsDoNotMix(t *testing.T) {
	_, _, err := frame.Header0(unhex(t, "dada0100000010001003010000000001"))
	require.ErrorIs(t, err, frame.ErrVersion)
	_, err = frame.Length(unhex(t, "dada00900001000000000000000300002710"), frame.MaxLen)
	require.ErrorIs(t, err, frame.ErrVersion)
	_, err = frame.VersionOf([]byte{0xda, 0xda})
	require.ErrorIs(t, err, frame.ErrLength)
}
