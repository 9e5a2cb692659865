package sagalog

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
