package naming_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/naming"
)

func TestStatic(t *testing.T) {
	s, err := naming.NewStatic("tc1:8091", "[::1]:8091", "tc1:8091")
	require.NoError(t, err)
	got, err := s.Resolve(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"tc1:8091", "[::1]:8091"}, got)
	got[0] = "changed"
	again, _ := s.Resolve(t.Context())
	assert.Equal(t, "tc1:8091", again[0], "the caller's copy is its own")
}

func TestBadAddresses(t *testing.T) {
	for _, address := range []string{"", "tc1", ":8091", "tc1:", "tc1:0", "tc1:70000", "tc1:http", "::1:8091", "http://tc1:8091"} {
		_, err := naming.NewStatic("good:8091", address)
		assert.ErrorIs(t, err, naming.ErrAddress, address)
		assert.ErrorContains(t, err, `"`+address+`"`)
	}
	_, err := naming.NewStatic()
	assert.ErrorIs(t, err, naming.ErrAddress)
}

func TestAddressesOfSeata(t *testing.T) {
	for seata, want := range map[string]string{
		"10.0.0.1:8091":             "10.0.0.1:8091",
		" tc.internal:8091\n":       "tc.internal:8091",
		"0:0:0:0:0:0:0:1:8091":      "[::1]:8091", // as Java writes an address
		"fe80:0:0:0:1:2:3:4%2:8091": "[fe80::1:2:3:4]:8091",
		"::ffff:10.0.0.1:8091":      "10.0.0.1:8091",
		"2001:db8::7:8091":          "[2001:db8::7]:8091", // as ToSeata does
		"[2001:db8:0:0::7]:8091":    "[2001:db8:0:0::7]:8091",
		"[2001:db8::7]:8091":        "[2001:db8::7]:8091",
	} {
		got, err := naming.FromSeata(seata)
		assert.NoError(t, err, seata)
		assert.Equal(t, want, got)
	}
	for _, bad := range []string{"", ":", "a", "10.0.0.1", "10.0.0.1:", "10.0.0.1:x", "a:b:c", "a b:1", "a:1;b:2", "a:1,b:2", "http://a:1", "::1", "[::1]", strings.Repeat(":", 1000)} {
		_, err := naming.FromSeata(bad)
		assert.ErrorIs(t, err, naming.ErrAddress, bad)
	}
	got, err := naming.ToSeata("[2001:db8::7]:8091")
	require.NoError(t, err)
	assert.Equal(t, "2001:db8::7:8091", got)
	got, err = naming.ToSeata("tc:8091")
	require.NoError(t, err)
	assert.Equal(t, "tc:8091", got)
	_, err = naming.ToSeata("2001:db8::7:8091")
	assert.ErrorIs(t, err, naming.ErrAddress)
}

func FuzzFromSeata(f *testing.F) {
	for _, seed := range []string{"10.0.0.1:8091", "0:0:0:0:0:0:0:1:8091", "[::1]:8091", "fe80::1%eth0:1", "::"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := naming.FromSeata(text)
		if err != nil {
			return
		}
		require.NoError(t, naming.Check(address))
		java, err := naming.ToSeata(address)
		require.NoError(t, err)
		again, err := naming.FromSeata(java)
		require.NoError(t, err)
		require.NoError(t, naming.Check(again))
	})
}
