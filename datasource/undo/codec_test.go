package undo

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Every record that Java wrote decodes, and encodes to the same JSON: same
// classes, same shapes, same numbers to the last digit.
func TestJavaRecordsComeBack(t *testing.T) {
	for _, row := range capturedRows(t) {
		t.Run(row.File+"/"+row.Scenario, func(t *testing.T) {
			if row.Status != 0 {
				require.Equal(t, EmptyContent, string(row.Content))
				_, err := Codec{}.Decode(row.Context, row.Content)
				require.ErrorIs(t, err, ErrUndecodable, "a defence row has nothing to undo")
				return
			}
			record, err := Codec{}.Decode(row.Context, row.Content)
			require.NoError(t, err)
			require.NotEmpty(t, record.Entries)
			again, err := Codec{}.Encode(record)
			require.NoError(t, err)
			plain, err := unpack(row.Context, row.Content)
			require.NoError(t, err)
			require.Equal(t, generic(t, plain), generic(t, again))

			second, err := Codec{}.Decode(Context, again)
			require.NoError(t, err)
			require.Equal(t, record, second)
		})
	}
}

// generic is JSON with its numbers as text.
func generic(t *testing.T, data []byte) any {
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
		record, err := Codec{}.Decode(row.Context, row.Content)
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
		if row.Status != 0 || !strings.Contains(row.Context, "NONE") {
			continue
		}
		want, err := Codec{}.Decode(row.Context, row.Content)
		require.NoError(t, err)
		old := bytes.ReplaceAll(row.Content, []byte("org.apache.seata."), []byte("io.seata."))
		got, err := Codec{}.Decode(row.Context, old)
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
	_, err := Codec{}.Decode(Context, []byte(value("1")))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		context, content string
		want             error
	}{
		"kryo":              {"serializer=kryo&compressorType=NONE", good, ErrForeign},
		"other compressor":  {"serializer=jackson&compressorType=BZIP2", good, ErrForeign},
		"split":             {Context + "&subId=1,2", good, ErrForeign},
		"empty":             {Context, "", ErrUndecodable},
		"cut":               {Context, good[:40], ErrUndecodable},
		"two records":       {Context, good + good, ErrUndecodable},
		"broken UTF-8":      {Context, strings.Replace(good, `"x"`, "\"\xff\"", 1), ErrUndecodable},
		"other class":       {Context, strings.Replace(good, "BranchUndoLog", "Other", 1), ErrUndecodable},
		"other list":        {Context, strings.Replace(good, "ArrayList", "Other", 1), ErrUndecodable},
		"no ZIP":            {"serializer=jackson&compressorType=ZIP", good, ErrUndecodable},
		"cut ZIP":           {"serializer=jackson&compressorType=ZIP", "PK\x03\x04" + strings.Repeat("\xff", 40), ErrUndecodable},
		"unknown value":     {Context, value(`["java.util.Locale","x"]`), ErrForeign},
		"object value":      {Context, value(`{}`), ErrUndecodable},
		"value of one part": {Context, value(`["java.lang.Long"]`), ErrUndecodable},
		"long out of range": {Context, value(`["java.lang.Long",9223372036854775808]`), ErrUndecodable},
		"bytes not base64":  {Context, value(`["[B","?"]`), ErrUndecodable},
		"unknown statement": {Context, strings.Replace(value("1"), "INSERT", "REPLACE", 1), ErrUndecodable},
		"rows misplaced":    {Context, strings.Replace(value("1"), "INSERT", "DELETE", 1), ErrUndecodable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Codec{}.Decode(c.context, []byte(c.content))
			require.ErrorIs(t, err, c.want)
		})
	}
}
