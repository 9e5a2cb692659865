//go:build linux

package javatc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/internal/testenv"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

// TestXA tells both coordinators of branches under XA: of two databases, of one
// that only reads, and of one whose transaction times out while it is open.
func TestXA(t *testing.T) {
	for _, tc := range startCoordinators(t) {
		t.Run(tc.name, func(t *testing.T) {
			ctx := t.Context()
			app, err := client.Open(ctx, client.Config{Addresses: []string{tc.address}, ApplicationID: "xa"})
			require.NoError(t, err)
			defer func() { assert.NoError(t, app.Close(context.Background())) }()
			maria, leftInMaria := openXA(t, app, "mysql", testenv.MariaDB(t))
			postgres, leftInPostgres := openXA(t, app, "pgx", testenv.PostgreSQL(t))
			run := func(timeout time.Duration, work func(ctx context.Context) error) (x string, err error) {
				err = app.TM().Run(ctx, tm.Options{Name: "xa", Timeout: timeout}, func(ctx context.Context) error {
					x = xid.FromContext(ctx)
					return work(ctx)
				})
				return x, err
			}
			transfer := func(ctx context.Context) error {
				_, err1 := maria.ExecContext(ctx, "UPDATE account SET money = money - 1")
				_, err2 := postgres.ExecContext(ctx, "UPDATE account SET money = money + 1")
				return errors.Join(err1, err2)
			}
			settled := func(x string, money string) {
				t.Helper()
				require.Eventually(t, func() bool { return leftInMaria(x)+leftInPostgres(x) == 0 }, time.Minute, 50*time.Millisecond)
				var a, b int
				require.NoError(t, maria.QueryRowContext(ctx, "SELECT money FROM account").Scan(&a))
				require.NoError(t, postgres.QueryRowContext(ctx, "SELECT money FROM account").Scan(&b))
				assert.Equal(t, money, fmt.Sprint(a, " ", b))
			}

			x, err := run(ample, transfer)
			require.NoError(t, err)
			settled(x, "9 11")

			x, err = run(ample, func(ctx context.Context) error { return errors.Join(transfer(ctx), errStop) })
			require.ErrorIs(t, err, errStop)
			settled(x, "9 11")

			x, err = run(ample, func(ctx context.Context) error { // PostgreSQL's branch wrote nothing
				tx, err := postgres.BeginTx(ctx, nil)
				require.NoError(t, err)
				var n int
				require.NoError(t, tx.QueryRowContext(ctx, "SELECT money FROM account").Scan(&n))
				require.NoError(t, tx.Commit())
				_, err = maria.ExecContext(ctx, "UPDATE account SET money = money - 1")
				return err
			})
			require.NoError(t, err)
			settled(x, "8 11")

			x, err = run(short, func(ctx context.Context) error { // the owner is busy elsewhere
				tx, err := maria.BeginTx(ctx, nil)
				require.NoError(t, err)
				_, err = tx.ExecContext(ctx, "UPDATE account SET money = 0")
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					_, err := maria.ExecContext(context.Background(), "UPDATE account SET money = money + 0")
					return err == nil
				}, time.Minute, 50*time.Millisecond, "the rows are not given back")
				return tx.Commit()
			})
			require.Error(t, err)
			settled(x, "8 11")
		})
	}
}

// openXA opens a database with an account, and returns with it what counts the
// branches of a transaction that are prepared there.
func openXA(t *testing.T, app *client.Client, driver, dsn string) (db *sql.DB, left func(x string) int) {
	t.Helper()
	plain, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, plain.Close()) })
	for _, statement := range []string{"CREATE TABLE account (id INT PRIMARY KEY, money INT NOT NULL)", "INSERT INTO account VALUES (1, 10)"} {
		_, err := plain.Exec(statement)
		require.NoError(t, err)
	}
	db, err = datasource.Open(t.Context(), app.RM(), datasource.Config{Driver: driver, DSN: dsn, Mode: datasource.XA})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	dialect := map[string]schema.Dialect{"mysql": datasource.MySQL, "pgx": datasource.PostgreSQL}[driver]
	return db, func(x string) (n int) {
		branches, err := datasource.InDoubt(context.Background(), plain, dialect)
		require.NoError(t, err)
		for _, b := range branches {
			if b.XID == x {
				n++
			}
		}
		return n
	}
}
