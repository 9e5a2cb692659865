package memory

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/storage"
)

// A snapshot has the notes of its moment; one without notes is as it always was.
func TestSnapshotWithNotes(t *testing.T) {
	write := func(s *Store) []byte {
		n, err := s.Snapshot()
		require.NoError(t, err)
		defer n.Release()
		require.NoError(t, s.PutNote(t.Context(), storage.Note{Kind: "k", Key: "later", Value: "v"}))
		var out bytes.Buffer
		require.NoError(t, n.Write(&out))
		return out.Bytes()
	}
	require.EqualValues(t, snapshotVersion, write(New())[0])

	s := New()
	notes := []storage.Note{{Kind: "k", Key: "", Value: "v"}, {Kind: "k", Key: "b", Value: "w"}}
	for _, n := range notes {
		require.NoError(t, s.PutNote(t.Context(), n))
	}
	written := write(s)
	restored := New()
	require.NoError(t, restored.Restore(bytes.NewReader(written)))
	got, err := restored.Notes(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, notes, got)
	for n := range written {
		require.ErrorIs(t, New().Restore(bytes.NewReader(written[:n])), ErrBadSnapshot, "%d bytes", n)
	}
}
