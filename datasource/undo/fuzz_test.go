package undo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever lies in undo_log, Decode returns a record or a typed error, and a
// record that it returns can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, row := range capturedRows(f) {
		f.Add(row.Context, row.Content)
	}
	for _, row := range postgresRows(f) {
		f.Add(row.Context, row.Content)
	}
	f.Fuzz(func(t *testing.T, context string, content []byte) {
		record, err := Codec{}.Decode(context, content)
		if err != nil {
			require.True(t, isTyped(err), "untyped error: %v", err)
			return
		}
		again, err := Codec{}.Encode(record)
		if err != nil {
			require.ErrorIs(t, err, ErrUnwritable)
			return
		}
		_, err = Codec{}.Decode(Context, again)
		require.NoError(t, err)
	})
}
