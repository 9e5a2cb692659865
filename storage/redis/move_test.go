//go:build linux

package redis

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// What another store has can be put into this one as it is: live transactions with their
// revision and locks, finished ones with their outcome, and notes.
func TestContentThatIsMoved(t *testing.T) {
	from, _ := onOne(t)
	to, _ := onOne(t)
	state := begin(t, from, 100, "t:1,2")
	require.NoError(t, from.Apply(t.Context(), &storage.Batch{XID: state.XID, Revision: 1, Add: []storage.Branch{locking(102, "t:3")}}))
	state = load(t, from, state.XID)
	ended := begin(t, from, 200, "t:9")
	require.NoError(t, from.Apply(t.Context(), finished(ended)))
	require.NoError(t, from.PutNote(t.Context(), storage.Note{Kind: "k", Key: "b", Value: "2"}))
	require.NoError(t, from.PutNote(t.Context(), storage.Note{Kind: "k", Key: "a", Value: "1"}))
	require.NoError(t, from.PutNote(t.Context(), storage.Note{Kind: "k", Key: "b"}))

	require.NoError(t, from.Scan(t.Context(), 0, func(s storage.State) bool {
		require.NoError(t, to.Apply(t.Context(), storage.Whole(&s)))
		return true
	}))
	var graves []storage.Grave
	require.NoError(t, from.Graves(t.Context(), func(g storage.Grave) bool {
		graves = append(graves, g)
		return true
	}))
	require.Equal(t, []storage.Grave{{ID: 200, Tombstone: storage.Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: 1 << 40}}}, graves)
	require.NoError(t, to.Apply(t.Context(), graves[0].Whole()))
	require.Equal(t, state, load(t, to, state.XID))
	require.Equal(t, protocol.StatusCommitted, load(t, to, ended.XID).Outcome)
	require.EqualValues(t, 3, to.Stats().Locks)
	require.NoError(t, to.Apply(t.Context(), decided(state)), "it goes on at its revision")
	last, err := to.LastID(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 200, last)
	require.NoError(t, to.Apply(t.Context(), storage.Used(300)))
	last, err = to.LastID(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 300, last)

	notes, err := from.Notes(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, []storage.Note{{Kind: "k", Key: "a", Value: "1"}}, notes)
	others, err := from.Others(t.Context())
	require.NoError(t, err)
	require.Empty(t, others)
}
