package main

import (
	"bytes"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

func undoTable(args ...string) (string, error) { return command("undo-table", args...) }

func command(name string, args ...string) (string, error) {
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{name}, args...))
	err := root.Execute()
	return out.String(), err
}

func TestFenceTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	_, err = db.Exec("CREATE TABLE account (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	for range 2 {
		out, err := command("fence-table", "--driver", "sqlite", "--dsn", file)
		require.NoError(t, err)
		assert.Equal(t, "the database is ready for fenced actions\n", out)
	}
	_, err = db.Exec("DELETE FROM tcc_fence_log WHERE xid = 'x'")
	require.NoError(t, err)
	out, err := command("fence-table", "--driver", "pgx", "--print")
	require.NoError(t, err)
	script, err := fence.DDL("pgx")
	require.NoError(t, err)
	assert.Equal(t, script, out)
	_, err = command("fence-table", "--driver", "oracle", "--dsn", "x")
	assert.True(t, errors.As(err, new(usageError)), "%v", err)
}

// The command makes a database ready, and is harmless when it is.
func TestUndoTableMakesADatabaseReady(t *testing.T) {
	file := filepath.Join(t.TempDir(), "orders.db")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = db.Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	require.NoError(t, db.Close())
	for driver, dsn := range map[string]string{"sqlite": file, "mysql": testenv.MariaDB(t), "pgx": testenv.PostgreSQL(t)} {
		for range 2 {
			out, err := undoTable("--driver", driver, "--dsn", dsn)
			require.NoError(t, err)
			assert.Equal(t, "the database is ready for AT\n", out)
		}
		db, err := sql.Open(driver, dsn)
		require.NoError(t, err)
		_, err = db.Exec("DELETE FROM undo_log WHERE xid = 'x' AND branch_id = 1")
		assert.NoError(t, err, driver)
		require.NoError(t, db.Close())
		out, err := undoTable("--driver", driver, "--dsn", dsn, "--json")
		require.NoError(t, err)
		assert.JSONEq(t, `{"ready": true, "driver": "`+driver+`"}`, out)
	}
}

func TestUndoTablePrintsItsStatements(t *testing.T) {
	out, err := undoTable("--print")
	require.NoError(t, err)
	script, err := datasource.UndoTableDDL(datasource.MySQL)
	require.NoError(t, err)
	assert.Equal(t, script, out)
}

func TestUndoTableRefusesWhatItCannotUse(t *testing.T) {
	for _, c := range []struct {
		args  []string
		usage bool
		says  string
	}{
		{nil, true, "--dsn is missing"},
		{[]string{"--driver", "oracle", "--dsn", "x"}, true, "want mysql"},
		{[]string{"--driver", "sqlite", "--dsn", filepath.Join(t.TempDir(), "nowhere.db")}, false, "a database that exists"},
		{[]string{"--dsn", "no dsn at all"}, false, "--dsn"},
		{[]string{"--driver", "pgx", "--dsn", "postgres://h:x/"}, false, "cannot parse"},
		{[]string{"--dsn", "root@tcp(127.0.0.1:1)/orders"}, false, "does the database exist"},
	} {
		_, err := undoTable(c.args...)
		require.ErrorContains(t, err, c.says)
		assert.Equal(t, c.usage, errors.As(err, new(usageError)), "%v", c.args)
	}
}
