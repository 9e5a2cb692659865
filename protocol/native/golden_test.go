package native_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/native"
)

func loadCaptured(tb testing.TB) []codectest.Captured {
	return codectest.LoadCaptured(tb, "../testdata", 1)
}

// A field read in the wrong order, width or place, or written otherwise than
// Java writes it, turns this red.
func TestCapturedBodiesDecodeAsInJavaAndEncodeBack(t *testing.T) {
	for _, c := range loadCaptured(t) {
		t.Run(c.Name, func(t *testing.T) {
			m, err := native.Decode(c.Body)
			require.NoError(t, err)
			codectest.Compare(t, c.Decoded, m)
			body, err := native.Append(nil, m)
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(c.Body), hex.EncodeToString(body))
		})
	}
}
