package at_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Closing the pool closes the resource, which lets the process open it again.
func TestADatabaseThatWasClosedSaysSo(t *testing.T) {
	e := onSQLite(t, settings{}, stock...)
	assert.False(t, e.connector.Resource().Closed())
	require.NoError(t, e.db.Close())
	assert.True(t, e.connector.Resource().Closed())
}
