package at_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/rm"
)

// modes are pgx's ways to execute a statement. What AT writes and reads must not
// depend on them.
var modes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// column is one query's first column.
func column(t *testing.T, rows *sql.Rows, err error) (all []string) {
	t.Helper()
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var v string
		require.NoError(t, rows.Scan(&v))
		all = append(all, v)
	}
	require.NoError(t, rows.Err())
	return all
}

// A statement that returns rows is protected as one that does not, alone, in a
// transaction and prepared; the caller gets its own columns and no others.
func TestReturning(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			e := onPostgres(t, settings{urlSuffix: "&default_query_exec_mode=" + mode}, append(stock,
				"CREATE TABLE made (id SERIAL PRIMARY KEY, code UUID NOT NULL DEFAULT gen_random_uuid(), always INT GENERATED ALWAYS AS IDENTITY, v INT)")...)
			before := e.dump(allStock)
			ctx, x := e.global()
			rows, err := e.db.QueryContext(ctx, "INSERT INTO made (v) VALUES ($1), ($2) RETURNING id", 5, 6)
			assert.Equal(t, []string{"1", "2"}, column(t, rows, err))
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			rows, err = tx.QueryContext(ctx, "UPDATE stock AS s SET n = s.n + $1 WHERE s.id <= $2 RETURNING *", 1, 2)
			require.NoError(t, err)
			types, err := rows.ColumnTypes()
			require.NoError(t, err)
			require.Len(t, types, 3)
			assert.Equal(t, "INT4", types[1].DatabaseTypeName())
			assert.Equal(t, "note", types[2].Name())
			require.True(t, rows.Next())
			var id, n int
			var note string
			require.NoError(t, rows.Scan(&id, &n, &note))
			assert.Equal(t, []any{1, 11, "a"}, []any{id, n, note})
			require.NoError(t, rows.Close(), "rows need not be read to their end")
			s, err := tx.PrepareContext(ctx, "DELETE FROM stock WHERE id = $1 RETURNING note, id")
			require.NoError(t, err)
			require.NoError(t, s.QueryRow(2).Scan(&note, &id))
			assert.Equal(t, "b", note)
			require.NoError(t, s.Close())
			result, err := tx.ExecContext(ctx, "INSERT INTO stock SELECT id + 10, n, note FROM stock RETURNING id")
			require.NoError(t, err)
			count, err := result.RowsAffected()
			require.NoError(t, err)
			assert.EqualValues(t, 2, count)
			require.NoError(t, tx.Commit())
			assert.Equal(t, []string{"made:1,2", "stock:1,2,11,13"}, sortedLocks(e.tc.lockKeys(x)))
			e.tc.rollback(x)
			assert.Equal(t, before, e.dump(allStock))
			assert.Equal(t, "0\n", e.dump("SELECT COUNT(*) FROM made"))
			assert.Equal(t, "0", e.undoRows())
		})
	}
}

// sortedLocks puts the rows of stock, which come in the order of statements,
// into one.
func sortedLocks(keys []string) []string {
	for i, key := range keys {
		if key == "stock:1,2,13,11" {
			keys[i] = "stock:1,2,11,13"
		}
	}
	return keys
}

// Keys that the database makes are known, whatever makes them.
func TestPostgresGeneratedKeys(t *testing.T) {
	e := onPostgres(t, settings{}, "CREATE TABLE s (id BIGSERIAL PRIMARY KEY, v INT)", "CREATE TABLE i (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v INT)",
		"CREATE TABLE u (id UUID DEFAULT '00000000-0000-0000-0000-00000000000a' PRIMARY KEY, v INT)", "CREATE TABLE f (id TEXT PRIMARY KEY, v INT UNIQUE)",
		"INSERT INTO f VALUES ('there', 1)")
	ctx, x := e.global()
	for _, statement := range []string{
		"INSERT INTO s (v) VALUES (1), (2)", "INSERT INTO s (id, v) VALUES (DEFAULT, 3), (50, 4)", "INSERT INTO s DEFAULT VALUES",
		"INSERT INTO i (v) VALUES (1)", "INSERT INTO i (id, v) OVERRIDING SYSTEM VALUE VALUES (70, 1)", "INSERT INTO u (v) VALUES (1)",
		"INSERT INTO f VALUES (lower('ABC'), 2)", "INSERT INTO f VALUES ('there', 7), ('new', 1), ('newer', 9) ON CONFLICT DO NOTHING",
	} {
		e.exec(ctx, statement)
	}
	assert.Equal(t, []string{"s:1,2", "s:3,50", "s:4", "i:1", "i:70", "u:00000000-0000-0000-0000-00000000000a", "f:abc", "f:newer"}, e.tc.lockKeys(x))
	result, err := e.db.ExecContext(ctx, "INSERT INTO s (v) VALUES (9)")
	require.NoError(t, err)
	_, err = result.LastInsertId()
	require.Error(t, err, "PostgreSQL has none")
	e.tc.rollback(x)
	assert.Equal(t, "there|1\n", e.dump("SELECT * FROM f"))
	for _, table := range []string{"s", "i", "u"} {
		assert.Empty(t, e.dump("SELECT * FROM "+table))
	}
}

// What identity columns held comes back; an UPDATE of one cannot be undone, so
// it is refused.
func TestIdentityColumnsAreRestored(t *testing.T) {
	e := onPostgres(t, settings{}, "CREATE TABLE i (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n INT, twice INT GENERATED ALWAYS AS (n * 2) STORED)",
		"INSERT INTO i (n) VALUES (1), (2)", "CREATE TABLE j (id INT PRIMARY KEY, no INT GENERATED ALWAYS AS IDENTITY, v INT)", "INSERT INTO j VALUES (1, DEFAULT, 1)")
	before := e.dump("SELECT * FROM i ORDER BY id") + e.dump("SELECT * FROM j")
	ctx, x := e.global()
	e.exec(ctx, "UPDATE i SET n = 5 WHERE id = 2")
	e.exec(ctx, "DELETE FROM i")
	e.exec(ctx, "UPDATE j SET v = 2")
	_, err := e.db.ExecContext(ctx, "UPDATE j SET no = DEFAULT")
	require.ErrorIs(t, err, sqlparse.ErrUnsupported)
	e.tc.rollback(x)
	assert.Equal(t, before, e.dump("SELECT * FROM i ORDER BY id")+e.dump("SELECT * FROM j"))
}

// A failed statement aborts PostgreSQL's transaction. A savepoint saves what was
// before it, and nothing else.
func TestAFailureIsMendedByASavepoint(t *testing.T) {
	e := onPostgres(t, settings{}, stock...)
	before := e.dump(allStock)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	exec := func(statement string) error {
		_, err := tx.ExecContext(ctx, statement)
		return err
	}
	require.NoError(t, exec("UPDATE stock SET n = 11 WHERE id = 1"))
	require.NoError(t, exec(`SAVEPOINT "S"`))
	require.NoError(t, exec("SAVEPOINT s"))
	require.NoError(t, exec("DELETE FROM stock WHERE id = 3"))
	require.ErrorContains(t, exec("INSERT INTO stock (id) VALUES (2)"), "duplicate")
	require.ErrorIs(t, exec("UPDATE stock SET n = 12 WHERE id = 1"), at.ErrMustRollBack)
	require.ErrorIs(t, exec("SAVEPOINT late"), at.ErrMustRollBack)
	_, err = tx.QueryContext(ctx, "SELECT 1")
	require.ErrorIs(t, err, at.ErrMustRollBack)
	require.NoError(t, exec("ROLLBACK TO s"))
	require.NoError(t, exec("UPDATE stock SET n = 21 WHERE id = 2"))
	require.Error(t, exec("SELECT nonsense FROM stock FOR UPDATE"))
	require.Error(t, exec("ROLLBACK TO unknown"))
	require.ErrorIs(t, exec("UPDATE stock SET n = 12"), at.ErrMustRollBack, "a savepoint that was never set mends nothing")
	require.NoError(t, exec(`ROLLBACK TO "S"`))
	require.NoError(t, exec("UPDATE stock SET note = 'kept' WHERE id = 3"))
	require.NoError(t, tx.Commit())
	assert.Equal(t, "1|11|a\n2|20|b\n3|30|kept\n", e.dump(allStock))
	e.tc.rollback(x)
	assert.Equal(t, before, e.dump(allStock))

	tx, err = e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, exec("UPDATE stock SET n = 11 WHERE id = 1"))
	require.Error(t, exec("INSERT INTO stock (id) VALUES (2)"))
	require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
	assert.Len(t, e.tc.branchesOf(x), 1)
	assert.Equal(t, before, e.dump(allStock))
}

// An error in the middle of a result aborts the transaction too, unseen by us:
// the server then refuses whatever comes, and the branch is never half written.
func TestAFailureWhileReadingAbortsTheTransaction(t *testing.T) {
	e := onPostgres(t, settings{}, stock...)
	before := e.dump(allStock)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "UPDATE stock SET n = 11 WHERE id = 1")
	require.NoError(t, err)
	rows, err := tx.QueryContext(ctx, "SELECT 1 / (3 - id) FROM stock ORDER BY id")
	require.NoError(t, err)
	for rows.Next() {
	}
	require.ErrorContains(t, rows.Err(), "division by zero")
	require.Error(t, tx.Commit())
	assert.Equal(t, before, e.dump(allStock))
	assert.Equal(t, "0", e.undoRows())
	e.tc.rollback(x)
	assert.Equal(t, before, e.dump(allStock))
}

// Tables of other schemas are locked and restored under Java's names, and a
// name is never taken for the table that it meant to another session.
func TestSchemas(t *testing.T) {
	e := onPostgres(t, settings{}, append(stock, "CREATE SCHEMA other", "CREATE TABLE other.stock (id INT PRIMARY KEY, n INT, note TEXT)", "INSERT INTO other.stock VALUES (1, 1)",
		`CREATE TABLE other."Odd.Name" ("Id" INT PRIMARY KEY, "V" INT)`, `INSERT INTO other."Odd.Name" VALUES (1, 1)`)...)
	all := func() string {
		return e.dump(allStock) + e.dump("SELECT * FROM other.stock") + e.dump(`SELECT * FROM other."Odd.Name"`)
	}
	before := all()
	ctx, x := e.global()
	e.exec(ctx, "UPDATE Other.Stock SET n = 2")
	e.exec(ctx, `UPDATE other."Odd.Name" SET "V" = 2 WHERE "Odd.Name"."Id" = 1`)
	e.exec(ctx, "UPDATE public.stock SET n = 0 WHERE public.stock.id = 1")
	e.exec(ctx, "UPDATE stock SET n = 0 WHERE stock.id = 2")
	assert.Equal(t, []string{"other.stock:1", "other.Odd.Name:1", "stock:1", "stock:2"}, e.tc.lockKeys(x))
	e.tc.rollback(x)
	assert.Equal(t, before, all())

	conn, err := e.db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "SET search_path TO other, public")
	require.NoError(t, err)
	ctx, x = e.global()
	_, err = conn.ExecContext(ctx, "DELETE FROM stock WHERE id = 1")
	require.ErrorContains(t, err, "not the table that it was")
	assert.Equal(t, before, all(), "nothing was committed")
	_, err = conn.ExecContext(ctx, "DELETE FROM stock WHERE id = 1")
	require.NoError(t, err, "the name is looked up anew")
	assert.Equal(t, []string{"other.stock:1"}, e.tc.lockKeys(x))
	e.tc.rollback(x)
	assert.Equal(t, before, all())
}

// Under READ COMMITTED another session may add a row between the image and the
// UPDATE. The server's answer shows it, and the change is not committed.
func TestPostgresRowsThatMoveAreNoticed(t *testing.T) {
	e := onPostgres(t, settings{}, append(stock,
		"CREATE SEQUENCE calls",
		// What the function says of row 3 changes from one call to the next, as a
		// row of another session that comes between the image and the UPDATE.
		"CREATE FUNCTION late(id INT) RETURNS BOOL LANGUAGE sql VOLATILE AS $$ SELECT id < 3 OR nextval('calls') > 1 $$")...)
	before := e.dump(allStock)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "SAVEPOINT s")
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE late(id)")
	require.ErrorIs(t, err, at.ErrRowsMoved)
	require.ErrorContains(t, err, "id=3")
	_, err = tx.ExecContext(ctx, "ROLLBACK TO s")
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	assert.Empty(t, e.tc.branchesOf(x))
	assert.Equal(t, before, e.dump(allStock))
}

// In a REPEATABLE READ transaction a row that others changed is refused by the
// server: no image shows an old snapshot.
func TestPostgresSnapshotsAreNotImaged(t *testing.T) {
	e := onPostgres(t, settings{}, stock...)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRowContext(ctx, "SELECT n FROM stock WHERE id = 1").Scan(&n))
	e.run("UPDATE stock SET n = 11 WHERE id = 1")
	_, err = tx.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = 1")
	require.ErrorContains(t, err, "could not serialize")
	require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
	assert.Empty(t, e.tc.branchesOf(x))
}

func TestPostgresHazardsAreRefused(t *testing.T) {
	e := onPostgres(t, settings{}, "CREATE TABLE parent (id INT PRIMARY KEY, code INT UNIQUE, v INT)",
		"CREATE TABLE child (id INT PRIMARY KEY, parent INT REFERENCES parent (id) ON DELETE CASCADE, code INT REFERENCES parent (code) ON UPDATE SET NULL)",
		"INSERT INTO parent VALUES (1, 1, 1)", "INSERT INTO child VALUES (1, 1, 1)",
		"CREATE TABLE audited (id INT PRIMARY KEY, v INT)", "INSERT INTO audited VALUES (1, 1)",
		"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := 9; RETURN NEW; END $$",
		"CREATE TRIGGER watch BEFORE INSERT ON audited FOR EACH ROW EXECUTE FUNCTION f()",
		"CREATE TABLE parts (id INT PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
		"CREATE TABLE odd (id INT PRIMARY KEY, price MONEY)")
	ctx, x := e.global()
	for statement, reason := range map[string]string{
		"DELETE FROM parent":                          "ON DELETE CASCADE",
		"UPDATE parent SET v = 1, code = 3":           "ON UPDATE SET NULL",
		"INSERT INTO audited VALUES (2, 2)":           "trigger watch",
		"DELETE FROM audited":                         "trigger watch",
		"INSERT INTO odd VALUES (1, '1')":             "type money",
		"INSERT INTO parts VALUES (1)":                "partitioned table",
		"UPDATE audited SET id = 3":                   "primary key changes",
		"WITH c AS (SELECT 1) DELETE FROM audited":    "WITH clause",
		"INSERT INTO audited VALUES (2, 2) RETURNING": "expression is missing",
	} {
		_, err := e.db.ExecContext(ctx, statement)
		require.ErrorContains(t, err, reason, statement)
	}
	assert.Empty(t, e.tc.branchesOf(x))
	for _, statement := range []string{"UPDATE parent SET v = 2", "DELETE FROM child", "UPDATE audited SET v = 2", "INSERT INTO part VALUES (1)"} {
		e.exec(ctx, statement)
	}
	e.tc.rollback(x)
	assert.Equal(t, "1|1|1\n1|1|1\n1|1\n", e.dump("SELECT * FROM parent")+e.dump("SELECT * FROM child")+e.dump("SELECT * FROM audited"))
}

// A SELECT … FOR UPDATE checks the very rows that it gives.
func TestPostgresSelectForUpdate(t *testing.T) {
	e := onPostgres(t, settings{config: func(c *at.Config) { c.LockWait, c.HoldWait = 30e6, 20e6 }}, stock...)
	e.tc.hold("other", e.id, "stock:2")
	ctx, x := e.global()
	read := func(statement string, args ...any) ([]string, error) {
		rows, err := e.db.QueryContext(ctx, statement, args...)
		if err != nil {
			return nil, err
		}
		return column(t, rows, nil), nil
	}
	got, err := read("SELECT s.note FROM stock AS s WHERE s.id < $1 ORDER BY s.id DESC OFFSET 1 LIMIT $2 FOR NO KEY UPDATE OF s", 3, 5)
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, got)
	_, err = read("SELECT n FROM stock ORDER BY n LIMIT 2 FOR UPDATE SKIP LOCKED")
	require.ErrorIs(t, err, rm.ErrLockConflict)
	result, err := e.db.ExecContext(ctx, "SELECT n FROM stock WHERE id <> 2 FOR UPDATE")
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	assert.Empty(t, e.tc.branchesOf(x))
	e.clean("stock")
}

// After a deadlock the transaction is over, however much it had done.
func TestPostgresDeadlocks(t *testing.T) {
	e := onPostgres(t, settings{}, stock...)
	before := e.dump(allStock)
	other, err := e.plain.Begin()
	require.NoError(t, err)
	defer func() { _ = other.Rollback() }()                   // for a test that fails before
	_, err = other.Exec("SET LOCAL deadlock_timeout = '20s'") // so that ours is given up
	require.NoError(t, err)
	_, err = other.Exec("UPDATE stock SET n = n WHERE id = 2")
	require.NoError(t, err)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 1")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := other.Exec("UPDATE stock SET n = n WHERE id = 1")
		done <- err
	}()
	_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 2")
	require.ErrorContains(t, err, "deadlock")
	require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
	require.NoError(t, <-done)
	require.NoError(t, other.Rollback())
	assert.Empty(t, e.tc.branchesOf(x))
	assert.Equal(t, before, e.dump(allStock))
	e.clean("stock")
}

// A server whose settings would make the parser misread a text takes no part.
func TestPostgresSettingsAreChecked(t *testing.T) {
	e := onPostgres(t, settings{}, stock...)
	name := strings.TrimSpace(e.dump("SELECT current_database()"))
	e.run("ALTER DATABASE " + name + " SET standard_conforming_strings = off")
	err := openOnly(t, postgresConnector{e.dsn}, at.Config{Dialect: schema.PostgreSQL, Coordinator: newCoordinator(t), ResourceID: "x"})
	require.ErrorContains(t, err, "standard_conforming_strings")
}
