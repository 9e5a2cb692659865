package undo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Every record that Java wrote decodes, and encodes to the same JSON: same
// classes, same shapes, same numbers to the last digit.
func TestJavaRecordsComeBack(t *testing.T) {
	for _, row := range capturedRows(t) {
		t.Run(row.File+"/"+row.Scenario, func(t *testing.T) {
			if row.Status != 0 {
				require.Equal(t, EmptyContent, string(row.Content))
				_, err := Codec{}.Decode(row.Content)
				require.ErrorIs(t, err, ErrUndecodable, "a defence row has nothing to undo")
				return
			}
			record, err := Codec{}.Decode(row.Content)
			require.NoError(t, err)
			require.NotEmpty(t, record.Entries)
			again, err := Codec{}.Encode(record)
			require.NoError(t, err)
			require.Equal(t, generic(t, row.Content), generic(t, again))

			second, err := Codec{}.Decode(again)
			require.NoError(t, err)
			require.Equal(t, record, second)
		})
	}
}

// capturedColumn is a record that Java wrote for a type of column.
type capturedColumn struct {
	Column string `json:"column"`
	Zone   string `json:"zone"`
	Record string `json:"rollback_info"`
}

func capturedColumns(t testing.TB) (all []capturedColumn) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "undo-columns.jsonl"))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		var c capturedColumn
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		all = append(all, c)
	}
	require.Len(t, all, 49)
	return all
}

// Every type of column is written as Java writes it.
func TestJavaRecordsOfEveryColumnComeBack(t *testing.T) {
	for _, c := range capturedColumns(t) {
		t.Run(c.Column, func(t *testing.T) {
			zone, err := time.LoadLocation(c.Zone)
			require.NoError(t, err)
			codec := Codec{Zone: zone}
			record, err := codec.Decode([]byte(c.Record))
			require.NoError(t, err)
			again, err := codec.Encode(record)
			require.NoError(t, err)
			require.Equal(t, generic(t, []byte(c.Record)), generic(t, again))
			// What a Go service would write instead, it reads as the same.
			forJava, err := Codec{Zone: zone, Dialect: schema.MySQL}.Encode(record)
			require.NoError(t, err)
			back, err := codec.Decode(forJava)
			require.NoError(t, err)
			for i, e := range back.Entries {
				for j, row := range append(slices.Clone(e.Before.Rows), e.After.Rows...) {
					want := append(slices.Clone(record.Entries[i].Before.Rows), record.Entries[i].After.Rows...)[j]
					for k := range row {
						require.True(t, image.Equal(want[k].Value, row[k].Value), "%v came back as %v", want[k].Value, row[k].Value)
					}
				}
			}
		})
	}
}

var exponent = regexp.MustCompile(`[0-9.]+[eE][+-]?[0-9]+\b`)

// generic is JSON with its numbers as text, each exponent in Go's spelling.
func generic(t *testing.T, data []byte) any {
	data = exponent.ReplaceAllFunc(data, func(number []byte) []byte {
		f, err := strconv.ParseFloat(string(number), 64)
		require.NoError(t, err)
		return strconv.AppendFloat(nil, f, 'e', -1, 64)
	})
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v))
	return v
}

func TestJavaValuesAreTyped(t *testing.T) {
	for _, row := range capturedRows(t) {
		if row.Scenario != "insert" {
			continue
		}
		record, err := Codec{}.Decode(row.Content)
		require.NoError(t, err)
		require.Equal(t, sqlparse.Insert, record.Entries[0].Kind)
		got := map[string]any{}
		for _, f := range record.Entries[0].After.Rows[0] {
			got[f.Name] = f.Value
			assert.Equal(t, f.Name == "id", f.Key, f.Name)
		}
		assert.Equal(t, map[string]any{
			"id": int64(1), "name": `张三'"\x`, "age": int32(30), "tiny": int32(-5), "flag": true, "bits": []byte{0xa5},
			"ubig": uint64(math.MaxInt64), "balance": image.Decimal("12345678901234.5678"), "score": 1.25, "f": float32(2.5),
			"birth": image.Date("1990-01-02"), "tm": image.Time("13:14:15"), "dt": image.DateTime("2024-05-06 07:08:09.123456"),
			"ts": image.Timestamp("2024-05-06 07:08:09"), "bin": []byte{0, 1, 0xff}, "data": []byte{0xca, 0xfe},
			"txt": "some text\n2nd", "js": `{"k": 1}`, "en": "b", "nul": nil,
		}, got)
	}
}

func TestOldClassNamesDecode(t *testing.T) {
	for _, row := range capturedRows(t) {
		if row.Status != 0 {
			continue
		}
		want, err := Codec{}.Decode(row.Content)
		require.NoError(t, err)
		old := bytes.ReplaceAll(row.Content, []byte("org.apache.seata."), []byte("io.seata."))
		got, err := Codec{}.Decode(old)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMomentsAreInTheZoneOfJava(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	require.NoError(t, err)
	c := Codec{Zone: shanghai}
	raw, err := c.encodeValue(93, image.DateTime("2024-05-06 15:08:09.123456"))
	require.NoError(t, err)
	assert.JSONEq(t, `["java.time.LocalDateTime",[1714979289123,123456000]]`, string(raw))
	v, err := c.decodeValue(raw)
	require.NoError(t, err)
	assert.Equal(t, image.DateTime("2024-05-06 15:08:09.123456"), v)
}

// Java's dates before 1900 know the zone's standard time only: captured from
// java.sql.Date in both zones.
func TestOldDatesAreInTheStandardTimeOfJava(t *testing.T) {
	for zone, ms := range map[string]int64{"Asia/Shanghai": -12212582400000, "Europe/Paris": -12212557200000} {
		location, err := time.LoadLocation(zone)
		require.NoError(t, err)
		c := Codec{Zone: location}
		raw, err := c.encodeValue(91, image.Date("1583-01-01"))
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf(`["java.sql.Date",%d]`, ms), string(raw))
		v, err := c.decodeValue(raw)
		require.NoError(t, err)
		assert.Equal(t, image.Date("1583-01-01"), v)
	}
}

func TestValuesOnTheWire(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		typ  int
		v    any
		want string
	}{
		{"null", 12, nil, `null`},
		{"integer", 4, int32(-7), `-7`},
		{"long", -5, int64(math.MinInt64), `["java.lang.Long",-9223372036854775808]`},
		{"largest unsigned", -5, uint64(math.MaxUint64), `["java.math.BigInteger",18446744073709551615]`},
		{"whole double keeps its fraction", 8, float64(3), `3.0`},
		{"double infinity", 8, math.Inf(-1), `["java.lang.Double","-Infinity"]`},
		{"float", 7, float32(0.1), `["java.lang.Float",0.1]`},
		{"decimal keeps its scale", 3, image.Decimal("9.90"), `["java.math.BigDecimal",9.90]`},
		{"zerofill decimal", 3, image.Decimal("0009.90"), `["java.math.BigDecimal",9.90]`},
		{"blob", 2004, []byte{1}, `["javax.sql.rowset.serial.SerialBlob","AQ=="]`},
		{"clob", 2005, "x", `["javax.sql.rowset.serial.SerialClob","x"]`},
		{"html is not escaped", 12, "<a&b>", `"<a&b>"`},
		{"zero date is text", 91, image.Date("0000-00-00"), `"0000-00-00"`},
		{"Julian date is text", 91, image.Date("1500-01-01"), `"1500-01-01"`},
		{"skipped hour is text", 93, image.DateTime("2024-03-31 02:30:00"), `"2024-03-31 02:30:00"`},
		{"time", 92, image.Time("13:14:15"), `["java.sql.Time","13:14:15"]`},
		{"time with fraction is text", 92, image.Time("13:14:15.5"), `"13:14:15.5"`},
		{"time beyond a day is text", 92, image.Time("-25:00:00"), `"-25:00:00"`},
		{"before the epoch", 93, image.DateTime("1969-12-31 22:59:59.000001"), `["java.time.LocalDateTime",[-7201000,1000]]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			codec := Codec{Zone: berlin}
			raw, err := codec.encodeValue(c.typ, c.v)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(raw))
			back, err := codec.decodeValue(raw)
			require.NoError(t, err)
			assert.True(t, image.Equal(c.v, back), "%v came back as %v", c.v, back)
		})
	}
}

func TestEveryValueComesBack(t *testing.T) {
	value := rapid.OneOf(
		rapid.Just[any](nil), anyOf(rapid.Bool()), anyOf(rapid.Int32()), anyOf(rapid.Int64()), anyOf(rapid.Uint64()),
		anyOf(rapid.Float32()), anyOf(rapid.Float64()), anyOf(rapid.String()), anyOf(rapid.SliceOf(rapid.Byte())),
		anyOf(rapid.Map(rapid.StringMatching(`-?[0-9]{1,40}(\.[0-9]{1,30})?`), func(s string) image.Decimal { return image.Decimal(s) })),
		anyOf(rapid.Map(rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]`), func(s string) image.Date { return image.Date(s) })),
		anyOf(rapid.Map(rapid.StringMatching(`-?[0-9]{2,3}:[0-5][0-9]:[0-5][0-9](\.[0-9]{0,5}[1-9])?`), func(s string) image.Time { return image.Time(s) })),
		anyOf(rapid.Map(rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{0,5}[1-9])?`), func(s string) image.DateTime { return image.DateTime(s) })),
	)
	rapid.Check(t, func(t *rapid.T) {
		v := value.Draw(t, "value")
		raw, err := Codec{}.encodeValue(rapid.SampledFrom([]int{12, 2004, 2005}).Draw(t, "type"), v)
		require.NoError(t, err)
		require.True(t, json.Valid(raw), "%s", raw)
		back, err := Codec{}.decodeValue(raw)
		require.NoError(t, err)
		require.True(t, image.Equal(v, back), "%#v came back as %#v by %s", v, back, raw)
	})
}

func anyOf[T any](g *rapid.Generator[T]) *rapid.Generator[any] {
	return rapid.Map(g, func(v T) any { return v })
}

func TestUnwritableValuesAreRefused(t *testing.T) {
	for name, v := range map[string]any{"broken UTF-8": "\xff", "decimal that is none": image.Decimal("abc"), "foreign type": struct{}{}} {
		t.Run(name, func(t *testing.T) {
			_, err := Codec{}.Encode(Record{Entries: []Entry{{Kind: sqlparse.Delete, Before: image.Image{Table: "t", Rows: []image.Row{{{Name: "c", Value: v}}}}}}})
			require.ErrorIs(t, err, ErrUnwritable)
			require.ErrorContains(t, err, "column c")
		})
	}
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	good := `{"@class":"org.apache.seata.rm.datasource.undo.BranchUndoLog","xid":"x","branchId":1,"sqlUndoLogs":["java.util.ArrayList",[]]}`
	value := func(v string) string {
		return strings.Replace(good, `[]]}`, `[{"@class":"org.apache.seata.rm.datasource.undo.SQLUndoLog","sqlType":"INSERT","tableName":"t",
			"beforeImage":{"@class":"org.apache.seata.rm.datasource.sql.struct.TableRecords$EmptyTableRecords","tableName":"t","rows":["java.util.ArrayList",[]]},
			"afterImage":{"@class":"org.apache.seata.rm.datasource.sql.struct.TableRecords","tableName":"t","rows":["java.util.ArrayList",[
			{"@class":"org.apache.seata.rm.datasource.sql.struct.Row","fields":["java.util.ArrayList",[
			{"@class":"org.apache.seata.rm.datasource.sql.struct.Field","name":"c","keyType":"NULL","type":4,"value":`+v+`}]]}]]}}]]}`, 1)
	}
	_, err := Codec{}.Decode([]byte(value("1")))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		content string
		want    error
	}{
		"empty":             {"", ErrUndecodable},
		"cut":               {good[:40], ErrUndecodable},
		"two records":       {good + good, ErrUndecodable},
		"broken UTF-8":      {strings.Replace(good, `"x"`, "\"\xff\"", 1), ErrUndecodable},
		"other class":       {strings.Replace(good, "BranchUndoLog", "Other", 1), ErrUndecodable},
		"other list":        {strings.Replace(good, "ArrayList", "Other", 1), ErrUndecodable},
		"unknown value":     {value(`["java.util.Locale","x"]`), ErrForeign},
		"object value":      {value(`{}`), ErrUndecodable},
		"value of one part": {value(`["java.lang.Long"]`), ErrUndecodable},
		"long out of range": {value(`["java.lang.Long",9223372036854775808]`), ErrUndecodable},
		"bytes not base64":  {value(`["[B","?"]`), ErrUndecodable},
		"unknown statement": {strings.Replace(value("1"), "INSERT", "REPLACE", 1), ErrUndecodable},
		"rows misplaced":    {strings.Replace(value("1"), "INSERT", "DELETE", 1), ErrUndecodable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Codec{}.Decode([]byte(c.content))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestContext(t *testing.T) {
	for text, want := range map[string]Context{
		"serializer=jackson&compressorType=NONE&map=16777216":                              {Java: true},
		"serializer=jackson&compressorType=ZIP&map=1":                                      {Java: true, Compressor: "ZIP"},
		"map=4194304&serializer=jackson&compressorType=NONE&subId=-8,2612341069705662466,": {Java: true, Parts: []int64{-8, 2612341069705662466}},
		"serializer=kryo&compressorType=NONE":                                              {Java: true, Serializer: "kryo"},
		"":                                                                                 {Java: true},
		Context{}.String():                                                                 {},
		Context{Compressor: "GZIP", Parts: []int64{1, 2}}.String():                         {Compressor: "GZIP", Parts: []int64{1, 2}},
	} {
		got, err := ParseContext(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		require.Equal(t, want.Serializer != "", got.Readable() != nil, text)
	}
	require.ErrorIs(t, Context{Serializer: "kryo"}.Readable(), ErrForeign)
	require.ErrorContains(t, Context{Serializer: "kryo"}.Readable(), "client.undo.logSerialization=jackson")
	for _, text := range []string{"branchId=17", "serializer=jackson&subId=1,x", "subId="} {
		_, err := ParseContext(text)
		require.ErrorIs(t, err, ErrUndecodable, text)
	}
}

// Java restores from the type beside a value of a before image, and compares an
// after image with what its driver reads: neither may lose the value.
func TestValuesForJava(t *testing.T) {
	c := Codec{Dialect: schema.MySQL}
	for _, v := range []struct {
		name          string
		typ           int
		v             any
		before, after string
	}{
		{"a boolean", schema.JDBCBit, true, `-6 1`, `-7 true`},
		{"a number in a boolean", schema.JDBCBit, int32(-7), `-6 -7`, `-7 false -7`},
		{"a large unsigned", schema.JDBCInteger, int64(4294967295), `-5 ["java.lang.Long",4294967295]`, `4 ["java.lang.Long",4294967295]`},
		{"the largest unsigned", schema.JDBCBigInt, uint64(math.MaxUint64), `3 ["java.math.BigInteger",18446744073709551615]`, `-5 ["java.math.BigInteger",18446744073709551615]`},
		{"an unsigned", schema.JDBCBigInt, uint64(7), `-5 ["java.math.BigInteger",7]`, `-5 ["java.math.BigInteger",7]`},
		{"a float of eight digits", schema.JDBCReal, float32(16777217), `8 ["java.lang.Float",1.6777216e+07]`, `7 ["java.lang.Float",1.67772e+07] ["java.lang.Float",1.6777216e+07]`},
		{"a year", schema.JDBCDate, image.Year(2024), `5 2024`, `91 ["java.sql.Date",1704067200000]`},
		{"a date", schema.JDBCDate, image.Date("2024-01-01"), `91 ["java.sql.Date",1704067200000]`, `91 ["java.sql.Date",1704067200000]`},
		{"no date", schema.JDBCDate, image.Date("0000-00-00"), `12 "0000-00-00"`, `91 "0000-00-00"`},
		{"a time", schema.JDBCTime, image.Time("13:14:15"), `92 ["java.sql.Time","13:14:15"]`, `92 ["java.sql.Time","13:14:15"]`},
		{"a fine time", schema.JDBCTime, image.Time("13:14:15.123456"), `12 "13:14:15.123456"`, `92 ["java.util.Date",47655123] "13:14:15.123456"`},
		{"a duration", schema.JDBCTime, image.Time("-25:00:01"), `12 "-25:00:01"`, `92 "-25:00:01"`},
		{"a moment", schema.JDBCTimestamp, image.DateTime("2024-01-01 00:00:00"), `93 ["java.time.LocalDateTime",1704067200000]`, `93 ["java.time.LocalDateTime",1704067200000]`},
		{"a fine moment", schema.JDBCTimestamp, image.Timestamp("2024-01-01 00:00:00.5"), `12 "2024-01-01 00:00:00.5"`, `93 ["java.sql.Timestamp",1704067200500]`},
		{"text", schema.JDBCVarChar, "x", `12 "x"`, `12 "x"`},
		{"null", schema.JDBCBit, nil, `-7 null`, `-7 null`},
	} {
		t.Run(v.name, func(t *testing.T) {
			f := image.Field{Name: "c", Type: v.typ, Value: v.v}
			var before, after wireField
			before.Type, after.Type = f.Type, f.Type
			require.NoError(t, c.beforeField(f, &before))
			require.NoError(t, c.afterField(f, &after))
			assert.Equal(t, v.before, fmt.Sprintf("%d %s", before.Type, before.Value))
			assert.Equal(t, v.after, strings.TrimSpace(fmt.Sprintf("%d %s %s", after.Type, after.Value, after.Exact)))

			table := &schema.Table{Name: "t", PrimaryKey: []string{"id"}, Columns: []schema.Column{{Name: "id"}, {Name: "c", JDBCType: v.typ}}}
			if _, ok := v.v.(image.Year); ok {
				table.Columns[1].DatabaseType = "year"
			}
			img := image.Image{Table: "t", Rows: []image.Row{{{Name: "id", Type: 4, Key: true, Value: int32(1)}, f}}}
			content, err := c.Encode(Record{Entries: []Entry{{Kind: sqlparse.Update, Table: "t", Before: img, After: img}}})
			require.NoError(t, err)
			record, err := c.Decode(content)
			require.NoError(t, err)
			for _, back := range []image.Image{record.Entries[0].Before, record.Entries[0].After} {
				difference, err := image.Diff(table, back, img)
				require.NoError(t, err)
				require.Nil(t, difference)
			}
		})
	}
	key := image.Field{Name: "id", Type: schema.JDBCInteger, Key: true, Value: int64(4294967295)}
	w := wireField{Type: key.Type}
	require.NoError(t, c.beforeField(key, &w))
	assert.Equal(t, schema.JDBCInteger, w.Type, "Java finds the row by it")
}

func TestClassNamesOfOldJava(t *testing.T) {
	img := image.Image{Table: "t", Rows: []image.Row{{{Name: "id", Type: 4, Key: true, Value: int32(1)}}}}
	r := Record{XID: "x", BranchID: 1, Entries: []Entry{{Kind: sqlparse.Delete, Table: "t", Before: img, After: image.Image{Table: "t"}}}}
	content, err := Codec{Package: IOPackage}.Encode(r)
	require.NoError(t, err)
	assert.NotContains(t, string(content), "org.apache")
	assert.Equal(t, 6, strings.Count(string(content), `"@class":"io.seata.rm.datasource.`))
	back, err := Codec{}.Decode(content)
	require.NoError(t, err)
	assert.Equal(t, r, back)

	raw, err := Codec{Package: IOPackage}.encodeValue(93, image.Timestamp("2024-01-01 00:00:00"))
	require.NoError(t, err)
	assert.Equal(t, `["java.sql.Timestamp",[1704067200000,0]]`, string(raw), "Seata 1.4 reads a number as NULL")
}
