package xa_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// A local transaction is one branch, and so is a statement alone. Nothing of it
// is seen before phase two, which may be ordered twice.
func TestBranches(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.change(ctx, 1, -10)
		e.exec(ctx, "UPDATE account SET balance = balance + 10 WHERE id = 2")
		require.Len(t, e.tc.of(x), 2)
		require.Len(t, e.inDoubt(x), 2)
		assert.Equal(t, "100 100 100", e.balances())
		e.commit(x)
		e.commit(x)
		assert.Equal(t, "90 110 100", e.balances())
		require.Empty(t, e.inDoubt(x))

		ctx, x = e.global()
		e.change(ctx, 1, -10)
		e.exec(ctx, "UPDATE account SET balance = balance + 10 WHERE id = 2")
		e.rollback(x)
		e.rollback(x)
		assert.Equal(t, "90 110 100", e.balances())
		require.Empty(t, e.inDoubt(x))
		e.clean()
	})
}

// Sessions that finished a branch come back to the pool: the number of
// connections does not grow with that of branches.
func TestSessionsAreUsedAgain(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		e.db.SetMaxOpenConns(1)
		seen := map[int]bool{}
		query := "SELECT CONNECTION_ID()"
		if e.dialect == schema.PostgreSQL {
			query = "SELECT pg_backend_pid()"
		}
		for range 20 {
			ctx, x := e.global()
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			var session int
			require.NoError(t, tx.QueryRowContext(ctx, query).Scan(&session))
			seen[session] = true
			s, err := tx.PrepareContext(ctx, "UPDATE account SET balance = balance + 1 WHERE id = 1")
			require.NoError(t, err)
			_, err = s.ExecContext(ctx)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			e.commit(x)
		}
		assert.Len(t, seen, 1)
		assert.Equal(t, "120 100 100", e.balances())
	})
}

func TestRollbackByTheUser(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		assert.Equal(t, protocol.BranchPhaseOneFailed, e.tc.reported(e.only(x).ID))
		e.rollback(x) // the report was lost
		e.clean()
		assert.Equal(t, "100 100 100", e.balances())
	})
}

// A context that ends takes the branch back, whoever notices it first.
func TestCancelledBranch(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		cancelled, cancel := context.WithCancel(ctx)
		tx, err := e.db.BeginTx(cancelled, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.NoError(t, err)
		cancel()
		require.Error(t, tx.Commit())
		e.clean()
		e.rollback(x)
		assert.Equal(t, "100 100 100", e.balances())
	})
}

func TestRefusedRegistration(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.tc.refuse = rm.ErrNotActive
		_, err := e.db.BeginTx(ctx, nil)
		require.ErrorIs(t, err, rm.ErrNotActive)
		_, err = e.db.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.ErrorIs(t, err, rm.ErrNotActive)
		require.Empty(t, e.tc.of(x))
		e.clean()
	})
}

// Queries alone are no branch, unless they lock or write.
func TestQueriesAlone(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		create := "CREATE FUNCTION spend() RETURNS INT MODIFIES SQL DATA DETERMINISTIC BEGIN UPDATE account SET balance = 0 WHERE id = 3; RETURN 7; END"
		if e.dialect == schema.PostgreSQL {
			create = "CREATE FUNCTION spend() RETURNS INT LANGUAGE SQL AS $$ UPDATE account SET balance = 0 WHERE id = 3; SELECT 7 $$"
		}
		e.exec(t.Context(), create)
		ctx, x := e.global()
		var n int
		require.NoError(t, e.db.QueryRowContext(ctx, "SELECT balance FROM account WHERE id = 1").Scan(&n))
		assert.Equal(t, 100, n)
		require.Empty(t, e.tc.of(x))

		require.NoError(t, e.db.QueryRowContext(ctx, "SELECT balance FROM account WHERE id = 1 FOR UPDATE").Scan(&n))
		require.Len(t, e.tc.of(x), 1)
		require.NoError(t, e.db.QueryRowContext(ctx, "SELECT spend()").Scan(&n))
		assert.Equal(t, 7, n)
		require.Len(t, e.tc.of(x), 2)
		assert.Equal(t, "100 100 100", e.balances())
		e.commit(x)
		assert.Equal(t, "100 100 0", e.balances())
		e.clean()
	})
}

// A branch that wrote nothing ends with phase one on PostgreSQL.
func TestReadOnlyBranch(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		var n int
		require.NoError(t, tx.QueryRowContext(ctx, "SELECT SUM(balance) FROM account").Scan(&n))
		require.NoError(t, tx.Commit())
		if e.dialect == schema.PostgreSQL {
			assert.Equal(t, protocol.BranchPhaseOneRDONLY, e.tc.reported(e.only(x).ID))
			require.Empty(t, e.inDoubt(x))
		}
		e.commit(x) // the report was lost
		e.clean()

		ctx, x = e.global()
		tx, err = e.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, tx.QueryRowContext(ctx, "SELECT SUM(balance) FROM account").Scan(&n))
		require.NoError(t, tx.Commit())
		require.Empty(t, e.tc.of(x))
		e.clean()
	})
}

// MariaDB forgets a prepared branch that wrote nothing with its session, and
// says that it was rolled back.
func TestReadOnlyBranchOfAClosedSession(t *testing.T) {
	onMySQL(t, xa.Config{Hold: -1}, func(t *testing.T, e *env) {
		for _, end := range []func(string){e.commit, e.rollback} {
			ctx, x := e.global()
			var n int
			require.NoError(t, e.db.QueryRowContext(ctx, "SELECT balance FROM account WHERE id = 1 FOR UPDATE").Scan(&n))
			end(x)
			require.Empty(t, e.inDoubt(x))
		}
		e.clean()
	})
}

// Statements that would end the branch are refused with a remedy; the branch
// goes on, but on PostgreSQL when the server itself refused.
func TestStatementsThatEndTheTransaction(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		statements := []string{"CREATE TABLE other (id INT)", "COMMIT", "BEGIN", "XA END 'a'", "/* x */ xa end 'a'", "ALTER TABLE account ADD COLUMN more INT"}
		if e.dialect == schema.PostgreSQL {
			statements = []string{
				"COMMIT", "/* x */ commit work", "ROLLBACK", "rollback and chain", "END", "ABORT", "BEGIN", "START TRANSACTION",
				"PREPARE TRANSACTION 'a'", "UPDATE account SET balance = 1; COMMIT", "SELECT ';' ; END",
			}
		}
		for _, statement := range statements {
			ctx, x := e.global()
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = balance + 1 WHERE id = 1")
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, statement)
			require.ErrorIs(t, err, sqlparse.ErrUnsupported, statement)
			require.NoError(t, tx.Commit(), statement)
			e.rollback(x)
			_, err = e.db.ExecContext(ctx, statement)
			require.ErrorIs(t, err, sqlparse.ErrUnsupported, statement)
		}
		assert.Equal(t, "100 100 100", e.balances())
		e.clean()

		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		for _, statement := range []string{
			"UPDATE account SET balance = 0 WHERE id = 1", "SAVEPOINT a", "UPDATE account SET balance = 0 WHERE id = 2", "ROLLBACK TO SAVEPOINT a",
		} {
			_, err = tx.ExecContext(ctx, statement)
			require.NoError(t, err, statement)
		}
		require.NoError(t, tx.Commit())
		e.commit(x)
		assert.Equal(t, "0 100 100", e.balances())
	})
}

// PostgreSQL answers PREPARE TRANSACTION after a failed statement by rolling
// back, without an error.
func TestPreparingAnAbortedTransaction(t *testing.T) {
	e := openPostgres(t, xa.Config{})
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "INSERT INTO account VALUES (1, 1)")
	require.Error(t, err)
	require.ErrorContains(t, tx.Commit(), "aborted")
	assert.Equal(t, protocol.BranchPhaseOneFailed, e.tc.reported(e.only(x).ID))
	e.rollback(x)
	e.clean()

	ctx, x = e.global()
	tx, err = e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "CREATE TEMPORARY TABLE passing (id INT)")
	require.NoError(t, err)
	require.ErrorIs(t, tx.Commit(), sqlparse.ErrUnsupported)
	e.rollback(x)
	e.clean()

	ctx, x = e.global()
	rows, err := e.db.QueryContext(ctx, "UPDATE account SET balance = balance + 1 RETURNING id")
	require.NoError(t, err)
	count := 0
	for rows.Next() {
		count++
	}
	require.NoError(t, rows.Close())
	assert.Equal(t, 3, count)
	e.commit(x)
	assert.Equal(t, "101 101 101", e.balances())
}

// A deadlock rolls the branch back; its end says so.
func TestDeadlock(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		other, err := e.plain.Begin()
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0 WHERE id = 1")
		require.NoError(t, err)
		// The other has changed more, so the branch is the victim.
		_, err = other.Exec("UPDATE account SET balance = balance + 1 WHERE id > 1")
		require.NoError(t, err)
		failed := make(chan error, 1)
		go func() {
			_, err := other.Exec("UPDATE account SET balance = balance + 1 WHERE id = 1")
			failed <- err
		}()
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0 WHERE id = 2")
		if err == nil { // the other was the victim
			require.Error(t, <-failed)
			require.NoError(t, other.Rollback())
			require.NoError(t, tx.Commit())
		} else {
			require.Error(t, tx.Commit())
			assert.Equal(t, protocol.BranchPhaseOneFailed, e.tc.reported(e.only(x).ID))
			require.NoError(t, <-failed)
			require.NoError(t, other.Rollback())
		}
		e.rollback(x)
		assert.Equal(t, "100 100 100", e.balances())
		e.clean()
	})
}

func TestMismatch(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, _ := e.global()
		tx, err := e.db.Begin()
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.ErrorIs(t, err, xa.ErrMismatch)
		require.NoError(t, tx.Rollback())
		other, x := e.global()
		tx, err = e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(other, "UPDATE account SET balance = 0")
		require.ErrorIs(t, err, xa.ErrMismatch)
		_, err = tx.Exec("UPDATE account SET balance = 0") //nolint // it means the transaction it is called on
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		require.Empty(t, e.tc.of(x))
		e.clean()
	})
}

func TestIsolation(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		query := "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()"
		want := "SERIALIZABLE"
		if e.dialect == schema.PostgreSQL {
			query, want = "SHOW transaction_isolation", "serializable"
		}
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.NoError(t, err)
		var level string
		require.NoError(t, tx.QueryRowContext(ctx, query).Scan(&level))
		assert.Equal(t, want, level)
		require.NoError(t, tx.Commit())
		e.rollback(x)
		_, err = e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelLinearizable})
		require.ErrorContains(t, err, "isolation level")
		e.clean()
	})
}
