//go:build linux

package javatc

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// heldAmounts are those of the two tries that most stories make.
var heldAmounts = []hold{{"a", 1, 5}, {"b", 2, 7}}

// tries makes the tries in a transaction that ends with end.
func (e *env) tries(h hooks, end error) error {
	action := e.action(h)
	return e.global(ample, func(ctx context.Context) error {
		for _, arg := range heldAmounts {
			if err := action.Try(ctx, arg); err != nil {
				return err
			}
		}
		return end
	})
}

// failFirst is a hook that fails n times.
func failFirst(n int32) func(hold) error {
	var calls atomic.Int32
	return func(hold) error {
		if calls.Add(1) <= n {
			return errStop
		}
		return nil
	}
}

const confirmed = "1=15 2=27 3=30 / 1=10 2=20 3=30"

var storiesOfTCC = []story{
	{
		name: "commit", tell: func(e *env) error { return e.tries(hooks{}, nil) },
		want: outcome{rows: confirmed, calls: "try a, try b, confirm a, confirm b", status: protocol.StatusCommitted},
	},
	{
		name: "rollback", tell: func(e *env) error { return e.tries(hooks{}, errStop) },
		want: outcome{errors: "errStop", rows: untouched, calls: "try a, try b, cancel b, cancel a",
			status: protocol.StatusRollbacked},
	},
	{
		name: "with AT", tell: func(e *env) error {
			action := e.action(hooks{})
			return e.global(ample, func(ctx context.Context) error {
				return errors.Join(e.add(ctx, 3, 1), action.Try(ctx, heldAmounts[0]), e.addOther(ctx, 1, 1))
			})
		},
		want: outcome{rows: "1=15 2=20 3=31 / 1=11 2=20 3=30", calls: "try a, confirm a", status: protocol.StatusCommitted},
	},
	{
		name: "confirm is repeated", tell: func(e *env) error {
			return e.tries(hooks{onConfirm: failFirst(1)}, nil)
		},
		want: outcome{rows: confirmed, calls: "try a, try b, confirm a, confirm a, confirm b", status: protocol.StatusCommitted},
	},
	{
		name: "cancel is repeated", tell: func(e *env) error {
			return e.tries(hooks{onCancel: failFirst(1)}, errStop)
		},
		want: outcome{errors: "errStop", rows: untouched, calls: "try a, try b, cancel b, cancel b, cancel a",
			status: protocol.StatusRollbacked},
	},
	{
		name: "confirm fails for good", tell: func(e *env) error {
			return e.tries(hooks{onConfirm: func(hold) error { return tcc.Unretryable(errStop) }}, nil)
		},
		want: outcome{errors: "tm.ErrHeuristic", rows: "1=10+5 2=20+7 3=30 / 1=10 2=20 3=30",
			calls: "try a, try b, confirm a", status: protocol.StatusCommitFailed},
		onJava: func(want *outcome) { want.status = protocol.StatusCommitFailed }, // this it keeps
	},
	{
		name: "cancel fails for good", tell: func(e *env) error {
			return e.tries(hooks{onCancel: func(hold) error { return tcc.Unretryable(errStop) }}, errStop)
		},
		want: outcome{errors: "errStop tm.ErrHeuristic", rows: "1=10+5 2=20+7 3=30 / 1=10 2=20 3=30",
			calls: "try a, try b, cancel b", status: protocol.StatusRollbackFailed},
		onJava: func(want *outcome) { want.status = protocol.StatusRollbackFailed },
	},
	{
		name: "empty rollback", tell: func(e *env) error {
			return e.tries(hooks{onTry: func(hold) error { return errStop }}, nil)
		},
		want: outcome{errors: "errStop", rows: untouched, calls: "try a", status: protocol.StatusRollbacked},
	},
	{
		name: "the process of the action is away", tell: testAway,
		want: outcome{rows: untouched, calls: "commit", status: protocol.StatusCommitted},
	},
	{
		name: "suspension", tell: testSuspension,
		want: outcome{errors: "fence.ErrSuspended tm.ErrTimedOut", rows: untouched, status: protocol.StatusTimeoutRollbacked},
	},
}

// testAway: nobody can be told of the decision to commit, which stands all the
// same; the action's process learns it when it is back.
func testAway(e *env) error {
	s := e.newStub(protocol.TypeTCC, nil)
	tx := e.begin(ample)
	require.NoError(e.t, s.branch(tx.XID(), ""))
	require.NoError(e.t, e.participant.Close(e.t.Context()))
	err := tx.Commit(e.t.Context())
	e.await(tx.XID(), protocol.StatusCommitRetrying, protocol.StatusCommitting)
	e.participant = e.openClient(client.Config{Addresses: []string{e.tc.address}, ApplicationID: e.participantID})
	require.NoError(e.t, e.participant.RM().RegisterResource(e.t.Context(), s))
	return err
}

// testSuspension: the try comes after its cancel.
func testSuspension(e *env) error {
	action := e.action(hooks{beforeTry: func(ctx context.Context) error {
		e.await(xid.FromContext(ctx), protocol.StatusTimeoutRollbacked, protocol.StatusFinished)
		return nil
	}})
	tx := e.begin(short)
	err := action.Try(xid.NewContext(e.t.Context(), tx.XID()), heldAmounts[0])
	late := tx.Commit(e.t.Context())
	require.Error(e.t, late)
	return errors.Join(err, late)
}
