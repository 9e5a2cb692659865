package pb_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/pb"
)

// schema is what seata.proto says: for each message its fields by number, each a
// type and a name, and for each enumeration the names of its values.
type schema struct {
	messages, enums map[string]map[int]string
}

func readSchema(t *testing.T) schema {
	text, err := os.ReadFile("seata.proto")
	require.NoError(t, err)
	s := schema{messages: map[string]map[int]string{}, enums: map[string]map[int]string{}}
	block := regexp.MustCompile(`(?ms)^(message|enum) (\w+) \{\n(.*?)^\}`)
	line := regexp.MustCompile(`^  (.+) = (\d+);$`)
	for _, b := range block.FindAllStringSubmatch(string(text), -1) {
		fields := map[int]string{}
		for _, l := range strings.Split(strings.TrimSpace(b[3]), "\n") {
			m := line.FindStringSubmatch("  " + strings.TrimSpace(l))
			require.NotNil(t, m, "%s: %s", b[2], l)
			var n int
			_, err := fmt.Sscan(m[2], &n)
			require.NoError(t, err)
			require.NotContains(t, fields, n, b[2])
			fields[n] = m[1]
		}
		if b[1] == "enum" {
			s.enums[b[2]] = fields
		} else {
			s.messages[b[2]] = fields
		}
	}
	return s
}

// walk reads a message by the schema and notes the fields that it found.
func (s schema) walk(t *testing.T, name string, b []byte, seen map[string]bool) {
	fields, ok := s.messages[name]
	require.True(t, ok, "seata.proto has no message %s", name)
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		field, ok := fields[int(number)]
		require.True(t, ok, "seata.proto has no field %d in %s", number, name)
		value := protowire.ConsumeFieldValue(number, wire, b[n:])
		require.Positive(t, value)
		s.field(t, field, wire, b[n:n+value], seen)
		seen[name+"."+field] = true
		b = b[n+value:]
	}
}

func (s schema) field(t *testing.T, field string, wire protowire.Type, b []byte, seen map[string]bool) {
	kind, _, _ := strings.Cut(strings.TrimPrefix(field, "repeated "), " ")
	want := protowire.BytesType
	if _, enum := s.enums[kind]; enum || kind == "int32" || kind == "int64" || kind == "bool" {
		want = protowire.VarintType
	}
	if strings.HasPrefix(field, "repeated ") {
		want = protowire.BytesType
	}
	require.Equal(t, want, wire, field)
	content, _ := protowire.ConsumeBytes(b)
	switch {
	case kind == "google.protobuf.Any":
		_, _, n := protowire.ConsumeTag(content)
		url, urlLen := protowire.ConsumeBytes(content[n:])
		content = content[n+urlLen:]
		_, _, n = protowire.ConsumeTag(content)
		value, _ := protowire.ConsumeBytes(content[n:])
		s.walk(t, string(url[strings.LastIndexByte(string(url), '.')+1:]), value, seen)
	case s.messages[kind] != nil:
		s.walk(t, kind, content, seen)
	case s.enums[kind] != nil:
		v, _ := protowire.ConsumeVarint(b)
		assert.Contains(t, s.enums[kind], int(v), field)
	}
}

// What is written is what seata.proto says, and all of it.
func TestTheProtoFileSaysWhatIsWritten(t *testing.T) {
	s := readSchema(t)
	all := filled()
	ids := make([]int32, len(all))
	failed := protocol.Result{Message: "no"}
	// A successful answer and one that is a failure have all fields between them.
	all = append(all,
		&protocol.Merged{Messages: all, IDs: append(ids[:0:0], ids...)},
		&protocol.MergedResult{Messages: all},
		&protocol.BatchResult{Messages: all, IDs: append(ids[:0:0], ids...)},
		&protocol.RegisterTMResult{Result: failed, Identified: true, Version: "2.5.0"},
		&protocol.RegisterRMResult{Result: failed, Identified: true, Version: "2.5.0"},
		&protocol.BranchReportResult{TxResult: protocol.OK()},
	)
	seen := map[string]bool{}
	for _, m := range all {
		body, err := pb.Append(nil, m, codec.Apache)
		require.NoError(t, err)
		n := binary.BigEndian.Uint32(body)
		s.walk(t, strings.TrimPrefix(string(body[4:4+n]), "org.apache.seata.protocol.protobuf."), body[4+n:], seen)
	}
	// Java writes it, and nobody reads it.
	seen["AbstractIdentifyResponseProto.string extraData"] = true
	for name, fields := range s.messages {
		for _, field := range fields {
			assert.True(t, seen[name+"."+field], "seata.proto says %s.%s, which is not written", name, field)
		}
	}
}

// The numbers of enumerations are those of seata.proto.
func TestTheProtoFileSaysWhatTheNumbersMean(t *testing.T) {
	s := readSchema(t)
	plain := func(name string) string { return strings.ReplaceAll(name, "_", "") }
	for n, name := range s.enums["TransactionExceptionCodeProto"] {
		m, _, err := pb.Decode(body(t, "BranchReportResponseProto", fmt.Sprintf("0a0210%02x", n)))
		require.NoError(t, err)
		got := m.(*protocol.BranchReportResult).Exception
		assert.Equal(t, strings.Replace(plain(name), "Transcation", "Transaction", 1), got.String())
		if !strings.Contains(name, "Transcation") {
			assert.Equal(t, got, roundTrip(t, m.(*protocol.BranchReportResult)).Exception)
		}
	}
	for n, name := range s.enums["GlobalStatusProto"] {
		assert.Equal(t, name, protocol.GlobalStatus(n).String())
	}
	for n, name := range s.enums["BranchStatusProto"] {
		assert.Equal(t, strings.TrimPrefix(plain(name), "B"), strings.TrimPrefix(protocol.BranchStatus(n).String(), "B"))
	}
	for n, name := range s.enums["BranchTypeProto"] {
		assert.Equal(t, name, protocol.BranchType(n).String())
	}
	for _, m := range filled() {
		assert.Contains(t, s.enums["MessageTypeProto"], int(m.TypeCode()))
	}
}
