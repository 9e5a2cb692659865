package sqlparse_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Whatever the text, Parse gives a statement that the caller can work with
// without further checks, or one of its two errors.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"UPDATE `t` AS x SET a = ?, b = '?' WHERE x.a = ? AND b IN (?, \"?\") ORDER BY id LIMIT ?",
		"DELETE FROM main.[t] WHERE a = ?2 AND b = ? -- end",
		"INSERT INTO t (a, b) VALUES (?, -1), (DEFAULT, 'it''s')",
		"INSERT INTO t DEFAULT VALUES",
		"SELECT * FROM t AS x WHERE id = ? FOR UPDATE NOWAIT",
		"WITH c AS (SELECT 1) SELECT * FROM c; ;",
		"PRAGMA main.table_info(t)",
		"UPDATE t SET (a, b) = (1, 2) WHERE d < date('now')",
		"UPDATE ONLY s.\"T\" AS x SET a[1] = $1, b = E'\\'' WHERE x.c = $2 AND d ? $$k$$ RETURNING *",
		"INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING RETURNING a",
		"DELETE FROM t USING u WHERE t.id = u.id /* /* */ */",
		"SELECT a, b FROM t WHERE id = $1 FOR NO KEY UPDATE OF t SKIP LOCKED",
		"ROLLBACK TO SAVEPOINT \"S\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		for _, d := range []schema.Dialect{schema.MySQL, schema.SQLite, schema.PostgreSQL} {
			st, err := sqlparse.Parse(d, sql)
			if err != nil {
				require.Nil(t, st)
				require.True(t, errors.Is(err, sqlparse.ErrSyntax) != errors.Is(err, sqlparse.ErrUnsupported), "%v", err)
				continue
			}
			checkUsable(t, d, st)
		}
	})
}

func checkUsable(t *testing.T, d schema.Dialect, st *sqlparse.Statement) {
	t.Helper()
	for _, e := range []sqlparse.Expr{st.Where, st.OrderBy, st.Limit} {
		for _, p := range e.Params {
			require.True(t, p >= 0 && p < st.Params)
		}
	}
	for _, row := range st.Rows {
		if st.Columns != nil {
			require.Len(t, row, len(st.Columns))
		}
		for _, v := range row {
			require.NotZero(t, v.Kind)
			require.True(t, v.Param >= 0 && v.Param <= st.Params)
		}
	}
	switch st.Kind {
	case sqlparse.Insert, sqlparse.Update, sqlparse.Delete, sqlparse.SelectForUpdate:
		require.NotEmpty(t, st.Table)
	}
	if d == schema.PostgreSQL && st.Kind >= sqlparse.Insert && st.Kind <= sqlparse.SelectForUpdate {
		checkExtended(t, st)
	}
	if st.Where.SQL == "" {
		return
	}
	// The image query repeats the WHERE: there it must mean the same.
	again, err := sqlparse.Parse(d, "UPDATE t SET a = 0 WHERE "+st.Where.SQL)
	require.NoError(t, err)
	assert.Equal(t, st.Where.SQL, again.Where.SQL)
	assert.Len(t, again.Where.Params, len(st.Where.Params))
	assert.Equal(t, len(st.Where.Params), again.Params)
}

// checkExtended puts a column into the statement's list of result columns: what
// comes out is the same statement, with results.
func checkExtended(t *testing.T, st *sqlparse.Statement) {
	t.Helper()
	text := st.Head + "x.y" + st.Tail
	again, err := sqlparse.Parse(schema.PostgreSQL, text)
	require.NoError(t, err, text)
	require.True(t, again.Returns)
	require.Equal(t, []any{st.Kind, st.Schema, st.Table, st.Alias, st.Set, st.Columns, st.Where, st.Params},
		[]any{again.Kind, again.Schema, again.Table, again.Alias, again.Set, again.Columns, again.Where, again.Params}, text)
}
