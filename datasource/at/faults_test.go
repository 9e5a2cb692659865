package at_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/protocol"
)

// faulty is a connector whose connections misbehave on request.
type faulty struct {
	driver.Connector
	// commit replaces the error of a driver's Commit; after tells it whether
	// the database has committed.
	commit atomic.Pointer[fault]
	// badConns is how many executions fail as on a connection that is gone.
	badConns atomic.Int64
	// executing sees each text before it is executed.
	executing func(query string)
}

type fault struct {
	err       error
	committed bool
}

func (f *faulty) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.Connector.Connect(ctx)
	return faultyConn{c, f}, err
}

type faultyConn struct {
	driver.Conn
	f *faulty
}

func (c faultyConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	return faultyTx{tx, c.f}, err
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.f.badConns.Add(-1) >= 0 {
		return nil, driver.ErrBadConn
	}
	if c.f.executing != nil {
		c.f.executing(query)
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

type faultyTx struct {
	driver.Tx
	f *faulty
}

func (t faultyTx) Commit() error {
	fault := t.f.commit.Load()
	if fault == nil {
		return t.Tx.Commit()
	}
	if fault.committed {
		if err := t.Tx.Commit(); err != nil {
			return err
		}
	}
	return fault.err
}

func (t faultyTx) Rollback() error {
	if fault := t.f.commit.Load(); fault != nil {
		_ = t.Tx.Rollback()
		return fault.err // the connection is gone
	}
	return t.Tx.Rollback()
}

// A COMMIT that failed for certain is reported; one whose outcome is unknown is
// left to the rollback, which finds out. Neither makes database/sql run the
// statement again.
func TestCommitFails(t *testing.T) {
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		fault   fault
		reports int
	}{
		"nothing was written":   {fault{driver.ErrBadConn, false}, 1},
		"broken, not committed": {fault{broken, false}, 0},
		"broken, and committed": {fault{broken, true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var f *faulty
			onMySQL(t, settings{wrap: func(c driver.Connector) driver.Connector { f = &faulty{Connector: c}; return f }}, stock, func(t *testing.T, e *env) {
				before := e.dump(allStock)
				f.commit.Store(&c.fault)
				ctx, x := e.global()
				_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = 0")
				f.commit.Store(nil)
				require.Error(t, err)
				assert.Equal(t, c.reports == 0, errors.Is(err, at.ErrOutcomeUnknown), "%v", err)
				assert.NotErrorIs(t, err, driver.ErrBadConn)
				assert.Len(t, e.tc.branchesOf(x), 1)
				require.Len(t, e.tc.reported(), c.reports)
				if c.reports > 0 {
					assert.Equal(t, protocol.BranchPhaseOneFailed, e.tc.reported()[0].Status)
				}
				e.tc.rollback(x)
				assert.Equal(t, before, e.dump(allStock))
				e.clean("stock")
			})
		})
	}
}

// A connection that was gone before anything happened is replaced silently, as
// without the wrapper, inside and outside of global transactions.
func TestBadConnectionsAreReplaced(t *testing.T) {
	var f *faulty
	e := onSQLite(t, settings{wrap: func(c driver.Connector) driver.Connector { f = &faulty{Connector: c}; return f }}, stock...)
	f.badConns.Store(2)
	e.exec(t.Context(), "UPDATE stock SET n = 1 WHERE id = 1")
	f.badConns.Store(2)
	ctx, x := e.global()
	e.exec(ctx, "UPDATE stock SET n = 2 WHERE id = 1")
	assert.Len(t, e.tc.branchesOf(x), 1)
	e.tc.rollback(x)
	assert.Equal(t, "1\n", e.dump("SELECT n FROM stock WHERE id = 1"))
}

// oldDriver hides every optional interface.
type oldDriver struct{ driver.Connector }

func (o oldDriver) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := o.Connector.Connect(ctx)
	return struct{ driver.Conn }{oldConn{c}}, err
}

type oldConn struct{ driver.Conn }

func (c oldConn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	return struct{ driver.Stmt }{s}, err
}

// A driver that knows no contexts is protected all the same.
func TestOldDrivers(t *testing.T) {
	e := onSQLite(t, settings{wrap: func(c driver.Connector) driver.Connector { return oldDriver{c} }}, stock...)
	before := e.dump(allStock)
	ctx, x := e.global()
	tx, err := e.db.BeginTx(ctx, nil)
	require.NoError(t, err)
	_, err = tx.Exec("UPDATE stock SET n = ? WHERE id = ?", 5, 1)
	require.NoError(t, err)
	_, err = tx.ExecContext(ctx, "DELETE FROM stock WHERE id = 2")
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRowContext(ctx, "SELECT n FROM stock WHERE id = ? FOR UPDATE", 1).Scan(&n))
	assert.Equal(t, 5, n)
	require.NoError(t, tx.Commit())
	e.tc.rollback(x)
	assert.Equal(t, before, e.dump(allStock))

	require.NoError(t, e.db.Ping())
	e.exec(t.Context(), "UPDATE stock SET n = 1 WHERE id = ?", 1)
	_, err = e.db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelSerializable})
	require.ErrorContains(t, err, "isolation level")
	_, err = e.db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	require.ErrorContains(t, err, "read-only")
}

// What the driver can do beyond database/sql's minimum works through the
// wrapper: its own argument types, column types, read-only transactions.
func TestTheDriversAbilitiesStay(t *testing.T) {
	onMySQL(t, settings{}, []string{"CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, name VARCHAR(9))"}, func(t *testing.T, e *env) {
		e.exec(t.Context(), "INSERT INTO t VALUES (?, 'x')", uint64(math.MaxUint64))
		ctx, x := e.global()
		rows, err := e.db.QueryContext(ctx, "SELECT id, name FROM t WHERE id = ? FOR UPDATE", uint64(math.MaxUint64))
		require.NoError(t, err)
		types, err := rows.ColumnTypes()
		require.NoError(t, err)
		assert.Equal(t, "UNSIGNED BIGINT", types[0].DatabaseTypeName())
		nullable, known := types[0].Nullable()
		assert.True(t, known && !nullable)
		require.True(t, rows.Next())
		var id uint64
		var name string
		require.NoError(t, rows.Scan(&id, &name))
		assert.EqualValues(t, uint64(math.MaxUint64), id)
		require.NoError(t, rows.Close())

		tx, err := e.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		require.NoError(t, err)
		_, err = tx.Exec("DELETE FROM t")
		require.ErrorContains(t, err, "READ ONLY")
		require.NoError(t, tx.Rollback())
		assert.Empty(t, e.tc.branchesOf(x))
	})
}

// Under READ COMMITTED another session may add a row between the image and the
// statement. Such a change has no image, so it must not be committed.
func TestRowsThatMoveAreNoticed(t *testing.T) {
	for name, c := range map[string]struct{ statement, move string }{
		"update":                         {"UPDATE stock SET note = 'big' WHERE n >= 20", "INSERT INTO stock VALUES (9, 90, 'new')"},
		"update beside a row that stays": {"UPDATE stock SET note = 'b' WHERE n >= 20", "INSERT INTO stock VALUES (9, 90, 'new')"},
		"delete":                         {"DELETE FROM stock WHERE n >= 20", "INSERT INTO stock VALUES (9, 90, 'new')"},
	} {
		t.Run(name, func(t *testing.T) {
			var f *faulty
			onMySQL(t, settings{wrap: func(c driver.Connector) driver.Connector { f = &faulty{Connector: c}; return f }}, stock, func(t *testing.T, e *env) {
				f.executing = func(query string) {
					if query == c.statement {
						e.run(c.move)
					}
				}
				ctx, x := e.global()
				tx, err := e.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				require.NoError(t, err)
				_, err = tx.Exec(c.statement)
				require.ErrorIs(t, err, at.ErrRowsMoved)
				_, err = tx.Exec("SELECT 1")
				require.ErrorIs(t, err, at.ErrMustRollBack)
				require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
				assert.Empty(t, e.tc.branchesOf(x))
				assert.Equal(t, "1|10|a\n2|20|b\n3|30|<nil>\n9|90|new\n", e.dump(allStock))
				e.clean("stock")
			})
		})
	}
}

// Rows that stay as they are count as found, or do not count: either is right.
func TestUpdatesWithoutEffectAreNotTakenForMoves(t *testing.T) {
	for _, found := range []bool{false, true} {
		onMySQL(t, settings{dsn: func(c *mysql.Config) { c.ClientFoundRows = found }}, stock, func(t *testing.T, e *env) {
			before := e.dump(allStock)
			ctx, x := e.global()
			e.exec(ctx, "UPDATE stock SET note = 'b' WHERE n >= 20")
			e.exec(ctx, "UPDATE stock SET note = 'b' WHERE n >= 20")
			e.tc.rollback(x)
			assert.Equal(t, before, e.dump(allStock))
		})
	}
}

// What cannot be recorded is not committed.
func TestChangesThatCannotBeRecorded(t *testing.T) {
	onEachDatabase(t, settings{}, []string{"CREATE TABLE named (k VARCHAR(20) NOT NULL PRIMARY KEY, v TEXT, s VARCHAR(9))", "INSERT INTO named VALUES ('a,b', NULL, NULL), ('c', NULL, NULL)"}, func(t *testing.T, e *env) {
		before := e.dump("SELECT k, v FROM named ORDER BY k")
		for _, statement := range []string{"UPDATE named SET v = 'x'", "DELETE FROM named WHERE k = 'a,b'", "INSERT INTO named (k) VALUES ('x;y')"} {
			ctx, x := e.global()
			_, err := e.db.ExecContext(ctx, statement)
			require.ErrorContains(t, err, "lock", statement)
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.Exec(statement)
			require.Error(t, err)
			require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
			assert.Empty(t, e.tc.branchesOf(x))
		}
		assert.Equal(t, before, e.dump("SELECT k, v FROM named ORDER BY k"))
		e.clean("named")
	})
}
