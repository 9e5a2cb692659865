package native_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/native"
)

// captured is a body that Java Seata sent, decompressed, and what Java's
// decoder read in it.
type captured struct {
	Name    string
	Body    []byte
	Decoded map[string]any
}

// loadCaptured reads the bodies of all captured frames of protocol/testdata.
func loadCaptured(tb testing.TB) []captured {
	tb.Helper()
	files, err := filepath.Glob("../testdata/*.jsonl")
	require.NoError(tb, err)
	require.Len(tb, files, 6)
	var pool compress.Pool
	var all []captured
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		for lines.Scan() {
			var line struct {
				Seq        int            `json:"seq"`
				HeadLen    int            `json:"head_len"`
				Codec      byte           `json:"codec"`
				Compressor byte           `json:"compressor"`
				Class      string         `json:"msg_class"`
				Hex        string         `json:"hex"`
				Decoded    map[string]any `json:"decoded"`
			}
			d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			d.UseNumber()
			require.NoError(tb, d.Decode(&line))
			require.EqualValues(tb, 1, line.Codec)
			frame, err := hex.DecodeString(line.Hex)
			require.NoError(tb, err)
			body, err := pool.Expand(nil, line.Compressor, frame[line.HeadLen:], len(frame)*10)
			require.NoError(tb, err)
			all = append(all, captured{
				Name:    fmt.Sprintf("%s:%d/%s", filepath.Base(file), line.Seq, line.Class),
				Body:    body,
				Decoded: line.Decoded,
			})
		}
		require.NoError(tb, lines.Err())
	}
	return all
}

// A field read in the wrong order, width or place, or written otherwise than
// Java writes it, turns this red.
func TestCapturedBodiesDecodeAsInJavaAndEncodeBack(t *testing.T) {
	for _, c := range loadCaptured(t) {
		t.Run(c.Name, func(t *testing.T) {
			m, err := native.Decode(c.Body)
			require.NoError(t, err)
			compareMessage(t, c.Decoded, m)
			body, err := native.Append(nil, m)
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(c.Body), hex.EncodeToString(body))
		})
	}
}

// javaNames are the names of fields in Java where they are not the Go names in
// lower camel case. A field has one of them, depending on the class.
var javaNames = map[string][]string{
	"Code":          {"resultCode"},
	"Message":       {"msg"},
	"Exception":     {"transactionExceptionCode"},
	"Group":         {"transactionServiceGroup"},
	"TimeoutMillis": {"timeout"},
	"Name":          {"transactionName"},
	"Type":          {"branchType"},
	"Status":        {"globalStatus", "branchStatus", "status"},
	"Messages":      {"msgs", "resultMessages"},
	"IDs":           {"msgIds"},
	"XID":           {"xid"},
}

// javaClass is a message's Java class where it is not the Go name with
// Request, or Response for Result.
var javaClass = map[string]string{
	"RegisterTM": "RegisterTMRequest", "Merged": "MergedWarpMessage", "MergedResult": "MergeResultMessage",
	"BatchResult": "BatchResultMessage", "GlobalStatusRequest": "GlobalStatusRequest",
}

func classOf(m protocol.Message) string {
	name := reflect.TypeOf(m).Elem().Name()
	if class, ok := javaClass[name]; ok {
		return class
	}
	if stem, ok := strings.CutSuffix(name, "Result"); ok {
		return stem + "Response"
	}
	return name + "Request"
}

// compareMessage checks that m has the fields of decoded, all of them and no
// others. Null in decoded is an empty value.
func compareMessage(t *testing.T, decoded map[string]any, m protocol.Message) {
	t.Helper()
	assert.Equal(t, decoded["@class"], classOf(m))
	seen := map[string]bool{"@class": true}
	compareFields(t, decoded, seen, reflect.ValueOf(m).Elem())
	for name, value := range decoded {
		assert.True(t, seen[name] || value == nil, "field %s = %v is lost", name, value)
	}
}

func compareFields(t *testing.T, decoded map[string]any, seen map[string]bool, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			compareFields(t, decoded, seen, v.Field(i))
			continue
		}
		names, ok := javaNames[field.Name]
		if !ok {
			names = []string{strings.ToLower(field.Name[:1]) + strings.Replace(field.Name[1:], "ID", "Id", 1)}
		}
		name := ""
		for _, n := range names {
			if _, ok := decoded[n]; ok {
				name = n
			}
		}
		if !assert.NotEmpty(t, name, "Java has no field for %s among %v", field.Name, names) {
			continue
		}
		seen[name] = true
		compareValue(t, name, decoded[name], v.Field(i).Interface())
	}
}

func compareValue(t *testing.T, name string, want, got any) {
	t.Helper()
	switch got := got.(type) {
	case []protocol.Message:
		list := want.([]any)
		require.Len(t, got, len(list))
		for i := range list {
			compareMessage(t, list[i].(map[string]any), got[i])
		}
	case []int32:
		assert.Equal(t, fmt.Sprint(want), fmt.Sprint(got), name)
	case protocol.GlobalStatus, protocol.BranchStatus, protocol.BranchType, protocol.ExceptionCode, protocol.ResultCode:
		if want == nil && name == "resultCode" {
			return // a registration's answer has none on the wire; ours derives it
		}
		text := fmt.Sprint(want)
		assert.Truef(t, strings.HasSuffix(text, fmt.Sprintf("(%d)", got)), "%s: %d is not %s", name, got, text)
	case string:
		if want == nil {
			want = ""
		}
		assert.Equal(t, want, got, name)
	default:
		assert.Equal(t, fmt.Sprint(want), fmt.Sprint(got), name)
	}
}
