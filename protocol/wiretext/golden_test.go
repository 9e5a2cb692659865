package wiretext_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/wiretext"
)

// captured is a frame that Java Seata sent, and what Java's decoder read in it.
type captured struct {
	Name        string
	Seq         int            `json:"seq"`
	Version     int            `json:"version"`
	MessageType int            `json:"message_type"`
	Codec       int            `json:"codec"`
	Compressor  int            `json:"compressor"`
	RequestID   int            `json:"request_id"`
	TypeCode    int16          `json:"msg_type_code"`
	Decoded     map[string]any `json:"decoded"`
	Hex         string         `json:"hex"`

	bytes []byte
}

func loadCaptured(tb testing.TB) []captured {
	tb.Helper()
	files, err := filepath.Glob("../testdata/*.jsonl")
	require.NoError(tb, err)
	require.GreaterOrEqual(tb, len(files), 6)
	var all []captured
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(tb, err)
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c captured
			d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
			d.UseNumber()
			require.NoError(tb, d.Decode(&c))
			c.Name = fmt.Sprintf("%s:%d", filepath.Base(file), c.Seq)
			c.bytes, err = hex.DecodeString(c.Hex)
			require.NoError(tb, err)
			all = append(all, c)
		}
		require.NoError(tb, lines.Err())
	}
	return all
}

// Java's names of fields where the wire's documentation has others.
var javaNames = strings.NewReplacer(
	`"transactionServiceGroup":`, `"txServiceGroup":`, `"transactionName":`, `"name":`, `"timeout":`, `"timeoutMs":`,
	`"msgs":`, `"messages":`, `"resultMessages":`, `"messages":`)

// A field that is lost, misnamed or wrong, on the way out or back, turns this
// red: the object has what Java read, and gives the bytes that Java wrote.
func TestCapturedFramesAreWhatJavaReadAndComeBack(t *testing.T) {
	var translator wiretext.Translator
	for _, c := range loadCaptured(t) {
		f, err := translator.Decode(c.bytes)
		require.NoError(t, err, c.Name)
		text, err := json.Marshal(f)
		require.NoError(t, err)
		got := parse(t, text)
		for name, want := range map[string]int{
			"version": c.Version, "message_type": c.MessageType, "codec": c.Codec, "compressor": c.Compressor, "request_id": c.RequestID,
		} {
			require.Equal(t, json.Number(fmt.Sprint(want)), got[name], "%s: %s", c.Name, name)
		}
		require.Equal(t, protocol.TypeCode(c.TypeCode).String(), got["type"], c.Name)
		if c.Compressor == 0 && c.Codec == 1 {
			require.NotContains(t, got, "raw", c.Name)
		}
		decoded, err := json.Marshal(c.Decoded)
		require.NoError(t, err)
		compare(t, c.Name, parse(t, []byte(javaNames.Replace(string(decoded)))), got["body"].(map[string]any))

		back, err := translator.Encode(nil, text)
		require.NoError(t, err, "%s: %s", c.Name, text)
		require.Equal(t, c.Hex, hex.EncodeToString(back), "%s: %s", c.Name, text)
	}
}

// The same for all frames of all versions that the project has, also those that
// Java's classes were not written down for.
func TestAllFramesComeBack(t *testing.T) {
	var translator wiretext.Translator
	n := 0
	require.NoError(t, filepath.WalkDir("../testdata", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".jsonl" {
			return err
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for text := range bytes.Lines(data) {
			var line struct{ Hex string }
			require.NoError(t, json.Unmarshal(text, &line))
			b, err := hex.DecodeString(line.Hex)
			require.NoError(t, err)
			cut, err := translator.Cut(append(b, "more"...))
			require.NoError(t, err, "%s: %s", path, text)
			require.Equal(t, len(b), cut)
			object := mustDecode(t, b)
			back, err := translator.Encode(nil, object)
			require.NoError(t, err, "%s: %s", path, object)
			require.Equal(t, line.Hex, hex.EncodeToString(back), "%s: %s", path, object)
			n++
		}
		return nil
	}))
	require.Greater(t, n, 1000)
}

func parse(t *testing.T, text []byte) (o map[string]any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&o), "%s", text)
	return o
}

// compare checks an object against Java's, in which null is empty, a value of an
// enumeration is followed by its number, and a class has fields that are not on
// the wire.
func compare(t *testing.T, name string, java, got map[string]any) {
	for field, value := range java {
		_, ok := got[field]
		assert.True(t, ok || value == nil || value == "" || field == "@class" || field == "status", "%s: %s = %v is lost", name, field, value)
	}
	for field, value := range got {
		want, ok := java[field]
		if field == "globalStatus" && !ok || field == "branchStatus" && !ok {
			want, ok = java["status"], true
		}
		require.True(t, ok, "%s: Java has no field %s", name, field)
		switch value := value.(type) {
		case []any:
			list, _ := want.([]any)
			require.Len(t, value, len(list), "%s: %s", name, field)
			for i := range value {
				item, isObject := value[i].(map[string]any)
				if !isObject {
					require.Equal(t, list[i], value[i], "%s: %s", name, field)
					continue
				}
				compare(t, name+" "+fmt.Sprint(item["type"]), list[i].(map[string]any), item["body"].(map[string]any))
			}
		default:
			text := fmt.Sprint(want)
			if want == nil {
				text = ""
			}
			text, _, _ = strings.Cut(text, "(")
			if field == "resultCode" && text == "" || fmt.Sprint(want) == fmt.Sprint(value) {
				continue // a registration's answer has none on the wire
			}
			plain := func(s any) string { return strings.ToLower(strings.ReplaceAll(fmt.Sprint(s), "_", "")) }
			assert.Equal(t, plain(text), plain(value), "%s: %s", name, field)
		}
	}
}
