package codectest

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
)

// Captured is a body that Java Seata sent, decompressed, and what Java's
// decoder read in it.
type Captured struct {
	Name    string
	Class   string
	Body    []byte
	Decoded map[string]any
}

// captures is how many files of captured frames there are.
const captures = 7

// LoadCaptured reads the bodies in a codec of all captured frames in a directory.
func LoadCaptured(tb testing.TB, dir string, codec byte) []Captured {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	require.NoError(tb, err)
	require.Len(tb, files, captures)
	var pool compress.Pool
	var all []Captured
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
			if line.Codec != codec {
				continue
			}
			frame, err := hex.DecodeString(line.Hex)
			require.NoError(tb, err)
			body, err := pool.Expand(nil, line.Compressor, frame[line.HeadLen:], len(frame)*10)
			require.NoError(tb, err)
			all = append(all, Captured{
				Name:    fmt.Sprintf("%s:%d/%s", filepath.Base(file), line.Seq, line.Class),
				Class:   line.Class,
				Body:    body,
				Decoded: line.Decoded,
			})
		}
		require.NoError(tb, lines.Err())
	}
	require.NotEmpty(tb, all)
	return all
}

// Few returns at most n bodies of each class: most captured bodies differ in
// their texts alone.
func Few(all []Captured, n int) []Captured {
	var few []Captured
	seen := map[string]int{}
	for _, c := range all {
		if seen[c.Class]++; seen[c.Class] <= n {
			few = append(few, c)
		}
	}
	return few
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

// Compare checks that m has the fields of decoded, all of them and no
// others. Null in decoded is an empty value.
func Compare(t *testing.T, decoded map[string]any, m protocol.Message) {
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
			Compare(t, list[i].(map[string]any), got[i])
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
