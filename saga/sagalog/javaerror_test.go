package sagalog

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/saga/machine"
)

// TestErrorsAndJava: Java reads the errors that are written here as exceptions, and
// those that Java writes are read here.
func TestErrorsAndJava(t *testing.T) {
	testenv.NeedJava(t)
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	f := &machine.Failure{Class: "com.example.NoSeat", Also: []string{"java.lang.RuntimeException", "HTTP 409", "*saga.Exception"},
		Message: "full: 桥 𝄞\x00!"}
	require.NoError(t, os.WriteFile(name("ours"), encodeFailure(f), 0o600))
	out, err := exec.Command("java", "-Dfile.encoding=UTF-8", "testdata/java/Errors.java", name("ours"), name("plain"), name("own"), name("silent")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	assert.Equal(t, []string{"java.lang.RuntimeException", "full: 桥 𝄞\x00!", "com.example.NoSeat", "java.lang.RuntimeException", "HTTP 409", "*saga.Exception"}, lines)

	for file, want := range map[string]*machine.Failure{
		"plain":  {Class: "java.lang.RuntimeException", Also: []string{"java.lang.Exception", "java.lang.Throwable"}, Message: "plain"},
		"silent": {Class: "java.lang.RuntimeException", Also: []string{"java.lang.Exception", "java.lang.Throwable"}},
		"own": {Class: "Errors$Booking", Also: []string{"java.lang.IllegalStateException", "java.lang.RuntimeException", "java.lang.Exception",
			"java.lang.Throwable"}, Message: "no seat 桥"},
	} {
		b, err := os.ReadFile(name(file))
		require.NoError(t, err)
		assert.Equal(t, want, decodeFailure(b), file)
	}
}

func FuzzDecodeFailure(f *testing.F) {
	f.Add(encodeFailure(&machine.Failure{Class: "a.B", Also: []string{"c"}, Message: "m", Network: machine.NotSent}))
	f.Add([]byte(javaMagic + "sr\x00\x03a.B"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first := decodeFailure(b)
		if first != nil && first.Class != "" && len(first.Message) < 60000 {
			assert.Equal(t, decodeFailure(encodeFailure(first)).Class, strings.ToValidUTF8(first.Class, "\ufffd"))
		}
	})
}

// TestParametersOfJava: both of Seata's JSON parsers write the classes of values.
func TestParametersOfJava(t *testing.T) {
	want := map[string]any{"a": int64(1), "b": int64(5), "c": 1.5, "list": []any{int64(1), "x"}, "text": "1L", "null": nil}
	for name, text := range map[string]string{
		"ours":     `{"a":1,"b":5,"c":1.5,"list":[1,"x"],"text":"1L","null":null}`,
		"fastjson": `{"@type":"java.util.HashMap","a":1,"b":5L,"c":1.5D,"list":[1,"x"],"text":"1L","null":null}`,
		"jackson":  `{"@type":"java.util.HashMap","a":1,"b":["java.lang.Long",5],"c":1.5,"list":["java.util.ArrayList",[1,"x"]],"text":"1L","null":null}`,
	} {
		got, err := decodeValue(text)
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
	for _, jackson := range []bool{false, true} {
		text, err := encodeValue(map[string]any{"a": int64(1) << 40, "list": []any{4.0, "x", nil, map[string]any{}}}, jackson)
		require.NoError(t, err)
		got, err := decodeValue(text.(string))
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"a": int64(1) << 40, "list": []any{4.0, "x", nil, map[string]any{}}}, got)
	}
	_, err := decodeValue("{")
	assert.ErrorContains(t, err, "no JSON")
}
