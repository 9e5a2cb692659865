package storage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRowKeys(t *testing.T) {
	for _, c := range []struct {
		lockKey string
		want    []RowKey
	}{
		{"", nil},
		{";", nil},
		{"t:1", []RowKey{"r^^^t^^^1"}},
		{"t:1,2;u:1", []RowKey{"r^^^t^^^1", "r^^^t^^^2", "r^^^u^^^1"}},
		{"t:1_a,1_a", []RowKey{"r^^^t^^^1_a"}},
		{"t:1;t:1;", []RowKey{"r^^^t^^^1"}},
		{"t:a:b", []RowKey{"r^^^t^^^a:b"}},
	} {
		got, err := RowKeys("r", c.lockKey)
		require.NoError(t, err, c.lockKey)
		assert.Equal(t, c.want, got, c.lockKey)
	}
	for _, bad := range []string{"t", ":1", "t:", "t:1,", "t:,1", "t:1;u"} {
		_, err := RowKeys("r", bad)
		assert.ErrorIs(t, err, ErrBadLockKey, bad)
	}
}

// Few rows are compared, many are hashed: both drop repetitions.
func TestRowKeysOfManyRows(t *testing.T) {
	for _, rows := range []int{fewRows - 1, fewRows, fewRows + 1, 100} {
		var pks []string
		for i := range rows {
			pks = append(pks, fmt.Sprint(i))
		}
		keys, err := RowKeys("r", "t:"+strings.Join(append(pks, pks...), ","))
		require.NoError(t, err)
		require.Len(t, keys, rows)
		for i, key := range keys {
			require.Equal(t, NewRowKey("r", "t", pks[i]), key)
			require.Equal(t, string(key), string(AppendRowKey(nil, "r", "t", pks[i])))
		}
	}
}

func TestRowKeysAreCapped(t *testing.T) {
	_, err := RowKeys("r", "t:"+strings.Repeat("1,", MaxLocksPerBranch)+"1")
	require.ErrorIs(t, err, ErrBadLockKey)
	_, err = RowKeys(strings.Repeat("r", 1<<20), "t:"+strings.Repeat("1,", 300)+"1")
	require.ErrorIs(t, err, ErrBadLockKey)
}

func TestRowKeySplit(t *testing.T) {
	resource, table, pk := NewRowKey("jdbc:mysql://db:3306/a", "t", "1^^^2").Split()
	assert.Equal(t, []string{"jdbc:mysql://db:3306/a", "t", "1^^^2"}, []string{resource, table, pk})
}
