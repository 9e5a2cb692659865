package xid

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for _, id := range []int64{1, 9, 10, 2612341069705662466, math.MaxInt64} {
		for _, address := range []string{"10.0.0.1:8091", "[::1]:8091", "tc:1"} {
			gotAddress, got, err := Parse(New(address, id))
			require.NoError(t, err)
			require.Equal(t, address, gotAddress)
			require.Equal(t, id, got)
		}
	}
}

// What is no XID of a transaction is refused, and never taken for another one.
func TestParseRefuses(t *testing.T) {
	for _, x := range []string{
		"", ":", "::", "a", "a:1", "a:b:", "a:b:0", "a:b:-1", "a:b:+1", "a:b: 1", "a:b:1 ", "a:b:1_0", "a:b:0x1", "a:b:1:",
		"a:b:9223372036854775808", "a:b:18446744073709551617", "a:b:" + strings.Repeat("9", 20),
		"a:b:" + strings.Repeat("0", 20) + "1", ":b:\xff", strings.Repeat("a", 61) + ":1:1",
	} {
		_, id, err := Parse(x)
		require.ErrorIs(t, err, ErrMalformed, "%q", x)
		require.Zero(t, id)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("10.0.0.1:8091:2612341069705662466")
	f.Fuzz(func(t *testing.T, x string) {
		address, id, err := Parse(x)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		require.Positive(t, id)
		n, err := strconv.ParseInt(x[len(address)+1:], 10, 64)
		require.NoError(t, err)
		require.Equal(t, n, id)
	})
}
