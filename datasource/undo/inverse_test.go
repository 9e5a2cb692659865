package undo

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

func TestInverse(t *testing.T) {
	table := &schema.Table{Name: "t", PrimaryKey: []string{"a", "b"}, Columns: []schema.Column{
		{Name: "a"}, {Name: "b"}, {Name: "v"}, {Name: "g", Generated: true}}}
	row := func(b int64, v any) image.Row {
		return image.Row{{Name: "v", Value: v}, {Name: "a", Value: "x", Key: true}, {Name: "b", Value: b, Key: true}, {Name: "g", Value: int32(9)}}
	}
	images := image.Image{Table: "t", Rows: []image.Row{row(1, "one"), row(2, nil)}}
	for _, c := range []struct {
		name  string
		entry Entry
		d     schema.Dialect
		want  []Statement
	}{
		{"insert", Entry{Kind: sqlparse.Insert, After: images}, schema.MySQL, []Statement{
			{"DELETE FROM `t` WHERE (`a` = ? AND `b` = ?)", []any{"x", int64(2)}},
			{"DELETE FROM `t` WHERE (`a` = ? AND `b` = ?)", []any{"x", int64(1)}}}},
		{"delete", Entry{Kind: sqlparse.Delete, Before: images}, schema.SQLite, []Statement{
			{"INSERT INTO `t` (`v`, `a`, `b`) VALUES (?, ?, ?)", []any{nil, "x", int64(2)}},
			{"INSERT INTO `t` (`v`, `a`, `b`) VALUES (?, ?, ?)", []any{"one", "x", int64(1)}}}},
		{"update", Entry{Kind: sqlparse.Update, Before: images, After: images}, schema.MySQL, []Statement{
			{"UPDATE `t` SET `v` = ? WHERE (`a` = ? AND `b` = ?)", []any{nil, "x", int64(2)}},
			{"UPDATE `t` SET `v` = ? WHERE (`a` = ? AND `b` = ?)", []any{"one", "x", int64(1)}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Inverse(c.d, table, c.entry)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestInverseOfAnImageThatDoesNotFit(t *testing.T) {
	table := &schema.Table{Name: "t", PrimaryKey: []string{"a"}, Columns: []schema.Column{{Name: "a"}}}
	_, err := Inverse(schema.MySQL, table, Entry{Kind: sqlparse.Delete, Before: image.Image{Rows: []image.Row{{{Name: "a", Value: "x"}, {Name: "gone", Value: "y"}}}}})
	require.ErrorContains(t, err, "no column gone")
	_, err = Inverse(schema.MySQL, table, Entry{Kind: sqlparse.Delete, Before: image.Image{Rows: []image.Row{{{Name: "v", Value: "x"}}}}})
	require.ErrorContains(t, err, "lacks the primary key")
}
