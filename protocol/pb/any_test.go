package pb_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/pb"
)

// javaAny is what the client of Java Seata 2.5.0 sent over gRPC in codec 40.
const javaAny = "0a4d747970652e676f6f676c65617069732e636f6d2f6f72672e6170616368652e73656174612e70726f746f636f6c2e70726f746f6275662e5265676973" +
	"746572544d5265717565737450726f746f12ac010aa9010a0208651205322e352e301a03617070221064656661756c745f74785f67726f75702a8401616b3d" +
	"6e756c6c0a6469676573743d64656661756c745f74785f67726f75702c3139322e302e322e322c313739353732353431303136390a74696d657374616d703d" +
	"313739353732353431303136390a6175746856657273696f6e3d56340a7667726f75703d64656661756c745f74785f67726f75700a69703d3139322e302e32" +
	"2e320a"

func TestAnyIsJavas(t *testing.T) {
	body, err := hex.DecodeString(javaAny)
	require.NoError(t, err)
	m, names, err := pb.DecodeAny(body)
	require.NoError(t, err)
	assert.Equal(t, codec.Apache, names)
	assert.Equal(t, &protocol.RegisterTM{Identity: protocol.Identity{
		Version: "2.5.0", ApplicationID: "app", Group: "default_tx_group",
		ExtraData: "ak=null\ndigest=default_tx_group,192.0.2.2,1795725410169\ntimestamp=1795725410169\nauthVersion=V4\n" +
			"vgroup=default_tx_group\nip=192.0.2.2\n",
	}}, m)
	back, err := pb.AppendAny(nil, m, names)
	require.NoError(t, err)
	assert.Equal(t, javaAny, hex.EncodeToString(back))
}

// In an Any a message is what it is in codec 2, and so is a list of them.
func TestEveryMessageSurvivesAny(t *testing.T) {
	all := filled()
	for _, m := range append(all, &protocol.MergedResult{Messages: all[:3]}) {
		plain, err := pb.Append(nil, m, codec.IO)
		require.NoError(t, err)
		want, _, err := pb.Decode(plain)
		require.NoError(t, err)
		b, err := pb.AppendAny([]byte("before"), m, codec.IO)
		require.NoError(t, err)
		got, names, err := pb.DecodeAny(b[6:])
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, codec.IO, names)
	}
	_, err := pb.AppendAny(nil, &protocol.UnregisterRM{}, codec.Apache)
	require.ErrorIs(t, err, codec.ErrUnknownType)
}

func checkAny(tb testing.TB, body []byte) {
	m, names, err := pb.DecodeAny(body)
	if err != nil {
		var e *codec.Error
		if !errors.As(err, &e) {
			tb.Fatalf("%x: %T is no *codec.Error", body, err)
		}
		return
	}
	once, err := pb.AppendAny(nil, m, names)
	require.NoError(tb, err)
	back, names, err := pb.DecodeAny(once)
	require.NoError(tb, err)
	twice, err := pb.AppendAny(nil, back, names)
	require.NoError(tb, err)
	require.Equal(tb, once, twice)
}

func TestDamagedAny(t *testing.T) {
	body, err := hex.DecodeString(javaAny)
	require.NoError(t, err)
	codectest.EachDamage(body, func(damaged []byte) { checkAny(t, damaged) })
}

func FuzzAny(f *testing.F) {
	for _, m := range filled() {
		body, err := pb.AppendAny(nil, m, codec.Apache)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkAny(t, body) })
}
