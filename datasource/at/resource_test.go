package at_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

func openOnly(t *testing.T, inner driver.Connector, cfg at.Config) error {
	t.Helper()
	c, err := at.Open(t.Context(), inner, cfg)
	if err == nil {
		require.NoError(t, c.Close())
	}
	return err
}

// The name of a SQLite database is the file's, by path and by the id in it.
func TestSQLiteResourceID(t *testing.T) {
	dir := t.TempDir()
	idOf := func(file string, explicit string) string {
		inner := sqliteConnector{filepath.Join(dir, file)}
		db := sql.OpenDB(inner)
		defer db.Close()
		require.NoError(t, at.CreateUndoTable(t.Context(), db, schema.SQLite))
		c, err := at.Open(t.Context(), inner, at.Config{Dialect: schema.SQLite, Coordinator: newCoordinator(t), ResourceID: explicit})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		return c.Resource().ID()
	}
	a := idOf("a.db", "")
	assert.Equal(t, a, idOf("a.db", ""), "it lasts")
	path, id, ok := strings.Cut(a, "?id=")
	require.True(t, ok)
	assert.True(t, strings.HasPrefix(path, "jdbc:sqlite:") && strings.HasSuffix(path, "/a.db"), path)
	assert.Len(t, id, 32)
	require.NoError(t, os.Symlink(filepath.Join(dir, "a.db"), filepath.Join(dir, "link.db")))
	assert.Equal(t, a, idOf("link.db", ""), "another name of the same file")
	assert.NotEqual(t, id, idOf("b.db", "")[len(idOf("b.db", ""))-32:])
	assert.Equal(t, "mine", idOf("a.db", "mine"))
	assert.Contains(t, idOf("100%,a.db", ""), "/100%25%2Ca.db?id=", "a comma separates resource ids on the wire")
}

func TestDatabasesThatCannotTakePart(t *testing.T) {
	tc := newCoordinator(t)
	lite := at.Config{Dialect: schema.SQLite, Coordinator: tc}
	require.ErrorIs(t, openOnly(t, sqliteConnector{":memory:"}, lite), at.ErrInMemory)
	err := openOnly(t, sqliteConnector{filepath.Join(t.TempDir(), "new.db")}, lite)
	require.ErrorIs(t, err, at.ErrNoUndoTable)
	require.ErrorContains(t, err, "qiao undo-table")

	for _, server := range testenv.MySQLServers() {
		cfg, err := mysql.ParseDSN(server.Database(t))
		require.NoError(t, err)
		inner, err := mysql.NewConnector(cfg)
		require.NoError(t, err)
		err = openOnly(t, inner, at.Config{Dialect: schema.MySQL, Coordinator: tc, ResourceID: "x"})
		require.ErrorIs(t, err, at.ErrNoUndoTable)
		require.ErrorContains(t, err, "script")
		none := cfg.Clone()
		none.DBName = ""
		inner, err = mysql.NewConnector(none)
		require.NoError(t, err)
		require.ErrorContains(t, openOnly(t, inner, at.Config{Dialect: schema.MySQL, Coordinator: tc, ResourceID: "x"}), "names no database")
	}

	require.ErrorContains(t, openOnly(t, sqliteConnector{"unused.db"}, at.Config{Dialect: schema.MySQL, Coordinator: tc}), "ResourceID")
	require.ErrorContains(t, openOnly(t, sqliteConnector{"unused.db"}, at.Config{Coordinator: tc}), "dialect")
	require.ErrorContains(t, openOnly(t, sqliteConnector{"unused.db"}, at.Config{Dialect: schema.MySQL}), "coordinator")
	assert.Empty(t, tc.resources)
}

// A locked database in another schema has locks of its own, which we do not see.
func TestTablesOfOtherDatabasesAreRefused(t *testing.T) {
	onMySQL(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, _ := e.global()
		_, err := e.db.ExecContext(ctx, "DELETE FROM mysql.user")
		require.ErrorContains(t, err, "not in the connection's database")
		own := strings.TrimSpace(e.dump("SELECT DATABASE()"))
		e.exec(ctx, "UPDATE "+own+".stock SET n = 0 WHERE "+own+".stock.id = 1")
		e.exec(ctx, "UPDATE stock AS s SET s.n = 0 WHERE s.id = 2")
	})
}

type refusing struct{ *coordinator }

var errAway = errors.New("away")

func (refusing) RegisterResource(context.Context, rm.Resource) error { return errAway }

func TestRegistrationOfTheResourceFails(t *testing.T) {
	inner := sqliteConnector{filepath.Join(t.TempDir(), "a.db")}
	db := sql.OpenDB(inner)
	defer db.Close()
	require.NoError(t, at.CreateUndoTable(t.Context(), db, schema.SQLite))
	require.NoError(t, at.CreateUndoTable(t.Context(), db, schema.SQLite), "it may be repeated")
	require.ErrorIs(t, openOnly(t, inner, at.Config{Dialect: schema.SQLite, Coordinator: refusing{newCoordinator(t)}}), errAway)
}

// Orders that arrive after Close are not answered as if they were carried out.
func TestPhaseTwoAfterClose(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.exec(ctx, "UPDATE stock SET n = 0")
		b := e.tc.branchesOf(x)[0]
		require.NoError(t, e.db.Close())
		require.NoError(t, e.connector.Close(), "closing twice is closing once")
		status, err := e.connector.Resource().Commit(t.Context(), b)
		require.Error(t, err)
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, status)
		status, err = e.connector.Resource().Rollback(t.Context(), b)
		require.Error(t, err)
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
		assert.Equal(t, "1", e.undoRows())
	})
}

// The scripts that operators run are those that the program runs.
func TestScriptsAreTheSame(t *testing.T) {
	for d, name := range map[schema.Dialect]string{schema.MySQL: "mysql.sql", schema.SQLite: "sqlite.sql", schema.PostgreSQL: "postgresql.sql"} {
		script, err := os.ReadFile(filepath.Join("..", "..", "script", "client", "at", "db", name))
		require.NoError(t, err)
		own, err := at.UndoTableDDL(d)
		require.NoError(t, err)
		assert.Equal(t, own, string(script), name)
	}
	_, err := at.UndoTableDDL(9)
	require.Error(t, err)
}
