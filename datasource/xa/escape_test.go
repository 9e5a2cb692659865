package xa_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/internal/testenv"
)

// What PostgreSQL cannot prepare does not slip out with a branch that wrote
// nothing, either.
func TestNotifications(t *testing.T) {
	dsn := testenv.PostgreSQL(t)
	e := openPostgresAt(t, dsn, xa.Config{})
	listener, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer listener.Close(context.Background())
	_, err = listener.Exec(t.Context(), "LISTEN orders")
	require.NoError(t, err)
	for _, statement := range []string{"NOTIFY orders", "LISTEN orders", "UNLISTEN *", "SELECT pg_notify('orders', '')", "/* x */ select pg_catalog.PG_NOTIFY('orders', '')"} {
		for _, query := range []bool{false, true} {
			ctx, x := e.global()
			if query {
				var rows *sql.Rows
				if rows, err = e.db.QueryContext(ctx, statement); err == nil {
					for rows.Next() {
					}
					err = rows.Err()
					_ = rows.Close()
				}
			} else {
				_, err = e.db.ExecContext(ctx, statement)
			}
			var unsupported *sqlparse.Unsupported
			assert.ErrorAs(t, err, &unsupported, "%s %v", statement, query)
			e.rollback(x)
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err = listener.WaitForNotification(short)
			cancel()
			assert.Error(t, err, "%s: it came although the transaction rolled back", statement)
			if err != nil && listener.IsClosed() {
				listener, err = pgx.Connect(t.Context(), dsn)
				require.NoError(t, err)
				_, err = listener.Exec(t.Context(), "LISTEN orders")
				require.NoError(t, err)
			}
		}
	}
}

// Several statements in one text are one branch, whatever the first one is.
func TestSeveralStatementsInOneQuery(t *testing.T) {
	for _, server := range testenv.MySQLServers() {
		t.Run(server.Name, func(t *testing.T) {
			parsed, err := mysql.ParseDSN(server.Database(t))
			require.NoError(t, err)
			parsed.MultiStatements = true
			inner, err := mysql.NewConnector(parsed)
			require.NoError(t, err)
			e := open(t, inner, xa.Config{Dialect: schema.MySQL})
			for _, c := range []struct {
				query     string
				results   int
				fails     bool
				committed string
			}{
				{"SELECT 1; UPDATE account SET balance = 7 WHERE id = 1", 1, false, "7 100 100"},
				{"SELECT 1; COMMIT; UPDATE account SET balance = 7 WHERE id = 1", 0, true, "100 100 100"},
				{"SELECT balance FROM account; SELECT 2;", 2, false, "100 100 100"},
			} {
				for _, commit := range []bool{false, true} {
					ctx, x := e.global()
					results, err := countResults(ctx, e.db, c.query)
					assert.Equal(t, c.fails, err != nil, "%s: %v", c.query, err)
					if err == nil {
						assert.Equal(t, c.results, results, c.query)
					}
					assert.Equal(t, "100 100 100", e.balances(), "%s: it is not decided", c.query)
					if commit && !c.fails {
						e.commit(x)
						assert.Equal(t, c.committed, e.balances(), c.query)
					} else {
						e.rollback(x)
						assert.Equal(t, "100 100 100", e.balances(), c.query)
					}
					e.clean()
					_, err = e.plain.Exec("UPDATE account SET balance = 100")
					require.NoError(t, err)
				}
			}
		})
	}
}

func countResults(ctx context.Context, db *sql.DB, query string) (n int, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for n = 1; rows.NextResultSet(); n++ {
	}
	return n, rows.Err()
}

// A read-only transaction inside a global one cannot be left to write beside it.
func TestReadOnlyStaysSo(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		for _, leave := range []string{
			"COMMIT", "commit work", "/* x */ ROLLBACK", "SET TRANSACTION READ WRITE", "START TRANSACTION", "BEGIN", "LOCK TABLES account WRITE",
			"XA START 'a'", "SET autocommit = 1", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET @@autocommit = 0",
		} {
			ctx, _ := e.global()
			tx, err := e.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, leave)
			assert.Error(t, err, leave)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 7 WHERE id = 1")
			assert.Error(t, err, "after %s", leave)
			_ = tx.Rollback()
			assert.Equal(t, "100 100 100", e.balances(), leave)
		}
		ctx, _ := e.global()
		tx, err := e.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		for _, harmless := range []string{"SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", map[bool]string{true: "SET LOCAL statement_timeout = 1000", false: "SET @x = 1"}[e.dialect == schema.PostgreSQL]} {
			_, err = tx.ExecContext(ctx, harmless)
			assert.NoError(t, err, harmless)
		}
		var n int
		require.NoError(t, tx.QueryRowContext(ctx, "SELECT balance FROM account WHERE id = 2").Scan(&n))
		require.NoError(t, tx.Commit())
		e.clean()
	})
}
