package sqlparse_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// A query with the parsed clauses must read exactly the rows that the
// statement then changes. Each statement sets hit to 1 in the rows it means;
// the rows have ids 1 to 12.
type imageCase struct {
	sql  string
	args []any
}

var commonCases = []imageCase{
	{"UPDATE t SET hit = 1", nil},
	{"UPDATE t SET hit = ?, note = '?' WHERE id = ?", []any{1, 7}},
	{"UPDATE t AS x SET hit = 1 WHERE x.grp = ? AND x.note = 'it''s ?' -- ?", []any{2}},
	{"UPDATE t SET note = ?, hit = 1 WHERE id BETWEEN ? AND ? OR grp IN (?, ?) /* ? */ AND id > ?", []any{"n", 2, 4, 0, 1, 8}},
	{"UPDATE t SET hit = CASE WHEN id > 0 THEN 1 ELSE 0 END WHERE CASE WHEN grp = ? THEN id ELSE 0 END > ?", []any{1, 5}},
	{"UPDATE t SET hit = 1 WHERE `order` = ? AND t.`where` IS NOT NULL", []any{3}},
	{"UPDATE t SET hit = 1 WHERE grp - -1 = ?", []any{2}},
	{"UPDATE t SET hit=1 WHERE id*2>? AND(id<=?)", []any{6, 10}},
}

var mysqlCases = []imageCase{
	{"UPDATE t SET hit = 1 WHERE grp = ? ORDER BY grp DESC, id DESC LIMIT ?", []any{1, 2}},
	{"UPDATE t USE INDEX FOR ORDER BY (PRIMARY) SET hit = 1 WHERE id > ? ORDER BY id LIMIT 3", []any{4}},
	{"UPDATE t SET hit = 1 WHERE grp--1 = ? # ?", []any{1}},
	{`UPDATE t SET hit = 1 WHERE note = 'it\'s ?' AND grp = 0 OR note = "say \"?\"" OR id = ?`, []any{9}},
}

var sqliteCases = []imageCase{
	{"UPDATE t SET (hit, note) = (1, ?) WHERE id = ?", []any{"n", 5}},
	{"UPDATE t SET note = ?2, hit = 1 WHERE grp = ?1 AND id > ?", []any{1, 3, 4}},
	{"UPDATE t SET hit = 1 WHERE id IN (SELECT u.id FROM t u WHERE u.grp = ? ORDER BY u.id LIMIT ?)", []any{2, 2}},
	{"UPDATE t SET hit=1 WHERE id*2>?AND id<=?", []any{6, 10}},
	{`UPDATE t SET hit = 1 WHERE [order] = ? OR "where" = '[?' OR id = ?`, []any{1, 2}},
}

func TestClausesReadTheRowsThatTheStatementChanges(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		db := openDB(t, "mysql", server.Database(t))
		for _, c := range append(commonCases, mysqlCases...) {
			t.Run(server.Name+"/"+c.sql, func(t *testing.T) { checkImage(t, schema.MySQL, db, c) })
		}
	}
	sqlite := openDB(t, "sqlite", filepath.Join(t.TempDir(), "t.db"))
	for _, c := range append(commonCases, sqliteCases...) {
		t.Run("SQLite/"+c.sql, func(t *testing.T) { checkImage(t, schema.SQLite, sqlite, c) })
	}
}

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Exec("CREATE TABLE t (id INT PRIMARY KEY, grp INT, note VARCHAR(20), `order` INT, `where` INT, hit INT)")
	require.NoError(t, err)
	return db
}

func checkImage(t *testing.T, d schema.Dialect, db *sql.DB, c imageCase) {
	_, err := db.Exec("DELETE FROM t")
	require.NoError(t, err)
	for id := 1; id <= 12; id++ {
		_, err := db.Exec("INSERT INTO t VALUES (?, ?, 'it''s ?', ?, 1, 0)", id, id%3, id%4)
		require.NoError(t, err)
	}
	st, err := sqlparse.Parse(d, c.sql)
	require.NoError(t, err)
	require.Equal(t, len(c.args), st.Params)

	query := "SELECT id FROM " + d.QuoteTable(st.Schema, st.Table)
	if st.Alias != "" {
		query += " AS " + d.Quote(st.Alias)
	}
	var args []any
	for _, clause := range []struct {
		keyword string
		sqlparse.Expr
	}{{" WHERE ", st.Where}, {" ORDER BY ", st.OrderBy}, {" LIMIT ", st.Limit}} {
		if clause.SQL == "" {
			continue
		}
		query += clause.keyword + clause.SQL
		for _, p := range clause.Params {
			args = append(args, c.args[p])
		}
	}
	image := ids(t, db, query, args...)
	_, err = db.Exec(c.sql, c.args...)
	require.NoError(t, err)
	changed := ids(t, db, "SELECT id FROM t WHERE hit = 1")
	assert.ElementsMatch(t, changed, image, query)
	assert.NotEmpty(t, changed, "the case shows nothing")
	if strings.Contains(c.sql, "WHERE") {
		assert.Less(t, len(changed), 12, "the case shows nothing")
	}
}

func ids(t *testing.T, db *sql.DB, query string, args ...any) []int {
	t.Helper()
	rows, err := db.Query(query, args...)
	require.NoError(t, err, query)
	defer rows.Close()
	var all []int
	for rows.Next() {
		var id int
		require.NoError(t, rows.Scan(&id))
		all = append(all, id)
	}
	require.NoError(t, rows.Err())
	return all
}

// The reason for refusing subqueries on MySQL: FOR UPDATE does not reach into
// them, so an image would be read from the transaction's snapshot, while the
// statement reads what others have committed since.
func TestMySQLSubqueriesEscapeTheImage(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { testSubqueries(t, openDB(t, "mysql", server.Database(t))) })
	}
}

func testSubqueries(t *testing.T, db *sql.DB) {
	for _, statement := range []string{
		"CREATE TABLE u (k INT PRIMARY KEY)", "INSERT INTO u VALUES (1)", "INSERT INTO t (id, hit) VALUES (1, 0), (2, 0)",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	const where = " WHERE id IN (SELECT k FROM u)"
	count := func(query string) (n int) {
		require.NoError(t, tx.QueryRow(query).Scan(&n))
		return n
	}
	assert.Equal(t, 1, count("SELECT COUNT(*) FROM u"))
	_, err = db.Exec("INSERT INTO u VALUES (2)")
	require.NoError(t, err)
	assert.Equal(t, 1, count("SELECT COUNT(*) FROM t"+where+" FOR UPDATE"))
	result, err := tx.Exec("UPDATE t SET hit = 1" + where)
	require.NoError(t, err)
	changed, err := result.RowsAffected()
	require.NoError(t, err)
	assert.EqualValues(t, 2, changed)
	_, err = sqlparse.Parse(schema.MySQL, "UPDATE t SET hit = 1"+where)
	assert.ErrorIs(t, err, sqlparse.ErrUnsupported)
}
