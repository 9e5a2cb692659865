package undo

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
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
	for _, c := range capturedColumns(f) {
		f.Add("", []byte(c.Record))
	}
	f.Fuzz(func(t *testing.T, context string, content []byte) {
		if form, err := ParseContext(context); err != nil {
			require.ErrorIs(t, err, ErrUndecodable)
		} else if form.Serializer == "" && !form.Java {
			again, err := ParseContext(form.String())
			require.NoError(t, err)
			require.Equal(t, form, again)
		}
		codec := Codec{Dialect: schema.MySQL}
		record, err := codec.Decode(content)
		if err != nil {
			require.True(t, isTyped(err), "untyped error: %v", err)
			return
		}
		again, err := codec.Encode(record)
		if err != nil {
			require.ErrorIs(t, err, ErrUnwritable)
			return
		}
		_, err = codec.Decode(again)
		require.NoError(t, err)
	})
}
