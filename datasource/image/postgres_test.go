package image

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
)

func postgres(base, cast string) schema.Column {
	return schema.Column{Name: "c", DatabaseType: base, Cast: cast}
}

// What the server sends for SelectList becomes a typed value, and that becomes
// a text which the server reads as the same value.
func TestPostgresValues(t *testing.T) {
	for _, c := range []struct {
		column schema.Column
		in     any
		want   any
		arg    any
	}{
		{postgres("int2", "smallint"), "-5", int32(-5), "-5"},
		{postgres("int8", "bigint"), []byte("9223372036854775807"), int64(math.MaxInt64), "9223372036854775807"},
		{postgres("bool", "boolean"), "true", true, "true"},
		{postgres("bit", "bit(1)"), "1", true, "1"},
		{postgres("bit", "bit(8)"), "00000001", Object{"bit", "00000001"}, "00000001"},
		{postgres("numeric", "numeric"), "9.90", Decimal("9.90"), "9.90"},
		{postgres("numeric", "numeric"), "-Infinity", math.Inf(-1), "-Infinity"},
		{postgres("float4", "real"), "3dcccccd", float32(0.1), "0.1"},
		{postgres("float8", "double precision"), "7ff0000000000000", math.Inf(1), "Infinity"},
		{postgres("bytea", "bytea"), "00ff", []byte{0, 0xff}, `\x00ff`},
		{postgres("date", "date"), "0044-03-15 BC", Date("0044-03-15 BC"), "0044-03-15 BC"},
		{postgres("time", "time"), "13:14:15.500", Time("13:14:15.5"), "13:14:15.5"},
		{postgres("timestamp", "timestamp"), "2024-05-06T07:08:09.12", Timestamp("2024-05-06 07:08:09.12"), "2024-05-06 07:08:09.12"},
		{postgres("timestamptz", "timestamptz"), "2024-05-06T07:08:09", Instant("2024-05-06 07:08:09"), "2024-05-06 07:08:09+00"},
		{postgres("timestamptz", "timestamptz"), "0044-03-15T00:00:00 BC", Instant("0044-03-15 00:00:00 BC"), "0044-03-15 00:00:00+00 BC"},
		{postgres("timestamptz", "timestamptz"), "-infinity", Instant("-infinity"), "-infinity"},
		{postgres("interval", "interval"), "fffffffffffffffffffffffd0000000e", Interval{Months: 14, Days: -3, Micros: -1}, "+14 months -3 days -1 microseconds"},
		{postgres("uuid", "uuid"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{postgres("jsonb", "jsonb"), "{}", Object{"jsonb", "{}"}, "{}"},
		{postgres("_int4", "integer[]"), "{1,NULL}", Array{"int4", "{1,NULL}"}, "{1,NULL}"},
		{postgres("bpchar", "character(5)"), "ab   ", "ab   ", "ab   "},
		{postgres("text", "text"), nil, nil, nil},
	} {
		got, err := Typed(schema.PostgreSQL, c.column, c.in)
		require.NoError(t, err, c.column.Cast)
		assert.Equal(t, c.want, got, c.column.Cast)
		assert.Equal(t, c.arg, Arg(schema.PostgreSQL, c.column, got), c.column.Cast)
		assert.True(t, Equal(got, c.want))
	}
	for _, c := range []struct {
		column schema.Column
		in     any
	}{
		{postgres("int4", "integer"), "2147483648"}, {postgres("float8", "double precision"), "00"}, {postgres("bytea", "bytea"), "x"},
		{postgres("point", "point"), "(1,2)"}, {postgres("int4", "integer"), time.Time{}},
	} {
		_, err := Typed(schema.PostgreSQL, c.column, c.in)
		require.ErrorContains(t, err, "column c ("+c.column.DatabaseType+")")
	}
}

func TestPostgresEquality(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{Instant("2024-01-01 00:00:00"), Timestamp("2024-01-01 00:00:00.0"), true}, {Object{"json", "1"}, Object{"jsonb", "1"}, false},
		{Object{"json", "1"}, Object{"json", "1 "}, false}, {Array{"int4", "{1}"}, Array{"int4", "{1}"}, true},
		{Array{"int4", "{1}"}, Array{"int4", "{2}"}, false}, {Interval{Days: 1}, Interval{Micros: 86400e6}, false}, {UUID("a"), UUID("b"), false},
	} {
		assert.Equal(t, c.want, Equal(c.a, c.b), "%v %v", c.a, c.b)
	}
}

// An undo record tells less of a value's type than the column does.
func TestRetyped(t *testing.T) {
	for _, c := range []struct {
		column           schema.Column
		v, instant, want any
	}{
		{postgres("timestamptz", "timestamptz"), Timestamp("2024-01-01 08:00:00"), Timestamp("2024-01-01 00:00:00"), Instant("2024-01-01 00:00:00")},
		{postgres("timestamp", "timestamp"), Timestamp("2024-01-01 08:00:00"), Timestamp("2024-01-01 00:00:00"), Timestamp("2024-01-01 08:00:00")},
		{postgres("time", "time"), "13:14:15.5", "13:14:15.5", Time("13:14:15.5")},
		{postgres("_int4", "integer[]"), "{{1}}", "{{1}}", Array{"int4", "{{1}}"}},
		{postgres("timestamptz", "timestamptz"), "0044-03-15 00:00:00 BC", nil, Instant("0044-03-15 00:00:00 BC")},
		{postgres("enum", "mood"), "ok", "ok", "ok"},
		{postgres("point", "point"), nil, nil, nil},
	} {
		got, err := Retyped(c.column, c.v, c.instant)
		require.NoError(t, err)
		assert.Equal(t, c.want, got)
	}
	for _, column := range []schema.Column{postgres("timetz", "time with time zone"), postgres("money", "money")} {
		_, err := Retyped(column, Time("11:14:15"), Time("11:14:15"))
		require.ErrorContains(t, err, column.Cast)
	}
}

func TestPostgresSelectsAreQualified(t *testing.T) {
	assert.Equal(t, `"x"."c", encode("x"."c", 'hex'), to_json("x"."c" AT TIME ZONE 'UTC') #>> '{}', CAST("x"."c" AS text)`,
		SelectList(schema.PostgreSQL, "x", []schema.Column{postgres("text", "text"), postgres("bytea", "bytea"), postgres("timestamptz", ""), postgres("int4", "integer")}))
	table := &schema.Table{Name: "t", PrimaryKey: []string{"c"}, Columns: []schema.Column{postgres("int4", "integer")}}
	where, args := WhereKeys(schema.PostgreSQL, table, [][]any{{int32(1)}, {int32(2)}}, 3)
	assert.Equal(t, `("c" = CAST(CAST($3 AS text) AS integer)) OR ("c" = CAST(CAST($4 AS text) AS integer))`, where)
	assert.Equal(t, []any{"1", "2"}, args)
}

// The text of a TIMESTAMPTZ key is what Java writes in its own zone.
func TestInstantsAreLockedInJavasZone(t *testing.T) {
	table, img := keyed("t", Instant("2024-05-06 07:08:09.5"))
	utc := Locks{}
	require.NoError(t, utc.Add(table, img))
	assert.Equal(t, "t:2024-05-06 07:08:09.5", utc.String())
	local := Locks{Zone: time.FixedZone("x", 8*3600)}
	require.NoError(t, local.Add(table, img))
	assert.Equal(t, "t:2024-05-06 15:08:09.5", local.String())
}

func TestMatchingTakesTheOrderOfTheOther(t *testing.T) {
	table, img := keyed("t", int64(1), int64(2), int64(3))
	_, like := keyed("t", int64(3), int64(1))
	got, err := Matching(table, img, like)
	require.NoError(t, err)
	assert.Equal(t, []Row{img.Rows[2], img.Rows[0]}, got.Rows)
	_, other := keyed("t", int64(4))
	_, err = Matching(table, img, other)
	require.ErrorIs(t, err, ErrNoRow)
	require.ErrorContains(t, err, "K=4")
}
