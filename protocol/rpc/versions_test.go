package rpc

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/native"
)

// loadFrames0 reads the frames of version 0 that Java's encoders wrote.
func loadFrames0(tb testing.TB) map[string][]byte {
	tb.Helper()
	data, err := os.ReadFile("../testdata/v0/frames.jsonl")
	require.NoError(tb, err)
	all := make(map[string][]byte)
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var g struct{ By, Name, Hex string }
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &g))
		all[g.Name+" "+g.By], err = hex.DecodeString(g.Hex)
		require.NoError(tb, err)
	}
	require.NoError(tb, lines.Err())
	require.Len(tb, all, 15)
	return all
}

// frames2 are frames of version 2: of a request, and of results as only this
// version has them.
func frames2(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, m := range []protocol.Message{
		&protocol.RegisterTM{Identity: protocol.Identity{Version: "2.7.0", ApplicationID: "a"}},
		&protocol.RegisterTMResult{Result: protocol.Result{Message: "no"}, Version: "2.7.0"},
		&protocol.RegisterRMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true},
	} {
		body, err := native.AppendV2(nil, m)
		require.NoError(tb, err)
		b, err := frame.Append(nil, &frame.Frame{Version: frame.V2, Codec: 1, ID: 1, Body: body})
		require.NoError(tb, err)
		all = append(all, b)
	}
	return all
}

// loadVersions are frames of the versions 0 and 2.
func loadVersions(tb testing.TB) []captured {
	tb.Helper()
	var all []captured
	for name, b := range loadFrames0(tb) {
		all = append(all, captured{Name: name, Kind: int16(b[4])<<8 | int16(b[5]), bytes: b})
	}
	for i, b := range frames2(tb) {
		all = append(all, captured{Name: "version 2", Kind: int16(i), bytes: b})
	}
	return all
}

// expectHex reads as many bytes as want has, and compares.
func expectHex(tb testing.TB, nc net.Conn, want string) {
	tb.Helper()
	want = strings.ReplaceAll(want, " ", "")
	b := make([]byte, len(want)/2)
	require.NoError(tb, nc.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err := io.ReadFull(nc, b)
	require.NoErrorf(tb, err, "after %x", b)
	require.Equal(tb, want, hex.EncodeToString(b))
}

// A peer that begins with version 0 gets everything in it: answers, under its
// 64-bit ids, pongs, and requests of this side.
func TestVersion0IsAnsweredInKind(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	conn := start(t, a, Options{Handler: beginner})
	frames := loadFrames0(t)
	_, err := b.Write(bytes.Join([][]byte{
		frames["GlobalBegin 0.6.1"], frames["HeartbeatRequest 0.6.1"], frames["GlobalBegin 0.6.1"],
	}, nil))
	require.NoError(t, err)
	answer := "dada 0010 0002 0000000000000003 01 00 0005 747269616c 0000"
	expectHex(t, b, answer+"dada 0020 0000 0000000000000005"+answer)

	writeHex(t, b, "dada 0090 0001 1234567890abcdef 00002710 0001 78")
	expectHex(t, b, "dada 0010 0002 1234567890abcdef 01 00 0001 78 0000")

	got := make(chan protocol.Message, 1)
	conn.Go(&protocol.BranchCommit{BranchOrder: protocol.BranchOrder{
		XID: "192.0.2.2:8091:42", BranchID: 43, ResourceID: "jdbc:mysql://192.0.2.2:3306/a", ApplicationData: "{}",
	}}, time.Minute, func(m protocol.Message, err error) { got <- m })
	order := bytes.Clone(frames["BranchCommit 2.5.0"])
	order[13] = 1 // the id
	expectHex(t, b, hex.EncodeToString(order))
	done := bytes.Clone(frames["BranchCommitResult 0.6.1"])
	done[13] = 1
	_, err = b.Write(done)
	require.NoError(t, err)
	assert.Equal(t, protocol.BranchStatus(5), (<-got).(*protocol.BranchCommitResult).Status)

	require.NoError(t, conn.Send(&protocol.UndoLogDelete{SaveDays: 7}))
	expectHex(t, b, "dada 00d0 006f 0000000000000002 00 0000 0007")
}

// A message of version 0 does not tell its length: wherever the stream is cut,
// it is found whole, and so is what follows.
func TestVersion0ByteByByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		got := make(chan Request, 100)
		start(t, nc, Options{Handler: func(_ *Conn, r Request) { got <- r }})
		var want []protocol.TypeCode
		for _, name := range []string{"RegisterTM", "RegisterRM", "GlobalBegin", "Merged", "GlobalStatus"} {
			b := loadFrames0(t)[name+" 0.6.1"]
			want = append(want, protocol.TypeCode(int16(b[4])<<8|int16(b[5])))
			for i := range b {
				_, err := peer.Write(b[i : i+1])
				require.NoError(t, err)
			}
		}
		for _, code := range want {
			r := <-got
			assert.Equal(t, code, r.Message.TypeCode())
			assert.Equal(t, code == protocol.TypeMerged, r.OneWay)
		}
	})
}

// Longer than the read buffer, with frames before and after; and longer than
// allowed, without a length that would tell at once.
func TestVersion0Large(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	got := make(chan protocol.Message, 3)
	conn := start(t, a, Options{MaxFrame: 1 << 20, Handler: func(_ *Conn, r Request) { got <- r.Message }})
	large := &protocol.BranchRegister{
		XID: "x", LockKey: strings.Repeat("k", 3*readBuffer), ApplicationData: strings.Repeat("d", readBuffer),
	}
	small := &protocol.GlobalBegin{Name: "n"}
	var stream []byte
	for _, m := range []protocol.Message{small, large, small} {
		body, err := native.AppendFields(nil, m)
		require.NoError(t, err)
		stream, err = frame.Append(stream, &frame.Frame{TypeCode: int16(m.TypeCode()), Codec: 1, Body: body})
		require.NoError(t, err)
	}
	_, err := b.Write(stream)
	require.NoError(t, err)
	for _, m := range []protocol.Message{small, large, small} {
		assert.Equal(t, m, <-got)
	}
	large.ApplicationData = strings.Repeat("d", 1<<20)
	body, err := native.AppendFields(nil, large)
	require.NoError(t, err)
	b0, err := frame.Append(nil, &frame.Frame{TypeCode: 11, Codec: 1, Body: body})
	require.NoError(t, err)
	_, _ = b.Write(b0) // it is cut off
	<-conn.Done()
	require.ErrorIs(t, conn.Err(), frame.ErrTooLarge)
}

// Registrations of version 2 are answered with a result code and a message.
func TestVersion2IsAnsweredInKind(t *testing.T) {
	a, b := tcpPair(t)
	defer b.Close()
	start(t, a, Options{Handler: func(c *Conn, r Request) {
		_ = c.Reply(r, &protocol.RegisterTMResult{Result: protocol.Result{Message: "no"}, Version: "v"}, nil)
	}})
	_, err := b.Write(frames2(t)[0])
	require.NoError(t, err)
	expectHex(t, b, "dada 02 0000001b 0010 01 01 00 00000001"+"0066 00 0002 6e6f 00 0001 76")
}

// Both ends of ours speak version 2 when the client is told to.
func TestVersion2BetweenOurs(t *testing.T) {
	want := &protocol.RegisterRMResult{Result: protocol.Result{Message: "too many resources"}, Version: "v"}
	client, _ := newPair(t, Options{Version: frame.V2}, Options{Handler: func(c *Conn, r Request) { _ = c.Reply(r, want, nil) }})
	answer, err := client.Call(testContext(t), &protocol.RegisterRM{}, nil)
	require.NoError(t, err)
	assert.Equal(t, want, answer.Message)
}
