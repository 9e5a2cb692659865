package saga_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

func TestMain(m *testing.M) {
	if os.Getenv(victimVariable) != "" {
		victim()
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

// stores are fresh ones of the kinds that need no server.
func stores(t *testing.T) map[string]sagalog.Store {
	return map[string]sagalog.Store{"memory": sagalog.NewMemory(), "sqlite": openSQLite(t, filepath.Join(t.TempDir(), "saga.db"), "")}
}

func openDB(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	return db, sagalog.CreateTables(context.Background(), db)
}

func openStore(t testing.TB, db *sql.DB) (*sagalog.SQL, error) {
	return sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db})
}

func openSQLite(t *testing.T, path, node string) *sagalog.SQL {
	t.Helper()
	db, err := openDB(path)
	require.NoError(t, err)
	s, err := sagalog.OpenSQL(t.Context(), sagalog.Config{DB: db, Node: node})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.NoError(t, db.Close())
	})
	return s
}

func openEngine(t *testing.T, cfg saga.Config) *saga.Engine {
	t.Helper()
	e, err := saga.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, e.Close(ctx))
	})
	return e
}
