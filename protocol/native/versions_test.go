package native_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/native"
)

// The bytes are those of Java's AbstractIdentifyResponseCodecV2: a result code,
// its message when it failed, then what versions 0 and 1 have.
func TestRegistrationResultsOfVersion2(t *testing.T) {
	ok := protocol.Result{Code: protocol.ResultSuccess}
	refused := protocol.Result{Code: protocol.ResultFailed, Message: "no"}
	for _, c := range []struct {
		m    protocol.Message
		want string
	}{
		{&protocol.RegisterTMResult{Result: ok, Identified: true, Version: "2.5.0"}, "0066" + "01" + "01" + "0005322e352e30"},
		{&protocol.RegisterRMResult{Result: refused, Version: "2.5.0"}, "0068" + "00" + "00026e6f" + "00" + "0005322e352e30"},
		{&protocol.UnregisterRMResult{Result: ok, Identified: true}, "006a" + "01" + "01" + "0000"},
		{&protocol.GlobalCommit{Global: protocol.Global{XID: "x"}}, "0007" + "000178" + "0000"},
	} {
		b, err := native.AppendV2(nil, c.m)
		require.NoError(t, err)
		assert.Equal(t, c.want, hex.EncodeToString(b))
		back, err := native.DecodeV2(b)
		require.NoError(t, err)
		assert.Equal(t, c.m, back)
	}
	_, err := native.DecodeV2([]byte{0, 0x66, 7, 1, 0, 0})
	require.ErrorIs(t, err, native.ErrInvalid)
}

// streamed are bodies of version 0 with their type codes: whole messages of
// every kind, of which no field may be left out.
func streamed() []protocol.Message {
	parts := []protocol.Message{
		&protocol.GlobalBegin{TimeoutMillis: 1, Name: "n"}, &protocol.GlobalCommit{Global: protocol.Global{XID: "x"}},
	}
	return append(codectest.EveryMessage(), &protocol.Merged{Messages: parts}, &protocol.Merged{Messages: parts, IDs: []int32{1, 2}},
		&protocol.MergedResult{Messages: []protocol.Message{&protocol.GlobalCommitResult{}}},
		&protocol.GlobalBegin{Name: "a name that is\nlonger"}, &protocol.RegisterRM{ResourceIDs: "a,b"},
		&protocol.BranchRegister{XID: "x", LockKey: "t:1"})
}

// Every message is found whole in a stream, whatever follows it, and every part
// of it asks for more, though never for more than is missing: the next frame
// might never come.
func TestNextFindsTheEndOfEachMessage(t *testing.T) {
	for _, m := range streamed() {
		b, err := native.AppendFields(nil, m)
		require.NoError(t, err)
		for _, behind := range []string{"", "\xda\xda", "\xda\xda\x00\x90\x00\x01" + string(make([]byte, 3000))} {
			got, n, err := native.Next(m.TypeCode(), append(bytes.Clone(b), behind...))
			require.NoError(t, err)
			require.Equal(t, m, got)
			require.Equal(t, len(b), n)
		}
		rounds := 0
		for have := 0; have < len(b); rounds++ {
			got, missing, err := native.Next(m.TypeCode(), b[:have])
			require.NoError(t, err)
			require.Nil(t, got)
			require.Positive(t, missing)
			have += missing
			require.LessOrEqual(t, have, len(b), "%T asks for more than it has", m)
		}
		require.LessOrEqual(t, rounds, 20, "%T is read again and again", m)
	}
}

func TestWhatNextRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		code protocol.TypeCode
		hex  string
		want error
	}{
		"an unknown type":                     {777, "00", native.ErrUnknownType},
		"a negative text":                     {protocol.TypeGlobalCommit, "ffff", native.ErrInvalid},
		"a merged part that is not all there": {protocol.TypeMerged, "00000006" + "0001" + "0007" + "0009", native.ErrTruncated},
		"a merged message in a merged one":    {protocol.TypeMerged, "00000008" + "0001" + "003b" + "00000000", native.ErrNested},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(c.hex)
			require.NoError(t, err)
			_, _, err = native.Next(c.code, b)
			require.ErrorIs(t, err, c.want)
			var e *native.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.code, e.Type)
		})
	}
}

// checkNext reads foreign bytes as a stream: a typed error, a wish for more, or
// a message within b that is written and read to itself.
func checkNext(tb testing.TB, code protocol.TypeCode, b []byte) {
	m, n, err := native.Next(code, b)
	if err != nil {
		var e *native.Error
		if !errors.As(err, &e) {
			tb.Fatalf("%v %x: %T is no *native.Error", code, b, err)
		}
		return
	}
	if m == nil {
		require.Positive(tb, n)
		return
	}
	require.LessOrEqual(tb, n, len(b))
	again, err := native.AppendFields(nil, m)
	require.NoError(tb, err)
	back, _, err := native.Next(code, again)
	require.NoError(tb, err)
	require.Equal(tb, m, back)
}

func TestDamagedStreams(t *testing.T) {
	for _, m := range streamed() {
		b, err := native.AppendFields(nil, m)
		require.NoError(t, err)
		codectest.EachDamage(b, func(damaged []byte) { checkNext(t, m.TypeCode(), damaged) })
	}
}

func FuzzNext(f *testing.F) {
	for _, m := range streamed() {
		b, err := native.AppendFields(nil, m)
		require.NoError(f, err)
		f.Add(int16(m.TypeCode()), b)
	}
	f.Fuzz(func(t *testing.T, code int16, b []byte) { checkNext(t, protocol.TypeCode(code), b) })
}

func FuzzDecodeV2(f *testing.F) {
	f.Add([]byte{0, 0x66, 1, 1, 0, 0})
	f.Add([]byte{0, 0x68, 0, 0, 1, 'n', 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := native.DecodeV2(b)
		if err != nil {
			var e *native.Error
			require.ErrorAs(t, err, &e)
			return
		}
		again, err := native.AppendV2(nil, m)
		require.NoError(t, err)
		back, err := native.DecodeV2(again)
		require.NoError(t, err)
		require.Equal(t, m, back)
	})
}
