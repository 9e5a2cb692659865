//go:build linux

package javapeer

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// typed has every type of PostgreSQL that Java itself restores.
const typed = `(id BIGINT PRIMARY KEY, i2 SMALLINT, i4 INT, i8 BIGINT, num NUMERIC(20,4), f4 REAL, f8 DOUBLE PRECISION, flag BOOLEAN, ch CHAR(5), vc VARCHAR(20),
	tx TEXT, bin BYTEA, dt DATE, tm TIME, ts TIMESTAMP, tstz TIMESTAMPTZ, u UUID, js JSON, jb JSONB, iv INTERVAL, ip INET, b8 BIT(8), vb VARBIT(8), o OID,
	r INT4RANGE, a4 INT[], at TEXT[], an NUMERIC[], ab BOOLEAN[], nul TEXT)`

func typedRow(id int) string {
	return fmt.Sprintf(`(%d, -5, 30, 9223372036854775807, 12345678901234.5678, 2.5, 0.1, true, 'ab', '张三''"\x', E'some text\n2nd', '\x0001ff',
	'1990-01-02', '13:14:15', '2024-05-06 07:08:09.123456', '2024-05-06 07:08:09.5+08', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"k":  1}', '{"k": [1, 2.50]}',
	'1 year 2 mons -3 days 04:05:06.789', '10.0.0.1/8', b'10100101', b'101', 42, '[1,5)', '{1,NULL,3}', '{a,"b,c",NULL,"NULL",""}', '{1.50,2}', '{t,f}', NULL)`, id)
}

// postgreSQL makes the tables in a new database, and returns what Go and Java
// call it and a handle without any transaction.
func postgreSQL(t *testing.T) (dsn, jdbc string, db *sql.DB) {
	dsn = testenv.PostgreSQL(t)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	password, _ := u.User.Password()
	db, err = sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	require.NoError(t, datasource.CreateUndoTable(t.Context(), db, datasource.PostgreSQL))
	for _, statement := range []string{
		"CREATE TABLE account (id BIGSERIAL PRIMARY KEY, owner VARCHAR(20), money BIGINT NOT NULL)",
		"INSERT INTO account (owner, money) VALUES ('ann', 100), ('bob', 100)",
		"CREATE TABLE typed " + typed, "INSERT INTO typed VALUES " + typedRow(1) + ", " + typedRow(2),
		"CREATE SCHEMA other", `CREATE TABLE other."Thing" (k1 VARCHAR(20), k2 DATE, v INT, PRIMARY KEY (k2, k1))`,
		`INSERT INTO other."Thing" VALUES ('a', '2024-05-06', 1), ('b', '2024-05-06', 2)`,
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	return dsn, fmt.Sprintf("jdbc:postgresql://%s%s?user=%s&password=%s", u.Host, u.Path, u.User.Username(), password), db
}

// Go and Java services share a PostgreSQL database: its name, the row locks and
// the undo records of each other.
func TestGoAndJavaOnPostgreSQL(t *testing.T) {
	dsn, jdbc, plain := postgreSQL(t)
	m := startMixed(t, dsn, jdbc, plain)
	t.Run("begun by Go", m.testBegunByGo)
	t.Run("begun by Java", m.testBegunByJava)
	t.Run("one row, two languages", m.testConflict)
	t.Run("one row of another schema", m.testConflictOfKeys)
	t.Run("Java rolls back what Go wrote", m.testJavaUndoesGosTypes)
	m.startGo(t, datasource.Config{})
	t.Run("every type", m.testGoUndoesJavasTypes)
	// The last: it ends the Java client.
	t.Run("Go rolls back what Java wrote", m.testGoUndoesJava)
}

// testConflictOfKeys: the lock keys of a composite key, in the key's own order,
// and of a table with a schema are the same text in both languages.
func (m *mixed) testConflictOfKeys(t *testing.T) {
	mine := begin(m.java)
	require.Empty(t, m.javaSQL(mine, `UPDATE other."Thing" SET v = 5 WHERE k1 = 'a'`).Error)
	x := begin(m.java)
	ctx, cancel := context.WithTimeout(xid.NewContext(t.Context(), x), 30*time.Second)
	defer cancel()
	_, err := m.goDB.ExecContext(ctx, `UPDATE other."Thing" SET v = 6 WHERE k1 = 'b'`)
	require.NoError(t, err, "another row is free")
	_, err = m.goDB.ExecContext(ctx, `DELETE FROM other."Thing" WHERE k1 = 'a'`)
	require.ErrorContains(t, err, "held by "+mine)
	assert.Contains(t, m.javaSQL(mine, `UPDATE other."Thing" SET v = 7 WHERE k1 = 'b'`).Error, "LockConflict")
	for _, y := range []string{mine, x} {
		require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": y}).Status)
	}
	assert.Equal(t, []string{"1", "2"}, m.column(t, `SELECT v::text FROM other."Thing" ORDER BY k1`))
}

// testJavaUndoesGosTypes: the Go service ends with an open branch, and the Java
// service carries the rollback out from Go's undo log.
func (m *mixed) testJavaUndoesGosTypes(t *testing.T) {
	all := func() string {
		return strings.Join(m.column(t, "SELECT row_to_json(x)::text FROM typed x ORDER BY id"), "\n")
	}
	before, accountsBefore := all(), accounts(t, m.plain)
	x := begin(m.java)
	ctx := xid.NewContext(t.Context(), x)
	for _, statement := range []string{
		`UPDATE typed SET i2 = 1, i4 = 1, i8 = 1, num = 1, f4 = 1, f8 = 1, flag = false, ch = 'x', vc = 'x', tx = '', bin = 'x', dt = '2000-01-01', tm = '01:00', ts = now(), tstz = now(),
		u = '00000000-0000-0000-0000-000000000001', js = '2', jb = '3', iv = '-1 hour', ip = '1.1.1.1', b8 = b'00000000', vb = b'1', o = 1, r = '[7,8)', a4 = '{}', at = '{z}', an = '{}', ab = '{}', nul = 'x' WHERE id = 1`,
		"DELETE FROM typed WHERE id = 2", "INSERT INTO typed VALUES " + typedRow(3),
		"UPDATE account SET money = 0", "INSERT INTO account (owner, money) VALUES ('dora', 5)",
	} {
		_, err := m.goDB.ExecContext(ctx, statement)
		require.NoError(t, err, statement)
	}
	require.NotEqual(t, before, all())
	m.stopGo(t)
	require.Equal(t, "Rollbacked", m.java.Must(Command{"op": "rollback", "xid": x}).Status)
	assert.Equal(t, before, all())
	assert.Equal(t, accountsBefore, accounts(t, m.plain))
	m.noUndoLeft(t)
}

// testGoUndoesJavasTypes: while both services run, either may be asked; Go's own
// resource is called directly, with the record that Java wrote just now.
func (m *mixed) testGoUndoesJavasTypes(t *testing.T) {
	all := func() string {
		return strings.Join(m.column(t, "SELECT row_to_json(x)::text FROM typed x ORDER BY id"), "\n")
	}
	before := all()
	x := begin(m.java)
	for _, statement := range []string{
		"UPDATE typed SET num = 7, js = '{}', u = gen_random_uuid(), tstz = now(), ts = now(), a4 = '{9}', ip = '1.2.3.4', iv = '5 hours', b8 = b'11111111' WHERE id = 1",
		"DELETE FROM typed WHERE id = 2", "INSERT INTO typed VALUES " + typedRow(3),
	} {
		require.Empty(t, m.javaSQL(x, statement).Error, statement)
	}
	require.NotEqual(t, before, all())
	rollBack(t, m.tc.address, x)
	require.Eventually(t, func() bool {
		status, err := m.goApp.TM().Status(t.Context(), x)
		return err == nil && status == protocol.StatusRollbacked
	}, 20*time.Second, 20*time.Millisecond)
	assert.Equal(t, before, all())
	m.noUndoLeft(t)
}

func (m *mixed) column(t *testing.T, query string) (all []string) {
	rows, err := m.plain.Query(query)
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	for rows.Next() {
		var v string
		require.NoError(t, rows.Scan(&v))
		all = append(all, v)
	}
	require.NoError(t, rows.Err())
	return all
}
