package native_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/native"
)

// A field that is lost, swapped with another of its kind, or cut turns this red.
func TestEveryMessageSurvivesTheRoundTrip(t *testing.T) {
	var filled []protocol.Message
	for _, m := range codectest.EveryMessage() {
		codectest.Fill(m)
		filled = append(filled, m)
	}
	ids := make([]int32, len(filled))
	for i := range ids {
		ids[i] = int32(i - 3)
	}
	long := strings.Repeat("lock", 10_000)
	filled = append(filled,
		&protocol.Merged{Messages: filled, IDs: ids},
		&protocol.MergedResult{Messages: filled},
		&protocol.BatchResult{Messages: filled, IDs: ids},
		&protocol.Merged{Messages: []protocol.Message{&protocol.GlobalBegin{Name: "no ids"}}},
		&protocol.MergedResult{Messages: []protocol.Message{}},
		&protocol.BranchRegister{XID: "x", LockKey: long, ApplicationData: long + "data"},
		&protocol.GlobalReport{Status: protocol.StatusNone},
		&protocol.RegisterTMResult{Version: "2.5.0"},
		&protocol.RegisterRMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: "2.5.0"},
		&protocol.UnregisterRMResult{},
	)
	for _, m := range filled {
		body, err := native.Append([]byte("before"), m)
		require.NoError(t, err, "%T", m)
		require.Equal(t, "before", string(body[:6]))
		got, err := native.Decode(body[6:])
		require.NoError(t, err, "%T", m)
		require.Equal(t, m, got)
	}
}

func TestWhatDecodeForgives(t *testing.T) {
	cases := []struct {
		name, body string
		want       protocol.Message
	}{
		{"a registration without its last fields", "0065 0005322e352e30 000161",
			&protocol.RegisterTM{Identity: protocol.Identity{Version: "2.5.0", ApplicationID: "a"}}},
		{"a registration without resources", "0067 0000 0000 0000 0000", &protocol.RegisterRM{}},
		{"an undo deletion without its days", "006f 00 000161", &protocol.UndoLogDelete{ResourceID: "a"}},
		{"bytes behind the last field", "0007 000178 0000 ffff", &protocol.GlobalCommit{Global: protocol.Global{XID: "x"}}},
		{"bytes behind the merged messages", "003c 00000006 0001 000e 0100 ffff",
			&protocol.MergedResult{Messages: []protocol.Message{&protocol.BranchReportResult{TxResult: protocol.OK()}}}},
		{"a status of a newer Seata", "0008 0100 63", &protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: 99}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := native.Decode(unhex(t, c.body))
			require.NoError(t, err)
			assert.Equal(t, c.want, m)
		})
	}
}

func TestWhatDecodeRefuses(t *testing.T) {
	cases := []struct {
		name, body string
		kind       protocol.TypeCode
		want       error
	}{
		{"nothing", "", 0, native.ErrTruncated},
		{"half a type code", "00", 0, native.ErrTruncated},
		{"an unknown type", "004d 00", 77, native.ErrUnknownType},
		{"a heartbeat, which has no body", "0078", protocol.TypeHeartbeat, native.ErrUnknownType},
		{"an end within a number", "0001 0000", protocol.TypeGlobalBegin, native.ErrTruncated},
		{"an end within a text", "0007 0005 78", protocol.TypeGlobalCommit, native.ErrTruncated},
		{"a text of negative length", "0007 8000 0000", protocol.TypeGlobalCommit, native.ErrInvalid},
		{"a long text of negative length", "000b 0000 00 0000 ffffffff", protocol.TypeBranchRegister, native.ErrInvalid},
		{"a text of 2 GiB", "000b 0000 00 0000 7fffffff", protocol.TypeBranchRegister, native.ErrTruncated},
		{"a result code that is none", "000e 0200", protocol.TypeBranchReportResult, native.ErrInvalid},
		{"a registration that ends within a field", "0065 0005 32", protocol.TypeRegisterTM, native.ErrTruncated},
		{"more messages than bytes", "003c 00000002 7fff", protocol.TypeMergedResult, native.ErrTooLong},
		{"a negative number of messages", "003c 00000002 ffff", protocol.TypeMergedResult, native.ErrTooLong},
		{"more merged bytes than there are", "003b 00000010 0001", protocol.TypeMerged, native.ErrTruncated},
		{"a negative number of merged bytes", "003b ffffffff 0001", protocol.TypeMerged, native.ErrTruncated},
		{"merged requests with too few ids", "003b 0000000a 0001 0007 0000 0000 0001", protocol.TypeMerged, native.ErrTruncated},
		{"a batch without ids", "0079 00000006 0001 000e 0100", protocol.TypeBatchResult, native.ErrTruncated},
		{"merged in merged", "003b 0000000a 0001 003b 00000002 0000", protocol.TypeMerged, native.ErrNested},
		{"a batch in merged", "003c 0000000a 0001 0079 00000002 0000", protocol.TypeMergedResult, native.ErrNested},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := native.Decode(unhex(t, c.body))
			require.ErrorIs(t, err, c.want)
			assert.Nil(t, m)
			var e *native.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "decode", e.Op)
			assert.Equal(t, c.kind, e.Type)
		})
	}
}

func TestWhatAppendRefuses(t *testing.T) {
	tooLong := strings.Repeat("x", native.MaxText+1)
	many := make([]protocol.Message, native.MaxMerged+1)
	for i := range many {
		many[i] = &protocol.BranchReportResult{}
	}
	cases := []struct {
		name string
		m    protocol.Message
		want error
	}{
		{"a heartbeat", &protocol.Heartbeat{}, native.ErrUnknownType},
		{"an XID that is too long", &protocol.GlobalCommit{Global: protocol.Global{XID: tooLong}}, native.ErrTooLong},
		{"merged in merged", &protocol.Merged{Messages: []protocol.Message{&protocol.Merged{}}}, native.ErrNested},
		{"too many merged", &protocol.MergedResult{Messages: many}, native.ErrTooLong},
		{"ids of another number", &protocol.Merged{Messages: many[:2], IDs: []int32{1}}, native.ErrInvalid},
		{"a batch without ids", &protocol.BatchResult{Messages: many[:2]}, native.ErrInvalid},
		{"a nil message", &protocol.MergedResult{Messages: make([]protocol.Message, 1)}, native.ErrInvalid},
		{"a result code that is none", &protocol.BranchReportResult{TxResult: protocol.TxResult{Result: protocol.Result{Code: 2}}}, native.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dst, err := native.Append([]byte("before"), c.m)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(dst))
			var e *native.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "encode", e.Op)
			assert.Equal(t, c.m.TypeCode(), e.Type)
		})
	}
}

// A message is explanation only: one that is too long must not cost the answer.
func TestAFailureMessageIsCutBetweenCharacters(t *testing.T) {
	m := &protocol.BranchReportResult{TxResult: protocol.Failure(protocol.ExceptionIO, strings.Repeat("桥", 20_000))}
	body, err := native.Append(nil, m)
	require.NoError(t, err)
	got, err := native.Decode(body)
	require.NoError(t, err)
	assert.Equal(t, strings.Repeat("桥", native.MaxText/3), got.(*protocol.BranchReportResult).Message)
	assert.Len(t, m.Message, 60_000, "the caller's message is unchanged")
}

// The hot path: a message costs itself and one string for all its texts;
// writing one costs nothing.
func TestAllocations(t *testing.T) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	body, err := native.Append(nil, m)
	require.NoError(t, err)
	dst := make([]byte, 0, 256)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = native.Decode(body) }), 2.0)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = native.Append(dst, m) }))
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(tb, err)
	return b
}

func BenchmarkAppend(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := native.Append(dst, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	body, err := native.Append(nil, m)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := native.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
