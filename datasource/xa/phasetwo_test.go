package xa_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

// faulty is a connector whose sessions break on request.
type faulty struct {
	driver.Connector
	// around is called for each text that is executed without arguments.
	around atomic.Pointer[func(query string, run func() error) error]
}

func (f *faulty) set(around func(query string, run func() error) error) { f.around.Store(&around) }

func (f *faulty) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := f.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return faultyConn{c.(modernConn), f}, nil
}

type modernConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.NamedValueChecker
}

type faultyConn struct {
	modernConn
	f *faulty
}

func (c faultyConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	run := func() error {
		result, err = c.modernConn.ExecContext(ctx, query, args)
		return err
	}
	if around := c.f.around.Load(); around != nil {
		return result, (*around)(query, run)
	}
	return result, run()
}

var errBroke = errors.New("the connection broke")

// breakable wraps the database again, so that its sessions can break.
func (e *env) breakable(cfg xa.Config) (*env, *faulty) {
	e.t.Helper()
	f := &faulty{Connector: e.inner}
	other := &env{t: e.t, dialect: e.dialect, server: e.server, inner: f, plain: e.plain, next: 1000 * (e.next + 1)}
	cfg.Dialect = e.dialect
	other.use(f, cfg)
	return other, f
}

// isPrepare tells the text that prepares a branch.
func isPrepare(query string) bool {
	return strings.HasPrefix(query, "XA PREPARE") || strings.HasPrefix(query, "SAVEPOINT qiao")
}

// The answer to PREPARE is lost, before or after it was carried out. The branch
// is found and rolled back, and the caller told so.
func TestLostPrepare(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		for _, carriedOut := range []bool{true, false} {
			broken, f := e.breakable(xa.Config{})
			f.set(func(query string, run func() error) error {
				if !isPrepare(query) {
					return run()
				}
				if carriedOut {
					if err := run(); err != nil {
						return err
					}
				}
				return errBroke
			})
			ctx, x := broken.global()
			tx, err := broken.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
			require.NoError(t, err)
			err = tx.Commit()
			require.ErrorIs(t, err, errBroke)
			require.NotErrorIs(t, err, xa.ErrOutcomeUnknown)
			assert.Equal(t, protocol.BranchPhaseOneFailed, broken.tc.reported(broken.only(x).ID))
			require.Empty(t, broken.inDoubt(x))
			assert.Equal(t, "100 100 100", e.balances())
			broken.rollback(x)
			broken.clean()
		}
	})
}

// The database does not answer at all: the outcome is unknown, and phase two
// settles it. Nothing is reported, or the branch would stay prepared for ever.
func TestUnknownPrepare(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		broken, f := e.breakable(xa.Config{})
		down := errors.New("the database is down")
		f.set(func(query string, run func() error) error {
			switch {
			case isPrepare(query):
				if err := run(); err != nil {
					return err
				}
				return errBroke
			case strings.HasPrefix(query, "XA ROLLBACK"), strings.HasPrefix(query, "ROLLBACK PREPARED"):
				return down
			}
			return run()
		})
		ctx, x := broken.global()
		_, err := broken.db.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.ErrorIs(t, err, xa.ErrOutcomeUnknown)
		b := broken.only(x)
		assert.Equal(t, protocol.BranchUnknown, broken.tc.reported(b.ID))
		require.Equal(t, []int64{b.ID}, broken.inDoubt(x))
		status, err := broken.connector.Resource().Rollback(t.Context(), b)
		require.ErrorIs(t, err, down)
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
		f.set(func(_ string, run func() error) error { return run() })
		broken.rollback(x)
		require.Empty(t, broken.inDoubt(x))
		broken.clean()
	})
}

// A branch is prepared by one process and finished by another. Where it belongs
// to its session, only after that has been closed.
func TestAnotherProcess(t *testing.T) {
	onWith(t, xa.Config{Hold: -1}, func(t *testing.T, e *env) {
		other := e.again(xa.Config{})
		ctx, x := e.global()
		e.change(ctx, 1, 5)
		b := e.only(x)
		status, err := other.connector.Resource().Commit(t.Context(), b)
		require.NoError(t, err)
		assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
		assert.Equal(t, "105 100 100", e.balances())
		e.commit(x) // the order is repeated where phase one was
		other.clean()
		e.clean()
	})
}

func TestAnotherProcessWhileTheSessionIsHeld(t *testing.T) {
	onMySQL(t, xa.Config{}, func(t *testing.T, e *env) {
		other := e.again(xa.Config{})
		ctx, x := e.global()
		e.change(ctx, 1, 5)
		b := e.only(x)
		status, err := other.connector.Resource().Commit(t.Context(), b)
		require.ErrorContains(t, err, "only that can finish it")
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, status, "the coordinator would give up one day")
		status, err = other.connector.Resource().Rollback(t.Context(), b)
		require.ErrorContains(t, err, "only that can finish it")
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
		require.NoError(t, e.db.Close())
		status, err = other.connector.Resource().Commit(t.Context(), b)
		require.NoError(t, err)
		assert.Equal(t, protocol.BranchPhaseTwoCommitted, status)
		assert.Equal(t, "105 100 100", e.balances())
	})
}

// A session is not held for ever.
func TestHoldEnds(t *testing.T) {
	onMySQL(t, xa.Config{Hold: 50 * time.Millisecond}, func(t *testing.T, e *env) {
		other := e.again(xa.Config{})
		ctx, x := e.global()
		e.change(ctx, 1, 5)
		require.Eventually(t, func() bool {
			status, _ := other.connector.Resource().Commit(t.Context(), e.only(x))
			return status == protocol.BranchPhaseTwoCommitted
		}, 10*time.Second, 10*time.Millisecond)
		e.commit(x)
		assert.Equal(t, "105 100 100", e.balances())
		e.clean()
	})
}

// A process dies: its sessions end, and another one is told to roll back what
// was prepared, what was not, and what was only registered.
func TestTheProcessDied(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		dead := e.again(xa.Config{})
		var orders []rm.Branch
		ctx, x := dead.global()
		dead.change(ctx, 1, 5)
		orders = append(orders, dead.only(x))
		ctx, x = dead.global()
		tx, err := dead.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0 WHERE id = 2")
		require.NoError(t, err)
		running := dead.only(x)
		other := e.connector.Resource()
		status, err := other.Rollback(t.Context(), running)
		require.ErrorContains(t, err, "XAER_NOTA")
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable, status, "it may still be prepared")

		kill := "KILL "
		query := "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
		if e.dialect == schema.PostgreSQL {
			kill = "SELECT pg_terminate_backend"
			query = "SELECT '(' || pid || ')' FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		}
		conn, err := e.plain.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		var sessions []string
		rows, err := conn.QueryContext(t.Context(), query)
		require.NoError(t, err)
		for rows.Next() {
			var id string
			require.NoError(t, rows.Scan(&id))
			sessions = append(sessions, id)
		}
		require.NoError(t, rows.Close())
		for _, id := range sessions {
			_, _ = conn.ExecContext(t.Context(), kill+id) // it may have ended
		}
		orders = append(orders, running)
		for _, b := range orders {
			require.Eventually(t, func() bool {
				status, err := other.Rollback(t.Context(), b)
				return err == nil && status == protocol.BranchPhaseTwoRollbacked
			}, 10*time.Second, 20*time.Millisecond)
		}
		require.Error(t, tx.Commit())
		assert.Equal(t, "100 100 100", e.balances())
	})
}

// Branches of Java's have no origin: the database not knowing them proves
// nothing.
func TestBranchesOfOthers(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		_, x := e.global()
		b := rm.Branch{XID: x, ID: 7, Type: protocol.TypeXA}
		status, err := e.connector.Resource().Commit(t.Context(), b)
		require.ErrorContains(t, err, "XAER_NOTA")
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedXAERNOTARetryable, status)
		b.ApplicationData = `{"qiao-xa":`
		status, err = e.connector.Resource().Rollback(t.Context(), b)
		require.ErrorContains(t, err, "XAER_NOTA")
		assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedXAERNOTARetryable, status)
	})
}

// A rollback takes the local transaction from its owner, wherever that is.
//
//tidy:long one story at five moments
func TestRollbackDuringPhaseOne(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		t.Run("before the registration is answered", func(t *testing.T) {
			ordered := make(chan error, 1)
			e.tc.registered = func(b rm.Branch) {
				started := make(chan struct{})
				go func() {
					close(started)
					status, err := e.connector.Resource().Rollback(context.WithoutCancel(t.Context()), b)
					if err == nil && status != protocol.BranchPhaseTwoRollbacked {
						err = errors.New("the status is wrong")
					}
					ordered <- err
				}()
				<-started
				time.Sleep(50 * time.Millisecond) // most likely the order waits now
			}
			ctx, x := e.global()
			_, err := e.db.ExecContext(ctx, "UPDATE account SET balance = 0")
			e.tc.registered = nil
			require.ErrorIs(t, err, rm.ErrNotActive)
			require.NoError(t, <-ordered)
			require.Empty(t, e.inDoubt(x))
			e.clean()
		})
		t.Run("between statements", func(t *testing.T) {
			ctx, x := e.global()
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
			require.NoError(t, err)
			e.rollback(x)
			assert.Equal(t, "100 100 100", e.balances())
			_, err = e.plain.Exec("UPDATE account SET balance = balance + 0") // nothing is locked
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
			require.ErrorIs(t, err, rm.ErrNotActive)
			require.ErrorIs(t, tx.Commit(), rm.ErrNotActive)
			e.clean()
		})
		t.Run("while a statement waits for a lock", func(t *testing.T) {
			holder, err := e.plain.Begin()
			require.NoError(t, err)
			_, err = holder.Exec("UPDATE account SET balance = 1 WHERE id = 1")
			require.NoError(t, err)
			ctx, x := e.global()
			failed := make(chan error, 1)
			go func() {
				_, err := e.db.ExecContext(ctx, "UPDATE account SET balance = 0")
				failed <- err
			}()
			waiting := "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
			if e.dialect == schema.PostgreSQL {
				waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
			}
			require.Eventually(t, func() bool {
				var n int
				return e.plain.QueryRow(waiting).Scan(&n) == nil && n > 0
			}, 10*time.Second, 150*time.Millisecond)
			e.rollback(x)
			require.ErrorIs(t, <-failed, rm.ErrNotActive)
			require.NoError(t, holder.Rollback())
			e.clean()
		})
		t.Run("while rows are read", func(t *testing.T) {
			ctx, x := e.global()
			tx, err := e.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
			require.NoError(t, err)
			rows, err := tx.QueryContext(ctx, "SELECT id FROM account")
			require.NoError(t, err)
			require.True(t, rows.Next())
			short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			status, err := e.connector.Resource().Rollback(short, e.only(x))
			require.ErrorContains(t, err, "still running")
			assert.Equal(t, protocol.BranchPhaseTwoRollbackFailedRetryable, status)
			require.True(t, rows.Next())
			require.NoError(t, rows.Close())
			require.ErrorIs(t, tx.Commit(), rm.ErrNotActive)
			e.rollback(x)
			e.clean()
		})
		t.Run("after it is prepared", func(t *testing.T) {
			ctx, x := e.global()
			e.change(ctx, 1, 1)
			e.rollback(x)
			e.clean()
		})
		assert.Equal(t, "100 100 100", e.balances())
	})
}

// A commit that comes while phase one runs is a mistake of somebody's; it is
// asked for again.
func TestCommitDuringPhaseOne(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		ctx, x := e.global()
		tx, err := e.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.NoError(t, err)
		status, err := e.connector.Resource().Commit(t.Context(), e.only(x))
		require.ErrorContains(t, err, "still running")
		assert.Equal(t, protocol.BranchPhaseTwoCommitFailedRetryable, status)
		require.NoError(t, tx.Commit())
		e.commit(x)
		assert.Equal(t, "0 0 0", e.balances())
		e.clean()
	})
}

// The coordinator waits for a branch to appear, but not for ever: one that took
// longer is never left prepared.
func TestBranchTimeout(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		slow, f := e.breakable(xa.Config{BranchTimeout: 300 * time.Millisecond})
		ctx, x := slow.global()
		tx, err := slow.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.NoError(t, err)
		<-time.After(400 * time.Millisecond)
		require.ErrorIs(t, tx.Commit(), xa.ErrBranchTimeout)
		assert.Equal(t, protocol.BranchPhaseOneFailed, slow.tc.reported(slow.only(x).ID))
		slow.clean()

		// PREPARE itself takes long.
		f.set(func(query string, run func() error) error {
			if isPrepare(query) {
				<-time.After(200 * time.Millisecond)
				if err := run(); err != nil {
					return err
				}
				<-time.After(200 * time.Millisecond)
				return nil
			}
			return run()
		})
		ctx, x = slow.global()
		_, err = slow.db.ExecContext(ctx, "UPDATE account SET balance = 0")
		require.ErrorIs(t, err, xa.ErrBranchTimeout)
		assert.Equal(t, protocol.BranchPhaseOneFailed, slow.tc.reported(slow.only(x).ID))
		require.Empty(t, slow.inDoubt(x))
		f.set(func(_ string, run func() error) error { return run() })
		slow.clean()
		assert.Equal(t, "100 100 100", e.balances())
	})
}

// The held session breaks while it commits, with the commit done or not. The
// order is carried out all the same, and told truly.
func TestHeldSessionBreaks(t *testing.T) {
	onMySQL(t, xa.Config{}, func(t *testing.T, e *env) {
		for _, carriedOut := range []bool{true, false} {
			broken, f := e.breakable(xa.Config{})
			ctx, x := broken.global()
			broken.change(ctx, 1, 1)
			var once atomic.Bool
			f.set(func(query string, run func() error) error {
				if !strings.HasPrefix(query, "XA COMMIT") || !once.CompareAndSwap(false, true) {
					return run()
				}
				if carriedOut {
					if err := run(); err != nil {
						return err
					}
				}
				return errBroke
			})
			broken.commit(x)
			require.Empty(t, broken.inDoubt(x))
			broken.clean()
		}
		assert.Equal(t, "102 100 100", e.balances())
	})
}

// Operators finish what the coordinator does not.
func TestInDoubt(t *testing.T) {
	onWith(t, xa.Config{Hold: -1}, func(t *testing.T, e *env) {
		ctx, x := e.global()
		e.change(ctx, 1, 1)
		e.change(ctx, 2, 1)
		require.Eventually(t, func() bool {
			left, err := xa.InDoubt(t.Context(), e.plain, e.dialect)
			require.NoError(t, err)
			for _, b := range left {
				if b.XID == x && b.ID == 1 {
					_, err = e.plain.Exec(b.Commit)
				} else if b.XID == x {
					_, err = e.plain.Exec(b.Rollback)
				}
			}
			return err == nil && len(e.inDoubt(x)) == 0
		}, 10*time.Second, 10*time.Millisecond)
		assert.Equal(t, "101 100 100", e.balances())
	})
}

// While a session ends, the server neither lets its branch be finished nor lists
// it. A branch is never told finished for that.
func TestOrdersWhileSessionsEnd(t *testing.T) {
	onMySQL(t, xa.Config{Hold: -1}, func(t *testing.T, e *env) {
		const callers, each = 3, 10
		var wait sync.WaitGroup
		for caller := range callers {
			wait.Go(func() {
				for i := range each {
					e.tc.mu.Lock()
					ctx, x := e.global()
					e.tc.mu.Unlock()
					_, err := e.db.ExecContext(ctx, "UPDATE account SET balance = balance + 1 WHERE id = "+strconv.Itoa(caller+1))
					if !assert.NoError(t, err) {
						return
					}
					end, want := e.connector.Resource().Commit, protocol.BranchPhaseTwoCommitted
					if i%2 == 1 {
						end, want = e.connector.Resource().Rollback, protocol.BranchPhaseTwoRollbacked
					}
					status, err := end(t.Context(), e.tc.of(x)[0])
					if !assert.NoError(t, err) || !assert.Equal(t, want, status) || !assert.Empty(t, e.inDoubt(x)) {
						return
					}
				}
			})
		}
		wait.Wait()
		assert.Equal(t, "105 105 105", e.balances())
		e.clean()
	})
}
