package meta_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// pool is a Queryer over database/sql.
type pool struct{ *sql.DB }

func (p pool) Query(ctx context.Context, query string, args ...any) ([][]any, error) {
	rows, err := p.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all [][]any
	for rows.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// open connects and creates the tables.
func open(t *testing.T, driver, dsn string, ddl ...string) pool {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range ddl {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	return pool{db}
}

// onMySQL runs a test on each server of MySQL's dialect.
func onMySQL(t *testing.T, test func(t *testing.T, server testenv.MySQLServer)) {
	t.Helper()
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) { test(t, server) })
	}
}

func openMySQL(t *testing.T, server testenv.MySQLServer, ddl ...string) pool {
	t.Helper()
	return open(t, "mysql", server.Database(t), ddl...)
}

func openSQLite(t *testing.T, ddl ...string) pool {
	t.Helper()
	return open(t, "sqlite", filepath.Join(t.TempDir(), "test.db"), ddl...)
}
