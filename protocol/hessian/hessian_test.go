package hessian_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/hessian"
	"github.com/qiao-tx/qiao/protocol/native"
)

// javaBody is a message as Java's seata and hessian codecs wrote it.
type javaBody struct {
	Class          string
	Seata, Hessian string
	body           []byte
	message        protocol.Message
}

// loadJava reads testdata/java.jsonl, which internal/javapeer wrote and compares.
func loadJava(tb testing.TB) []javaBody {
	tb.Helper()
	data, err := os.ReadFile("testdata/java.jsonl")
	require.NoError(tb, err)
	var all []javaBody
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		var b javaBody
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &b))
		seata, err := hex.DecodeString(b.Seata)
		require.NoError(tb, err)
		b.message, err = native.Decode(seata)
		require.NoError(tb, err)
		b.body, err = hex.DecodeString(b.Hessian)
		require.NoError(tb, err)
		all = append(all, b)
	}
	require.NoError(tb, lines.Err())
	require.NotEmpty(tb, all)
	return all
}

// A field, class or reference that is read or written otherwise than in Java
// turns this red.
func TestJavasBodies(t *testing.T) {
	exact := 0
	for _, b := range loadJava(t) {
		m, names, err := hessian.Decode(b.body)
		require.NoError(t, err, b.Class)
		require.Equal(t, codec.Apache, names)
		require.Equal(t, b.message, m)
		ours, err := hessian.Append(nil, m, names)
		require.NoError(t, err)
		if bytes.Equal(ours, b.body) {
			exact++
			continue
		}
		// Java writes some empty texts as such; ours are null.
		require.Len(t, ours, len(b.body))
		for i := range ours {
			if ours[i] != b.body[i] {
				require.Equal(t, []byte{0, 'N'}, []byte{b.body[i], ours[i]}, "%x\n%x", b.body, ours)
			}
		}
	}
	assert.Greater(t, exact, 60)
}

// filled is one message of every type with all its fields.
func filled() []protocol.Message {
	all := codectest.EveryMessage()
	for _, m := range all {
		codectest.Fill(m)
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
	long := strings.Repeat("lock😀", 10_000)
	all = append(all,
		&protocol.Merged{Messages: all, IDs: ids},
		&protocol.MergedResult{Messages: all},
		&protocol.BatchResult{Messages: all, IDs: ids},
		&protocol.Merged{Messages: []protocol.Message{&protocol.GlobalBegin{Name: "no ids"}}},
		&protocol.MergedResult{Messages: []protocol.Message{}},
		&protocol.BranchRegister{XID: "x", LockKey: long, ApplicationData: "a" + long, Type: protocol.TypeXA},
		&protocol.BranchReportResult{TxResult: protocol.Failure(protocol.ExceptionIO, long)},
		&protocol.GlobalReport{Status: protocol.StatusNone},
		&protocol.RegisterTMResult{Result: protocol.Result{Message: "no"}, Version: "2.5.0"},
		&protocol.RegisterRMResult{Result: protocol.Result{Code: protocol.ResultSuccess}, Identified: true, Version: "2.5.0"},
		&protocol.UnregisterRMResult{},
	)
	for code := protocol.ExceptionUnknown; code <= protocol.ExceptionBroken; code++ {
		all = append(all, &protocol.BranchReportResult{TxResult: protocol.Failure(code, "")})
	}
	for status := protocol.StatusUnKnown; status <= protocol.StatusStopRollbackOrRollbackRetry; status++ {
		all = append(all, &protocol.GlobalStatusResult{Status: status})
	}
	for status := protocol.BranchUnknown; status <= protocol.BranchStopRetry; status++ {
		all = append(all, &protocol.BranchReport{Status: status})
	}
	for _, m := range all {
		for _, names := range []codec.Names{codec.Apache, codec.IO} {
			body, err := hessian.Append([]byte("before"), m, names)
			require.NoError(t, err, "%T", m)
			require.Equal(t, "before", string(body[:6]))
			got, gotNames, err := hessian.Decode(body[6:])
			require.NoError(t, err, "%T %x", m, body)
			require.Equal(t, m, got)
			require.Equal(t, names, gotNames)
		}
	}
}

func TestAFailureMessageIsMadeUTF8(t *testing.T) {
	m := &protocol.BranchReportResult{TxResult: protocol.Failure(protocol.ExceptionIO, "key \xff!")}
	body, err := hessian.Append(nil, m, codec.Apache)
	require.NoError(t, err)
	got, _, err := hessian.Decode(body)
	require.NoError(t, err)
	assert.Equal(t, "key \ufffd!", got.(*protocol.BranchReportResult).Message)
}

// text is a short text of hessian in hexadecimal.
func text(s string) string {
	if len(s) > 31 {
		return "30" + hex.EncodeToString(append([]byte{byte(len(s))}, s...))
	}
	return hex.EncodeToString(append([]byte{byte(len(s))}, s...))
}

// define is the definition of a class of the protocol in hexadecimal.
func define(class string, fields ...string) string {
	d := "43" + text("org.apache.seata.core."+class) + hex.EncodeToString([]byte{byte(0x90 + len(fields))})
	for _, f := range fields {
		d += text(f)
	}
	return d
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

const beginClass = "protocol.transaction.GlobalBeginRequest"

func TestWhatDecodeForgives(t *testing.T) {
	branchType := define("model.BranchType", "name")
	cases := []struct {
		name, body string
		want       protocol.Message
	}{
		{"fields that are missing, and another order", define(beginClass, "transactionName", "timeout") + "60 0161 9a", &protocol.GlobalBegin{TimeoutMillis: 10, Name: "a"}},
		{"fields of a newer Seata", define(beginClass, "a", "b", "c", "d", "e", "transactionName") + "60 54 9a e1 0178 7a 90 59 00000001 0161", &protocol.GlobalBegin{Name: "a"}},
		{"an enumeration in an unknown field", define(beginClass, "a", "b", "transactionName") + "60" + branchType + "61 0158 51 91 0161", &protocol.GlobalBegin{Name: "a"}},
		{"a long form of an object", define(beginClass, "transactionName") + "4f 90 0161", &protocol.GlobalBegin{Name: "a"}},
		{"a text in chunks", define(beginClass, "transactionName") + "60 52 0001 61 52 0001 62 0163", &protocol.GlobalBegin{Name: "abc"}},
		{"a typed list", define("protocol.MergedWarpMessage", "msgIds", "msgs") + "60 71" + text("java.util.LinkedList") + "97 71 90" + define(beginClass, "transactionName") + "61 4e",
			&protocol.Merged{Messages: []protocol.Message{&protocol.GlobalBegin{}}, IDs: []int32{7}}},
		{"an answer without its code", define("protocol.RegisterTMResponse", "identified", "resultCode") + "60 54 4e",
			&protocol.RegisterTMResult{Identified: true, Result: protocol.Result{Code: protocol.ResultSuccess}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := hessian.Decode(unhex(t, c.body))
			require.NoError(t, err)
			assert.Equal(t, c.want, m)
		})
	}
}

//tidy:long a table
func TestWhatDecodeRefuses(t *testing.T) {
	begin := define(beginClass, "transactionName", "timeout")
	status := define("protocol.transaction.GlobalStatusResponse", "globalStatus")
	globalStatus := define("model.GlobalStatus", "name")
	merged := define("protocol.MergedWarpMessage", "msgs")
	cases := []struct {
		name, body string
		kind       protocol.TypeCode
		want       error
	}{
		{"nothing", "", 0, codec.ErrTruncated},
		{"null", "4e", 0, codec.ErrInvalid},
		{"a text", "0161", 0, codec.ErrInvalid},
		{"a map", "48 5a", 0, codec.ErrInvalid},
		{"a class of somebody else", "43" + text("javax.naming.InitialContext") + "90 60", 0, codec.ErrUnknownType},
		{"another class of Seata's", define("protocol.RpcMessage", "id") + "60 91", 0, codec.ErrUnknownType},
		{"the old package within the new one", begin + "60 4e 4e 43" + text("io.seata.core.model.BranchType"), 0, nil},
		{"an enumeration alone", globalStatus + "60 0142", 0, codec.ErrUnknownType},
		{"a class of two billion fields", "43" + text("org.apache.seata.core."+beginClass) + "49 7fffffff", 0, codec.ErrTooLong},
		{"a class of a negative number of fields", "43" + text("org.apache.seata.core."+beginClass) + "8f", 0, codec.ErrTooLong},
		{"a class without fields", "43" + text("org.apache.seata.core."+beginClass) + "90 60", 0, codec.ErrTooLong},
		{"a class that is not defined", begin + "61", 0, codec.ErrInvalid},
		{"a class of a negative number", begin + "4f 8f", 0, codec.ErrInvalid},
		{"an end within an object", begin + "60 0161", protocol.TypeGlobalBegin, codec.ErrTruncated},
		{"an end within a text", begin + "60 0561", protocol.TypeGlobalBegin, codec.ErrTruncated},
		{"a text that is not UTF-8", begin + "60 01ff", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"half a character", begin + "60 01eda080", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"half a character and another", begin + "60 02eda08061", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a number where a text belongs", begin + "60 9a", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a text where a number belongs", begin + "60 4e 0161", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a double", begin + "60 4e 5b", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a binary in an unknown field", define(beginClass, "a") + "60 21ff", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"an object in an unknown field", define(beginClass, "a") + "60 60 4e", protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"lists without an end", define(beginClass, "a") + "60" + strings.Repeat("79", 12), protocol.TypeGlobalBegin, codec.ErrInvalid},
		{"a status that is none", status + "60" + globalStatus + "61 0158", protocol.TypeGlobalStatusResult, codec.ErrInvalid},
		{"a status of another class", status + "60" + define("model.BranchStatus", "name") + "61 0a52656769737465726564", protocol.TypeGlobalStatusResult, codec.ErrInvalid},
		{"a reference to a message", status + "60 51 90", protocol.TypeGlobalStatusResult, codec.ErrInvalid},
		{"a reference to nothing", status + "60 51 97", protocol.TypeGlobalStatusResult, codec.ErrInvalid},
		{"more messages than bytes", merged + "60 58 49 00007fff", protocol.TypeMerged, codec.ErrTooLong},
		{"a negative number of messages", merged + "60 58 8f", protocol.TypeMerged, codec.ErrTooLong},
		{"a null among the messages", merged + "60 79 4e", protocol.TypeMerged, codec.ErrInvalid},
		{"merged in merged", merged + "60 79 60 78", protocol.TypeMerged, codec.ErrNested},
		{"a list of a foreign class", merged + "60 71" + text("com.example.Evil") + begin + "61 4e 4e", protocol.TypeMerged, codec.ErrUnknownType},
		{"a list of an unknown type", merged + "60 71 90", protocol.TypeMerged, codec.ErrInvalid},
		{"two ids and no message", define("protocol.MergedWarpMessage", "msgIds") + "60 7a 91 92", protocol.TypeMerged, codec.ErrInvalid},
		{"days beyond 16 bits", define("protocol.transaction.UndoLogDeleteRequest", "saveDays") + "60 49 00010000", protocol.TypeUndoLogDelete, codec.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, _, err := hessian.Decode(unhex(t, c.body))
			if c.want == nil { // what follows on a message is not read
				require.NoError(t, err)
				return
			}
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
		{"a lock key that is not UTF-8", &protocol.BranchRegister{LockKey: "t:\xff"}, codec.ErrInvalid},
		{"merged in merged", &protocol.Merged{Messages: []protocol.Message{&protocol.Merged{}}}, codec.ErrNested},
		{"ids of another number", &protocol.Merged{Messages: two, IDs: []int32{1}}, codec.ErrInvalid},
		{"a batch without ids", &protocol.BatchResult{Messages: two}, codec.ErrInvalid},
		{"a nil message", &protocol.MergedResult{Messages: make([]protocol.Message, 1)}, codec.ErrInvalid},
		{"too many messages", &protocol.MergedResult{Messages: make([]protocol.Message, hessian.MaxMerged+1)}, codec.ErrTooLong},
		{"a result code that is none", &protocol.BranchReportResult{TxResult: protocol.TxResult{Result: protocol.Result{Code: 2}}}, codec.ErrInvalid},
		{"a status that is none", &protocol.GlobalStatusResult{Status: 99}, codec.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dst, err := hessian.Append([]byte("before"), c.m, codec.Apache)
			require.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(dst))
			var e *codec.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "encode", e.Op)
			assert.Equal(t, c.m.TypeCode(), e.Type)
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hessian.Append(dst, m, codec.Apache); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := &protocol.BranchRegister{XID: "192.0.2.2:8091:42", ResourceID: "jdbc:mysql://h:3306/d", LockKey: "t:1"}
	body, err := hessian.Append(nil, m, codec.Apache)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := hessian.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}
