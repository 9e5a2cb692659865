package sqlparse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// The transcripts show what becomes of each statement. After a wanted change:
// go test ./datasource/sqlparse -rewrite, and read the difference.
func TestTranscripts(t *testing.T) {
	for dialect, dir := range map[schema.Dialect]string{
		schema.MySQL: "testdata/mysql", schema.SQLite: "testdata/sqlite", schema.PostgreSQL: "testdata/postgresql",
	} {
		datadriven.Walk(t, dir, func(t *testing.T, path string) {
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd == "each" { // a statement a line
					var b strings.Builder
					for _, sql := range strings.Split(d.Input, "\n") {
						st, err := sqlparse.Parse(dialect, sql)
						fmt.Fprintf(&b, "%s\n", strings.ReplaceAll(show(st, err), "\n", "\n    "))
					}
					return b.String()
				}
				st, err := sqlparse.Parse(dialect, d.Input)
				return show(st, err) + "\n"
			})
		})
	}
}

func show(st *sqlparse.Statement, err error) string {
	var refused *sqlparse.Unsupported
	switch {
	case errors.As(err, &refused):
		return fmt.Sprintf("refused: %s\n  instead: %s", refused.Reason, refused.Remedy)
	case err != nil:
		return "error: " + err.Error()
	}
	kinds := map[sqlparse.Kind]string{
		sqlparse.Read: "read", sqlparse.Insert: "insert", sqlparse.Update: "update", sqlparse.Delete: "delete",
		sqlparse.SelectForUpdate: "select for update", sqlparse.Local: "local",
	}
	var b strings.Builder
	b.WriteString(kinds[st.Kind])
	line := func(label string, present bool, format string, args ...any) {
		if present {
			fmt.Fprintf(&b, "\n  %s: "+format, append([]any{label}, args...)...)
		}
	}
	line("table", st.Table != "", "%s", strings.TrimPrefix(st.Schema+"."+st.Table, "."))
	line("alias", st.Alias != "", "%s", st.Alias)
	line("params", st.Params > 0, "%d", st.Params)
	line("set", st.Set != nil, "%q", st.Set)
	line("columns", st.Columns != nil, "%q", st.Columns)
	for _, row := range st.Rows {
		line("row", true, "%s", showRow(row))
	}
	line("where", st.Where.SQL != "", "%s %v", st.Where.SQL, st.Where.Params)
	line("order by", st.OrderBy.SQL != "", "%s %v: columns %q", st.OrderBy.SQL, st.OrderBy.Params, st.OrderColumns)
	line("limit", st.Limit.SQL != "", "%s %v", st.Limit.SQL, st.Limit.Params)
	line("lock", st.ForUpdateSuffix != "", "%s", st.ForUpdateSuffix)
	verbs := map[sqlparse.SavepointVerb]string{
		sqlparse.SetSavepoint: "set", sqlparse.RollbackToSavepoint: "roll back to", sqlparse.ReleaseSavepoint: "release",
	}
	line("savepoint", st.Savepoint.Verb != 0, "%s %s", verbs[st.Savepoint.Verb], st.Savepoint.Name)
	line("columns go to", st.Head != "", "%s…%s", st.Head, st.Tail)
	line("returns", st.Returns, "rows of its own")
	line("rewritten", st.Rewritten != "", "%s", st.Rewritten)
	return b.String()
}

func showRow(row []sqlparse.Value) string {
	texts := make([]string, len(row))
	for i, v := range row {
		switch v.Kind {
		case sqlparse.ValueParam:
			texts[i] = fmt.Sprintf("?%d", v.Param)
		case sqlparse.ValueLiteral:
			texts[i] = fmt.Sprintf("%T %#v", v.Literal, v.Literal)
		case sqlparse.ValueNull:
			texts[i] = "NULL"
		case sqlparse.ValueDefault:
			texts[i] = "DEFAULT"
		case sqlparse.ValueExpr:
			texts[i] = "expression"
		}
	}
	return "(" + strings.Join(texts, ", ") + ")"
}

func TestErrorsCanBeTold(t *testing.T) {
	_, err := sqlparse.Parse(schema.MySQL, "UPDAT t SET a = 1")
	assert.ErrorIs(t, err, sqlparse.ErrSyntax)
	assert.NotErrorIs(t, err, sqlparse.ErrUnsupported)
	_, err = sqlparse.Parse(schema.SQLite, "DROP TABLE t")
	assert.ErrorIs(t, err, sqlparse.ErrUnsupported)
	assert.NotErrorIs(t, err, sqlparse.ErrSyntax)
	_, err = sqlparse.Parse(0, "SELECT 1")
	assert.ErrorContains(t, err, "unknown dialect")
}

// A statement may bring as many placeholders as the protocol carries, and its
// parse must not take their square.
func TestManyNumberedPlaceholders(t *testing.T) {
	var b strings.Builder
	for i := range 65535 {
		fmt.Fprintf(&b, ", $%d", i+1)
	}
	st, err := sqlparse.Parse(schema.PostgreSQL, "UPDATE t SET a = 1 WHERE b IN (0"+b.String()+")")
	assert.NoError(t, err)
	assert.Len(t, st.Where.Params, 65535)
	assert.Equal(t, 65535, st.Params)
	_, err = sqlparse.Parse(schema.PostgreSQL, "UPDATE t SET a = $65536")
	assert.ErrorIs(t, err, sqlparse.ErrSyntax)
}

// TestManyPlaceholders is the same for placeholders without numbers.
func TestManyPlaceholders(t *testing.T) {
	for _, d := range []schema.Dialect{schema.MySQL, schema.SQLite} {
		const rows = 65535 / 3
		sql := "INSERT INTO t (a, b, c) VALUES " + strings.TrimSuffix(strings.Repeat("(?, ?, ?), ", rows), ", ")
		st, err := sqlparse.Parse(d, sql)
		assert.NoError(t, err)
		assert.Len(t, st.Rows, rows)
		assert.Equal(t, rows*3-1, st.Rows[rows-1][2].Param)
		_, err = sqlparse.Parse(d, sql+", (?, ?, ?)")
		assert.ErrorIs(t, err, sqlparse.ErrSyntax)
	}
}

// A comment of PostgreSQL ends with a carriage return too: what comes behind it
// is the statement's.
func TestACarriageReturnEndsAComment(t *testing.T) {
	st, err := sqlparse.Parse(schema.PostgreSQL, "UPDATE t SET a = 1 -- all\rWHERE b = 2")
	assert.NoError(t, err)
	assert.Equal(t, "b = 2", st.Where.SQL)
	st, err = sqlparse.Parse(schema.PostgreSQL, "SELECT 1 -- \rFROM t FOR UPDATE")
	assert.NoError(t, err)
	assert.Equal(t, sqlparse.SelectForUpdate, st.Kind)
}
