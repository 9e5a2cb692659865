package sagaservice

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	gxbig "github.com/dubbogo/gost/math/big"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPlain: whatever Hessian reads becomes JSON's values, or an error; nothing
// panics.
func TestPlain(t *testing.T) {
	decimal, err := gxbig.NewDecFromString("12.50")
	require.NoError(t, err)
	whole := new(gxbig.Integer)
	require.NoError(t, whole.FromString("7"))
	var none *string
	itself := map[any]any{}
	itself["itself"] = itself
	for name, c := range map[string]struct{ v, want any }{
		"Java's map":          {map[any]any{"class": "a.B", int32(1): []any{int8(2), nil}}, map[string]any{"class": "a.B", "1": []any{int64(2), nil}}},
		"an array":            {[]int32{1, 2}, []any{int64(1), int64(2)}},
		"a list of texts":     {[]string{"a"}, []any{"a"}},
		"bytes":               {[]byte("a"), []byte("a")},
		"a float":             {float32(0.5), 0.5},
		"a BigDecimal":        {decimal, 12.5},
		"a BigInteger":        {whole, int64(7)},
		"a date":              {time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), "2026-01-02T03:04:05.006Z"},
		"a number of JSON's":  {json.Number("9007199254740993"), int64(9007199254740993)},
		"a pointer to no one": {none, nil},
		"a registered class":  {&struct{ Name string }{"x"}, map[string]any{"Name": "x"}},
		"the largest":         {int64(math.MaxInt64), int64(math.MaxInt64)},
	} {
		got, err := plain(c.v, 0)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
	_, err = plain(itself, 0)
	require.ErrorContains(t, err, "nested more than")
	_, err = plain(map[string]any{"x": make(chan int)}, 0)
	require.Error(t, err)
	_, err = plain(json.Number("1e999"), 0)
	require.ErrorContains(t, err, "no number")
}
