package image

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
)

func mysql(declared string, jdbc int) schema.Column {
	return schema.Column{Name: "c", DatabaseType: declared, JDBCType: jdbc}
}

func TestDriverValuesBecomeTyped(t *testing.T) {
	for _, c := range []struct {
		column schema.Column
		in     any
		want   any
	}{
		{mysql("int", schema.JDBCInteger), []byte("-5"), int32(-5)},
		{mysql("int", schema.JDBCInteger), int64(-5), int32(-5)},
		{mysql("int(10) unsigned", schema.JDBCInteger), int64(4294967295), int64(4294967295)},
		{mysql("bigint", schema.JDBCBigInt), []byte("7"), int64(7)},
		{mysql("bigint(20) unsigned", schema.JDBCBigInt), []byte("18446744073709551615"), uint64(math.MaxUint64)},
		{mysql("tinyint(1)", schema.JDBCBit), int64(1), true},
		{mysql("tinyint(1)", schema.JDBCBit), int64(5), int32(5)},
		{mysql("bit(1)", schema.JDBCBit), []byte{1}, true},
		{mysql("bit(8)", schema.JDBCBit), []byte{0xa5}, []byte{0xa5}},
		{mysql("year", schema.JDBCDate), int64(2024), Year(2024)},
		{mysql("float", schema.JDBCReal), 0.10000000149011612, float32(0.1)},
		{mysql("double", schema.JDBCDouble), []byte("1.25"), 1.25},
		{mysql("decimal(20,4)", schema.JDBCDecimal), []byte("9.9000"), Decimal("9.9000")},
		{mysql("date", schema.JDBCDate), []byte("0000-00-00"), Date("0000-00-00")},
		{mysql("time(6)", schema.JDBCTime), []byte("-25:00:00.500000"), Time("-25:00:00.5")},
		{mysql("datetime(6)", schema.JDBCTimestamp), "2024-05-06 07:08:09.123456", DateTime("2024-05-06 07:08:09.123456")},
		{mysql("timestamp", schema.JDBCTimestamp), []byte("2024-05-06 07:08:09"), Timestamp("2024-05-06 07:08:09")},
		{mysql("varchar(9)", schema.JDBCVarChar), []byte("x"), "x"},
		{mysql("json", schema.JDBCLongVarChar), []byte("{}"), "{}"},
		{mysql("blob", schema.JDBCLongVarBinary), "x", []byte("x")},
		{mysql("int", schema.JDBCInteger), nil, nil},
	} {
		got, err := Typed(schema.MySQL, c.column, c.in)
		require.NoError(t, err, c.column.DatabaseType)
		assert.Equal(t, c.want, got, "%s %v", c.column.DatabaseType, c.in)
	}
	_, err := Typed(schema.MySQL, mysql("int", schema.JDBCInteger), "many")
	require.ErrorContains(t, err, "column c (int)")
	_, err = Typed(schema.SQLite, mysql("datetime", schema.JDBCTimestamp), true)
	require.Error(t, err, "SQLite has no storage class for a bool")
}

func TestEqualIsByMeaning(t *testing.T) {
	for _, c := range []struct {
		a, b any
		want bool
	}{
		{nil, nil, true}, {nil, "", false}, {nil, int32(0), false},
		{Decimal("9.90"), Decimal("9.9"), true}, {Decimal("-0.0"), Decimal("0"), true}, {Decimal("1E+2"), Decimal("100"), true},
		{Decimal("1E-2"), Decimal("0.01"), true}, {Decimal("100"), Decimal("1"), false}, {Decimal("5"), int64(5), true},
		{Decimal("12345678901234567890.1"), Decimal("12345678901234567890.2"), false},
		{true, int32(1), true}, {false, int64(0), true}, {true, int32(5), false},
		{int32(5), int64(5), true}, {uint64(math.MaxUint64), int64(-1), false},
		{float32(0.1), float64(float32(0.1)), true}, {float32(0.1), 0.1, false}, {math.NaN(), math.NaN(), true}, {math.Copysign(0, -1), 0.0, true},
		{DateTime("2024-01-01 00:00:00.500"), DateTime("2024-01-01 00:00:00.5"), true},
		{DateTime("2024-01-01 00:00:00"), Timestamp("2024-01-01 00:00:00"), true},
		{Time("13:14:15.5"), "13:14:15.5", true}, {Year(2024), Date("2024-01-01"), true}, {Year(2024), Date("2025-01-01"), false},
		{[]byte("a"), []byte("a"), true}, {[]byte("a"), "a", false}, {"a", "A", false}, {"1", int64(1), false}, {"9.90", "9.9", false},
	} {
		assert.Equal(t, c.want, Equal(c.a, c.b), "%#v and %#v", c.a, c.b)
		assert.Equal(t, c.want, Equal(c.b, c.a), "%#v and %#v", c.b, c.a)
	}
}

func TestArgWritesTheSameValue(t *testing.T) {
	assert.Equal(t, int64(1), Arg(schema.MySQL, mysql("tinyint(1)", schema.JDBCBit), true))
	assert.Equal(t, uint64(math.MaxUint64), Arg(schema.MySQL, mysql("bigint unsigned", schema.JDBCBigInt), uint64(math.MaxUint64)))
	assert.Equal(t, "9.90", Arg(schema.MySQL, mysql("decimal(4,2)", schema.JDBCDecimal), Decimal("9.90")))
	assert.Equal(t, "2024", Arg(schema.MySQL, mysql("year", schema.JDBCDate), Date("2024-01-01")))
	assert.Equal(t, int64(2024), Arg(schema.MySQL, mysql("year", schema.JDBCDate), Year(2024)))
	assert.Equal(t, float64(float32(0.1)), Arg(schema.MySQL, mysql("float", schema.JDBCReal), float32(0.1)))
	assert.Nil(t, Arg(schema.MySQL, mysql("float", schema.JDBCReal), nil))
}

func keyed(name string, values ...any) (*schema.Table, Image) {
	t := &schema.Table{Name: name, PrimaryKey: []string{"k"}, Columns: []schema.Column{{Name: "k"}, {Name: "v"}}}
	img := Image{Table: name}
	for _, v := range values {
		img.Rows = append(img.Rows, Row{{Name: "v", Value: "x"}, {Name: "K", Key: true, Value: v}})
	}
	return t, img
}

// The texts are those of Java's String.valueOf for the class in the comment.
func TestLockKeyTextIsJavas(t *testing.T) {
	for want, v := range map[string]any{
		"42":                         int64(42),                              // Long
		"-7":                         int32(-7),                              // Integer
		"18446744073709551615":       uint64(math.MaxUint64),                 // BigInteger
		"true":                       true,                                   // Boolean
		"a b:c":                      "a b:c",                                // String
		"9.90":                       Decimal("9.90"),                        // BigDecimal
		"0.000001":                   Decimal("0.000001"),                    // BigDecimal
		"1.2E-7":                     Decimal("0.00000012"),                  // BigDecimal
		"0E-8":                       Decimal("0.00000000"),                  // BigDecimal
		"2024-05-06":                 Date("2024-05-06"),                     // java.sql.Date
		"2024-01-01":                 Year(2024),                             // java.sql.Date
		"13:14:15":                   Time("13:14:15"),                       // java.sql.Time
		"2024-05-06 07:08:09.0":      Timestamp("2024-05-06 07:08:09"),       // Timestamp
		"2024-05-06 07:08:09.12":     Timestamp("2024-05-06 07:08:09.12"),    // Timestamp
		"2024-05-06T07:08:09.120":    DateTime("2024-05-06 07:08:09.12"),     // LocalDateTime
		"2024-05-06T07:08:09.123456": DateTime("2024-05-06 07:08:09.123456"), // LocalDateTime
		"2024-05-06T07:08":           DateTime("2024-05-06 07:08:00"),        // LocalDateTime
		"2024-05-06T07:08:00.500":    DateTime("2024-05-06 07:08:00.5"),      // LocalDateTime
		"1.0":                        float64(1),                             // Double
		"1.0E7":                      float64(1e7),                           // Double
		"1.5E-4":                     float64(0.00015),                       // Double
		"0.1":                        float32(0.1),                           // Float
		"0x00ff":                     []byte{0, 0xff},                        // ours: Java has none
	} {
		table, img := keyed("t", v)
		var l Locks
		require.NoError(t, l.Add(table, img))
		assert.Equal(t, "t:"+want, l.String())
	}
}

func TestLocksOfABranch(t *testing.T) {
	var l Locks
	assert.True(t, l.Empty())
	orders, img := keyed("orders", int64(1), int64(2))
	require.NoError(t, l.Add(orders, img))
	stock, other := keyed("Stock", "a")
	require.NoError(t, l.Add(stock, other))
	require.NoError(t, l.Add(orders, img))
	assert.Equal(t, "orders:1,2;Stock:a", l.String())
	assert.False(t, l.Empty())
}

// Deleting 'Ab ' must conflict with inserting 'ab' where both are one key.
func TestCaseInsensitiveKeysAreAlsoLockedFolded(t *testing.T) {
	table, img := keyed("t", "Ab ", "ab")
	table.Columns[0].CaseInsensitive = true
	var l Locks
	require.NoError(t, l.Add(table, img))
	assert.Equal(t, "t:Ab ,ab", l.String())
}

func TestKeysThatCannotBeLocked(t *testing.T) {
	for want, v := range map[string]any{"contains ','": "a,b", "separate lock keys": "a;b", "blank": " ", "NULL": nil} {
		table, img := keyed("t", v)
		var l Locks
		require.ErrorContains(t, l.Add(table, img), want)
		assert.True(t, l.Empty())
	}
	table, img := keyed("t:x", int64(1))
	require.ErrorContains(t, new(Locks).Add(table, img), "':'")
	table, img = keyed("t", int64(1))
	table.PrimaryKey = nil
	require.ErrorContains(t, new(Locks).Add(table, img), "no primary key")
}

func TestDiffNamesTheFirstForeignWrite(t *testing.T) {
	table, want := keyed("t", int64(1), int64(2))
	_, same := keyed("t", int64(2), int64(1))
	d, err := Diff(table, want, same)
	require.NoError(t, err)
	assert.Nil(t, d, "the order of rows does not count")

	_, changed := keyed("t", int64(1), int64(2))
	changed.Rows[1][0].Value = "y"
	d, err = Diff(table, want, changed)
	require.NoError(t, err)
	assert.Equal(t, `table t, row K=2, column v: expected "x", found "y"`, d.String())

	_, fewer := keyed("t", int64(1))
	d, err = Diff(table, want, fewer)
	require.NoError(t, err)
	assert.Equal(t, "table t, row K=2: expected a row, found none", d.String())
	d, err = Diff(table, fewer, want)
	require.NoError(t, err)
	assert.Equal(t, "table t, row K=2: expected no row, found one", d.String())
}

// Java joins composite keys with "_", so ("1","2_3") and ("1_2","3") read the
// same there; they must not be taken for one row when images are compared.
func TestAmbiguousCompositeKeysStayApart(t *testing.T) {
	table := &schema.Table{Name: "t", PrimaryKey: []string{"a", "b"}}
	row := func(a, b, v string) Row {
		return Row{{Name: "a", Value: a}, {Name: "b", Value: b}, {Name: "v", Value: v}}
	}
	img := Image{Rows: []Row{row("1", "2_3", "x"), row("1_2", "3", "y")}}
	d, err := Diff(table, img, Image{Rows: []Row{img.Rows[1], img.Rows[0]}})
	require.NoError(t, err)
	assert.Nil(t, d)
}

func TestSelectListReadsExactly(t *testing.T) {
	columns := []schema.Column{mysql("float", 7), mysql("datetime(6)", 93), mysql("int", 4)}
	assert.Equal(t, "`c`+0e0, CAST(`c` AS CHAR), `c`", SelectList(schema.MySQL, "", columns))
	assert.Equal(t, "+`c`, +`c`, +`c`", SelectList(schema.SQLite, "", columns))
}

func TestWhereKeys(t *testing.T) {
	table := &schema.Table{Name: "t", PrimaryKey: []string{"a", "b"}, Columns: []schema.Column{{Name: "a"}, {Name: "b", DatabaseType: "decimal(20,4) unsigned"}}}
	where, args := WhereKeys(schema.MySQL, table, [][]any{{int32(1), Decimal("2")}, {int32(3), Decimal("4")}}, 1)
	assert.Equal(t, "(`a` = ? AND `b` = CAST(? AS DECIMAL(20,4))) OR (`a` = ? AND `b` = CAST(? AS DECIMAL(20,4)))", where)
	assert.Equal(t, []any{int64(1), "2", int64(3), "4"}, args)
}

// The orders are those of a java.util.HashMap, as OpenJDK 17 prints them.
func TestCompositeKeysAreInJavasOrder(t *testing.T) {
	many := []string{"column_9", "column_0", "column_8", "column_7", "column_6", "column_5", "column_4", "column_10", "column_3", "column_11", "column_2", "column_12", "column_1", "column_13"}
	var counted []string
	for i := range many {
		counted = append(counted, fmt.Sprint("column_", i))
	}
	for _, c := range []struct{ key, want []string }{
		{[]string{"k2", "k1"}, []string{"k1", "k2"}}, {[]string{"k1", "k2"}, []string{"k1", "k2"}},
		{[]string{"order_id", "user_id"}, []string{"user_id", "order_id"}}, {[]string{"c", "b", "a1"}, []string{"a1", "b", "c"}},
		{[]string{"tenant", "id"}, []string{"id", "tenant"}}, {[]string{"zz", "yy", "xx", "ww"}, []string{"zz", "yy", "xx", "ww"}},
		{[]string{"BB", "Aa"}, []string{"BB", "Aa"}}, {[]string{"Aa", "BB"}, []string{"Aa", "BB"}}, // equal hash codes
		{[]string{"姓名", "id", "x"}, []string{"姓名", "x", "id"}}, {counted, many},
	} {
		table := &schema.Table{Name: "t", PrimaryKey: c.key}
		var row Row
		for _, name := range c.key {
			row = append(row, Field{Name: name, Key: true, Value: name})
		}
		var l Locks
		require.NoError(t, l.Add(table, Image{Rows: []Row{row}}))
		assert.Equal(t, "t:"+strings.Join(c.want, "_"), l.String())
	}
}
