package image_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
)

// A row that Java wrote down as it read it is not dirty, and one that it would
// read otherwise is. An exact record of ours takes neither.
func TestRowsAsJavaReadsThem(t *testing.T) {
	for _, c := range []struct {
		name, declared  string
		jdbc            int
		recorded, found any
		asJava, exact   bool
	}{
		{"a number in a boolean", "tinyint(1)", schema.JDBCBit, true, int32(5), true, false},
		{"a negative number in a boolean", "tinyint(1)", schema.JDBCBit, false, int32(-7), true, false},
		{"minus one in a boolean", "tinyint(1)", schema.JDBCBit, true, int32(-1), true, false},
		{"another boolean", "tinyint(1)", schema.JDBCBit, true, int32(0), false, false},
		{"the same number", "tinyint(1)", schema.JDBCBit, int32(5), int32(5), true, true},
		{"a tinyint", "tinyint(4)", schema.JDBCTinyInt, int32(1), int32(5), false, false},
		{"six digits of a float", "float", schema.JDBCReal, float32(1234.57), float32(1234.567), true, false},
		{"another float", "float", schema.JDBCReal, float32(1234.58), float32(1234.567), false, false},
		{"a time without its fraction", "time(6)", schema.JDBCTime, image.Time("13:14:15"), image.Time("13:14:15.5"), true, false},
		{"another time", "time(6)", schema.JDBCTime, image.Time("13:14:16"), image.Time("13:14:15.5"), false, false},
		{"a year as a number", "year(4)", schema.JDBCDate, int32(2024), image.Year(2024), true, true},
		{"a year as a date", "year(4)", schema.JDBCDate, image.Date("2024-01-01"), image.Year(2024), true, true},
		{"another year", "year(4)", schema.JDBCDate, image.Date("2023-01-01"), image.Year(2024), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := &schema.Table{Name: "t", PrimaryKey: []string{"id"}, Columns: []schema.Column{
				{Name: "id"}, {Name: "v", DatabaseType: c.declared, JDBCType: c.jdbc}}}
			of := func(v any) image.Image {
				return image.Image{Table: "t", Rows: []image.Row{{{Name: "id", Key: true, Value: int32(1)}, {Name: "v", Type: c.jdbc, Value: v}}}}
			}
			d, err := image.DiffAsJava(table, of(c.recorded), of(c.found))
			require.NoError(t, err)
			assert.Equal(t, c.asJava, d == nil)
			d, err = image.Diff(table, of(c.recorded), of(c.found))
			require.NoError(t, err)
			assert.Equal(t, c.exact, d == nil)
		})
	}
}

// Lock keys are Java's, also where it reads another value than there is.
func TestKeysAsJavaLocksThem(t *testing.T) {
	for want, c := range map[string]struct {
		declared string
		jdbc     int
		v        any
	}{
		"t:true":    {"tinyint(1)", schema.JDBCBit, int32(5)},
		"t:1234.57": {"float", schema.JDBCReal, float32(1234.567)},
		"t:5":       {"tinyint(4)", schema.JDBCTinyInt, int32(5)},
	} {
		table := &schema.Table{Name: "t", PrimaryKey: []string{"k"}, Columns: []schema.Column{{Name: "k", DatabaseType: c.declared, JDBCType: c.jdbc}}}
		var l image.Locks
		require.NoError(t, l.Add(table, image.Image{Table: "t", Rows: []image.Row{{{Name: "k", Type: c.jdbc, Key: true, Value: c.v}}}}))
		assert.Equal(t, want, l.String())
	}
}
