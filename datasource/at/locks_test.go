package at_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/at"
	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/rm"
)

// countAttempts lets each registration be seen, and acts on the n-th.
func countAttempts(e *env, n int64, act func()) *atomic.Int64 {
	var attempts atomic.Int64
	e.tc.registering = func(context.Context, rm.Registration) error {
		if attempts.Add(1) == n {
			act()
		}
		return nil
	}
	return &attempts
}

// A single statement waits without local locks, and runs again whole: what it
// computes and records is taken from the rows as the holder left them.
func TestASingleStatementWaitsForTheHolder(t *testing.T) {
	for name, statement := range map[string]string{
		"insert": "INSERT INTO stock (id, n) VALUES (4, 1)", "update": "UPDATE stock SET n = n + 1 WHERE id IN (1, 2)", "delete": "DELETE FROM stock WHERE id = 1",
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				e.tc.failFast = true // without local locks this is no reason to give up
				e.tc.hold("other", e.id, "stock:1,4")
				attempts := countAttempts(e, 3, func() { e.tc.release("other") })
				var once sync.Once
				var holder sync.WaitGroup
				registering := e.tc.registering
				e.tc.registering = func(ctx context.Context, r rm.Registration) error {
					// The local lock goes with the attempt: the holder's rollback gets through.
					once.Do(func() {
						holder.Go(func() {
							_, err := e.plain.Exec("UPDATE stock SET note = 'by the holder' WHERE id = 1")
							assert.NoError(t, err)
						})
					})
					return registering(ctx, r)
				}
				ctx, x := e.global()
				e.exec(ctx, statement)
				holder.Wait()
				assert.EqualValues(t, 3, attempts.Load())
				assert.Zero(t, e.tc.holdingLocks(), "each attempt lets go of its locks")
				assert.Len(t, e.tc.branchesOf(x), 1)
				assert.Equal(t, "1", e.undoRows())
				if name == "insert" {
					e.tc.rollback(x)
					assert.Equal(t, "1|10|by the holder\n2|20|b\n3|30|<nil>\n", e.dump(allStock))
				}
			})
		})
	}
}

func TestASingleStatementGivesUp(t *testing.T) {
	onEachDatabase(t, settings{config: func(c *at.Config) { c.LockWait = 500 * time.Millisecond }}, stock, func(t *testing.T, e *env) {
		e.tc.hold("other", e.id, "stock:1")
		attempts := countAttempts(e, 0, nil)
		ctx, x := e.global()
		_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		require.ErrorIs(t, err, rm.ErrLockConflict)
		require.ErrorContains(t, err, "held by other")
		require.ErrorContains(t, err, "waited 500ms")
		assert.Greater(t, attempts.Load(), int64(1))
		assert.Equal(t, "10\n", e.dump("SELECT n FROM stock WHERE id = 1"))
		assert.Empty(t, e.tc.branchesOf(x))
		assert.Equal(t, "0", e.undoRows())
		e.clean("stock")
	})
}

// An explicit transaction keeps its local locks and waits shortly; on SQLite
// not at all. It ends rolled back, its connection clean.
func TestAnExplicitTransactionHoldsOn(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		e.tc.hold("other", e.id, "stock:1")
		attempts := countAttempts(e, 2, func() { e.tc.release("other") })
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 1")
		require.NoError(t, err)
		err = tx.Commit()
		if e.dialect == schema.SQLite {
			require.ErrorIs(t, err, rm.ErrLockConflict)
			assert.EqualValues(t, 1, attempts.Load())
			e.clean("stock")
			return
		}
		require.NoError(t, err)
		assert.EqualValues(t, 2, attempts.Load())
		assert.Len(t, e.tc.branchesOf(x), 1)
	})
}

func TestAnExplicitTransactionGivesUp(t *testing.T) {
	for name, failFast := range map[string]bool{"after HoldWait": false, "at once when the holder rolls back": true} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				e.tc.failFast = failFast
				e.tc.hold("other", e.id, "stock:1")
				attempts := countAttempts(e, 0, nil)
				ctx, _ := e.global()
				tx, err := e.db.BeginTx(ctx, nil)
				require.NoError(t, err)
				_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 1")
				require.NoError(t, err)
				err = tx.Commit()
				var conflict *rm.LockConflict
				require.ErrorAs(t, err, &conflict)
				assert.Equal(t, "other", conflict.Holder)
				assert.Equal(t, attempts.Load(), e.tc.holdingLocks(), "a coordinator that is not told cannot fail fast")
				if failFast || e.dialect == schema.SQLite {
					assert.EqualValues(t, 1, attempts.Load())
				} else {
					assert.Greater(t, attempts.Load(), int64(1))
				}
				assert.Equal(t, "10\n", e.dump("SELECT n FROM stock WHERE id = 1"))
				assert.Equal(t, "0", e.undoRows())
				e.clean("stock")
			})
		})
	}
}

// Wherever the coordinator fails, nothing is left behind.
func TestRegistrationFails(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		e.tc.registering = func(context.Context, rm.Registration) error { return rm.ErrUnavailable }
		before := e.dump(allStock)
		ctx, _ := e.global()
		_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = 0")
		require.ErrorIs(t, err, rm.ErrUnavailable)
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE stock SET n = 0")
		require.NoError(t, err)
		require.ErrorIs(t, tx.Commit(), rm.ErrUnavailable)
		assert.Equal(t, before, e.dump(allStock))
		assert.Equal(t, "0", e.undoRows())
		e.clean("stock")
	})
}

// Wherever the caller's context ends, the statement fails with its error and
// the connection goes back clean or not at all.
func TestCancellation(t *testing.T) {
	for name, arrange := range map[string]func(e *env, cancel context.CancelFunc){
		"before":            func(_ *env, cancel context.CancelFunc) { cancel() },
		"while registering": func(e *env, cancel context.CancelFunc) { countAttempts(e, 1, cancel) },
		"while waiting": func(e *env, cancel context.CancelFunc) {
			e.tc.hold("other", e.id, "stock:1")
			countAttempts(e, 2, cancel)
		},
		"after registering": func(e *env, cancel context.CancelFunc) {
			e.tc.registered = cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
				before := e.dump(allStock)
				ctx, x := e.global()
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				arrange(e, cancel)
				_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
				require.ErrorIs(t, err, context.Canceled)
				assert.Equal(t, before, e.dump(allStock))
				assert.Equal(t, "0", e.undoRows())

				e.tc.registering, e.tc.registered = nil, nil
				e.tc.release("other")
				again, y := e.global()
				e.tc.release(x)
				e.exec(again, "UPDATE stock SET n = 0 WHERE id = 1")
				e.tc.rollback(y)
				assert.Equal(t, before, e.dump(allStock))
				e.clean("stock")
			})
		})
	}
}

// A transaction whose context ends before COMMIT is rolled back by
// database/sql; the next user of the connection finds it clean.
func TestCancellationOfAnExplicitTransaction(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		ctx, x := e.global()
		ctx, cancel := context.WithCancel(ctx)
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE stock SET n = 0")
		require.NoError(t, err)
		cancel()
		require.Error(t, tx.Commit())
		assert.Empty(t, e.tc.branchesOf(x))
		e.clean("stock")
	})
}

// Statements that wait for a database lock end with their context.
func TestCancellationWhileTheDatabaseBlocks(t *testing.T) {
	onEachDatabase(t, settings{}, stock, func(t *testing.T, e *env) {
		blocker, err := e.plain.Begin()
		require.NoError(t, err)
		defer func() { _ = blocker.Rollback() }() // for a test that fails before
		_, err = blocker.Exec("UPDATE stock SET n = n + 1 WHERE id = 1")
		require.NoError(t, err)
		ctx, _ := e.global()
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err = e.db.ExecContext(ctx, "UPDATE stock SET n = 0 WHERE id = 1")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, blocker.Rollback())
		again, _ := e.global()
		e.exec(again, "UPDATE stock SET n = 0 WHERE id = 1")
		e.clean("stock")
	})
}

// After a deadlock MySQL has rolled the transaction back: what follows must
// not run as if it were protected.
func TestADeadlockEndsTheTransaction(t *testing.T) {
	onMySQL(t, settings{}, stock, func(t *testing.T, e *env) {
		before := e.dump(allStock)
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 1")
		require.NoError(t, err)
		other, err := e.plain.Begin()
		require.NoError(t, err)
		defer func() { _ = other.Rollback() }() // for a test that fails before
		// The other has changed more, so the server gives ours up.
		_, err = other.Exec("UPDATE stock SET n = n + 1, note = 'much' WHERE id IN (2, 3)")
		require.NoError(t, err)
		_, err = other.Exec("INSERT INTO stock (id) VALUES (10), (11), (12), (13)")
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := other.Exec("UPDATE stock SET n = 0 WHERE id = 1")
			done <- err
		}()
		_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 2")
		if err == nil {
			t.Fatal("no deadlock, or not ours")
		}
		require.NoError(t, <-done)
		require.NoError(t, other.Rollback())
		_, err = tx.Exec("UPDATE stock SET n = 0 WHERE id = 3")
		require.ErrorIs(t, err, at.ErrMustRollBack)
		require.ErrorIs(t, tx.Commit(), at.ErrMustRollBack)
		assert.Empty(t, e.tc.branchesOf(x))
		assert.Equal(t, before, e.dump(allStock))
		e.clean("stock")
	})
}

// Many transactions on a few rows: every one ends, no change is lost or kept
// wrongly.
func TestManyTransactionsOnTheSameRows(t *testing.T) {
	onEachDatabase(t, settings{config: func(c *at.Config) { c.LockWait = 20 * time.Second; c.BusyWait = 20 * time.Second }}, stock, func(t *testing.T, e *env) {
		const workers, each = 4, 10
		var committed atomic.Int64
		var all sync.WaitGroup
		for w := range workers {
			all.Go(func() {
				for i := range each {
					ctx, x := e.global()
					_, err := e.db.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id IN (1, 2)")
					if err == nil && w%2 == 0 {
						_, err = e.db.ExecContext(ctx, "UPDATE stock SET n = n + 1 WHERE id = 3")
					}
					switch {
					case err == nil && i%3 != 0:
						e.tc.commit(x)
						committed.Add(1)
					case err == nil || errors.Is(err, rm.ErrLockConflict):
						e.tc.rollback(x)
					default:
						assert.NoError(t, err)
						e.tc.rollback(x)
					}
				}
			})
		}
		all.Wait()
		require.NoError(t, e.db.Close())
		assert.EqualValues(t, 10+committed.Load(), atoi(t, e.dump("SELECT n FROM stock WHERE id = 1")))
		assert.EqualValues(t, 20+committed.Load(), atoi(t, e.dump("SELECT n FROM stock WHERE id = 2")))
		assert.Equal(t, "0", e.undoRows())
	})
}
