package pb_test

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/pb"
)

func loadCaptured(tb testing.TB) []codectest.Captured {
	return codectest.LoadCaptured(tb, "../testdata", 2)
}

// A field with a wrong number or type, or written otherwise than Java writes it,
// turns this red.
func TestCapturedBodiesDecodeAsInJavaAndEncodeBack(t *testing.T) {
	for _, c := range loadCaptured(t) {
		t.Run(c.Name, func(t *testing.T) {
			// Java prints a field that this vocabulary has no use for.
			delete(c.Decoded, "extraData")
			m, names, err := pb.Decode(c.Body)
			require.NoError(t, err)
			assert.Equal(t, codec.Apache, names)
			if x := extraData(m); x != nil {
				c.Decoded["extraData"] = *x
			}
			codectest.Compare(t, c.Decoded, m)
			body, err := pb.Append(nil, m, names)
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(c.Body), hex.EncodeToString(body))
		})
	}
}

// extraData is the field of m that the format carries, or nil.
func extraData(m protocol.Message) *string {
	switch m := m.(type) {
	case *protocol.RegisterTM:
		return &m.ExtraData
	case *protocol.RegisterRM:
		return &m.ExtraData
	case *protocol.GlobalBeginResult:
		return &m.ExtraData
	case *protocol.GlobalCommit:
		return &m.ExtraData
	case *protocol.GlobalRollback:
		return &m.ExtraData
	case *protocol.GlobalStatusRequest:
		return &m.ExtraData
	case *protocol.GlobalReport:
		return &m.ExtraData
	}
	return nil
}

// filled is one message of every type that the format has, with all its fields.
func filled() []protocol.Message {
	var all []protocol.Message
	for _, m := range codectest.EveryMessage() {
		if m.TypeCode() == protocol.TypeUnregisterRM {
			continue
		}
		codectest.Fill(m)
		all = append(all, m)
	}
	return all
}

// A field that is lost, swapped with another of its kind, or cut turns this red.
func TestEveryMessageSurvivesTheRoundTrip(t *testing.T) {
	all := filled()
	ids := make([]int32, len(all))
	for i := range ids {
		ids[i] = int32(i*1000 - 3)
	}
	long := strings.Repeat("lock", 10_000)
	all = append(all,
		&protocol.Merged{Messages: all, IDs: ids},
		&protocol.MergedResult{Messages: all},
		&protocol.BatchResult{Messages: all, IDs: ids},
		&protocol.Merged{Messages: []protocol.Message{&protocol.GlobalBegin{Name: "no ids"}}},
		&protocol.MergedResult{Messages: []protocol.Message{}},
		&protocol.BranchRegister{XID: "x", LockKey: long, ApplicationData: long + "data", Type: protocol.TypeXA},
		&protocol.BranchReportResult{TxResult: protocol.Failure(protocol.ExceptionIO, long)},
		&protocol.RegisterTMResult{Result: protocol.Result{Message: "no"}, Version: "2.5.0"},
		&protocol.RegisterRMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: "2.5.0"},
	)
	for _, m := range all {
		for _, names := range []codec.Names{codec.Apache, codec.IO} {
			body, err := pb.Append([]byte("before"), m, names)
			require.NoError(t, err, "%T", m)
			require.Equal(t, "before", string(body[:6]))
			got, gotNames, err := pb.Decode(body[6:])
			require.NoError(t, err, "%T", m)
			require.Equal(t, m, got)
			require.Equal(t, names, gotNames)
		}
	}
}

// What the format has no number for arrives as what a client treats alike.
func TestNewerCodesArriveAsTheNearest(t *testing.T) {
	exceptions := map[protocol.ExceptionCode]protocol.ExceptionCode{
		protocol.ExceptionBeginFailed:                 protocol.ExceptionUnknown,
		protocol.ExceptionLockKeyConflictFailFast:     protocol.ExceptionLockKeyConflict,
		protocol.ExceptionFailedLockGlobalTransaction: protocol.ExceptionUnknown,
		protocol.ExceptionNotRaftLeader:               protocol.ExceptionUnknown,
		protocol.ExceptionTransactionTimeout:          protocol.ExceptionGlobalTransactionNotActive,
		protocol.ExceptionCommitHeuristic:             protocol.ExceptionUnknown,
		protocol.ExceptionBroken:                      protocol.ExceptionUnknown,
	}
	for code := protocol.ExceptionUnknown; code <= protocol.ExceptionBroken; code++ {
		want, mapped := exceptions[code]
		if !mapped {
			want = code
		}
		assert.Equal(t, want, roundTrip(t, &protocol.BranchReportResult{TxResult: protocol.Failure(code, "")}).Exception, code.String())
	}
	statuses := map[protocol.GlobalStatus]protocol.GlobalStatus{
		protocol.StatusCommitRetryTimeout:          protocol.StatusCommitFailed,
		protocol.StatusRollbackRetryTimeout:        protocol.StatusRollbackFailed,
		protocol.StatusDeleting:                    protocol.StatusFinished,
		protocol.StatusStopCommitOrCommitRetry:     protocol.StatusCommitRetrying,
		protocol.StatusStopRollbackOrRollbackRetry: protocol.StatusRollbackRetrying,
	}
	for status := protocol.StatusUnKnown; status <= protocol.StatusStopRollbackOrRollbackRetry; status++ {
		want, mapped := statuses[status]
		if !mapped {
			want = status
		}
		assert.Equal(t, want, roundTrip(t, &protocol.GlobalStatusResult{Status: status}).Status, status.String())
	}
}

func roundTrip[M protocol.Message](t *testing.T, m M) M {
	t.Helper()
	body, err := pb.Append(nil, m, codec.Apache)
	require.NoError(t, err)
	got, _, err := pb.Decode(body)
	require.NoError(t, err)
	return got.(M)
}

// A failure's message only explains: bytes that protobuf forbids must not cost it.
func TestAFailureMessageIsMadeUTF8(t *testing.T) {
	m := &protocol.BranchReportResult{TxResult: protocol.Failure(protocol.ExceptionIO, "key \xff!")}
	assert.Equal(t, "key \ufffd!", roundTrip(t, m).Message)
	assert.Equal(t, "key \xff!", m.Message, "the caller's message is unchanged")
}

// body is a name and the bytes of a protobuf message in hexadecimal.
func body(t *testing.T, name, message string) []byte {
	t.Helper()
	name = "org.apache.seata.protocol.protobuf." + name
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	more, err := hex.DecodeString(strings.ReplaceAll(message, " ", ""))
	require.NoError(t, err)
	return append(append(b, name...), more...)
}

// anyOf is an empty message of the name within a list, in hexadecimal.
func anyOf(name string) string {
	url := "type.googleapis.com/org.apache.seata.protocol.protobuf." + name
	inner := append([]byte{0x0a, byte(len(url))}, url...)
	return hex.EncodeToString(append([]byte{0x12, byte(len(inner))}, inner...))
}

func TestWhatDecodeForgives(t *testing.T) {
	cases := []struct {
		name, kind, message string
		want                protocol.Message
	}{
		{"nothing in it", "GlobalBeginRequestProto", "", &protocol.GlobalBegin{}},
		{"another order", "GlobalBeginRequestProto", "1a0161 100a 0a00", &protocol.GlobalBegin{TimeoutMillis: 10, Name: "a"}},
		{"fields of a newer Seata", "GlobalBeginRequestProto", "4500000000 49 0000000000000000 fa01 0161 4001 1a0161", &protocol.GlobalBegin{Name: "a"}},
		{"ids that are not packed", "MergedWarpMessageProto", "1807" + anyOf("GlobalBeginRequestProto") + anyOf("GlobalBeginRequestProto") + "18ffffffffffffffffff01",
			&protocol.Merged{Messages: []protocol.Message{&protocol.GlobalBegin{}, &protocol.GlobalBegin{}}, IDs: []int32{7, -1}}},
		{"a status of a newer Seata", "GlobalStatusResponseProto", "0a02 1014", &protocol.GlobalStatusResult{Status: 20}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := pb.Decode(body(t, c.kind, c.message))
			require.NoError(t, err)
			assert.Equal(t, c.want, m)
		})
	}
}

func TestWhatDecodeRefuses(t *testing.T) {
	raw := func(s string) []byte {
		b, err := hex.DecodeString(s)
		require.NoError(t, err)
		return b
	}
	cases := []struct {
		name string
		body []byte
		kind protocol.TypeCode
		want error
	}{
		{"nothing", nil, 0, codec.ErrTruncated},
		{"half a length", raw("0000"), 0, codec.ErrTruncated},
		{"a name of 4 GiB", raw("ffffffff61"), 0, codec.ErrTruncated},
		{"no name", raw("00000000"), 0, codec.ErrUnknownType},
		{"another package", raw("0000000161"), 0, codec.ErrUnknownType},
		{"a message that is none", body(t, "StringProto", ""), 0, codec.ErrUnknownType},
		{"a heartbeat, which has no body", body(t, "HeartbeatMessageProto", "0801"), 0, codec.ErrUnknownType},
		{"an end within a tag", body(t, "GlobalBeginRequestProto", "80"), protocol.TypeGlobalBegin, codec.ErrTruncated},
		{"an end within a text", body(t, "GlobalBeginRequestProto", "1a0561"), protocol.TypeGlobalBegin, codec.ErrTruncated},
		{"a text of 4 GiB", body(t, "GlobalBeginRequestProto", "1affffffff0f61"), protocol.TypeGlobalBegin, codec.ErrTruncated},
		{"a number of 11 bytes", body(t, "GlobalBeginRequestProto", "10ffffffffffffffffffffff"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a text where a number belongs", body(t, "GlobalBeginRequestProto", "120161"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a number where a text belongs", body(t, "GlobalBeginRequestProto", "1801"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a text that is not UTF-8", body(t, "GlobalBeginRequestProto", "1a01ff"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a group", body(t, "GlobalBeginRequestProto", "2324"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a field twice", body(t, "GlobalBeginRequestProto", "1001 1002"), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a status that is none", body(t, "GlobalStatusResponseProto", "0a02 1063"), protocol.TypeGlobalStatusResult, codec.ErrInvalid},
		{"a result code that is none", body(t, "BranchReportResponseProto", "0a04 0a02 1002"), protocol.TypeBranchReportResult, codec.ErrInvalid},
		{"an exception that is none", body(t, "BranchReportResponseProto", "0a02 1012"), protocol.TypeBranchReportResult, codec.ErrInvalid},
		{"a merged message without a name", body(t, "MergedResultMessageProto", "1200"), protocol.TypeMergedResult, codec.ErrInvalid},
		{"a merged message of an unknown name", body(t, "MergedResultMessageProto", anyOf("X")), protocol.TypeMergedResult, codec.ErrUnknownType},
		{"merged in merged", body(t, "MergedWarpMessageProto", anyOf("MergedWarpMessageProto")), protocol.TypeMerged, codec.ErrNested},
		{"two ids for one message", body(t, "MergedWarpMessageProto", anyOf("GlobalBeginRequestProto")+"1a020102"), protocol.TypeMerged, codec.ErrInvalid},
		{"a batch without ids", body(t, "BatchResultMessageProto", anyOf("GlobalBeginResponseProto")), protocol.TypeBatchResult, codec.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := pb.Decode(c.body)
			require.ErrorIs(t, err, c.want)
			assert.Nil(t, m)
			var e *codec.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "decode", e.Op)
			assert.Equal(t, c.kind, e.Type)
		})
	}
}

func TestWhatAppendRefuses(t *testing.T) {
	two := []protocol.Message{&protocol.GlobalBegin{}, &protocol.GlobalBegin{}}
	cases := []struct {
		name string
		m    protocol.Message
		want error
	}{
		{"a heartbeat", &protocol.Heartbeat{}, codec.ErrUnknownType},
		{"a withdrawal of resources", &protocol.UnregisterRM{}, codec.ErrUnknownType},
		{"a lock key that is not UTF-8", &protocol.BranchRegister{LockKey: "t:\xff"}, codec.ErrInvalid},
		{"no status", &protocol.GlobalReport{Status: protocol.StatusNone}, codec.ErrInvalid},
		{"merged in merged", &protocol.Merged{Messages: []protocol.Message{&protocol.Merged{}}}, codec.ErrNested},
		{"a withdrawal within", &protocol.Merged{Messages: []protocol.Message{&protocol.UnregisterRM{}}}, codec.ErrUnknownType},
		{"ids of another number", &protocol.Merged{Messages: two, IDs: []int32{1}}, codec.ErrInvalid},
		{"a batch without ids", &protocol.BatchResult{Messages: two}, codec.ErrInvalid},
		{"a nil message", &protocol.MergedResult{Messages: make([]protocol.Message, 1)}, codec.ErrInvalid},
		{"a result code that is none", &protocol.BranchReportResult{TxResult: protocol.TxResult{Result: protocol.Result{Code: 2}}}, codec.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dst, err := pb.Append([]byte("before"), c.m, codec.Apache)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(dst))
			var e *codec.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "encode", e.Op)
			assert.Equal(t, c.m.TypeCode(), e.Type)
		})
	}
}

// The hot path: a message costs itself and one string for all its texts; writing
// one costs nothing.
func TestAllocations(t *testing.T) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	b, err := pb.Append(nil, m, codec.Apache)
	require.NoError(t, err)
	dst := make([]byte, 0, 512)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _, _ = pb.Decode(b) }), 2.0)
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = pb.Append(dst, m, codec.Apache) }))
}

func BenchmarkAppend(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pb.Append(dst, m, codec.Apache); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	body, err := pb.Append(nil, m, codec.Apache)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := pb.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
