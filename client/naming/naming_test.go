package naming_test

import (
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
