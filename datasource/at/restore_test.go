package at_test

import (
	"context"
	"database/sql"
	"math"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allTypes has every column type of the tables from which Java's records were
// captured, and those that lose something on the way if one is not careful.
const allTypes = `CREATE TABLE t_user (id BIGINT NOT NULL AUTO_INCREMENT, name VARCHAR(64), age INT, tiny TINYINT, flag TINYINT(1),
	bits BIT(8), ubig BIGINT UNSIGNED, balance DECIMAL(20,4), score DOUBLE, f FLOAT, birth DATE, tm TIME, dt DATETIME(6),
	ts TIMESTAMP NULL, bin VARBINARY(32), data BLOB, txt TEXT, js JSON, en ENUM('a','b'), nul VARCHAR(10),
	small SMALLINT UNSIGNED, uint INT UNSIGNED, onebit BIT(1), wide BIT(64), y YEAR, st SET('x','y','z'), tm6 TIME(6), ts6 TIMESTAMP(6) NULL,
	big DECIMAL(65,30), zf INT(8) ZEROFILL, fixed BINARY(16), medium MEDIUMTEXT,
	touched TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3),
	sum2 INT GENERATED ALWAYS AS (age + 1) STORED, PRIMARY KEY (id)) DEFAULT CHARSET = utf8mb4`

var typedRows = []string{
	`INSERT INTO t_user SET id = 1, name = '张三''"\\x', age = -30, tiny = -5, flag = 1, bits = b'10100101', ubig = 18446744073709551615,
	balance = 12345678901234.5678, score = 0.1, f = 0.1, birth = '1990-01-02', tm = '13:14:15', dt = '2024-05-06 07:08:09.123456',
	ts = '2024-05-06 07:08:09', bin = x'0001ff', data = x'cafe00', txt = 'some text\n2nd <&> 🙂', js = '{"k": [1, 2.50, null]}', en = 'b', nul = NULL,
	small = 65535, uint = 4294967295, onebit = b'1', wide = x'ffffffffffffffff', y = 2024, st = 'x,z', tm6 = '-838:59:58.999999', ts6 = '2024-05-06 07:08:09.000001',
	big = -12345678901234567890123456789012345.123456789012345678901234567890, zf = 42, fixed = x'00112233445566778899aabbccddeeff', medium = ''`,
	`INSERT INTO t_user SET id = 2, flag = 5, f = 16777217, score = 1e300, dt = '1000-01-01 00:00:00.5', birth = '9999-12-31', tm = '25:00:01', balance = -0.0001, y = 1901, onebit = b'0'`,
	`INSERT INTO t_user SET id = 3`,
}

// everything shows each column so that no two different values look the same.
const everything = `SELECT id, HEX(name), age, tiny, flag, HEX(bits), ubig, balance, score, f + 0e0, CAST(birth AS CHAR), CAST(tm AS CHAR), CAST(dt AS CHAR),
	CAST(ts AS CHAR), HEX(bin), HEX(data), HEX(txt), HEX(CAST(js AS CHAR)), en, nul, small, uint, HEX(onebit), HEX(wide), y, st, CAST(tm6 AS CHAR), CAST(ts6 AS CHAR),
	big, zf, HEX(fixed), HEX(medium), CAST(touched AS CHAR), sum2 FROM t_user ORDER BY id`

// Whatever the driver is set to, a rolled back row is the row it was.
func TestEveryColumnTypeIsRestored(t *testing.T) {
	for name, dsn := range map[string]func(*mysql.Config){
		"plain":          nil,
		"interpolated":   func(c *mysql.Config) { c.InterpolateParams = true },
		"parseTime":      func(c *mysql.Config) { c.ParseTime = true },
		"parseTime text": func(c *mysql.Config) { c.ParseTime, c.InterpolateParams, c.Loc = true, true, time.FixedZone("x", 3600) },
		"foundRows":      func(c *mysql.Config) { c.ClientFoundRows = true; c.MultiStatements = true },
	} {
		t.Run(name, func(t *testing.T) {
			onMySQL(t, settings{dsn: dsn}, append([]string{allTypes}, typedRows...), func(t *testing.T, e *env) {
				before := e.dump(everything)
				for _, statement := range []string{
					`UPDATE t_user SET name = 'x', age = 1, tiny = 1, flag = 0, bits = 1, ubig = 1, balance = 1, score = 1, f = 1, birth = '2000-01-01', tm = '01:00:00', dt = NOW(6),
				ts = NOW(), bin = 'x', data = 'x', txt = 'x', js = '1', en = 'a', nul = 'x', small = 1, uint = 1, onebit = b'0', wide = 1, y = 2000, st = 'y', tm6 = '00:00:01', ts6 = NOW(6), big = 1, zf = 1, fixed = 'x', medium = 'x'`,
					`DELETE FROM t_user`,
					`UPDATE t_user SET age = age + 1 WHERE id = 1`,
				} {
					ctx, x := e.global()
					e.exec(ctx, statement)
					require.NotEqual(t, before, e.dump(everything))
					e.tc.rollback(x)
					require.Equal(t, before, e.dump(everything), statement)
				}
				ctx, x := e.global()
				e.exec(ctx, "INSERT INTO t_user (name, ubig, dt) VALUES (?, ?, ?)", "new", uint64(math.MaxUint64), "2024-01-01 00:00:00.000001")
				e.exec(ctx, "DELETE FROM t_user WHERE name = 'new'")
				e.tc.rollback(x)
				assert.Equal(t, before, e.dump(everything))
			})
		})
	}
}

// SQLite keeps a storage class with every value, whatever the column declares.
func TestEveryStorageClassIsRestored(t *testing.T) {
	e := onSQLite(t, settings{},
		"CREATE TABLE t (id INTEGER PRIMARY KEY, i BIGINT, r REAL, s TEXT, b BLOB, d DATETIME, f BOOLEAN, n NUMERIC, x, g INTEGER GENERATED ALWAYS AS (i + 1))",
		"INSERT INTO t (id, i, r, s, b, d, f, n, x) VALUES (1, 9223372036854775807, 0.1, 'text 🙂', x'00ff', '2024-05-06 07:08:09.120', 1, '12345678901234567890.5', x'00')",
		"INSERT INTO t (id, i, r, s, b, d, f, n, x) VALUES (2, 'not a number', 9e999, x'ff', 'text', 12.5, 'true', -9e999, 1)",
		"INSERT INTO t (id) VALUES (3)")
	all := "SELECT id, typeof(i), quote(i), typeof(r), quote(r), typeof(s), quote(s), typeof(b), quote(b), typeof(d), quote(d), typeof(f), quote(f), typeof(n), quote(n), typeof(x), quote(x), g FROM t ORDER BY id"
	before := e.dump(all)
	for _, statement := range []string{"UPDATE t SET i = 0, r = 0, s = '', b = '', d = '', f = 0, n = 0, x = ''", "DELETE FROM t"} {
		ctx, x := e.global()
		e.exec(ctx, statement)
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(all), statement)
	}
}

// A key is found again and locked whatever its type.
func TestKeysOfEveryType(t *testing.T) {
	for _, c := range []struct {
		declared, literal string
		arg               any
		lock              string
	}{
		{"BIGINT UNSIGNED", "18446744073709551615", uint64(math.MaxUint64), "18446744073709551615"},
		{"INT", "-5", "-5", "-5"},
		{"DECIMAL(40,20)", "12345678901234567890.12345678901234567891", "12345678901234567890.12345678901234567891", "12345678901234567890.12345678901234567891"},
		{"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'Ab c'", "Ab c", "Ab c"},
		{"VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "'Ab'", "Ab", "Ab,t:ab"},
		{"BINARY(4)", "x'00ff0001'", []byte{0, 0xff, 0, 1}, "0x00ff0001"},
		{"DATE", "'2024-05-06'", "2024-05-06", "2024-05-06"},
		{"DATETIME(6)", "'2024-05-06 07:08:09.123456'", time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC), "2024-05-06T07:08:09.123456"},
		{"DOUBLE", "0.1", 0.1, "0.1"},
		{"FLOAT", "0.5", 0.5, "0.5"},
		{"BIT(16)", "b'100000101'", []byte{1, 5}, "0x0105"},
		{"BIT(1)", "b'1'", []byte{1}, "true"},
		{"TINYINT(1)", "5", 5, "true"},
		{"YEAR", "2024", 2024, "2024-01-01"},
		{"TIME", "'13:14:15'", "13:14:15", "13:14:15"},
	} {
		t.Run(c.declared, func(t *testing.T) {
			want := "t:" + c.lock
			if c.lock == "Ab,t:ab" {
				want = "t:Ab,ab"
			}
			onMySQL(t, settings{}, []string{"CREATE TABLE t (k " + c.declared + " NOT NULL PRIMARY KEY, v INT)", "INSERT INTO t VALUES (" + c.literal + ", 1)"}, func(t *testing.T, e *env) {
				ctx, x := e.global()
				e.exec(ctx, "UPDATE t SET v = 2")
				e.exec(ctx, "DELETE FROM t")
				e.exec(ctx, "INSERT INTO t VALUES (?, 3)", c.arg)
				assert.Equal(t, []string{want, want, want}, e.tc.lockKeys(x))
				e.tc.rollback(x)
				assert.Equal(t, "1\n", e.dump("SELECT v FROM t WHERE k = "+c.literal))
				assert.Equal(t, "1\n", e.dump("SELECT COUNT(*) FROM t"))
			})
		})
	}
}

func TestCompositeKeys(t *testing.T) {
	onEachDatabase(t, settings{}, []string{
		"CREATE TABLE t_multi (k1 VARCHAR(20) NOT NULL, k2 INTEGER NOT NULL, `desc` VARCHAR(50), PRIMARY KEY (k1, k2))",
		"INSERT INTO t_multi VALUES ('a', 1, 'one'), ('b', 2, 'two'), ('a_1', 1, 'three')"}, func(t *testing.T, e *env) {
		all := "SELECT * FROM t_multi ORDER BY k1, k2"
		before := e.dump(all)
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for _, s := range []struct {
			sql  string
			args []any
		}{
			{"UPDATE t_multi SET `desc` = ? WHERE k1 = ? AND k2 = ?", []any{"ONE", "a", 1}},
			{"DELETE FROM t_multi WHERE k1 = 'b'", nil},
			{"INSERT INTO t_multi VALUES (?, ?, ?)", []any{"c", 3, "three"}},
		} {
			_, err := tx.Exec(s.sql, s.args...)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		assert.Equal(t, []string{"t_multi:a_1,b_2,c_3"}, e.tc.lockKeys(x))
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(all))
	})
}

// Images of many rows are read in several queries.
func TestManyRows(t *testing.T) {
	onEachDatabase(t, settings{}, stock[:1], func(t *testing.T, e *env) {
		tx, err := e.plain.Begin()
		require.NoError(t, err)
		for i := range 1500 {
			_, err := tx.Exec("INSERT INTO stock (id, n) VALUES (?, ?)", i, i)
			require.NoError(t, err)
		}
		require.NoError(t, tx.Commit())
		before := e.dump(allStock)
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = n + 1")
		e.tc.rollback(x)
		assert.Equal(t, before, e.dump(allStock))
	})
}

// In a REPEATABLE READ transaction the after image shows rows as they are, not
// the snapshot of an earlier read.
func TestImagesDoNotComeFromTheSnapshot(t *testing.T) {
	onMySQL(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		require.NoError(t, err)
		var n int
		require.NoError(t, tx.QueryRowContext(ctx, "SELECT n FROM stock WHERE id = 1").Scan(&n))
		e.run("UPDATE stock SET n = 11 WHERE id = 1")
		_, err = tx.ExecContext(context.WithoutCancel(ctx), "UPDATE stock SET n = 11 WHERE id = 1")
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = 1")
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		e.tc.rollback(x)
		assert.Equal(t, "11\n", e.dump("SELECT n FROM stock WHERE id = 1"))
	})
}
