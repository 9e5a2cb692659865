package at_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// postgresTypes has every type that images hold.
var postgresTypes = []string{
	"CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE DOMAIN small AS int2 CHECK (VALUE < 99)",
	`CREATE TABLE everything (id BIGSERIAL PRIMARY KEY, i2 SMALLINT, i4 INT, i8 BIGINT, num NUMERIC, num4 NUMERIC(20,4), f4 REAL, f8 DOUBLE PRECISION,
	flag BOOLEAN, ch CHAR(5), c1 "char", vc VARCHAR(20), tx TEXT, nm NAME, bin BYTEA, dt DATE, tm TIME, tmtz TIMETZ, ts TIMESTAMP, ts3 TIMESTAMP(3), tstz TIMESTAMPTZ,
	iv INTERVAL, u UUID, js JSON, jb JSONB, x XML, m mood, d small, o OID, ip INET, net CIDR, mac MACADDR, b1 BIT, b8 BIT(8), vb VARBIT(8),
	r4 INT4RANGE, rn NUMRANGE, tsv TSVECTOR, a4 INT[], a8 BIGINT[], at TEXT[], an NUMERIC[], ab BOOL[], au UUID[], nul TEXT)`,
	`INSERT INTO everything (i2, i4, i8, num, num4, f4, f8, flag, ch, c1, vc, tx, nm, bin, dt, tm, tmtz, ts, ts3, tstz, iv, u, js, jb, x, m, d, o, ip, net, mac, b1, b8, vb, r4, rn, tsv, a4, a8, at, an, ab, au)
	VALUES (-32768, 2147483647, -9223372036854775808, 12345678901234567890.12345678901234567890, 9.9, 0.1, 0.1, true, 'ab', 'c', '张三''"\x', E'some text\n2nd <&> 🙂', 'nm', '\x0001ff27',
	'1990-01-02', '13:14:15.123456', '13:14:15.5+02', '2024-05-06 07:08:09.123456', '2024-05-06 07:08:09.120', '2024-05-06 07:08:09.123456+08',
	'1 year 2 mons -3 days 04:05:06.789', 'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k":  1, "k": 2}', '{"k": [1, 2.50, null]}', '<a>b</a>', 'ok', 7, 4294967295, '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03',
	b'1', b'10100101', b'101', '[1,5)', '(0.5,)', 'a b', '{1,NULL,3}', '{{1,2},{3,4}}', '{a,"b,c",NULL,"NULL","","\\\""}', '{1.50,NaN}', '{t,f}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}')`,
	`INSERT INTO everything (num, f4, f8, dt, tm, ts, tstz, iv, ch, b1, a4) VALUES ('NaN', '-Infinity', 'NaN', 'infinity', '24:00:00', '-infinity', 'infinity', '-178000000 years', '', b'0', '[2:3]={1,2}')`,
	`INSERT INTO everything (num, f8, dt, ts, tstz, iv) VALUES (1e30, 1e-300, '0044-03-15 BC', '0044-03-15 12:00:00.5 BC', '20000-01-01 00:00:00+00', '-1 month +2 days -00:00:00.000001')`,
	"INSERT INTO everything DEFAULT VALUES",
}

const everyType = "SELECT row_to_json(e)::text, encode(float4send(f4), 'hex'), encode(float8send(f8), 'hex'), encode(interval_send(iv), 'hex'), encode(timestamptz_send(tstz), 'hex') FROM everything AS e ORDER BY id"

// Whatever the session and the driver are set to, a rolled back row is the row
// it was.
func TestEveryPostgresTypeIsRestored(t *testing.T) {
	odd := "&DateStyle=SQL,DMY&IntervalStyle=sql_standard&TimeZone=America/New_York&bytea_output=escape&extra_float_digits=-15&lc_monetary=C"
	suffixes := []string{odd}
	for _, mode := range modes {
		suffixes = append(suffixes, "&default_query_exec_mode="+mode)
	}
	suffixes = append(suffixes, odd+"&default_query_exec_mode=simple_protocol")
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	require.NoError(t, err)
	for _, suffix := range suffixes {
		t.Run(suffix, func(t *testing.T) {
			e := onPostgres(t, settings{urlSuffix: suffix, config: func(c *at.Config) { c.JavaZone = shanghai }}, postgresTypes...)
			before := e.dump(everyType)
			for _, statement := range []string{
				`UPDATE everything SET i2 = 1, i4 = 1, i8 = 1, num = 1, num4 = 1, f4 = 1, f8 = 1, flag = false, ch = 'x', c1 = 'x', vc = 'x', tx = 'x', nm = 'x', bin = 'x', dt = '2000-01-01', tm = '01:00', tmtz = '01:00+00',
				ts = now(), ts3 = now(), tstz = now(), iv = '1 hour', u = '00000000-0000-0000-0000-000000000001', js = '1', jb = '1', x = '<c/>', m = 'sad', d = 1, o = 1, ip = '1.1.1.1', net = '1.1.1.1', mac = '08:00:2b:01:02:04',
				b1 = b'0', b8 = b'00000000', vb = b'1', r4 = '[7,8)', rn = '(,)', tsv = 'z', a4 = '{}', a8 = '{7}', at = '{z}', an = '{}', ab = '{}', au = '{}', nul = 'x'`,
				"DELETE FROM everything", "UPDATE everything SET i4 = 0 WHERE id = 1",
			} {
				ctx, x := e.global()
				e.exec(ctx, statement)
				require.NotEqual(t, before, e.dump(everyType))
				e.tc.rollback(x)
				require.Equal(t, before, e.dump(everyType), statement)
			}
			ctx, x := e.global()
			e.exec(ctx, "INSERT INTO everything (i8, ts, bin) VALUES ($1, $2, $3)", int64(5), time.Date(2024, 1, 2, 3, 4, 5, 6000, time.UTC), []byte{0, 1})
			e.exec(ctx, "DELETE FROM everything WHERE i8 = 5")
			e.tc.rollback(x)
			assert.Equal(t, before, e.dump(everyType))
		})
	}
}

// A key is found again and locked whatever its type.
func TestPostgresKeysOfEveryType(t *testing.T) {
	for _, c := range []struct {
		declared, literal string
		arg               any
		lock              string
	}{
		{"BIGINT", "-9223372036854775808", "-9223372036854775808", "-9223372036854775808"},
		{"SMALLINT", "-5", -5, "-5"},
		{"NUMERIC", "12345678901234567890.123450", "12345678901234567890.123450", "12345678901234567890.123450"},
		{"NUMERIC(30,10)", "0.0000001", "0.0000001", "1.000E-7"},
		{"VARCHAR(20)", "'Ab c'", "Ab c", "Ab c"},
		{"CHAR(5)", "'Ab'", "Ab", "Ab   "},
		{"TEXT COLLATE loose", "'Ab'", "Ab", "Ab,ab"},
		{"BYTEA", `'\x00ff'`, []byte{0, 0xff}, "0x00ff"},
		{"BOOLEAN", "true", true, "true"},
		{"DATE", "'2024-05-06'", "2024-05-06", "2024-05-06"},
		{"TIME", "'07:08:09'", "07:08:09", "07:08:09"},
		{"TIMESTAMP", "'2024-05-06 07:08:09.1234'", time.Date(2024, 5, 6, 7, 8, 9, 123400000, time.UTC), "2024-05-06 07:08:09.1234"},
		{"TIMESTAMPTZ", "'2024-05-06 07:08:09+00'", time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC), "2024-05-06 15:08:09.0"},
		{"UUID", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"DOUBLE PRECISION", "0.1", 0.1, "0.1"},
		{"mood", "'ok'", "ok", "ok"},
		{"INET", "'10.0.0.1'", "10.0.0.1", "10.0.0.1"},
	} {
		t.Run(c.declared, func(t *testing.T) {
			want := "t:" + c.lock
			shanghai, err := time.LoadLocation("Asia/Shanghai")
			require.NoError(t, err)
			e := onPostgres(t, settings{config: func(c *at.Config) { c.JavaZone = shanghai }},
				"CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", "CREATE TYPE mood AS ENUM ('sad', 'ok')",
				"CREATE TABLE t (k "+c.declared+" PRIMARY KEY, v INT)", "INSERT INTO t VALUES ("+c.literal+", 1)")
			ctx, x := e.global()
			e.exec(ctx, "UPDATE t SET v = 2")
			e.exec(ctx, "DELETE FROM t")
			e.exec(ctx, "INSERT INTO t VALUES ($1, 3)", c.arg)
			assert.Equal(t, []string{want, want, want}, e.tc.lockKeys(x))
			e.tc.rollback(x)
			assert.Equal(t, "1\n", e.dump("SELECT v FROM t WHERE k = "+c.literal))
			assert.Equal(t, "1\n", e.dump("SELECT COUNT(*) FROM t"))
		})
	}
}

// javaOnPostgres is what Java Seata 2.5.0 wrote for one branch on PostgreSQL 15.
type javaOnPostgres struct {
	javaRecord
	Table  string   `json:"table"`
	Rows   []string `json:"rows"`
	SQL    []string `json:"sql"`
	Before []string `json:"rows_before"`
	After  []string `json:"rows_after"`
}

// lost are the branches of Java's that cannot be restored exactly, because Java
// left out of its record what it would take; the rollback says so and changes
// nothing.
var lost = map[string]error{
	"type timetz":   undo.ErrForeign,
	"type time":     at.ErrDirty, // the fraction of a second
	"type money":    undo.ErrForeign,
	"type point":    undo.ErrForeign,
	"type float8[]": undo.ErrForeign,
}

// A branch that a Java service changed can be rolled back by a Go service on
// the same database: what Java itself cannot (enumerations, arrays, infinity)
// included.
func TestJavaBranchesOnPostgresAreUndone(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "undo", "testdata", "undo-postgresql.jsonl"))
	require.NoError(t, err)
	undone := 0
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		var r javaOnPostgres
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		if len(r.UndoLog) == 0 {
			continue // Java failed in phase one
		}
		undone++
		t.Run(r.Scenario, func(t *testing.T) {
			e := onPostgres(t, settings{}, append(r.DDL, r.Rows...)...)
			rows := func() string {
				return strings.TrimSpace(e.dump("SELECT row_to_json(x)::text FROM " + r.Table + " x ORDER BY 1"))
			}
			require.Equal(t, strings.Join(r.Before, "\n"), rows())
			// Java's own statements give the rows that it left, but for what the
			// server makes up: those come from the capture.
			e.run("DELETE FROM " + r.Table)
			for _, row := range r.After {
				e.run("INSERT INTO "+r.Table+" SELECT * FROM json_populate_record(NULL::"+r.Table+", $1)", row)
			}
			for _, u := range r.UndoLog {
				record, err := hex.DecodeString(u.Hex)
				require.NoError(t, err)
				e.run("INSERT INTO undo_log (branch_id, xid, context, rollback_info, log_status, log_created, log_modified) VALUES ($1, $2, $3, $4, $5, now(), now())",
					u.BranchID, r.XID, u.Context, record, u.Status)
				status, err := e.connector.Resource().Rollback(t.Context(), rm.Branch{XID: r.XID, ID: u.BranchID})
				if want := lost[r.Scenario]; want != nil {
					require.ErrorIs(t, err, want)
					require.Equal(t, strings.Join(r.After, "\n"), rows())
					continue
				}
				require.NoError(t, err)
				require.Equal(t, protocol.BranchPhaseTwoRollbacked, status)
				assert.Equal(t, strings.Join(r.Before, "\n"), rows())
				assert.Equal(t, "0", e.undoRows())
			}
		})
	}
	assert.Equal(t, 37, undone)
}

// Our record is in Java's form: the name of the table is one that Java's
// PostgreSQL reads.
func TestTheRecordOnPostgresIsInJavasForm(t *testing.T) {
	e := onPostgres(t, settings{}, append(stock, "CREATE SCHEMA other", "CREATE TABLE other.t (id INT PRIMARY KEY, j JSONB)", "INSERT INTO other.t VALUES (1, '{}')")...)
	ctx, x := e.global()
	e.exec(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
	e.exec(ctx, "UPDATE other.t SET j = '[]'")
	record := e.dump("SELECT convert_from(rollback_info, 'UTF8') FROM undo_log ORDER BY id")
	for _, part := range []string{
		`{"@class":"org.apache.seata.rm.datasource.undo.BranchUndoLog","xid":"` + x + `","branchId":1,"sqlUndoLogs":["java.util.ArrayList",[`,
		`"sqlType":"UPDATE","tableName":"\"public\".\"stock\"","beforeImage":{"@class":"org.apache.seata.rm.datasource.sql.struct.TableRecords","tableName":"stock"`,
		`"tableName":"\"other\".\"t\"","beforeImage":{"@class":"org.apache.seata.rm.datasource.sql.struct.TableRecords","tableName":"other.t"`,
		`"name":"j","keyType":"NULL","type":1111,"value":{"@class":"org.postgresql.util.PGobject","type":"jsonb","value":"{}","null":false}`,
	} {
		assert.Contains(t, record, part)
	}
}
