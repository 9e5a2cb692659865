package undo

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// postgresRows are the rows of undo_log that Java Seata 2.5.0 wrote on
// PostgreSQL 15 through pgjdbc 42.7.4.
func postgresRows(t testing.TB) []captured {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "undo-postgresql.jsonl"))
	require.NoError(t, err)
	defer f.Close()
	var rows []captured
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Scenario string
			UndoLog  []struct {
				Context string
				Hex     string `json:"rollback_info_hex"`
			} `json:"undo_log"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
		for _, u := range line.UndoLog {
			content, err := hex.DecodeString(u.Hex)
			require.NoError(t, err)
			rows = append(rows, captured{Scenario: line.Scenario, Context: u.Context, Content: content})
		}
	}
	require.NoError(t, lines.Err())
	require.Len(t, rows, 37)
	return rows
}

// Every record that Java wrote on PostgreSQL decodes, and encodes to the same
// JSON, but for what is named.
func TestJavaRecordsOfPostgresComeBack(t *testing.T) {
	foreign := map[string]bool{"type point": true, "type float8[]": true} // classes that no image has
	asText := map[string]bool{"type int[][]": true, "old dates": true}    // Java could not read these back, or not exactly
	for _, row := range postgresRows(t) {
		t.Run(row.Scenario, func(t *testing.T) {
			record, err := Codec{}.Decode(row.Content)
			if foreign[row.Scenario] {
				require.ErrorIs(t, err, ErrForeign)
				return
			}
			require.NoError(t, err)
			again, err := Codec{}.Encode(record)
			require.NoError(t, err)
			require.Equal(t, asText[row.Scenario], !assert.ObjectsAreEqual(generic(t, row.Content), generic(t, again)), "%s", again)
			second, err := Codec{}.Decode(again)
			require.NoError(t, err)
			if !asText[row.Scenario] {
				require.Equal(t, fmt.Sprintf("%#v", record), fmt.Sprintf("%#v", second)) // a NaN is not equal to itself
			}
		})
	}
}

func TestPostgresValuesOfJava(t *testing.T) {
	for raw, want := range map[string]any{
		`["java.util.UUID","A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]`:                         image.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
		`["java.sql.Timestamp",9223372036825200000]`:                                        image.Timestamp("infinity"),
		`["java.sql.Date",-9223372036832400000]`:                                            image.Date("-infinity"),
		`["java.sql.Timestamp",-63517996800000]`:                                            image.Timestamp("0044-03-15 00:00:00 BC"),
		`["java.sql.Date",-14830992000000]`:                                                 image.Date("1500-01-01"),
		`["java.sql.Date",-12219379200000]`:                                                 image.Date("1582-10-04"),
		`["java.sql.Date",-12219292800000]`:                                                 image.Date("1582-10-15"),
		`["java.time.LocalDateTime",-14830992000000]`:                                       image.DateTime("1500-01-10 00:00:00"),
		`{"@class":"org.postgresql.util.PGobject","type":"json","value":"{}","null":false}`: image.Object{Type: "json", Text: "{}"},
		`{"@class":"org.postgresql.util.PGobject","type":"json","value":null,"null":true}`:  nil,
		`{"@class":"org.postgresql.util.PGInterval","years":-1,"months":2,"days":3,"hours":-4,"minutes":5,"wholeSeconds":6,"microSeconds":789,"null":false}`:                                        image.Interval{Months: -10, Days: 3, Micros: -14093999211},
		`{"@class":"io.seata.rm.datasource.sql.serial.SerialArray","elements":["[Ljava.lang.String;",["a\"b","",null,"null"," "]],"baseTypeName":"text"}`:                                           image.Array{Elements: "text", Text: `{"a\"b","",NULL,"null"," "}`},
		`{"@class":"org.apache.seata.rm.datasource.sql.serial.SerialArray","elements":["[[Ljava.lang.Integer;",[["[Ljava.lang.Integer;",[1]],["[Ljava.lang.Integer;",[2]]]],"baseTypeName":"int4"}`: image.Array{Elements: "int4", Text: `{{1},{2}}`},
	} {
		got, err := Codec{}.decodeValue(json.RawMessage(raw))
		require.NoError(t, err, raw)
		assert.Equal(t, want, got, raw)
	}
	for raw, want := range map[string]error{
		`["java.util.UUID","a0eebc99"]`:                                                                                                                                 ErrUndecodable,
		`["java.util.UUID","a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g"]`:                                                                                                     ErrUndecodable,
		`["java.util.UUID","a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111"]`:                                                                                                    ErrUndecodable,
		`{"@class":"org.postgresql.geometric.PGpoint","x":1}`:                                                                                                           ErrForeign,
		`{"@class":"org.postgresql.util.PGInterval","years":3000000000}`:                                                                                                ErrUndecodable,
		`{"@class":"org.apache.seata.rm.datasource.sql.serial.SerialArray","elements":["[L;",[1]],"baseTypeName":"float8"}`:                                             ErrForeign,
		`{"@class":"org.apache.seata.rm.datasource.sql.serial.SerialArray","elements":["[L;"],"baseTypeName":"int4"}`:                                                   ErrUndecodable,
		`{"@class":"org.apache.seata.rm.datasource.sql.serial.SerialArray","elements":["[",[["[",[["[",[["[",[["[",[["[",[["[",[1]]]]]]]]]]]]]],"baseTypeName":"int4"}`: ErrUndecodable,
	} {
		_, err := Codec{}.decodeValue(json.RawMessage(raw))
		require.ErrorIs(t, err, want, raw)
	}
}

// A rollback writes each value as a text that PostgreSQL casts to the column's
// type; what the database generates is overridden or left alone.
func TestInverseOnPostgres(t *testing.T) {
	table := &schema.Table{Name: "t", Schema: "s", PrimaryKey: []string{"a"}, Columns: []schema.Column{
		{Name: "a", Cast: "bigint"}, {Name: "B", Cast: "character(3)"}, {Name: "no", Cast: "integer", Identity: true}, {Name: "g", Cast: "integer", Generated: true}}}
	images := image.Image{Rows: []image.Row{{{Name: "a", Value: int64(1), Key: true}, {Name: "B", Value: nil}, {Name: "no", Value: int32(7)}, {Name: "g", Value: int32(9)}}}}
	for kind, want := range map[sqlparse.Kind]Statement{
		sqlparse.Insert: {`DELETE FROM "s"."t" WHERE ("a" = CAST(CAST($1 AS text) AS bigint))`, []any{"1"}},
		sqlparse.Delete: {`INSERT INTO "s"."t" ("a", "B", "no") OVERRIDING SYSTEM VALUE VALUES (CAST(CAST($1 AS text) AS bigint), CAST(CAST($2 AS text) AS character(3)), CAST(CAST($3 AS text) AS integer))`,
			[]any{"1", nil, "7"}},
		sqlparse.Update: {`UPDATE "s"."t" SET "B" = CAST(CAST($1 AS text) AS character(3)) WHERE ("a" = CAST(CAST($2 AS text) AS bigint))`, []any{nil, "1"}},
	} {
		got, err := Inverse(schema.PostgreSQL, table, Entry{Kind: kind, Before: images, After: images})
		require.NoError(t, err)
		assert.Equal(t, []Statement{want}, got)
	}
}
