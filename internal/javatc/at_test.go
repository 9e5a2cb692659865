//go:build linux

package javatc

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/tm"
)

const (
	// ample is a time-out that no story meets.
	ample = time.Minute
	// short is one that stories wait for.
	short = 1500 * time.Millisecond
)

var storiesOfAT = []story{
	{
		name: "commit", tell: func(e *env) error { return e.global(ample, e.transferEverything) },
		want: outcome{rows: "1=9 3=30 4=40 / 1=11 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "rollback", tell: func(e *env) error {
			return e.global(ample, func(ctx context.Context) error {
				return errors.Join(e.transferEverything(ctx), errStop)
			})
		},
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "panic", tell: func(e *env) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = v.(error)
				}
			}()
			return e.global(ample, func(ctx context.Context) error {
				require.NoError(e.t, e.transferEverything(ctx))
				e.note(xid.FromContext(ctx))
				panic(errStop)
			})
		},
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "a nested part fails and its error is dropped", tell: func(e *env) error {
			return e.global(ample, func(ctx context.Context) error {
				require.NoError(e.t, e.add(ctx, 1, 1))
				_ = e.app.TM().Run(ctx, tm.Options{Propagation: tm.Nested}, func(ctx context.Context) error {
					return errors.Join(e.add(ctx, 2, 1), errStop)
				})
				return nil
			})
		},
		want: outcome{errors: "errStop tm.ErrRollbackOnly", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "a new transaction inside stays", tell: func(e *env) error {
			return e.global(ample, func(ctx context.Context) error {
				require.NoError(e.t, e.add(ctx, 1, 1))
				require.NoError(e.t, e.app.TM().Run(ctx, tm.Options{Propagation: tm.RequiresNew},
					func(ctx context.Context) error { return e.add(ctx, 2, 1) }))
				return errStop
			})
		},
		want: outcome{errors: "errStop", rows: "1=10 2=21 3=30 / 1=10 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "dirty undo", tell: func(e *env) error {
			return e.global(ample, func(ctx context.Context) error {
				require.NoError(e.t, e.add(ctx, 1, 1))
				e.must(e.plain, "UPDATE account SET n = 77 WHERE id = 1")
				return errStop
			})
		},
		want: outcome{errors: "errStop tm.ErrHeuristic", rows: "1=77 2=20 3=30 / 1=10 2=20 3=30", undo: 1,
			locked: true, status: protocol.StatusRollbackFailed},
		onJava: func(want *outcome) { want.status = protocol.StatusRollbackFailed }, // this it keeps
	},
	{
		name: "a branch that is reported failed gets no order", tell: func(e *env) error {
			s := e.newStub(protocol.TypeAT, nil)
			return e.global(ample, func(ctx context.Context) error {
				x := xid.FromContext(ctx)
				id, err := s.register(ctx, e.app, x, "t:1")
				require.NoError(e.t, err)
				require.NoError(e.t, e.app.RM().ReportBranch(ctx, rm.Report{
					Branch: rm.Branch{XID: x, ID: id, Type: s.kind, ResourceID: s.id},
					Status: protocol.BranchPhaseOneFailed,
				}))
				return errStop
			})
		},
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "an idle connection", tell: testIdle,
		want: outcome{rows: "1=11 2=20 3=30 / 1=10 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "the branch of a process that has gone", tell: testGone,
		want: outcome{errors: "tm.ErrTimedOut", rows: untouched, status: protocol.StatusTimeoutRollbacked},
	},
}

// transferEverything has an UPDATE, an INSERT and a DELETE in one local
// transaction, and a single statement in the other database.
func (e *env) transferEverything(ctx context.Context) error {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"UPDATE account SET n = n - 1 WHERE id = 1",
		"INSERT INTO account (id, n, held) VALUES (4, 40, 0)",
		"DELETE FROM account WHERE id = 2",
	} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return e.addOther(ctx, 1, 1)
}

// testIdle: a coordinator closes a connection on which it hears nothing for 15 s.
func testIdle(e *env) error {
	var again atomic.Int32
	e.relay.Set(relay.Trap{Message: protocol.TypeRegisterTM, Nth: 1, Fate: relay.Delivered, Act: func() { again.Add(1) }})
	time.Sleep(17 * time.Second)
	err := e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) })
	assert.Zero(e.t, again.Load(), "it is the connection of the beginning")
	return err
}

// testGone: the application that changed the row disappears; another one on
// the same database carries the rollback out.
func testGone(e *env) error {
	tx := e.begin(short)
	ctx, cancel := tx.Bind(e.t.Context())
	defer cancel()
	require.NoError(e.t, e.add(ctx, 1, 1))
	require.NoError(e.t, e.db.Close())
	first := e.app
	e.app = e.openOther()
	e.db = e.join(e.app, "mysql", e.dsn)
	require.NoError(e.t, first.Close(e.t.Context()))
	<-ctx.Done()
	return context.Cause(ctx)
}

// heldRows are those of a holder that committed.
const heldRows = "1=11 2=20 3=30 / 1=10 2=20 3=30"

var storiesOfLocks = []story{
	{
		name: "a statement waits for the holder", tell: func(e *env) error {
			holder := e.holder()
			committed := make(chan error, 1)
			time.AfterFunc(150*time.Millisecond, func() { committed <- holder.Commit(e.t.Context()) })
			err := e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 100) })
			return errors.Join(err, <-committed)
		},
		want: outcome{rows: "1=111 2=20 3=30 / 1=10 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "a statement gives up", tell: func(e *env) error {
			return e.conflict(func(ctx context.Context) error { return e.add(ctx, 1, 100) })
		},
		want:   outcome{errors: "errHolder rm.ErrLockConflict", rows: heldRows, status: protocol.StatusRollbacked},
		onJava: func(want *outcome) { want.errors = "rm.ErrLockConflict" }, // it tells no holder
	},
	{
		name: "a local transaction gives up", tell: func(e *env) error {
			return e.conflict(func(ctx context.Context) error {
				return e.local(ctx, "UPDATE account SET n = n + 100 WHERE id IN (1, 2)")
			})
		},
		want:   outcome{errors: "errHolder rm.ErrLockConflict", rows: heldRows, status: protocol.StatusRollbacked},
		onJava: func(want *outcome) { want.errors = "rm.ErrLockConflict" },
	},
	{
		name: "SELECT FOR UPDATE gives up", tell: func(e *env) error {
			return e.conflict(func(ctx context.Context) error {
				return e.local(ctx, "SELECT n FROM account WHERE id = 1 FOR UPDATE")
			})
		},
		want: outcome{errors: "rm.ErrLockConflict", rows: heldRows, status: protocol.StatusRollbacked},
	},
	{
		name: "the holder rolls back", tell: testHolderRollsBack,
		want:   outcome{errors: "errFailFast errHolder rm.ErrLockConflict", rows: untouched, status: protocol.StatusRollbacked},
		onJava: func(want *outcome) { want.errors = "rm.ErrLockConflict" },
	},
}

// holder is an open transaction that has added 1 to row 1.
func (e *env) holder() *tm.Tx {
	e.t.Helper()
	holder := e.begin(ample)
	require.NoError(e.t, e.add(xid.NewContext(e.t.Context(), holder.XID()), 1, 1))
	return holder
}

// conflict runs fn in a transaction beside a holder, which commits afterwards.
func (e *env) conflict(fn func(ctx context.Context) error) error {
	holder := e.holder()
	err := e.global(ample, fn)
	var conflict *rm.LockConflict
	if errors.As(err, &conflict) && conflict.Holder == holder.XID() {
		err = fmt.Errorf("%w: %w", errHolder, err)
	}
	require.NoError(e.t, holder.Commit(e.t.Context()))
	return err
}

// local runs one statement in a local transaction of its own.
func (e *env) local(ctx context.Context, statement string) error {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, statement); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// testHolderRollsBack: the holder's rollback waits for a row that a stranger to
// all this has locked, and may need the row that a local transaction has locked.
// That one is told at once where the coordinator can tell.
func testHolderRollsBack(e *env) error {
	holder := e.holder()
	require.NoError(e.t, e.add(xid.NewContext(e.t.Context(), holder.XID()), 2, 1))
	stranger, err := e.plain.BeginTx(e.t.Context(), nil)
	require.NoError(e.t, err)
	_, err = stranger.Exec("SELECT n FROM account WHERE id = 2 FOR UPDATE")
	require.NoError(e.t, err)
	rolledBack := make(chan error, 1)
	go func() { rolledBack <- holder.Rollback(e.t.Context()) }()
	e.await(holder.XID(), protocol.StatusRollbacking)
	err = e.global(ample, func(ctx context.Context) error {
		return e.local(ctx, "UPDATE account SET n = n + 100 WHERE id = 1")
	})
	var conflict *rm.LockConflict
	require.ErrorAs(e.t, err, &conflict)
	if conflict.FailFast {
		err = fmt.Errorf("%w: %w", errFailFast, err)
	}
	if conflict.Holder == holder.XID() {
		err = fmt.Errorf("%w: %w", errHolder, err)
	}
	require.NoError(e.t, stranger.Rollback())
	require.NoError(e.t, <-rolledBack)
	return err
}

var storiesOfTimeouts = []story{
	{
		name: "nobody decides", tell: func(e *env) error {
			tx := e.begin(short)
			require.NoError(e.t, e.add(xid.NewContext(e.t.Context(), tx.XID()), 1, 1))
			e.await(tx.XID(), protocol.StatusTimeoutRollbacked, protocol.StatusFinished)
			return tx.Commit(e.t.Context())
		},
		want: outcome{errors: "tm.ErrTimedOut", rows: untouched, status: protocol.StatusTimeoutRollbacked},
	},
	{
		name: "a statement after the time-out", tell: func(e *env) error {
			tx := e.begin(short)
			ctx := xid.NewContext(e.t.Context(), tx.XID())
			require.NoError(e.t, e.add(ctx, 1, 1))
			e.await(tx.XID(), protocol.StatusTimeoutRollbacked, protocol.StatusFinished)
			return e.add(ctx, 2, 1)
		},
		want: outcome{errors: "rm.ErrNotActive", rows: untouched, status: protocol.StatusTimeoutRollbacked},
	},
	{
		name: "the request arrives while the rollback runs", tell: func(e *env) error {
			s := e.newStub(protocol.TypeAT, errStop)
			return e.lateCommit(s, protocol.StatusTimeoutRollbacking, protocol.StatusTimeoutRollbackRetrying)
		},
		want: outcome{errors: "tm.ErrRolledBack tm.ErrTimedOut", rows: untouched, calls: "rollback",
			status: protocol.StatusTimeoutRollbacked},
	},
	{
		name: "the request arrives after the rollback", tell: func(e *env) error {
			return e.lateCommit(e.newStub(protocol.TypeAT, nil), protocol.StatusTimeoutRollbacked, protocol.StatusFinished)
		},
		want: outcome{errors: "tm.ErrRolledBack tm.ErrTimedOut", rows: untouched, calls: "rollback",
			status: protocol.StatusTimeoutRollbacked},
		// It has forgotten the transaction, and says so alike of a committed one.
		onJava: func(want *outcome) { want.errors = "tm.ErrNotFound tm.ErrOutcomeUnknown" },
	},
}

// lateCommit commits a transaction with a branch of s; the request is held
// until the transaction has one of the statuses.
func (e *env) lateCommit(s *stub, statuses ...protocol.GlobalStatus) error {
	tx := e.begin(short)
	require.NoError(e.t, s.branch(tx.XID(), "t:1"))
	e.hold(protocol.TypeGlobalCommit, func() { awaitStatus(e.t, e.participant, tx.XID(), statuses...) })
	err := tx.Commit(e.t.Context())
	s.fail(nil)
	return err
}
