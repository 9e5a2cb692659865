//go:build linux

package javatc

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/relay"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/tm"
)

var storiesOfLostMessages = []story{
	{
		name: "AT registration, then commit", tell: func(e *env) error { return e.loseRegistration(nil) },
		want: outcome{rows: "1=11 2=20 3=30 / 1=10 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "AT registration, then rollback", tell: func(e *env) error { return e.loseRegistration(errStop) },
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "begin", tell: func(e *env) error {
			e.lose(protocol.TypeGlobalBeginResult, nil)
			return e.global(ample, func(ctx context.Context) error { return e.add(ctx, 1, 1) })
		},
		want: outcome{rows: "1=11 2=20 3=30 / 1=10 2=20 3=30", status: protocol.StatusCommitted},
	},
	{
		name: "the connection between statements", tell: func(e *env) error {
			return e.global(ample, func(ctx context.Context) error {
				require.NoError(e.t, e.add(ctx, 1, 1))
				e.relay.HangUp()
				return errors.Join(e.add(ctx, 2, 1), errStop)
			})
		},
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "rollback", tell: func(e *env) error {
			e.lose(protocol.TypeGlobalRollbackResult, nil)
			return e.global(ample, func(ctx context.Context) error { return errors.Join(e.add(ctx, 1, 1), errStop) })
		},
		want: outcome{errors: "errStop", rows: untouched, status: protocol.StatusRollbacked},
	},
	{
		name: "TCC registration", tell: func(e *env) error {
			action := e.action(hooks{})
			e.lose(protocol.TypeBranchRegisterResult, nil)
			return e.global(ample, func(ctx context.Context) error {
				_ = action.Try(ctx, heldAmounts[0]) // the application drops the error
				return nil
			})
		},
		want:   outcome{rows: "1=15 2=20 3=30 / 1=10 2=20 3=30", calls: "try a, confirm a", status: protocol.StatusCommitted},
		onJava: lostForGood,
	},
	{
		name: "request for a TCC registration", tell: func(e *env) error {
			action := e.action(hooks{})
			e.lose(protocol.TypeBranchRegister, nil)
			return e.global(ample, func(ctx context.Context) error {
				_ = action.Try(ctx, heldAmounts[0])
				return nil
			})
		},
		want:   outcome{rows: "1=15 2=20 3=30 / 1=10 2=20 3=30", calls: "try a, confirm a", status: protocol.StatusCommitted},
		onJava: lostForGood,
	},
	{
		name: "TCC registration in another process than began", tell: func(e *env) error {
			action := e.action(hooks{})
			e.lose(protocol.TypeBranchRegisterResult, nil)
			tx := e.begin(ample)
			_ = action.Try(xid.NewContext(e.t.Context(), tx.XID()), heldAmounts[0])
			if e.tc.java {
				e.await(tx.XID(), protocol.StatusFinished)
			}
			return tx.Commit(e.t.Context())
		},
		want: outcome{rows: "1=15 2=20 3=30 / 1=10 2=20 3=30", calls: "try a, confirm a", status: protocol.StatusCommitted},
		// That process has rolled it back at once, and the coordinator forgotten it.
		onJava: func(want *outcome) {
			want.errors, want.rows, want.calls = "tm.ErrNotFound tm.ErrOutcomeUnknown", untouched, ""
		},
	},
	{
		name: "commit that goes on", tell: func(e *env) error { return e.loseCommit(protocol.TypeAT, nil) },
		want: outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
	},
	{
		name: "commit that has ended", tell: func(e *env) error {
			s := e.newStub(protocol.TypeTCC, nil)
			tx := e.begin(ample)
			require.NoError(e.t, s.branch(tx.XID(), ""))
			e.lose(protocol.TypeGlobalCommitResult, nil)
			return tx.Commit(e.t.Context())
		},
		want:   outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
		onJava: func(want *outcome) { want.errors = "tm.ErrNotFound tm.ErrOutcomeUnknown" }, // it has forgotten
	},
	{
		// Seata's coordinator answers any commit after the time-out with
		// TimeoutRollbacking, that of a committed transaction too.
		name: "commit that goes on, asked for again after the time-out", tell: func(e *env) error {
			return e.loseCommit(protocol.TypeAT, func() { time.Sleep(short) })
		},
		want: outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
	},
}

// lostForGood: without request keys, a branch that may be registered twice
// rules commit out. Its cancel finds that nothing was tried.
func lostForGood(want *outcome) {
	want.errors, want.rows, want.calls = "rm.ErrUnavailable tm.ErrRollbackOnly", untouched, ""
}

// loseRegistration loses the answer to the registration of an AT branch, which
// is then registered again.
func (e *env) loseRegistration(end error) error {
	e.lose(protocol.TypeBranchRegisterResult, nil)
	return e.global(ample, func(ctx context.Context) error { return errors.Join(e.add(ctx, 1, 1), end) })
}

// loseCommit loses the answer to a commit, after act if that is not nil; the
// branch takes part in it until the application has been answered.
func (e *env) loseCommit(kind protocol.BranchType, act func()) error {
	s := e.newStub(kind, errStop)
	tx := e.begin(short)
	require.NoError(e.t, s.branch(tx.XID(), "t:1"))
	e.lose(protocol.TypeGlobalCommitResult, act)
	err := tx.Commit(e.t.Context())
	s.fail(nil)
	return err
}

// hold keeps the next message of a type back until act returns.
func (e *env) hold(message protocol.TypeCode, act func()) {
	e.relay.Set(relay.Trap{Message: message, Nth: 1, Fate: relay.Held, Act: act})
}

// lose loses the next message of a type and its connection, after act if that
// is not nil.
func (e *env) lose(message protocol.TypeCode, act func()) {
	e.relay.Set(relay.Trap{Message: message, Nth: 1, Fate: relay.Lost, Act: act})
}

// storiesOfPatience are those of an application that stops waiting for the
// answer to its commit.
var storiesOfPatience = []story{
	{
		name: "commit again after the time-out", tell: func(e *env) error {
			return e.unknownCommit(func(s *stub, tx *tm.Tx) error {
				defer s.fail(nil)
				return tx.Commit(e.t.Context())
			})
		},
		want: outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
	},
	{
		name: "commit again after its end", tell: func(e *env) error {
			return e.unknownCommit(func(s *stub, tx *tm.Tx) error {
				s.fail(nil)
				e.await(tx.XID(), protocol.StatusCommitted, protocol.StatusFinished)
				return tx.Commit(e.t.Context())
			})
		},
		want:   outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
		onJava: func(want *outcome) { want.errors = "tm.ErrNotFound tm.ErrOutcomeUnknown" },
	},
	{
		name: "rollback after its end", tell: func(e *env) error {
			return e.unknownCommit(func(s *stub, tx *tm.Tx) error {
				s.fail(nil)
				e.await(tx.XID(), protocol.StatusCommitted, protocol.StatusFinished)
				return tx.Rollback(e.t.Context())
			})
		},
		want:   outcome{errors: "tm.ErrHeuristic", rows: untouched, calls: "commit", status: protocol.StatusCommitted},
		onJava: func(want *outcome) { want.errors = "tm.ErrNotFound tm.ErrOutcomeUnknown" },
	},
}

// unknownCommit gives an application too little time for the answer to its
// commit, and calls next when the transaction's time-out has passed as well.
func (e *env) unknownCommit(next func(s *stub, tx *tm.Tx) error) error {
	s := e.newStub(protocol.TypeAT, errStop)
	tx := e.begin(short)
	require.NoError(e.t, s.branch(tx.XID(), "t:1"))
	answered := make(chan struct{})
	e.hold(protocol.TypeGlobalCommitResult, func() { <-answered })
	ctx, cancel := context.WithTimeout(e.t.Context(), short/3)
	defer cancel()
	err := tx.Commit(ctx)
	assert.ErrorIs(e.t, err, tm.ErrUnavailable)
	assert.ErrorIs(e.t, err, tm.ErrOutcomeUnknown)
	time.Sleep(short)
	close(answered)
	return next(s, tx)
}
